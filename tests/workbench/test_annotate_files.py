"""Uploads, paths, what other tabs sent, exports and dataset revisions of the Annotate tab, and its lists."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pytest

from executors.errors import InputError, MissingFileError
from executors.trajectory import write_trajectories
from tests.workbench.annotate.makers import way
from tests.workbench.compare_helpers import make_two
from tests.workbench.test_annotate_desk import ATTACK, TEAM
from training.run_folder import RunFolder
from workbench.annotate.store import AnnotationStore, Project
from workbench.annotate.unpack import unpack
from workbench.annotate_desk import AnnotateDesk
from workbench.annotate_files import AnnotateFiles
from workbench.annotate_views import ListViews
from workbench.annotation_queue import AnnotationQueue
from workbench.compare_shelf import EvaluationShelf
from workbench.episode_store import EpisodeStore
from workbench.people import People, Role, make_person
from workbench.store import Store


@pytest.fixture(scope="module")
def people() -> People:
    team = {**TEAM, "op": Role.OPERATOR}
    return People(by_name={name: make_person(name, role, "long enough") for name, role in team.items()})


@pytest.fixture
def store(tmp_path: Path, people: People) -> AnnotationStore:
    return AnnotationStore(tmp_path / "store", people)


@pytest.fixture
def project(store: AnnotationStore) -> Project:
    return store.add_project("desk", person="rev", guide=f"Be exact. {ATTACK}")


@pytest.fixture
def files(store: AnnotationStore, tmp_path: Path) -> AnnotateFiles:
    for name in ("data", "uploads"):
        (tmp_path / name).mkdir()
    return AnnotateFiles(
        store, AnnotationQueue(Store(tmp_path / "store")), EvaluationShelf(tmp_path / "evaluations"),
        EpisodeStore(tmp_path / "store"), data_root=tmp_path / "data", uploads=tmp_path / "uploads")


@pytest.fixture
def views(store: AnnotationStore, files: AnnotateFiles) -> ListViews:
    return ListViews(AnnotateDesk(store), files)


def archive(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for name, data in members.items():
            out.writestr(name, data)
    return path


# ---- in


def test_an_archive_with_its_screenshots_is_imported_and_bad_records_are_told(files, views, project, tmp_path) -> None:
    write_trajectories(tmp_path / "made" / "a.jsonl", [way("t1"), way("t2", shade=40)])
    members = {f"folder/{path.relative_to(tmp_path / 'made')}": path.read_bytes()
               for path in (tmp_path / "made").rglob("*") if path.is_file()}
    members["folder/a.jsonl"] += b'{"cut off'
    upload = archive(tmp_path / "uploads" / "up.zip", members)
    answer = views.act(
        {"act": "import_upload", "path": str(upload), "form": "trajectories", "project": project.id}, "ann")
    assert "3 records read, 2 kept, 1 refused" in answer["html"] and "not JSON" in answer["html"]
    again = files.import_upload("ann", project.id, str(upload), "trajectories")
    assert dict(again.skipped_records) == {"duplicate id": 2, "not JSON": 1}
    assert not list(files.store.root.glob("unpacked-*"))


@pytest.mark.parametrize("name", ["../out.jsonl", "/etc/out.jsonl", "a/../../out.jsonl", "c:\\out.jsonl", "..\\out"])
def test_an_archive_that_leaves_its_folder_is_refused(files, project, tmp_path, name: str) -> None:
    upload = archive(tmp_path / "uploads" / "up.zip", {name: b"x"})
    with pytest.raises(InputError, match="leaves the folder"):
        files.import_upload("ann", project.id, str(upload), "trajectories")
    assert not list(tmp_path.rglob("out*"))


def test_an_archive_that_swells_is_stopped_and_a_broken_one_told(tmp_path) -> None:
    bomb = archive(tmp_path / "bomb.zip", {"a.jsonl": b"0" * 3_000_000})
    with pytest.raises(InputError, match="more than its bound"):
        unpack(bomb, tmp_path / "out", max_bytes=1_000_000)
    broken = tmp_path / "broken.zip"
    data = bytearray(bomb.read_bytes())
    data[50:60] = b"0123456789"
    broken.write_bytes(data)
    with pytest.raises(InputError, match="no zip archive"):
        unpack(broken, tmp_path / "out2")
    (tmp_path / "text.zip").write_text("hello")
    with pytest.raises(InputError, match="no zip archive"):
        unpack(tmp_path / "text.zip", tmp_path / "out3")


def test_links_of_an_archive_are_left_out(tmp_path) -> None:
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as out:
        out.writestr(link, "/etc/passwd")
        out.writestr("folder/file.txt", "kept")
    unpack(tmp_path / "a.zip", tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").rglob("*") if path.is_file() or path.is_symlink()] == ["file.txt"]


@pytest.mark.parametrize("path", ["/etc/passwd", "../../etc/passwd", "", "\0", "a" * 5000])
def test_no_file_elsewhere_is_read(views, project, path: str) -> None:
    for act in ("import_upload", "import_path"):
        answer = views.act({"act": act, "path": path, "form": "trajectories", "project": project.id}, "ann")
        assert "error" in answer and "root:" not in answer["error"]


def test_a_link_out_of_the_data_folder_is_not_followed(files, project, tmp_path) -> None:
    (tmp_path / "data" / "link").symlink_to("/etc")
    with pytest.raises(InputError, match="not below"):
        files.import_path("ann", project.id, "link/passwd", "trajectories")
    with pytest.raises(MissingFileError, match="does not exist"):
        files.import_path("ann", project.id, "missing.jsonl", "trajectories")


def test_a_failed_sample_and_its_reason_come_with_one_click(files, views, project, tmp_path, store) -> None:
    _, strong = make_two(tmp_path / "evaluations")
    evaluation, _ = files.evaluations.load(strong)
    sample = evaluation.samples[3]
    files.samples.add(sample_id=sample.id, benchmark=evaluation.benchmark, evaluation=strong, reason=ATTACK)
    panel = views.panel({"panel": "elsewhere", "project": project.id}, "vic")["parts"]["elsewhere"]["html"]
    assert sample.id in panel and "<img" not in panel
    number = files.samples.list()[0].number
    assert "may not" in views.act({"act": "bring_sample", "number": number, "project": project.id}, "vic")["error"]
    answer = views.act({"act": "bring_sample", "number": number, "project": project.id}, "ann")
    row = store.row(answer["added"])
    assert row.origin["reason"] == ATTACK and row.source_id == sample.episode and files.samples.count() == 0
    shown = views.look({"project": project.id}, "vic")["parts"]["list"]["html"]
    assert "<img" not in shown and "onerror" in shown
    assert "any more" in views.act({"act": "bring_sample", "number": number, "project": project.id}, "ann")["error"]


# ---- lists


def test_the_list_is_searched_filtered_and_paged_and_sent_only_when_it_changed(store, views, project) -> None:
    for number in range(30):
        store.add(project, way(f"t{number}", goal=f"Goal number{number}"), why="made", person="rev")
    answer = views.look({}, "vic")
    page = answer["parts"]["list"]["html"]
    assert answer["project"] == project.id and "1 to 25 of 30" in page and page.count("<tr data-id") == 25
    seen = {name: part["hash"] for name, part in answer["parts"].items()}
    assert views.look({"seen": seen}, "vic")["parts"] == {}
    ask = {"project": project.id, "seen": {}}
    assert "26 to 30" in views.look({**ask, "offset": 25}, "vic")["parts"]["list"]["html"]
    assert "1 to 1 of 1" in views.look({**ask, "text": "number17"}, "vic")["parts"]["list"]["html"]
    assert "No trajectory fits" in views.look({**ask, "state": "accepted"}, "vic")["parts"]["list"]["html"]
    projects = answer["parts"]["projects"]["html"]
    assert "<img" not in projects and "New project" not in projects
    for wrong in ({"state": "gone"}, {"text": 3}, {"offset": -1}, {"offset": True}):
        assert "error" in views.look({**ask, **wrong}, "vic")
    assert "logged in" in views.look({}, "stranger")["error"]


def test_the_next_task_is_taken_and_its_lease_broken_by_a_reviewer_only(store, views, project) -> None:
    assert "Nothing waits" in views.act({"act": "next", "kind": "annotate", "project": project.id}, "ann")["done"]
    id = store.add(project, way(), why="made", person="rev")
    assert views.act({"act": "next", "kind": "annotate", "project": project.id}, "ann")["trajectory"] == id
    assert "ann" in views.look({"project": project.id}, "bob")["parts"]["list"]["html"]
    number = views.desk.queue.tasks(id)[0].number
    assert "may not" in views.act({"act": "break", "task": number, "why": "x"}, "bob")["error"]
    assert "done" in views.act({"act": "break", "task": number, "why": "x"}, "rev")
    assert "kind" in views.act({"act": "next", "kind": "steal", "project": project.id}, "ann")["error"]
    assert "nothing that can be done" in views.act({"act": "drop_tables"}, "rev")["error"]


def test_progress_and_agreement_are_shown_for_a_project_annotated_twice(store, views) -> None:
    project = store.add_project("twice", person="rev", second_share=1.0)
    store.add(project, way(), why="made", person="rev")
    ask = {"panel": "progress", "project": project.id}
    assert "annotated twice yet" in views.panel(ask, "vic")["parts"]["progress"]["html"]
    desk = views.desk
    for person in ("ann", "bob"):
        lease = desk.next(person, project.id, "annotate")
        draft = desk.drafts.open(lease.task.trajectory, person, lease.task.branch)
        desk.queue.submit(lease, draft, "as it is")
    page = views.panel(ask, "vic")["parts"]["progress"]["html"]
    assert "Type kappa" in page and "<td>1.00</td>" in page and "ann" in page and "bob" in page


# ---- out


def accepted(store: AnnotationStore, views: ListViews, project: Project, id: str) -> str:
    added = store.add(project, way(id), why="made", person="rev")
    desk = views.desk
    lease = desk.queue.take(project, "ann", trajectory=added)
    desk.queue.submit(lease, desk.drafts.open(added, "ann"), "as it is")
    desk.queue.accept(desk.queue.take(project, "rev", "review", trajectory=added), 1)
    return added


@pytest.mark.parametrize("form", ["trajectories", "agentnet", "datasets", "parquet", "easyr1", "verl"])
def test_a_project_is_exported_in_every_form_and_imported_again(store, files, views, project, form: str) -> None:
    accepted(store, views, project, "t1")
    made = files.export_project("vic", project.id, form, "accepted")
    back = store.add_project("back", person="rev")
    upload = files.uploads / made.path.name
    upload.write_bytes(made.path.read_bytes())
    if form == "agentnet":  # typing at a point has no pyautogui code, and the report says so
        assert made.report.losses["arguments of type"] == 1
    report = files.import_upload("ann", back.id, str(upload), form)
    assert report.num_trajectories == 1, report.summary()
    assert not [p for p in made.path.parent.iterdir() if p != made.path]


def test_a_dataset_revision_is_named_exported_and_trained_on(store, files, views, project, tmp_path) -> None:
    accepted(store, views, project, "t1")
    ask = {"act": "name_revision", "project": project.id, "name": "first", "why": "to train", "state": "accepted"}
    assert "may not" in views.act(ask, "ann")["error"]
    assert "is not SPLIT=SHARE" in views.act({**ask, "split": "half"}, "rev")["error"]
    assert "names 1 trajectories" in views.act({**ask, "split": "train=1"}, "rev")["done"]
    assert "already" in views.act(ask, "rev")["error"]
    shown = views.panel({"panel": "datasets", "project": project.id}, "rev")["parts"]["datasets"]["html"]
    assert "first" in shown and "Train on this" not in shown
    assert "may not" in views.act({"act": "train", "name": "first"}, "rev")["error"]
    path = Path(views.act({"act": "train", "name": "first"}, "op")["train_on"])
    written = path.stat().st_mtime_ns
    assert views.act({"act": "train", "name": "first"}, "op")["train_on"] == str(path)
    assert path.stat().st_mtime_ns == written
    run = RunFolder.create(tmp_path / "run", stage="sft", config={"data": {"path": str(path)}}, command=[], seed=0)
    told = json.loads((run.path / "first.jsonl.revision.json").read_text())
    (named,) = files.dataset_revisions("vic", project.id)
    assert (told["name"], told["fingerprint"]) == ("first", named.fingerprint)
    exported = views.act({"act": "export_dataset", "name": "first", "form": "trajectories"}, "vic")
    data = zipfile.ZipFile(io.BytesIO(next(files.exports.glob("*/first-trajectories.zip")).read_bytes()))
    assert "first.jsonl.revision.json" in data.namelist() and "first-trajectories.zip" in exported["html"]
    assert "unknown" in views.act({"act": "export_dataset", "name": "first", "form": "pickle"}, "vic")["error"]
