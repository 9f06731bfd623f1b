"""AgentNet: code to actions, records to trajectories, and a report of all that was not in order."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st

from executors.actions import Action, Space, validate
from executors.errors import InputError, MissingFileError
from executors.geometry import ImageSize, PointNorm
from executors.trajectory import Trajectory, read_trajectories
from tests.training.datasets.importing import import_all
from tests.training.grpo_helpers import FORECAST, stage1_config, tiny_checkpoint
from training.cli import main
from training.config import DataConfig
from training.datasets import json_records
from training.datasets.base import ImportOptions
from training.datasets.engine import run_import
from training.datasets.normalise import describe
from training.datasets.pyautogui_code import CodeError, read_code
from training.datasets.report import MAX_PROBLEMS, ImportReport, Problem
from training.run_folder import RunFolder
from training.samples import build_samples
from training.stages import run_stage1

HALF = PointNorm(0.5, 0.25)


# Spellings of AgentNet's data card, of AgentNetBench samples, and of other readers of the corpus.
@pytest.mark.parametrize(
    ("code", "action"),
    [
        ("pyautogui.click(x=0.5, y=0.25)", Action(type="click", point=HALF)),
        ("pyautogui.click(0.5, 0.25)", Action(type="click", point=HALF)),
        ("pyautogui.click(x=0.5, y=0.25, button='right')", Action(type="right_single", point=HALF)),
        ("pyautogui.click(x=0.5, y=0.25, button='middle')", Action(type="middle_click", point=HALF)),
        ("pyautogui.click(x=0.5, y=0.25, clicks=2)", Action(type="left_double", point=HALF)),
        ("pyautogui.rightClick(x=0.5, y=0.25)", Action(type="right_single", point=HALF)),
        ("pyautogui.middleClick(x=0.5, y=0.25)", Action(type="middle_click", point=HALF)),
        ("pyautogui.doubleClick(x=0.5, y=0.25)", Action(type="left_double", point=HALF)),
        ("computer.tripleClick(x=0.5, y=0.25)", Action(type="triple_click", point=HALF)),
        ("computer.triple_click(x=0.5, y=0.25)", Action(type="triple_click", point=HALF)),
        ("pyautogui.tripleClick(x=0.5, y=0.25)", Action(type="triple_click", point=HALF)),
        ("pyautogui.moveTo(x=0.5, y=0.25)", Action(type="hover", point=HALF)),
        ("pyautogui.moveTo(x=0.5, y=0.25)\npyautogui.click()", Action(type="click", point=HALF)),
        ("pyautogui.moveTo(x=0.5, y=0.25)\npyautogui.dragTo(x=0, y=1, button='left')",
         Action(type="drag", start_point=HALF, end_point=PointNorm(0, 1))),
        ("pyautogui.scroll(-3)", Action(type="scroll", direction="down")),
        ("pyautogui.scroll(54)", Action(type="scroll", direction="up")),
        ("pyautogui.hscroll(13)", Action(type="scroll", direction="right")),
        ("pyautogui.hscroll(-1)", Action(type="scroll", direction="left")),
        ("pyautogui.scroll(-3, x=0.5, y=0.25)", Action(type="scroll", direction="down", point=HALF)),
        ("pyautogui.moveTo(x=0.5, y=0.25)\npyautogui.scroll(-3)", Action(type="scroll", direction="down", point=HALF)),
        ("pyautogui.moveTo(x=0.5, y=0.25)\npyautogui.hscroll(3)", Action(type="scroll", direction="right", point=HALF)),
        ("pyautogui.write(message='it\\'s (a, b)\\n')", Action(type="type", content="it's (a, b)\n")),
        ("pyautogui.write('a')", Action(type="type", content="a")),
        ("pyautogui.typewrite(message='a')", Action(type="type", content="a")),
        ("pyautogui.write(message='a')\npyautogui.press('enter')", Action(type="type", content="a\n")),
        ("pyautogui.write(message='a')\npyautogui.press(keys=['Enter'])", Action(type="type", content="a\n")),
        ("pyautogui.press('enter')", Action(type="hotkey", key="enter")),
        ("pyautogui.press(keys=['enter'])", Action(type="hotkey", key="enter")),
        ("pyautogui.press(keys='Down', presses=3)", Action(type="hotkey", key="down down down")),
        ("pyautogui.press('x', 2)", Action(type="hotkey", key="x x")),
        ("pyautogui.hotkey(['Ctrl','F'])", Action(type="hotkey", key="ctrl f")),
        ("pyautogui.hotkey(keys=['cmd', 'c'])", Action(type="hotkey", key="cmd c")),
        ("pyautogui.hotkey('ctrl', 'shift', 't')", Action(type="hotkey", key="ctrl shift t")),
        ("pyautogui.press(' ')", Action(type="hotkey", key="space")),
        ("computer.wait()", Action(type="wait")),
        ("computer.wait(2)", Action(type="wait", seconds=2.0)),
        ("computer.terminate(status='success')", Action(type="finished")),
        ("computer.terminate(status='failure')", Action(type="call_user")),
        ("computer.terminate(status='fail')", Action(type="call_user")),
        ("pyautogui.click(x=1.0003, y=-0.004)", Action(type="click", point=PointNorm(1, 0))),
    ],
)
def test_code_becomes_the_action_it_means(code: str, action: Action) -> None:
    assert read_code(code).action == action
    assert validate(action) is None


@pytest.mark.parametrize(
    ("code", "note"),
    [
        ("pyautogui.scroll(0)", "scroll of zero"),
        ("pyautogui.moveTo(x=0.5, y=0.25)\npyautogui.scroll(0)", "scroll of zero"),
        ("pyautogui.write(message='')", "writing of nothing"),
    ],
)
def test_code_that_does_nothing_is_no_action(code: str, note: str) -> None:
    reading = read_code(code)
    assert reading.action is None
    assert note in reading.repairs[0]


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("", "not code"),
        ("click here", "not code"),
        ("pyautogui.click(x=0.5", "not code"),
        ("x = 3", "not code"),
        ("\0", "not code"),
        ("(" * 5000, "not code"),
        ("a" * 200_000, "not code"),
        ("import os", "not code"),
        ("__import__('os').system('true')", "unknown call"),
        ("os.system('true')", "unknown call"),
        ("print(1)", "unknown call"),
        ("pyautogui.mouseDown(x=0.5, y=0.5)", "unknown call"),
        ("computer.shutdown()", "unknown call"),
        ("pyautogui.click(x=0.5, y=open('/etc/hostname'))", "wrong argument"),
        ("pyautogui.click()", "wrong argument"),
        ("pyautogui.click(x=0.5)", "wrong argument"),
        ("pyautogui.click(x='0.5', y=0.5)", "wrong argument"),
        ("pyautogui.click(x=True, y=0.5)", "wrong argument"),
        ("pyautogui.click(x=0.5, y=0.5, x=0.1)", "wrong argument"),
        ("pyautogui.click(x=0x" + "f" * 5000 + ", y=0.5)", "wrong argument"),
        ("pyautogui.click(x=0.5, y=0.5, clicks=7)", "wrong argument"),
        ("pyautogui.click(x=0.5, y=0.5, clicks=[1])", "wrong argument"),
        ("pyautogui.dragTo(x=0.5, y=0.5, button='left')", "wrong argument"),
        ("pyautogui.moveTo(x=0.5, y=0.5)\npyautogui.dragTo(x=0.1, y=0.5, button='right')", "wrong argument"),
        ("pyautogui.scroll('down')", "wrong argument"),
        ("pyautogui.scroll()", "wrong argument"),
        ("pyautogui.write(message=5)", "wrong argument"),
        ("pyautogui.press(keys=[])", "wrong argument"),
        ("pyautogui.press(keys=['a', 5])", "wrong argument"),
        ("pyautogui.press('a', presses=0)", "wrong argument"),
        ("pyautogui.press('a', presses=10**9)", "wrong argument"),
        ("computer.wait(99999)", "wrong argument"),
        ("computer.terminate(status='maybe')", "wrong argument"),
        ("computer.terminate()", "wrong argument"),
        ("pyautogui.click(x=1.4, y=0.5)", "off the image"),
        ("pyautogui.click(x=960, y=540)", "off the image"),
        ("pyautogui.click(x=-0.1, y=0.5)", "off the image"),
        ("pyautogui.click(x=0.1, y=0.5)\npyautogui.click(x=0.2, y=0.5)", "several actions"),
        ("pyautogui.write(message='a')\npyautogui.press('tab')", "several actions"),
        ("pyautogui.moveTo(x=0.1, y=0.5)\npyautogui.press('a')", "several actions"),
        ("pyautogui.moveTo(x=0.1, y=0.5)\npyautogui.click()\npyautogui.write(message='a')", "several actions"),
    ],
)
def test_code_that_is_not_one_action_is_refused_by_kind(code: str, kind: str) -> None:
    with pytest.raises(CodeError) as caught:
        read_code(code)
    assert caught.value.kind == kind


@given(st.text() | st.from_regex(r"(pyautogui|computer)\.[a-z]{1,8}\([-0-9a-z'=,.\[\]* ]{0,20}\)", fullmatch=True))
def test_any_text_is_read_or_refused(code: str) -> None:
    try:
        action = read_code(code).action
    except CodeError:
        return
    assert action is None or validate(action) is None


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (Action(type="scroll", direction="down", point=HALF), "scroll down at (0.50, 0.25)"),
        (Action(type="scroll", direction="left"), "scroll left"),
        (Action(type="drag", start_point=HALF, end_point=PointNorm(0, 1)), "drag from (0.50, 0.25) to (0.00, 1.00)"),
        (Action(type="type", content="a b\n"), 'type "a b" and press enter'),
        (Action(type="wait"), "wait"),
        (Action(type="hover", point=HALF), "move the pointer at (0.50, 0.25)"),
        (Action(type="call_user"), "the task cannot be done"),
    ],
)
def test_steps_without_words_are_described(action: Action, words: str) -> None:
    assert describe(action) == words


# ---------------------------------------------------------------------------------------------------- whole files

CLICK = "pyautogui.click(x=0.5, y=0.25)"
DONE = "computer.terminate(status='success')"


def step(code: object = CLICK, image: object = "a.png", **value: object) -> dict:
    """One raw step."""
    return {"index": 0, "image": image, "value": {"code": code, **value}}


def record(task_id: object = "t1", *steps: object, **values: object) -> dict:
    """One raw record of these steps, or of one click and a terminate."""
    return {"task_id": task_id, "instruction": "Do it", "traj": list(steps) or [step(), step(DONE)], **values}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data set folder with one screenshot of 8x4 pixels, a cut one and a text that claims to be one."""
    images = tmp_path / "set" / "images"
    images.mkdir(parents=True)
    PIL.Image.new("RGB", (8, 4), "red").save(images / "a.png")
    whole = (images / "a.png").read_bytes()
    (images / "cut.png").write_bytes(whole[:-20])
    (images / "text.png").write_text("no image")
    PIL.Image.new("RGB", (8, 4), "blue").save(tmp_path / "secret.png")
    return tmp_path / "set"


def read(folder: Path, *lines: dict | bytes, **options: object) -> tuple[list[Trajectory], ImportReport]:
    """Imports a file of these records and raw lines."""
    raw = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    (folder / "data.jsonl").write_bytes(b"\n".join(raw) + b"\n")
    return import_all("agentnet", folder, **options)


def test_a_full_record_keeps_words_thought_flags_and_annotations(folder: Path) -> None:
    first = step(action="Click  the\nicon", thought=" I see it. ", observation="A desktop. More text.",
                 last_step_correct=False, last_step_redundant=True, reflection="...")
    (trajectory,), report = read(folder, record(
        "t1", first, step(DONE, last_step_correct=True, last_step_redundant=False),
        task_completed=True, alignment_score=6, task_difficulty=None, domain="Chrome"))
    assert (trajectory.id, trajectory.goal, trajectory.platform) == ("t1", "Do it", "desktop")
    assert (trajectory.source, trajectory.licence, trajectory.outcome) == ("agentnet", "MIT", "success")
    assert trajectory.meta == {"task_completed": True, "alignment_score": 6, "domain": "Chrome"}
    one, two = trajectory.steps
    assert (one.instruction, one.thought, one.observation.summary) == ("Click the icon", "I see it.", "A desktop")
    assert one.flags == {"incorrect", "redundant"}
    assert one.observation.image_size == ImageSize(8, 4)
    assert (two.flags, two.instruction) == (frozenset(), "the task is done")
    assert report.num_instructions_generated == 1
    assert report.num_problems == 0


@pytest.mark.parametrize(
    ("values", "last", "outcome"),
    [
        ({"task_completed": False}, DONE, "failure"),
        ({"task_completed": None}, DONE, ""),
        ({}, "computer.terminate(status='failure')", ""),
        ({"task_completed": False, "domain": "infeasible"}, "computer.terminate(status='fail')", "impossible"),
    ],
)
def test_outcome_is_the_annotation(folder: Path, values: dict, last: str, outcome: str) -> None:
    (trajectory,), _ = read(folder, record("t1", step(), step(last), **values))
    assert trajectory.outcome == outcome


# A broken record between two good ones: the reason that is counted and the field that is named.
@pytest.mark.parametrize(
    ("bad", "reason", "field"),
    [
        (b'{"task_id": "t1", "instr', "not JSON", "(record)"),
        (b"\xff\xfe\x00", "not JSON", "(record)"),
        (b"[" * 100_000, "not JSON", "(record)"),
        (b"[1, 2]", "not an object", "(record)"),
        (record(None), "wrong task_id", "task_id"),
        (record(17), "wrong task_id", "task_id"),
        (record("t", instruction=["a"]), "no goal", "instruction"),
        (record("t", traj={}), "wrong traj", "traj"),
        (record("t", traj=[]), "wrong traj", "traj"),
        (record("t", "step"), "wrong step", "traj[0]"),
        (record("t", {"image": "a.png"}), "wrong step", "traj[0].value"),
        (record("t", step(None)), "wrong code", "traj[0].value.code"),
        (record("t", step("pyautogui.fly()")), "unknown call", "traj[0].value.code"),
        (record("t", step("pyautogui.click(x=3, y=0.5)")), "off the image", "traj[0].value.code"),
        (record("t", step(CLICK + "\n" + CLICK)), "several actions", "traj[0].value.code"),
        (record("t", step("pyautogui.scroll(0)")), "no step does anything", "traj"),
        (record("t", step(f"computer.wait(0x{'f' * 5000})")), "wrong argument", "traj[0].value.code"),
        (record("t", step(image="none.png")), "missing image", "traj[0].image"),
        (record("t", step(image=5)), "wrong image name", "traj[0].image"),
        (record("t", step(image="")), "wrong image name", "traj[0].image"),
        (record("t", step(image="cut.png")), "unreadable image", "traj[0].image"),
        (record("t", step(image="text.png")), "unreadable image", "traj[0].image"),
        (record("t", step(image="../../secret.png")), "image outside the folder", "traj[0].image"),
        (record("t", step(image="/etc/hostname")), "image outside the folder", "traj[0].image"),
        (record("t", step(image="a\0.png")), "image outside the folder", "traj[0].image"),
        (record("t", step(image="..\\secret.png")), "image outside the folder", "traj[0].image"),
        (record("good"), "repeated record", "task_id"),
    ],
)
def test_a_broken_record_is_reported_by_line_and_field_and_the_others_are_kept(
    folder: Path, bad: dict | bytes, reason: str, field: str
) -> None:
    kept, report = read(folder, record("good"), b"", bad, record("other"))
    assert [t.id for t in kept] == ["good", "other"]
    assert report.skipped_records == {reason: 1}
    problem = report.problems[-1]
    assert (problem.line, problem.field, problem.outcome) == (3, field, "record skipped")
    assert problem.file == str(folder / "data.jsonl")


def test_a_broken_step_cuts_the_record_before_it(folder: Path) -> None:
    (trajectory,), report = read(
        folder, record("t1", step(), step(), step(image="none.png"), step(), step(DONE), task_completed=True))
    assert len(trajectory.steps) == 2
    assert (trajectory.outcome, trajectory.meta["num_source_steps"]) == ("", 5)
    assert report.repairs == {"cut at a broken step": 1}
    assert report.skipped_steps == {"missing image": 1, "after a broken step": 2}
    assert report.num_records_repaired == 1
    assert report.problems[0].field == "traj[2].image"
    assert "none.png" in report.problems[0].message


def test_a_terminate_before_the_end_is_left_out_and_counted(folder: Path) -> None:
    (trajectory,), report = read(folder, record("t1", step(), step(DONE), step(), step(DONE), step(DONE)))
    assert [s.action.type for s in trajectory.steps] == ["click", "click", "finished"]
    assert report.repairs == {"terminate before the end": 2}


def test_a_record_without_terminate_is_kept_as_it_is(folder: Path) -> None:
    (trajectory,), report = read(folder, record("t1", step()))
    assert [s.action.type for s in trajectory.steps] == ["click"]
    assert report.num_records_repaired == 0


def test_a_task_id_used_twice_with_other_content_keeps_both(folder: Path) -> None:
    kept, report = read(folder, record("t1"), record("t1", instruction="Do that"), record("t1"))
    assert [t.id for t in kept] == ["t1", "t1#2"]
    assert report.repairs == {"id used twice": 1}
    assert report.skipped_records == {"repeated record": 1}


def test_small_faults_are_mended_and_counted(folder: Path) -> None:
    (trajectory,), report = read(folder, record(
        "t1", step("pyautogui.click(x=1.001, y=0.5)", thought=5, last_step_correct="yes"), step("pyautogui.scroll(0)"),
        step(DONE), instruction=" ", actual_task="Do this"))
    assert trajectory.goal == "Do this"
    assert trajectory.steps[0].action.point == PointNorm(1.0, 0.5)
    assert len(trajectory.steps) == 2
    assert report.repairs == {
        "goal from another field": 1, "coordinate moved to the edge": 1, "optional field left out": 2,
        "scroll of zero left out": 1,
    }
    assert report.num_records_repaired == 1


def test_annotations_that_are_no_plain_values_are_left_out_by_name(folder: Path) -> None:
    (trajectory,), report = read(folder, record(
        "t1", alignment_score=float("nan"), domain={"a": 1}, reason="good", efficiency_score=None))
    assert trajectory.meta == {"reason": "good"}
    assert [problem.field for problem in report.problems] == ["alignment_score", "domain"]
    assert report.repairs == {"optional field left out": 2}


def test_half_a_surrogate_pair_is_replaced(folder: Path) -> None:
    (trajectory,), _ = read(folder, record("t1", instruction="Do \ud83d it"))
    assert trajectory.goal == "Do ? it"


def test_a_line_longer_than_allowed_is_skipped_without_being_held(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_records, "MAX_RECORD_BYTES", 1000)
    kept, report = read(folder, record("long", reason="x" * 5000), record("t1"))
    assert [t.id for t in kept] == ["t1"]
    assert report.skipped_records == {"record too long": 1}


def test_limit_counts_kept_trajectories(folder: Path) -> None:
    kept, report = read(folder, record(None), record("a"), record("b"), record("c"), limit=2)
    assert [t.id for t in kept] == ["a", "b"]
    assert report.num_records_read == 3


@pytest.mark.parametrize("name", ["ubuntu_images", "win_mac_images", "elsewhere"])
def test_screenshots_are_found_in_known_folders_or_where_told(folder: Path, name: str) -> None:
    (folder / "images").rename(folder / name)
    options = {"images": folder / name} if name == "elsewhere" else {}
    kept, _ = read(folder, record("t1"), **options)
    assert len(kept) == 1


def test_paths_that_do_not_lead_to_a_file_are_named(tmp_path: Path) -> None:
    def refused(path: Path, **options: Path) -> None:
        run_import("agentnet", ImportOptions(path=path, **options), tmp_path / "out" / "t.jsonl")

    with pytest.raises(MissingFileError, match="none"):
        refused(tmp_path / "none")
    with pytest.raises(MissingFileError, match="no .jsonl"):
        refused(tmp_path)
    for name in ("a.jsonl", "b.jsonl", "meta_data_merged.jsonl"):
        (tmp_path / name).write_text("")
    with pytest.raises(InputError, match="a.jsonl, b.jsonl"):
        refused(tmp_path)
    with pytest.raises(MissingFileError, match="--images"):
        refused(tmp_path / "a.jsonl", images=tmp_path / "none")


def test_a_folder_with_both_archives_is_imported_whole_with_each_record_s_system(tmp_path: Path) -> None:
    for archive, task_id in (("ubuntu_5k", "u"), ("win_mac_18k", "w")):
        images = tmp_path / f"{archive.rpartition('_')[0]}_images"
        images.mkdir()
        PIL.Image.new("RGB", (8, 4), "red").save(images / f"{task_id}.png")
        line = record(task_id, step(image=f"{task_id}.png"), step(DONE, image=f"{task_id}.png"))
        (tmp_path / f"agentnet_{archive}.jsonl").write_text(json.dumps(line) + "\n")
    lines = [{"task_id": "w", "system": "Darwin"}, {"task_id": "u", "system": "Ubuntu"}, {"task_id": "w2"}]
    (tmp_path / "meta_data_merged.jsonl").write_text("{broken\n" + "\n".join(map(json.dumps, lines)))
    kept, report = import_all("agentnet", tmp_path)
    assert [(t.id, t.meta["system"]) for t in kept] == [("u", "Ubuntu"), ("w", "Darwin")]
    assert report.num_problems == 0


def test_report_keeps_the_first_places_and_counts_the_rest() -> None:
    report = ImportReport(dataset="agentnet", path="p")
    for line in range(MAX_PROBLEMS + 5):
        report.add_problem(Problem(file="f", line=line, record="", field="x", message="m", outcome="o"))
    assert (len(report.problems), report.num_problems) == (MAX_PROBLEMS, MAX_PROBLEMS + 5)
    assert f"and {MAX_PROBLEMS - 5} more" in report.summary(num_problems=10)


# ---------------------------------------------------------------------------------------------------- the command


def test_import_writes_trajectories_screenshots_and_report(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "data.jsonl").write_text(json.dumps(record("t1")) + "\n{")
    out = tmp_path / "out" / "t.jsonl"
    assert main(["import", "agentnet", str(folder), "--out", str(out)]) == 0
    (trajectory,) = read_trajectories(out)
    assert trajectory.steps[0].observation.load_image().size == (8, 4)
    assert trajectory.steps[0].observation.image_path.is_relative_to(out.parent.resolve())
    saved = json.loads((tmp_path / "out" / "t.jsonl.report.json").read_text())
    assert (saved["num_records_kept"], saved["num_records_skipped"]) == (1, 1)
    assert saved["problems"][0]["line"] == 2
    printed = capsys.readouterr().out
    assert "records: 2 read, 1 kept (0 of them repaired), 1 skipped" in printed
    assert "data.jsonl line 2, field (record): not JSON" in printed


def test_import_that_keeps_nothing_fails_and_leaves_an_earlier_output(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "data.jsonl").write_text("{\n")
    out = tmp_path / "t.jsonl"
    out.write_text("earlier")
    assert main(["import", "agentnet", str(folder), "--out", str(out)]) == 2
    assert out.read_text() == "earlier"
    assert "nothing was kept" in capsys.readouterr().err
    assert json.loads((tmp_path / "t.jsonl.report.json").read_text())["num_records_skipped"] == 1


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["--limit", "0"], "--limit 0"),
        (["--images", "nowhere"], "--images nowhere"),
    ],
)
def test_import_refuses_wrong_options(
    folder: Path, tmp_path: Path, args: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "data.jsonl").write_text(json.dumps(record("t1")))
    assert main(["import", "agentnet", str(folder), "--out", str(tmp_path / "o.jsonl"), *args]) == 2
    assert told in capsys.readouterr().err


def test_import_does_not_overwrite_its_source(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "data.jsonl").write_text(json.dumps(record("t1")))
    file = str(folder / "data.jsonl")
    assert main(["import", "agentnet", file, "--out", file]) == 2
    assert "is the file to import" in capsys.readouterr().err


def test_the_real_example_is_imported_whole(samples: Path, tmp_path: Path) -> None:
    out = tmp_path / "t.jsonl"
    assert main(["import", "agentnet", str(samples / "agentnet"), "--out", str(out)]) == 0
    (trajectory,) = read_trajectories(out)
    types = [s.action.type for s in trajectory.steps]
    assert types == ["click", "right_single", "click", "drag", "click", "scroll", *["click"] * 8, "finished"]
    assert {s.observation.image_size for s in trajectory.steps} == {ImageSize(1276, 718)}
    assert all(s.observation.load_image().size == (1276, 718) for s in trajectory.steps)
    assert trajectory.steps[0].instruction == "click at (0.97, 0.97)"


@pytest.mark.slow
def test_stage1_trains_on_the_real_example(samples: Path, tmp_path: Path) -> None:
    """Each step with its continuation is a prompt; the screenshots are shrunk to what a tiny planner can hold."""
    out = tmp_path / "t.jsonl"
    assert main(["import", "agentnet", str(samples / "agentnet"), "--out", str(out)]) == 0
    data = DataConfig(path=str(out), max_pixels=64 * 1024)
    (trajectory,) = read_trajectories(out)
    made = list(build_samples([trajectory], FORECAST, max_pixels=data.max_pixels))
    assert [len(sample.steps) for sample in made] == [3] * 13 + [2, 1]
    assert all(sample.spaces == {Space.COMPUTER} for sample in made)
    config = replace(
        stage1_config(tiny_checkpoint(), optim={"num_steps": 1, "accumulation": 1}, grpo={"updates_per_batch": 1}),
        data=data,
    )
    run = RunFolder.create(tmp_path / "run", stage="stage1", config=config, command=[], seed=0)
    with run.session():
        run_stage1(config, run)
    (row,) = run.rollouts()
    assert row["goal"] == trajectory.goal and len(row["completions"]) == 2
    assert [line["step"] for line in run.metrics()] == [1]
