"""Trajectories through a Hugging Face data set and back."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import PIL.Image
import pytest

from executors.actions import Action
from executors.errors import InputError, MissingFileError
from executors.geometry import BoxNorm, ImageSize, PointNorm
from executors.trajectory import Element, Observation, Step, Trajectory, read_trajectories, write_trajectories
from training.datasets.hf import BATCH_SIZE, from_dataset, save_dataset, to_dataset


def noise(seed: int) -> PIL.Image.Image:
    """A 16x9 image in which no two pixels are alike."""
    return PIL.Image.frombytes("RGB", (16, 9), bytes((i * 7 + seed) % 256 for i in range(16 * 9 * 3)))


def make_trajectory(number: int = 0) -> Trajectory:
    """Three steps: everything set and a screenshot; a tool's answer without one; a screenshot again."""
    box = BoxNorm(1 / 3, 0.1, 2 / 3, 0.123456789)
    shown = Observation(image_size=ImageSize(16, 9), image=noise(number), summary="Home ü",
                        elements=(Element(role="field", text="Search", box=box, value="", is_focused=True),))
    steps = (
        Step(observation=shown, action=Action(type="click", point=PointNorm(0.1, 1 / 3)), instruction="tap",
             thought="because", target=box, flags=frozenset({"redundant", "ambiguous"}), error="execute: lost"),
        Step(observation=Observation(text=""), instruction="look it up",
             action=Action(type="tool_call", name="search", arguments={"q": "ü", "n": [1, None, {"deep": 0.5}]})),
        Step(observation=Observation(image_size=ImageSize(16, 9), image=noise(number + 1)),
             action=Action(type="finished", content=""), instruction="done"),
    )
    return Trajectory(id=f"t{number}", goal="find", steps=steps, source="test", platform="browser", split="val",
                      licence="MIT", outcome="success", meta={"seed": number, "nested": {"a": [1, None]}})


def test_trajectories_come_back_equal_with_equal_pixels() -> None:
    written = [make_trajectory(0), make_trajectory(7), dataclasses.replace(make_trajectory(9), steps=())]
    read = list(from_dataset(to_dataset(written)))
    assert read == written  # compares everything but pixels
    for a, b in zip(written[0].steps, read[0].steps, strict=True):
        assert (a.observation.image is None) == (b.observation.image is None)
        if a.observation.image is not None:
            assert b.observation.load_image().tobytes() == a.observation.image.tobytes()


def test_a_saved_data_set_is_loaded_equal_and_without_the_files_it_came_from(tmp_path: Path) -> None:
    from datasets import Image, List, load_from_disk

    write_trajectories(tmp_path / "t.jsonl", [make_trajectory()])
    assert save_dataset(read_trajectories(tmp_path / "t.jsonl"), tmp_path / "hf") == 1
    for file in [tmp_path / "t.jsonl", *(tmp_path / "t_images").iterdir()]:
        file.unlink()
    dataset = load_from_disk(tmp_path / "hf")
    (read,) = from_dataset(dataset)
    assert read.steps[2].observation.load_image().tobytes() == noise(1).tobytes()
    assert read.steps[0].action == make_trajectory().steps[0].action
    raw = dataset.cast_column("images", List(Image(decode=False)))[0]["images"]
    assert [image["path"] for image in raw] == [None, None]


def test_more_than_one_batch_keeps_the_order() -> None:
    many = [dataclasses.replace(make_trajectory(), id=str(n), steps=()) for n in range(BATCH_SIZE + 2)]
    assert [t.id for t in from_dataset(to_dataset(many))] == [t.id for t in many]


def test_no_trajectories_are_a_data_set_of_no_rows() -> None:
    dataset = to_dataset([])
    assert len(dataset) == 0
    assert list(from_dataset(dataset)) == []


def test_rows_can_be_chosen_by_column() -> None:
    dataset = to_dataset([make_trajectory(0), make_trajectory(5)])
    assert [t.id for t in from_dataset(dataset.filter(lambda row: row["id"] == "t5"))] == ["t5"]


def test_a_missing_column_is_named() -> None:
    with pytest.raises(InputError, match="column 'goal'"):
        list(from_dataset(to_dataset([make_trajectory()]).remove_columns("goal")))


# One change of a good row, and the field the message must name.
@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        ("schema_version", 9, "row 0: field 'schema_version'"),
        ("meta", "{", "row 0: "),
        ("images", [], "step 0: field 'image_index'"),
        ("goal", None, "row 0: field 'goal'"),
    ],
)
def test_a_wrong_value_is_named_by_row_and_field(column: str, value: object, told: str) -> None:
    dataset = to_dataset([make_trajectory()]).map(lambda row: {column: value})
    with pytest.raises(InputError, match=told):
        list(from_dataset(dataset))


def test_a_wrong_action_is_named_by_row_step_and_field() -> None:
    def spoil(row: dict) -> dict:
        steps = row["steps"]
        steps[1]["action"] = json.dumps({"type": "fly"})
        return {"steps": steps}

    with pytest.raises(InputError, match="row 0: step 1: field 'type'"):
        list(from_dataset(to_dataset([make_trajectory()]).map(spoil)))


def test_a_lost_screenshot_is_named(tmp_path: Path) -> None:
    step = Step(observation=Observation(image_path=tmp_path / "gone.png"), action=Action(type="wait"), instruction="w")
    with pytest.raises(MissingFileError, match="gone.png"):
        to_dataset([dataclasses.replace(make_trajectory(), steps=(step,))])
