"""Files in and out: what goes out comes back, what a form cannot hold is told, bad records are refused one by one."""

from __future__ import annotations

import io
import json
import random
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import PIL.Image
import pytest

from executors.actions import Action
from executors.errors import InputError, MissingFileError
from executors.geometry import BoxNorm, PointNorm
from executors.trajectory import Observation, Trajectory, write_trajectories
from tests.workbench.annotate.makers import random_walk, way
from training.datasets.pyautogui_code import read_code
from training.datasets.report import ImportReport
from training.external_reward import score
from workbench.annotate import edits
from workbench.annotate.agentnet_form import NoPlaceError, code_of
from workbench.annotate.document import Document, apply
from workbench.annotate.files_in import read_in
from workbench.annotate.files_out import FORMS, WriteReport, write_out
from workbench.annotate.store import AnnotationStore, Project


def stored_documents(store: AnnotationStore, project: Project) -> list[Document]:
    return [store.load(row.id) for row in reversed(store.search(project, limit=500).rows)]


def bare(trajectory: Trajectory) -> Trajectory:
    """The trajectory without where its screenshots lie."""
    return replace(trajectory, steps=tuple(
        replace(s, observation=replace(s.observation, image=None, image_path=None)) for s in trajectory.steps))


def pixels(trajectory: Trajectory) -> list[bytes]:
    return [s.observation.load_image().tobytes() for s in trajectory.steps]


def round_trip(store: AnnotationStore, documents: list[Document], form: str, folder: Path) -> tuple[
        WriteReport, ImportReport, list[Trajectory]]:
    """The documents written in a form and read into a new project."""
    path = folder / (form if form == "datasets" else f"{form}.file")
    written = write_out(lambda: documents, path, form)
    project = store.add_project(f"back from {form}")
    read = read_in(store, project, path, form)
    assert read.num_records_read == read.num_records_kept + read.num_records_skipped
    return written, read, [document.trajectory for document in stored_documents(store, project)]


def edited(store: AnnotationStore, project: Project) -> list[Document]:
    """Three stored documents after random edits, with marks of every kind."""
    documents = []
    for number in range(3):
        id = store.add(project, way(id=f"t{number}", shade=10 * number), why="imported")
        document, _ = random_walk(store.load(id), random.Random(number), 6)
        key = document.keys[0]
        for change in (lambda d: edits.set_difficulty(d, 4), lambda d, k=key: edits.mark(d, k, "correct", True),
                       lambda d, k=key: edits.set_goal(d, "Save the file")):
            document = apply(document, change(document))
        documents.append(document)
    return documents


# ---- forms that hold everything


@pytest.mark.parametrize("form", ["trajectories", "datasets", "parquet"])
def test_what_goes_out_comes_back(store: AnnotationStore, project: Project, tmp_path: Path, form: str) -> None:
    documents = [_public(document) for document in edited(store, project)]
    written, read, back = round_trip(store, documents, form, tmp_path)
    assert (written.num_trajectories, written.losses, read.num_records_skipped) == (3, {}, 0), read.summary()
    assert [bare(t) for t in back] == [bare(d.trajectory) for d in documents]
    assert [pixels(t) for t in back] == [pixels(d.trajectory) for d in documents]


def _public(document: Document) -> Document:
    for key in document.keys:
        document = apply(document, edits.mark(document, key, "private", False))
    return document


# ---- AgentNet


def assert_only_told_losses(mine: Trajectory, theirs: Trajectory, losses: dict[str, int]) -> None:
    """Whatever differs is among the losses of the report."""
    lost = " ".join(losses)
    for field in ("id", "goal", "source", "platform", "split", "licence", "outcome"):
        assert getattr(mine, field) == getattr(theirs, field) or field in lost
    assert mine.meta.get("annotation", {}).get("difficulty") == theirs.meta.get("annotation", {}).get("difficulty")
    for name in {*mine.meta, *theirs.meta} - {"annotation"}:
        assert mine.meta.get(name) == theirs.meta.get(name) or f"meta {name}" in lost
    for a, b in zip(mine.steps, theirs.steps, strict=True):
        assert a.action == b.action or f"arguments of {a.action.type}" in lost
        assert a.flags == b.flags or "mark " in lost
        for field in ("instruction", "thought", "target", "error"):
            assert getattr(a, field) == getattr(b, field) or field in lost
        for field in ("summary", "elements", "text"):
            assert getattr(a.observation, field) == getattr(b.observation, field) or field in lost


def test_agentnets_own_example_goes_out_and_comes_back_equal(
    store: AnnotationStore, project: Project, samples: Path, tmp_path: Path
) -> None:
    assert read_in(store, project, samples / "agentnet" / "raw_example.jsonl", "agentnet").num_trajectories == 1
    documents = stored_documents(store, project)
    written, _, (back,) = round_trip(store, documents, "agentnet", tmp_path)
    assert written.losses == {}
    assert bare(back) == bare(documents[0].trajectory)
    names = [[s.observation.image_path.name for s in t.steps] for t in (back, documents[0].trajectory)]
    assert names[0] == names[1]  # the same pixels


def test_a_sample_of_agentnetbench_loses_as_agentnet_only_what_is_told(
    store: AnnotationStore, project: Project, samples: Path, tmp_path: Path
) -> None:
    task = sorted((samples / "agentnetbench").glob("*.json"))[0]
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / task.name).write_bytes(task.read_bytes())
    read_in(store, project, tmp_path / "bench", "agentnetbench", images=samples / "agentnetbench" / "images")
    documents = stored_documents(store, project)
    written, _, (back,) = round_trip(store, documents, "agentnet", tmp_path)
    assert written.losses["target"] and written.losses["source"]
    assert_only_told_losses(bare(documents[0].trajectory), bare(back), written.losses)


@pytest.mark.parametrize("seed", range(12))
def test_agentnet_loses_nothing_that_the_report_does_not_tell(
    store: AnnotationStore, project: Project, tmp_path: Path, seed: int
) -> None:
    id = store.add(project, way(), why="imported")
    document = _public(random_walk(store.load(id), random.Random(seed), 5)[0])
    written, _, back = round_trip(store, [document], "agentnet", tmp_path)
    if written.num_left_out:
        assert back == [] and written.places[0].startswith("t1: whole trajectory, ")
    else:
        assert_only_told_losses(bare(document.trajectory), bare(back[0]), written.losses)


P = PointNorm(0.123456789, 1 / 3)


@pytest.mark.parametrize(
    "action",
    [
        *(Action(type=t, point=P) for t in ("click", "left_double", "right_single", "middle_click", "triple_click")),
        Action(type="hover", point=P), Action(type="hotkey", key="enter"),
        Action(type="drag", start_point=P, end_point=PointNorm(1.0, 0.0)),
        *(Action(type="scroll", direction=d) for d in ("up", "down", "left", "right")),
        Action(type="scroll", direction="up", point=P), Action(type="type", content="it's \"so\" \\ ü\n\nx\n"),
        Action(type="type", content="\n"), Action(type="hotkey", key="ctrl shift t"),
        Action(type="wait"), Action(type="wait", seconds=0.25), Action(type="finished", content="42"),
        Action(type="call_user"),
    ],
)
def test_code_is_read_back_as_the_action(action: Action) -> None:
    assert read_code(code_of(action)).action == action


def test_an_action_without_code_leaves_its_trajectory_out_and_says_so(store, project, tmp_path: Path) -> None:
    with pytest.raises(NoPlaceError, match="long_press has no pyautogui code"):
        code_of(Action(type="long_press", point=P))
    held = replace(way().steps[0], action=Action(type="long_press", point=P))
    store.add(project, replace(way(id="phone"), platform="phone", steps=(held, *way().steps[1:])), why="imported")
    store.add(project, way(id="desk"), why="imported")
    report = write_out(lambda: stored_documents(store, project), tmp_path / "a.jsonl", "agentnet")
    assert (report.num_left_out, report.num_trajectories) == (1, 1)
    assert report.places[0] == "phone: whole trajectory, step 1: long_press has no pyautogui code"
    assert "arguments of type (1)" in str(report)  # typing at a point
    assert json.loads(json.dumps(report.to_json()))["losses"]["arguments of type"] == 1


# ---- EasyR1 and verl


@pytest.mark.parametrize("form", ["easyr1", "verl"])
def test_training_rows_hold_prompt_image_and_answer_and_give_the_trajectory_back(
    store: AnnotationStore, project: Project, tmp_path: Path, form: str
) -> None:
    import pyarrow.parquet

    store.add(project, way(), why="imported")
    (document,) = stored_documents(store, project)
    written, read, (back,) = round_trip(store, [document], form, tmp_path)
    rows = pyarrow.parquet.read_table(tmp_path / f"{form}.file").to_pylist()
    assert len(rows) == written.num_steps == 1  # all windows before it hold the redundant step
    assert written.losses == {"step that makes no sample": 3} and "t1: step 3: step that" in written.places[2]
    prompt = rows[0]["problem"] if form == "easyr1" else rows[0]["prompt"][0]["content"]
    answer = rows[0]["answer"] if form == "easyr1" else rows[0]["reward_model"]["ground_truth"]
    assert prompt.startswith("<image>") and document.goal in prompt
    assert json.loads(answer)["reference"][0]["action"] == {"type": "finished"}
    assert score("1. finished() | the file is saved", answer)["overall"] > 0.9  # the trainer's reward reads it
    assert PIL.Image.open(io.BytesIO(rows[0]["images"][0]["bytes"])).size == (64, 48)
    assert bare(back) == replace(bare(document.trajectory), steps=bare(document.trajectory).steps[3:])
    right = apply(document, edits.mark(document, document.keys[2], "redundant", False))
    again = write_out(lambda: [right], tmp_path / "again", form)
    other = store.add_project("other")
    assert (again.losses, read_in(store, other, tmp_path / "again", form).num_records_kept) == ({}, 1)
    (whole,) = stored_documents(store, other)
    assert bare(whole.trajectory) == bare(right.trajectory) and pixels(whole.trajectory) == pixels(right.trajectory)


def test_rows_that_contradict_each_other_are_refused(store, project, tmp_path: Path) -> None:
    import pyarrow.parquet

    store.add(project, replace(way(), steps=tuple(replace(s, flags=frozenset()) for s in way().steps)), why="imported")
    write_out(lambda: stored_documents(store, project), tmp_path / "a", "easyr1")
    table = pyarrow.parquet.read_table(tmp_path / "a")
    rows = table.to_pylist()
    rows[1]["recording"] = rows[0]["recording"]
    rows.append({**rows[2], "recording": "nonsense"})
    rows.append({**rows[2], "recording": rows[2]["recording"].replace('"id": "t1"', '"id": "t2"'),
                 "images": [{"bytes": None, "path": "/etc/passwd"}]})
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema=table.schema), tmp_path / "b")
    report = read_in(store, store.add_project("other"), tmp_path / "b", "easyr1")
    assert report.num_records_kept == 0
    assert dict(report.skipped_records) == {"wrong field": 2, "missing screenshot": 1}, report.summary()


# ---- bad records


def png(size: tuple[int, int]) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.new("L", size).save(buffer, format="PNG")
    return buffer.getvalue()


def bomb() -> bytes:
    """A PNG of 60,000 x 60,000 pixels in a few kilobytes."""
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    data = zlib.compress(b"\0" * 1_000_000, 9)
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


Spoil = Callable[[dict, Path], object]


def set_image(name: str) -> Spoil:
    return lambda record, folder: record["steps"][0]["observation"].update(image=name)


def write_image(data: bytes) -> Spoil:
    def spoil(record: dict, folder: Path) -> None:
        (folder / "bad.png").write_bytes(data)
        record["steps"][0]["observation"]["image"] = "bad.png"
        del record["steps"][0]["observation"]["image_size"]
    return spoil


BAD: dict[str, tuple[Spoil, str, str]] = {
    "cut off": (lambda r, f: json.dumps(r).encode()[:200], "not JSON", "cut off"),
    "no object": (lambda r, f: b"[1, 2]", "not an object", "not a JSON object"),
    "Latin-1": (lambda r, f: json.dumps({**r, "goal": "über"}, ensure_ascii=False).encode("latin-1"), "not JSON",
                "not UTF-8 at byte"),
    "UTF-16": (lambda r, f: json.dumps(r).encode("utf-16-be"), "not JSON", "not JSON"),
    "version 99": (lambda r, f: r.update(schema_version=99), "wrong version", "field 'schema_version': 99"),
    "no version": (lambda r, f: r.pop("schema_version"), "wrong version", "None"),
    "above": (set_image("../../secret.png"), "screenshot outside the folder", "leaves the folder"),
    "absolute": (set_image("/etc/passwd"), "screenshot outside the folder", "leaves the folder"),
    "no file": (set_image("gone.png"), "missing screenshot", "gone.png cannot be read"),
    "text as image": (write_image(b"hello"), "unreadable screenshot", "not a readable image"),
    "cut image": (write_image(png((64, 48))[:60]), "unreadable screenshot", "not a readable image"),
    "bomb": (write_image(bomb()), "screenshot too large", "60000x60000|pixels"),
    "30,000 wide": (write_image(png((30_000, 20))), "screenshot too large", "30000x20 pixels: at most 16384"),
    "another size": (lambda r, f: r["steps"][0]["observation"].update(image_size=[9, 9]), "wrong field", "record says"),
    "twice": (lambda r, f: r.update(id="good0"), "duplicate id", "already"),
    "no steps": (lambda r, f: r.update(steps=[]), "wrong field", "field 'steps'"),
    "no platform": (lambda r, f: r.update(platform="fridge"), "wrong field", "field 'platform'"),
    "code": (lambda r, f: r["steps"][0].update(action={"type": "__import__('os')"}), "wrong field", "field 'type'"),
    "deep": (lambda r, f: b'{"a":' * 5000 + b"1" + b"}" * 5000, "not JSON|wrong version", ""),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_record_is_refused_with_its_place_and_the_others_are_kept(
    store: AnnotationStore, project: Project, tmp_path: Path, name: str
) -> None:
    spoil, reason, words = BAD[name]
    write_trajectories(tmp_path / "t.jsonl", [way(id="good0"), way(id="bad"), way(id="good1")])
    lines = (tmp_path / "t.jsonl").read_bytes().splitlines()
    record = json.loads(lines[1])
    spoiled = spoil(record, tmp_path)
    lines[1] = spoiled if isinstance(spoiled, bytes) else json.dumps(record).encode()
    (tmp_path / "t.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    report = read_in(store, project, tmp_path / "t.jsonl", "trajectories")
    assert (report.num_records_read, report.num_records_kept, report.num_records_skipped) == (3, 2, 1)
    (told,) = report.skipped_records
    assert told in reason.split("|")
    (problem,) = report.problems
    assert problem.line == 2
    assert any(word in problem.message for word in words.split("|")), problem
    assert [d.id for d in stored_documents(store, project)] == ["good0", "good1"]


def test_all_bad_records_of_one_file_are_counted_by_kind(store: AnnotationStore, project: Project, tmp_path) -> None:
    lines = []
    write_trajectories(tmp_path / "base.jsonl", [way(id="good0")])
    lines.append((tmp_path / "base.jsonl").read_bytes().strip())
    for spoil, _, _ in (BAD[name] for name in ("cut off", "version 99", "above", "no file", "twice", "UTF-16")):
        record = json.loads(lines[0])
        record["id"] = "bad"
        spoiled = spoil(record, tmp_path)
        lines.append(spoiled if isinstance(spoiled, bytes) else json.dumps(record).encode())
    (tmp_path / "t.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    report = read_in(store, project, tmp_path / "t.jsonl", "trajectories")
    assert (report.num_records_kept, dict(report.skipped_records)) == (1, {
        "not JSON": 2, "wrong version": 1, "screenshot outside the folder": 1, "missing screenshot": 1,
        "duplicate id": 1})


def test_bad_rows_of_a_data_set_are_refused_one_by_one(store, project, tmp_path: Path) -> None:
    import pyarrow.parquet

    for name in ("a", "b", "c", "d", "e"):
        store.add(project, way(id=name), why="imported")
    write_out(lambda: stored_documents(store, project), tmp_path / "a.parquet", "parquet")
    table = pyarrow.parquet.read_table(tmp_path / "a.parquet")
    rows = table.to_pylist()
    rows[0]["images"][0] = {"bytes": None, "path": "/etc/passwd"}
    rows[1]["images"][1] = {"bytes": png((30_000, 20)), "path": None}
    rows[2]["steps"][0]["image_index"] = 77
    rows[3]["schema_version"] = 2
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema=table.schema), tmp_path / "b.parquet")
    report = read_in(store, store.add_project("other"), tmp_path / "b.parquet", "parquet")
    assert (report.num_records_kept, dict(report.skipped_records)) == (1, {
        "missing screenshot": 1, "screenshot too large": 1, "wrong field": 1, "wrong version": 1}), report.summary()


@pytest.mark.parametrize("form", ["datasets", "parquet", "easyr1"])
def test_a_file_of_another_kind_is_told(store: AnnotationStore, project: Project, tmp_path: Path, form: str) -> None:
    (tmp_path / "x").write_text("hello")
    if form == "datasets":
        with pytest.raises(InputError, match="is no data set"):
            read_in(store, project, tmp_path / "x", form)
    else:
        report = read_in(store, project, tmp_path / "x", form)
        assert report.num_records_kept == 0 and report.num_records_skipped == 1
    with pytest.raises(MissingFileError, match="does not exist"):
        read_in(store, project, tmp_path / "gone", form)
    with pytest.raises(InputError, match="form 'pdf' is unknown"):
        read_in(store, project, tmp_path / "x", "pdf")
    with pytest.raises(InputError, match="form 'pdf' is unknown"):
        write_out(list, tmp_path / "y", "pdf")


def test_an_import_through_an_importer_leaves_no_files_beside_the_store(store, project, tmp_path: Path) -> None:
    write_out(lambda: [Document.of(way())], tmp_path / "a", "agentnet")
    reports = [read_in(store, project, tmp_path / "a", "agentnet") for _ in range(2)]
    assert (reports[0].num_records_kept, reports[1].num_records_kept) == (1, 0)
    assert dict(reports[1].skipped_records) == {"duplicate id": 1}
    assert {path.name for path in store.root.iterdir() if path.is_dir()} == {"screens"}


# ---- private screens


@pytest.mark.parametrize("form", [form for form in FORMS if form != "agentnet"])
def test_no_form_gives_away_what_is_private(store, project, tmp_path: Path, form: str) -> None:
    noise = PIL.Image.effect_noise((64, 48), 120).convert("RGB")
    seen = replace(way().steps[0].observation, image=noise)
    steps = tuple(replace(s, observation=seen, flags=frozenset()) for s in way().steps)
    id = store.add(project, replace(way(), steps=steps), why="imported")
    document = store.load(id)
    box = BoxNorm(0.25, 0.25, 0.75, 0.75)
    document = apply(document, edits.set_private_boxes(document, document.keys[0], [box]))
    written, _, (back,) = round_trip(store, [document], form, tmp_path)
    assert written.num_private_screens == 1
    for step in back.steps:  # the others are on the same screen
        image = step.observation.load_image()
        inside = image.crop((16, 12, 48, 36)).convert("L")
        assert len(set(inside.tobytes())) < 120 and inside.getextrema()[1] - inside.getextrema()[0] < 60
        assert image.crop((0, 0, 64, 12)).tobytes() == noise.crop((0, 0, 64, 12)).tobytes()
        assert [element.text for element in step.observation.elements] == [""]
    assert store.load(id).steps[0].step.observation.load_image().tobytes() == noise.tobytes()  # the store's own stays


def test_a_private_step_without_boxes_gives_nothing_of_its_screen_away(store, project, tmp_path: Path) -> None:
    id = store.add(project, way(), why="imported")
    document = store.load(id)
    document = apply(document, edits.mark(document, document.keys[0], "private", True))
    _, _, (back,) = round_trip(store, [document], "trajectories", tmp_path)
    assert back.steps[0].observation.summary == "(private)" and back.steps[0].observation.elements == ()
    assert back.steps[1].observation.summary == "Screen 2"


def test_a_trajectory_without_screenshots_goes_out_and_comes_back(store, project, tmp_path: Path) -> None:
    steps = tuple(replace(s, observation=Observation(text="result", summary="s"), target=None) for s in way().steps)
    store.add(project, replace(way(), steps=steps), why="imported")
    documents = stored_documents(store, project)
    for form in ("trajectories", "parquet"):
        _, _, (back,) = round_trip(store, documents, form, tmp_path)
        assert back == documents[0].trajectory
    report = write_out(lambda: documents, tmp_path / "a", "agentnet")
    assert report.places == ["t1: whole trajectory, step 1 has no screenshot"]


