"""Named dataset revisions: they never change, are led back to, share no screen between splits; and the command."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executors.errors import InputError, MissingFileError, OutputError
from executors.trajectory import read_trajectories, write_trajectories
from tests.workbench.annotate.makers import way
from tests.workbench.annotate.test_store import add_revision, people
from training.cli import main
from workbench.annotate.datasets import (
    dataset_revision,
    dataset_revisions,
    documents_of,
    export,
    name_revision,
    split_by_screen,
)
from workbench.annotate.store import AnnotationStore, Project
from workbench.people import Role, RoleError


def fill(store: AnnotationStore, project: Project, number: int) -> list[str]:
    return [store.add(project, way(id=f"t{n}", shade=10 * n), why="imported") for n in range(number)]


def test_a_dataset_revision_stays_what_it_was_when_its_trajectories_go_on(store, project, tmp_path: Path) -> None:
    ids = fill(store, project, 3)
    first = name_revision(store, project, "v1", why="first try", state="")
    before = list(documents_of(store, first))
    add_revision(store, ids[0], 3)
    assert store.load(ids[0]) != before[0]
    assert list(documents_of(store, dataset_revision(store, "v1"))) == before
    store.restore(ids[0], 1, why="as it was")
    assert name_revision(store, project, "v2", why="w", state="").fingerprint == first.fingerprint
    with pytest.raises(OutputError, match="append-only"), store.file.writing() as db:
        db.execute("update annotation_datasets set entries = '[]'")
    assert dataset_revisions(store)[0] == first


def test_the_fingerprint_is_that_of_the_content_wherever_it_is_stored(store, project, tmp_path: Path) -> None:
    fill(store, project, 3)
    one = name_revision(store, project, "v1", why="w", state="")
    other = AnnotationStore(tmp_path / "elsewhere")
    there = other.add_project("another name")
    fill(other, there, 3)
    assert name_revision(other, there, "x", why="y", state="").fingerprint == one.fingerprint
    fill(other, other.add_project("less"), 2)
    assert name_revision(other, other.project("less"), "z", why="y", state="").fingerprint != one.fingerprint


def test_an_exported_revision_leads_back_to_itself(store: AnnotationStore, project: Project, tmp_path: Path) -> None:
    fill(store, project, 4)
    revision = name_revision(store, project, "v1", why="w", state="", shares={"train": 0.75, "val": 0.25})
    export(store, revision, tmp_path / "out" / "v1.jsonl", "trajectories")
    found = list(read_trajectories(tmp_path / "out" / "v1.jsonl"))
    assert sorted(t.split for t in found) == ["train", "train", "train", "val"]
    told = json.loads((tmp_path / "out" / "v1.jsonl.revision.json").read_text())
    assert (told["name"], told["fingerprint"], told["num_by_split"]) == (
        "v1", revision.fingerprint, revision.num_by_split)
    assert told["export"]["losses"] == {} and str(tmp_path) not in json.dumps(told)


def test_what_cannot_be_named_is_refused(store: AnnotationStore, project: Project) -> None:
    with pytest.raises(InputError, match="no trajectory that is accepted"):
        name_revision(store, project, "v1", why="w")
    ids = fill(store, project, 1)
    for values, match in (({"name": "../x"}, "field 'name'"), ({"why": " "}, "field 'why'"), ({"state": "x"}, "state"),
                          ({"shares": {"train": 0.5}}, "field 'shares'"), ({"shares": {}}, "field 'shares'"),
                          ({"shares": {"a": 2.0, "b": -1.0}}, "field 'shares'")):
        with pytest.raises(InputError, match=match):
            name_revision(store, project, **{"name": "v1", "why": "w", "state": "", **values})
    name_revision(store, project, "v1", why="w", state="")
    with pytest.raises(InputError, match="'v1' already"):
        name_revision(store, project, "v1", why="w", state="")
    store.add(project, replace(way(id="bad"), goal=""), why="imported")
    with pytest.raises(InputError, match="1 trajectories have errors"):
        name_revision(store, project, "v2", why="w", state="")
    with pytest.raises(MissingFileError, match="choose one of v1"):
        dataset_revision(store, "v2")
    assert len(ids) == 1


def test_only_a_reviewer_names_revisions(tmp_path: Path) -> None:
    store = AnnotationStore(tmp_path, people(ada=Role.ANNOTATOR, rita=Role.REVIEWER))
    project = store.add_project("p", person="rita")
    with pytest.raises(RoleError, match="may not name dataset revisions"):
        name_revision(store, project, "v1", why="w", person="ada")


def test_an_export_that_cannot_be_written_is_told(store: AnnotationStore, project: Project, tmp_path: Path) -> None:
    fill(store, project, 1)
    revision = name_revision(store, project, "v1", why="w", state="")
    (tmp_path / "file").write_text("x")
    for form in ("trajectories", "agentnet", "parquet", "easyr1"):
        with pytest.raises(OutputError, match="cannot write"):
            export(store, revision, tmp_path / "file" / "out", form)
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="exists already"):
        export(store, revision, tmp_path / "folder", "datasets")


# ---- splits


@given(seed=st.integers(0, 2**32), num_trajectories=st.integers(1, 40), num_screens=st.integers(1, 200))
def test_no_screen_is_in_two_splits_and_nothing_is_lost(seed: int, num_trajectories: int, num_screens: int) -> None:
    rng = random.Random(seed)
    screens = {f"t{n}": [rng.randrange(num_screens) for _ in range(rng.randrange(5))] for n in range(num_trajectories)}
    splits = split_by_screen(screens, {"train": 0.8, "val": 0.1, "test": 0.1})
    assert list(splits) == list(screens)
    shown: dict[int, set[str]] = {}
    for id, seen in screens.items():
        for screen in seen:
            shown.setdefault(screen, set()).add(splits[id])
    assert all(len(found) == 1 for found in shown.values())


def test_shares_come_out_as_asked_where_no_screens_are_shared() -> None:
    splits = split_by_screen({f"t{n}": [n] for n in range(1000)}, {"train": 0.8, "val": 0.1, "test": 0.1})
    counts = [sum(split == name for split in splits.values()) for name in ("train", "val", "test")]
    assert counts == [800, 100, 100]


# ---- the command


def run(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    code = main(["annotations", *args])
    return code, *capsys.readouterr()


def test_the_command_imports_names_exports_copies_and_puts_back(tmp_path: Path, capsys) -> None:
    write_trajectories(tmp_path / "in.jsonl", [way(id=f"t{n}", shade=10 * n) for n in range(4)])
    store = ["--store", str(tmp_path / "store")]
    code, out, _ = run(capsys, *store, "import", str(tmp_path / "in.jsonl"), "--project", "desk",
                       "--report", str(tmp_path / "report.json"))
    assert code == 0 and "records: 4 read, 4 kept" in out and (tmp_path / "report.json").is_file()
    code, out, _ = run(capsys, *store, "revise", "v1", "--project", "desk", "--why", "first", "--state", "all",
                       "--split", "train=0.75,val=0.25")
    assert code == 0 and "dataset revision v1: 3 train, 1 val; fingerprint" in out
    code, out, _ = run(capsys, *store, "export", "v1", "--out", str(tmp_path / "out" / "v1.jsonl"))
    assert code == 0 and "4 trajectories with 16 steps as trajectories" in out
    assert run(capsys, *store, "backup", str(tmp_path / "copy"))[0] == 0
    code, out, _ = run(capsys, "--store", str(tmp_path / "back"), "restore", str(tmp_path / "copy"))
    assert code == 0 and "12 screenshots written" in out
    code, out, _ = run(capsys, "--store", str(tmp_path / "back"), "list")
    assert "project desk: 4 waiting" in out and "dataset revision v1 of desk" in out


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["import", "gone.jsonl", "--project", "p"], "gone.jsonl does not exist: check the path"),
        (["revise", "v1", "--project", "p", "--why", "w"], "project 'p' is not in this store: choose one of none yet"),
        (["export", "v1", "--out", "x"], "dataset revision 'v1' is not in this store"),
        (["restore", "nowhere"], "folder nowhere holds no workbench.sqlite"),
    ],
)
def test_what_the_command_cannot_do_is_one_sentence(tmp_path: Path, capsys, args: list[str], words: str) -> None:
    code, out, err = run(capsys, "--store", str(tmp_path / "store"), *args)
    assert (code, out) == (2, "") and words in err and err.startswith("tracer1: ") and err.count("\n") == 1


def test_an_import_that_keeps_nothing_is_exit_code_2(tmp_path: Path, capsys) -> None:
    (tmp_path / "bad.jsonl").write_text("{\n")
    code, out, _ = run(capsys, "--store", str(tmp_path / "s"), "import", str(tmp_path / "bad.jsonl"), "--project", "p")
    assert code == 2 and "1 skipped" in out and "not JSON" in out
