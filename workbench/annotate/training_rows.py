"""Trajectories as rows for other trainers: EasyR1 and verl, one row for each training sample.

    easyr1    problem ("<image>" and the prompt), answer, images, extra_info
    verl      data_source, prompt (messages), images, ability, reward_model {style, ground_truth}, extra_info

The answer is JSON: {"steps": the reference continuation, "first_step": the present action with its points and the
target's box}, which is all that a reward function needs (EasyR1's sees nothing else). `extra_info` is JSON text with
the recorded step and its trajectory, from which `trajectory_of_rows` makes the trajectory again. Steps that make no
sample (`training.samples`) are in no row.

Source: the data settings `prompt_key`, `answer_key` and `image_key` of EasyR1 at b44b311, and the columns of verl's
RLHFDataset. Neither trainer was run on such a file here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from executors.errors import InputError
from executors.trajectory import (
    Step,
    Trajectory,
    box_to_json,
    image_bytes,
    step_to_json,
    trajectory_from_json,
    trajectory_to_json,
)
from training.config import ForecastConfig
from training.samples import Sample, build_samples

if TYPE_CHECKING:
    import pyarrow as pa

FORMS = ("easyr1", "verl")
IMAGE_MARK = "<image>"


def schema(form: str) -> pa.Schema:
    """The columns of a form."""
    import pyarrow as pa

    text = pa.string()
    image = pa.struct([("bytes", pa.binary()), ("path", text)])
    columns = {
        "easyr1": [("problem", text), ("answer", text)],
        "verl": [
            ("data_source", text), ("prompt", pa.list_(pa.struct([("role", text), ("content", text)]))),
            ("ability", text), ("reward_model", pa.struct([("style", text), ("ground_truth", text)])),
        ],
    }[form]
    return pa.schema([*columns, ("images", pa.list_(image)), ("extra_info", text)])


def rows_of(trajectory: Trajectory, form: str, forecast: ForecastConfig) -> Iterator[dict[str, Any]]:
    """The rows of a trajectory's samples, in order; none when no step makes one.

    Args:
        trajectory: with its screenshots.
        form: "easyr1" or "verl".
        forecast: horizon, history and prompt of the samples.

    Raises:
        MissingFileError: a screenshot is gone.
    """
    whole = trajectory_to_json(replace(trajectory, steps=()), [])
    for sample in build_samples([trajectory], forecast):
        place = int(sample.id.rpartition("/")[2])
        step = trajectory.steps[place]
        extra = {"trajectory": whole, "num_steps": len(trajectory.steps), "step": place,
                 "record": step_to_json(step, None)}
        yield {
            **_question(sample, form, forecast),
            "images": [{"bytes": data, "path": None} for data in _images(step)],
            "extra_info": json.dumps(extra),
        }


def _question(sample: Sample, form: str, forecast: ForecastConfig) -> dict[str, Any]:
    (message,) = sample.messages(forecast)
    prompt = "".join(IMAGE_MARK if part["type"] == "image" else part["text"] for part in message["content"])
    target = sample.first_step.target
    answer = json.dumps({
        "steps": [step.to_json() for step in sample.steps],
        "first_step": {"action": sample.first_step.action.to_json(),
                       "target": None if target is None else box_to_json(target)},
    })
    if form == "easyr1":
        return {"problem": prompt, "answer": answer}
    return {"data_source": "tracer1", "prompt": [{"role": message["role"], "content": prompt}], "ability": "gui",
            "reward_model": {"style": "rule", "ground_truth": answer}}


def _images(step: Step) -> list[bytes]:
    seen = step.observation
    return [] if seen.image is None and seen.image_path is None else [image_bytes(seen)[0]]


def trajectory_of_rows(rows: Sequence[Mapping[str, Any]]) -> Trajectory:
    """The trajectory of its rows, in any order, without the steps that have none.

    Args:
        rows: of `rows_of`, as parquet gives them back, their images checked.

    Raises:
        InputError: `extra_info` is not that of one trajectory; the message names the field.
    """
    import PIL.Image

    try:
        extras = sorted(((json.loads(row["extra_info"]), row["images"]) for row in rows), key=lambda e: e[0]["step"])
        wholes = [extra["trajectory"] for extra, _ in extras]
        if any(whole != wholes[0] for whole in wholes) or len({extra["step"] for extra, _ in extras}) < len(extras):
            raise InputError("field 'extra_info': rows of one id differ, or a step occurs twice")
        trajectory = trajectory_from_json({**wholes[0], "steps": [extra["record"] for extra, _ in extras]}, Path())
        images = [PIL.Image.open(BytesIO(found[0]["bytes"])).convert("RGB") if found else None for _, found in extras]
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise InputError(f"field 'extra_info' is not as it was written ({type(error).__name__}: {error})") from None
    steps = (replace(step, observation=replace(step.observation, image=image))
             for step, image in zip(trajectory.steps, images, strict=True))
    return replace(trajectory, steps=tuple(steps))


def id_of_row(row: Mapping[str, Any]) -> str:
    """The id of the trajectory that a row belongs to; raises InputError when it names none."""
    try:
        return str(json.loads(row["extra_info"])["trajectory"]["id"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"field 'extra_info' names no trajectory ({type(error).__name__})") from None
