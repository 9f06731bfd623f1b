"""Trajectories <-> a Hugging Face `datasets.Dataset`: one row a trajectory, its screenshots in an Image column.

Nothing is lost except where a screenshot's file lay: screenshots travel as the bytes of their files and come back
as images in memory, so that a shared data set tells no path of the machine it was made on. Actions, elements and
`meta` are JSON text, because their fields differ from step to step; everything a person filters by is a column.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from executors.errors import InputError
from executors.geometry import BoxNorm
from executors.trajectory import SCHEMA_VERSION, Step, Trajectory, image_bytes, trajectory_from_json

if TYPE_CHECKING:
    from datasets import Dataset, Features

BATCH_SIZE = 64
"""Trajectories encoded at once; only one batch of Python rows exists beside the Arrow table."""

_TEXT_FIELDS = ("id", "goal", "source", "platform", "split", "licence", "outcome")


def features() -> Features:
    """The columns: the trajectory's texts, `meta`, `images`, and `steps` as a list of structs.

    `steps[].image_index` counts in the row's `images`, -1 where a step has no screenshot. `image_width_px` and
    `image_height_px` are null without an image size, `target` is [left, top, right, bottom] in 0..1 or null.
    """
    from datasets import Features, Image, List, Value

    step = {
        "image_index": Value("int32"),
        "image_width_px": Value("int32"),
        "image_height_px": Value("int32"),
        "summary": Value("string"),
        "text": Value("string"),
        "elements": Value("string"),
        "action": Value("string"),
        "instruction": Value("string"),
        "thought": Value("string"),
        "target": List(Value("float64")),
        "flags": List(Value("string")),
        "error": Value("string"),
    }
    texts = {name: Value("string") for name in _TEXT_FIELDS}
    rest = {"meta": Value("string"), "images": List(Image()), "steps": List(step)}
    return Features({"schema_version": Value("int32"), **texts, **rest})


def to_dataset(trajectories: Iterable[Trajectory]) -> Dataset:
    """The trajectories as a data set in memory (screenshots encoded); no trajectories give a data set of no rows.

    Raises:
        MissingFileError: a screenshot's file is gone.
    """
    from datasets import Dataset, concatenate_datasets

    columns = features()
    rest = iter(trajectories)
    parts = []
    while batch := [_row(trajectory) for trajectory in islice(rest, BATCH_SIZE)]:
        parts.append(Dataset.from_list(batch, features=columns))
    if not parts:
        return Dataset.from_dict({name: [] for name in columns}, features=columns)
    return concatenate_datasets(parts)


def from_dataset(dataset: Dataset) -> Iterator[Trajectory]:
    """The trajectories of a data set that `to_dataset` made, one row at a time.

    Raises:
        InputError: a column is missing or a value is wrong; the message names row and field.
    """
    missing = [name for name in features() if name not in dataset.column_names]
    if missing:
        raise InputError(f"the data set lacks column {missing[0]!r}: make it with to_dataset")
    for number, row in enumerate(dataset):
        try:
            yield trajectory_of_row(row)
        except (json.JSONDecodeError, IndexError, TypeError) as error:
            raise InputError(f"row {number}: {error}: make the data set again with to_dataset") from None
        except InputError as error:
            raise InputError(f"row {number}: {error}") from None


def save_dataset(trajectories: Iterable[Trajectory], folder: Path) -> int:
    """Writes a folder that `datasets.load_from_disk` reads; returns the number of trajectories."""
    dataset = to_dataset(trajectories)
    dataset.save_to_disk(folder)
    return len(dataset)


def _row(trajectory: Trajectory) -> dict[str, Any]:
    images: list[dict[str, Any]] = []
    steps = []
    for step in trajectory.steps:
        seen = step.observation
        has_image = seen.image is not None or seen.image_path is not None
        steps.append(_step_row(step, len(images) if has_image else -1))
        if has_image:
            images.append({"bytes": image_bytes(seen)[0], "path": None})
    return {
        "schema_version": SCHEMA_VERSION,
        **{name: getattr(trajectory, name) for name in _TEXT_FIELDS},
        "meta": json.dumps(dict(trajectory.meta), ensure_ascii=False),
        "images": images,
        "steps": steps,
    }


def _step_row(step: Step, image_index: int) -> dict[str, Any]:
    seen, size = step.observation, step.observation.image_size
    elements = [{**element.to_json(), "box": _edges(element.box)} for element in seen.elements]
    return {
        "image_index": image_index,
        "image_width_px": None if size is None else size.width_px,
        "image_height_px": None if size is None else size.height_px,
        "summary": seen.summary,
        "text": seen.text,
        "elements": json.dumps(elements, ensure_ascii=False),
        "action": json.dumps(step.action.to_json(), ensure_ascii=False),
        "instruction": step.instruction,
        "thought": step.thought,
        "target": None if step.target is None else _edges(step.target),
        "flags": sorted(step.flags),
        "error": step.error,
    }


def _edges(box: BoxNorm) -> list[float]:
    return [box.left, box.top, box.right, box.bottom]


def trajectory_of_row(row: Mapping[str, Any]) -> Trajectory:
    """The trajectory of a row whose images are PIL images.

    The row goes through the JSON form, so that fields are checked in one place only, and then its images.

    Raises:
        InputError, KeyError, IndexError, TypeError, ValueError: the row is not one that `to_dataset` made.
    """
    record = {name: row[name] for name in ("schema_version", *_TEXT_FIELDS)}
    record |= {"meta": json.loads(row["meta"]), "steps": [_step_record(step) for step in row["steps"]]}
    trajectory = trajectory_from_json(record, Path())
    steps = []
    for number, (step, raw) in enumerate(zip(trajectory.steps, row["steps"], strict=True)):
        index = raw["image_index"]
        images = row["images"]
        if index >= len(images):
            raise InputError(f"step {number}: field 'image_index': {index} is past the row's {len(images)} images")
        image = None if index < 0 else images[index].convert("RGB")
        steps.append(replace(step, observation=replace(step.observation, image=image)))
    return replace(trajectory, steps=tuple(steps))


def _step_record(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row's step in the form that `executors.trajectory.step_from_json` reads."""
    size = [row["image_width_px"], row["image_height_px"]]
    observation = {"summary": row["summary"], "elements": json.loads(row["elements"]), "text": row["text"]}
    if size != [None, None]:
        observation["image_size"] = size
    return {
        "observation": observation,
        "action": json.loads(row["action"]),
        **{name: row[name] for name in ("instruction", "thought", "target", "flags", "error")},
    }
