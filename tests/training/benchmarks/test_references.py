"""Reference files, prediction files and `tracer1 score`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from executors.actions import Action
from executors.errors import InputError, MissingFileError
from executors.geometry import BoxNorm, ImageSize, PointNorm
from executors.trajectory import Observation, Step, Trajectory, write_trajectories
from training.benchmarks.predictions import read_predictions
from training.benchmarks.protocols import Outcome
from training.benchmarks.published import published_for, published_scores, published_table
from training.benchmarks.references import (
    agentnetbench_action,
    by_id,
    read_references,
    trajectory_references,
    with_details,
)
from training.cli import main

CLICK = Action(type="click", point=PointNorm(0.5, 0.25))


def trajectory(*actions: Action, **more) -> Trajectory:
    size = ImageSize(1000, 2000)
    steps = tuple(
        Step(observation=Observation(image_size=size), action=action, instruction=action.type) for action in actions
    )
    given = {"id": "ep", "goal": "do it", "source": "android_control", "platform": "phone", "steps": steps}
    return Trajectory(**{**given, **more})


def test_trajectory_gives_boxes_and_slices():
    meta = {"target_boxes": [[[0.1, 0.1, 0.2, 0.2]], None], "apps": ["A", "B"], "subsplits": ["IDD"], "difficulty": 3}
    found = trajectory_references(trajectory(CLICK, Action(type="wait"), meta=meta, source="ui_s1"))
    assert [(r.id, r.dataset) for r in found] == [("ep/0", "android_control"), ("ep/1", "android_control")]
    assert found[0].all_boxes == (BoxNorm(0.1, 0.1, 0.2, 0.2),)
    assert found[1].boxes is None
    assert found[0].slices == {
        "app": "A, B", "platform": "phone", "length": "1-5", "difficulty": "3", "split": "IDD", "action_type": "click",
        "screenshot": "none",
    }  # fmt: skip


@pytest.mark.parametrize("boxes", [[None], "none", [[[1, 2]], None]])
def test_target_boxes_that_do_not_fit_are_refused(boxes):
    with pytest.raises(InputError, match="target_boxes"):
        trajectory_references(trajectory(CLICK, CLICK, meta={"target_boxes": boxes}))


def test_details_come_from_the_data_sets_own_file_and_must_be_of_the_same_steps():
    (mine,) = trajectory_references(trajectory(CLICK))
    own = replace(mine, details={"ground_truth_actions": [1]}, boxes=(BoxNorm(0, 0, 1, 1),))
    (found,) = with_details([mine], {"ep/0": own})
    assert (found.details, found.boxes) == (own.details, own.boxes)
    with pytest.raises(InputError, match="'ep/0' is missing"):
        with_details([mine], {})
    with pytest.raises(InputError, match="'ep/0' is wait, not click"):
        with_details([mine], {"ep/0": replace(own, action=Action(type="wait"))})


@pytest.mark.parametrize(
    ("check", "action"),
    [
        ({"action": "swipe", "direction": "left"}, Action(type="scroll", direction="left")),
        ({"action": "swipe", "direction": "up"}, Action(type="scroll", direction="up")),
        ({"action": "system_button", "button": "Home"}, Action(type="press_home")),
        ({"action": "system_button", "button": "Enter"}, Action(type="hotkey", key="enter")),
        ({"action": "open", "text": "Maps"}, Action(type="open_app", app_name="Maps")),
        ({"action": "click", "coordinate": [540, 600]}, Action(type="click", point=PointNorm(0.5, 0.25))),
        ({"action": "terminate", "status": "success"}, Action(type="finished")),
    ],
)
def test_ui_s1_steps_become_canonical(tmp_path, check, action):
    path = tmp_path / "ac.jsonl"
    path.write_text(json.dumps({"episode_id": 7, "goal": "g", "steps": [{"check_options": check}]}))
    (found,) = read_references(path)
    assert (found.id, found.action, found.image_size) == ("7/0", action, ImageSize(1080, 2400))


def test_ui_s1_screen_is_the_least_that_holds_the_boxes(tmp_path):
    steps = [
        {"check_options": {"action": "click", "coordinate": [10, 10], "candidate_bbox": [[0, 0, 1440, 3036]]}},
        {"check_options": {"action": "wait", "time": 2}},
    ]
    path = tmp_path / "ac.jsonl"
    path.write_text(json.dumps({"episode_id": 7, "goal": "g", "steps": steps}))
    assert {found.image_size for found in read_references(path)} == {ImageSize(1440, 3120)}


@pytest.mark.parametrize(
    ("actions", "canonical"),
    [
        ([{"type": "scroll", "params": {"amount": -3}}], Action(type="scroll", direction="down")),
        ([{"type": "scroll", "params": {"amount": 3}}], Action(type="scroll", direction="up")),
        ([{"type": "hscroll", "params": {"amount": 3}}], Action(type="scroll", direction="right")),
        ([{"type": "hscroll", "params": {"amount": -3}}], Action(type="scroll", direction="left")),
        (
            [{"type": "write", "params": {"text": "a"}}, {"type": "press", "params": {"keys": ["enter"]}}],
            Action(type="type", content="a\n"),
        ),
        ([{"type": "press", "params": {"keys": "Esc"}}], Action(type="hotkey", key="esc")),
    ],
)
def test_agentnetbench_actions_become_canonical(actions, canonical):
    assert agentnetbench_action(actions) == canonical


def test_agentnetbench_action_that_is_unknown_is_named():
    with pytest.raises(InputError, match="ground_truth_actions"):
        agentnetbench_action([{"type": "sing", "params": {}}])


def ui_s1(**check) -> str:
    return json.dumps({"episode_id": 1, "steps": [{"check_options": check}]})


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "line 1: not JSON"),
        ("[]", "line 1: not a JSON object"),
        ('{"a": 1}', "holds no references"),
        ('{"episode_id": 1, "steps": [{}]}', "line 1: field 'check_options' is missing"),
        ('{"episode_id": 1, "steps": 3}', "line 1"),
        ('{"episode_id": 1, "steps": [{"check_options": {"action": "fly"}}]}', "line 1.*AndroidControl"),
        ('{"target_blocks": {}, "bbox": [[1, 2, 3]]}', "line 1: field 'bbox'.*4 numbers"),
        (ui_s1(action="click", coordinate=[float("nan"), 1]), "line 1: field 'coordinate'.*2 numbers"),
        (ui_s1(action="click", coordinate=[10**400, 1]), "line 1: field 'coordinate'"),
        (ui_s1(action="click", coordinate=[5000, 1]), "line 1: .*field 'point'"),
        (ui_s1(action="click", coordinate=[1, 1], candidate_bbox=[[0, 0, "1", 1]]), "line 1: field 'candidate_bbox'"),
        (ui_s1(action="type", text=5), "line 1: .*field 'content'"),
        (ui_s1(action="swipe", direction="sideways"), "line 1: .*field 'direction'"),
        ('{"target_blocks": {}, "bbox": [], "operation": "CLICK", "value": "", "total_steps": 1, "step": 0, '
         '"annotation_id": "a", "action_uid": "u", "website": ["w"], "domain": "d", "split": "s"}',
         "line 1: app .*is not text"),
        ("", "holds no references"),
    ],
)
def test_broken_reference_file_is_one_sentence(tmp_path, text, problem):
    path = tmp_path / "r.jsonl"
    path.write_text(text)
    with pytest.raises(InputError, match=problem):
        read_references(path)


def test_missing_references_and_an_empty_folder_are_told(tmp_path):
    with pytest.raises(MissingFileError, match="check the path"):
        read_references(tmp_path / "none.jsonl")
    with pytest.raises(InputError, match="no AgentNetBench task"):
        read_references(tmp_path)


def test_step_that_occurs_twice_is_refused(tmp_path):
    line = ui_s1(action="wait")
    (tmp_path / "r.jsonl").write_text(f"{line}\n{line}\n")
    with pytest.raises(InputError, match="'1/0' occurs twice"):
        read_references(tmp_path / "r.jsonl")
    write_trajectories(tmp_path / "t.jsonl", [trajectory(CLICK), trajectory(CLICK)])
    with pytest.raises(InputError, match="'ep/0' occurs twice"):
        read_references(tmp_path / "t.jsonl")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"alternative_options": 5}, "not in the form"),
        ({"alternative_options": [[{"type": "click", "params": {"position": {"x": 10**400, "y": 0}}}]]}, "mend"),
        ({"ground_truth_actions": [{"type": "scroll", "params": {"amount": float("nan")}}]}, "not a finite number"),
    ],
)
def test_broken_agentnetbench_task_is_told_when_it_is_read(tmp_path, change, problem):
    step = {"ground_truth_actions": [{"type": "wait", "params": {}}], **change}
    (tmp_path / "a.json").write_text(json.dumps({"task_id": "a", "steps": [step]}))
    with pytest.raises(InputError, match=rf"a\.json.*{problem}"):
        read_references(tmp_path)
    (tmp_path / "a.json").write_text("[" * 100_000)
    with pytest.raises(InputError, match=r"a\.json"):
        read_references(tmp_path)


@pytest.fixture
def reference_file(tmp_path) -> Path:
    write_trajectories(tmp_path / "t.jsonl", [trajectory(CLICK, Action(type="type", content="milk"))])
    return tmp_path / "t.jsonl"


def predictions_of(tmp_path, reference_file, *records: dict) -> dict:
    path = tmp_path / "p.jsonl"
    path.write_text("\n".join(json.dumps(record) for record in records))
    return read_predictions(path, by_id(read_references(reference_file)))


@pytest.mark.parametrize(
    "record",
    [
        {"action": {"type": "click", "point": [0.5, 0.25]}},
        {"action": {"type": "click", "point": [500, 250]}, "frame": "1000"},
        {"action": {"type": "click", "point": [500, 500]}, "frame": "px"},
        {"reply": "Action: click(point='<point>500 250</point>')", "family": "doubao"},
    ],
)
def test_prediction_in_every_frame_and_as_a_reply(tmp_path, reference_file, record):
    found = predictions_of(tmp_path, reference_file, {"id": "ep/0", **record})
    assert found["ep/0"].action == CLICK


@pytest.mark.parametrize(
    ("record", "outcome"),
    [
        ({"action": None}, Outcome.UNREADABLE),
        ({"action": {"type": "fly"}}, Outcome.UNREADABLE),
        ({"action": {"type": "click", "point": [7, 7]}}, Outcome.UNREADABLE),
        ({"action": {"type": "click", "point": "x"}, "frame": "1000"}, Outcome.UNREADABLE),
        ({"action": []}, Outcome.UNREADABLE),
        ({"action": {"type": "click", "point": [10**400, 1]}, "frame": "px"}, Outcome.UNREADABLE),
        ({"reply": "I do not know"}, Outcome.UNREADABLE),
        ({"error": "server down"}, Outcome.FAILED),
    ],
)
def test_prediction_that_is_no_action_is_a_wrong_answer_and_no_error_of_the_file(
    tmp_path, reference_file, record, outcome
):
    found = predictions_of(tmp_path, reference_file, {"id": "ep/0", **record})
    assert (found["ep/0"].action, found["ep/0"].outcome) == (None, outcome)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"id": "ep/9", "action": null}', "line 1: field 'id': 'ep/9'"),
        ('{"action": null}', "field 'id': None"),
        ('{"id": "ep/0"}', "field 'action' is missing"),
        ('{"id": "ep/0", "action": null, "frame": "cm"}', "field 'frame': 'cm'"),
        ("{", "line 1: not JSON"),
        ("7", "not a JSON object"),
        ('{"id": "ep/0", "action": null}\n' * 2, "line 2: field 'id': 'ep/0' was predicted before"),
    ],
)
def test_broken_prediction_file_is_one_sentence(tmp_path, reference_file, line, problem):
    path = tmp_path / "p.jsonl"
    path.write_text(line)
    with pytest.raises(InputError, match=problem):
        read_predictions(path, by_id(read_references(reference_file)))


def test_score_prints_protocol_version_steps_and_published_scores(tmp_path, reference_file, capsys):
    (tmp_path / "p.jsonl").write_text(json.dumps({"id": "ep/0", "action": CLICK.to_json()}))
    args = ["--predictions", str(tmp_path / "p.jsonl"), "--references", str(reference_file)]
    assert main(["score", "osatlas", *args, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["protocol"], result["version"], result["num_steps"]) == ("osatlas", 1, 2)
    assert (result["step_success"], result["num_missing"]) == ({"rate": 0.5, "num": 2}, 1)
    assert main(["score", "osatlas", *args]) == 0
    text = capsys.readouterr().out
    assert "osatlas version 1" in text and "not run here" in text and "UI-TARS-7B" in text
    assert "not made for" not in text
    assert main(["score", "m2w_uground", *args]) == 0
    assert "m2w_uground was not made for android_control, but for mind2web" in capsys.readouterr().out


def test_score_refuses_a_missing_file_with_exit_code_2(tmp_path, reference_file, capsys):
    none = str(tmp_path / "none.jsonl")
    assert main(["score", "osatlas", "--predictions", none, "--references", str(reference_file)]) == 2
    assert "check the path" in capsys.readouterr().err


def test_published_scores_never_cross_protocols():
    assert all(0 <= row.step_success <= 100 and row.source for row in published_scores())
    ours = published_for("osatlas", ["android_control", "gui_odyssey"])
    assert {row.protocol for row in ours} == {"osatlas"}
    assert ("TraceR1 (UI-TARS-7B executor)", 75.3) in {(row.model, row.step_success) for row in ours}
    assert "GUI-R1-7B" not in {row.model for row in ours}
    assert published_table("grounded", ["simulator"]) == ""


def test_published_mean_of_the_three_mind2web_splits_is_their_mean():
    path = Path(__file__).parents[3] / "assets" / "benchmarks" / "published_scores.json"
    rows = [row for row in json.loads(path.read_text())["rows"] if "by_split" in row]
    assert len(rows) == 9
    for row in rows:
        assert sum(row["by_split"].values()) / 3 == pytest.approx(row["step_success"], abs=0.051)
