"""Trajectory files: what is written is what is read, and what cannot be read is named by file, line and field."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st

from executors.actions import Action
from executors.errors import InputError, MissingFileError, OutputError
from executors.geometry import BoxNorm, ImageSize, PointNorm
from executors.trajectory import (
    STEP_FLAGS,
    Element,
    Observation,
    Step,
    Trajectory,
    load_screenshot,
    read_trajectories,
    trajectory_from_json,
    trajectory_to_json,
    with_meta,
    write_trajectories,
)


def make_trajectory(**values: object) -> Trajectory:
    """A trajectory with two steps, every field of which is set; no screenshots."""
    button = Element(role="switch", text="Wi-Fi", box=BoxNorm(0.1, 0.2, 0.3, 0.25), value="off", id="w",
                     is_clickable=False, is_focused=True)
    seen = Observation(image_size=ImageSize(40, 30), elements=(button,), summary="Settings", text="tool says hi")
    steps = (
        Step(observation=seen, action=Action(type="click", point=PointNorm(0.2, 0.225)), instruction="tap Wi-Fi",
             thought="it is off", target=button.box, flags=frozenset({"redundant", "private"}), error="execute: lost"),
        Step(observation=Observation(), action=Action(type="tool_call", name="ocr", arguments={"a": [1, None, "ü"]}),
             instruction="read"),
    )
    fields = {"id": "t1", "goal": "turn Wi-Fi on", "steps": steps, "source": "test", "platform": "phone",
              "split": "val", "licence": "MIT", "outcome": "success", "meta": {"seed": 3, "level": None}}
    return Trajectory(**{**fields, **values})


def with_images(trajectory: Trajectory, *colours: str) -> Trajectory:
    """The trajectory with one small screenshot of a plain colour per step."""
    steps = tuple(
        replace(s, observation=replace(s.observation, image=PIL.Image.new("RGB", (40, 30), c),
                                       image_size=ImageSize(40, 30)))
        for s, c in zip(trajectory.steps, colours, strict=True)
    )
    return replace(trajectory, steps=steps)


def test_written_trajectories_are_read_back_equal(tmp_path: Path) -> None:
    written = [make_trajectory(), make_trajectory(id="t2", goal="line\nbreak \u2028 “ü”", steps=())]
    assert write_trajectories(tmp_path / "new" / "t.jsonl", written) == 2
    assert list(read_trajectories(tmp_path / "new" / "t.jsonl")) == written


def test_screenshots_are_stored_once_beside_the_file_and_come_back_pixel_equal(tmp_path: Path) -> None:
    trajectory = with_images(make_trajectory(), "red", "red")
    write_trajectories(tmp_path / "t.jsonl", [trajectory, with_images(make_trajectory(), "red", "blue")])
    assert len(list((tmp_path / "t_images").iterdir())) == 2
    first, second = read_trajectories(tmp_path / "t.jsonl")
    assert second.steps[1].observation.load_image().tobytes() == PIL.Image.new("RGB", (40, 30), "blue").tobytes()
    assert first.steps[0].observation.image_path == first.steps[1].observation.image_path


def test_a_file_that_was_read_can_be_written_elsewhere_with_its_screenshots(tmp_path: Path) -> None:
    write_trajectories(tmp_path / "a.jsonl", [with_images(make_trajectory(), "red", "blue")])
    write_trajectories(tmp_path / "b" / "b.jsonl", read_trajectories(tmp_path / "a.jsonl"))
    (copy,) = read_trajectories(tmp_path / "b" / "b.jsonl")
    assert copy.steps[1].observation.load_image().getpixel((0, 0)) == (0, 0, 255)
    assert copy.steps[1].observation.image_path.is_relative_to((tmp_path / "b").resolve())


def test_half_a_surrogate_pair_survives_the_file(tmp_path: Path) -> None:
    trajectory = make_trajectory(goal="\ud83d")
    write_trajectories(tmp_path / "t.jsonl", [trajectory])
    assert list(read_trajectories(tmp_path / "t.jsonl")) == [trajectory]


@given(
    goal=st.text(), flags=st.sets(st.sampled_from(STEP_FLAGS)), thought=st.text(),
    x=st.floats(0, 1), y=st.floats(0, 1),
)
def test_json_form_is_lossless_for_any_text_and_point(
    goal: str, flags: set[str], thought: str, x: float, y: float
) -> None:
    step = Step(observation=Observation(), action=Action(type="click", point=PointNorm(x, y)), instruction=goal,
                thought=thought, flags=frozenset(flags))
    trajectory = make_trajectory(goal=goal, steps=(step,))
    record = json.loads(json.dumps(trajectory_to_json(trajectory, [None])))
    assert trajectory_from_json(record, Path()) == trajectory


def test_blank_lines_and_an_empty_file_are_no_trajectories(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text("\n  \n")
    assert list(read_trajectories(tmp_path / "t.jsonl")) == []


STEP = {"observation": {}, "action": {"type": "click", "point": [0.5, 0.5]}, "instruction": "tap"}


# Each case changes one field of a good step and names what the message must tell.
@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"observation": 5}, "field 'observation'"),
        ({"observation": None}, "field 'observation'"),
        ({"observation": {"image": 7}}, "field 'image'"),
        ({"observation": {"image": "../other.png"}}, "field 'image'.*leaves the folder"),
        ({"observation": {"image": "/etc/hostname"}}, "field 'image'.*leaves the folder"),
        ({"observation": {"image": "a\0b"}}, "field 'image'"),
        ({"observation": {"image_size": [0, 5]}}, "field 'image_size'"),
        ({"observation": {"image_size": [True, 5]}}, "field 'image_size'"),
        ({"observation": {"image_size": "40x30"}}, "field 'image_size'"),
        ({"observation": {"summary": None}}, "field 'summary'"),
        ({"observation": {"elements": [3]}}, "field 'role'"),
        ({"observation": {"elements": [{"role": "a", "text": "b", "box": [0, 1]}]}}, "field 'box'"),
        ({"action": {"type": "fly"}}, "field 'type'"),
        ({"action": {"type": "click", "point": [0.5, 7]}}, "field 'point'"),
        ({"action": {"type": "click", "wings": 2}}, "field 'wings'"),
        ({"action": []}, "field 'action'"),
        ({"instruction": 3}, "field 'instruction'"),
        ({"thought": []}, "field 'thought'"),
        ({"target": [0, 0, 1]}, "field 'target'"),
        ({"target": [0, 0, 1, float("nan")]}, "field 'target'"),
        ({"flags": ["lucky"]}, "field 'flags'"),
        ({"flags": "redundant"}, "field 'flags'"),
        ({"error": 1}, "field 'error'"),
    ],
)
def test_a_wrong_step_is_named_by_file_line_step_and_field(tmp_path: Path, change: dict, told: str) -> None:
    good = trajectory_to_json(make_trajectory(), [None, None])
    bad = {**good, "steps": [STEP, {**STEP, **change}]}
    (tmp_path / "t.jsonl").write_text(json.dumps(good) + "\n" + json.dumps(bad) + "\n")
    reader = read_trajectories(tmp_path / "t.jsonl")
    assert next(reader).id == "t1"
    with pytest.raises(InputError, match=rf"t\.jsonl line 2: step 1: .*{told}"):
        next(reader)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b'{"schema_version": 1, "id"', "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"schema_version": ' + b"9" * 5000 + b"}", "not JSON"),
        (b"[]", "JSON object"),
        (b"{}", "schema_version"),
        (b'{"schema_version": 2}', "schema_version"),
        (b'{"schema_version": 1}', "field 'steps' is missing"),
        (b'{"schema_version": 1, "steps": {}}', "field 'steps'"),
        (b'{"schema_version": 1, "steps": []}', "field 'id' is missing"),
        (b'{"schema_version": 1, "steps": [4]}', "step 0: .*field 'observation'"),
        (b'{"schema_version": 1, "steps": [], "id": "a", "goal": 5}', "field 'goal'"),
    ],
)
def test_a_wrong_line_is_named_by_file_line_and_field(tmp_path: Path, line: bytes, told: str) -> None:
    (tmp_path / "t.jsonl").write_bytes(b"\n" + line + b"\n")
    with pytest.raises(InputError, match=rf"(?s)t\.jsonl line 2: .*{told}"):
        list(read_trajectories(tmp_path / "t.jsonl"))


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none.jsonl", tmp_path):
        with pytest.raises(MissingFileError, match=str(path)):
            list(read_trajectories(path))


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="t.jsonl"):
        write_trajectories(tmp_path / "file" / "t.jsonl", [make_trajectory()])


def test_a_folder_or_a_pipe_is_no_place_for_a_file_and_stays_as_it_is(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", Path()):
        with pytest.raises(OutputError, match="no plain file"):
            write_trajectories(path, [make_trajectory()])
    assert (tmp_path / "pipe").is_fifo()


def test_a_lost_screenshot_stops_the_writing_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    write_trajectories(path, [make_trajectory()])
    seen = Observation(image_path=tmp_path / "gone.png")
    lost = make_trajectory(steps=(replace(make_trajectory().steps[0], observation=seen),))
    with pytest.raises(MissingFileError, match="gone.png"):
        write_trajectories(path, [lost])
    assert [t.id for t in read_trajectories(path)] == ["t1"]
    assert [p.name for p in tmp_path.iterdir()] == ["t.jsonl"]


@pytest.mark.parametrize("data", [b"", b"no image", b"\x89PNG\r\n\x1a\n"])
def test_a_screenshot_that_is_no_image_is_named(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "bad.png").write_bytes(data)
    with pytest.raises(InputError, match="bad.png"):
        load_screenshot(tmp_path / "bad.png")


def test_an_observation_without_screenshot_says_so() -> None:
    with pytest.raises(MissingFileError, match="no screenshot"):
        Observation().load_image()


def test_with_meta_leaves_the_original_as_it_was() -> None:
    trajectory = make_trajectory()
    assert with_meta(trajectory, seed=4, more=1).meta == {"seed": 4, "level": None, "more": 1}
    assert trajectory.meta["seed"] == 3
