"""Trajectories as rows for other trainers, EasyR1 and verl, that give the trajectories back.

A row is what `training.export_rl` writes for a training sample of Stage 1, with its default reward, and a column more:
`recording`, JSON text with the recorded step and its trajectory, from which `trajectory_of_rows` makes the trajectory
again. So `tracer1 export`'s reward file and settings go with these rows. Steps that make no sample (`training.samples`)
or have no screenshot are in no row.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from executors.errors import InputError
from executors.trajectory import Trajectory, step_to_json, trajectory_from_json, trajectory_to_json
from training.config import ForecastConfig, Stage1Config
from training.export_rl import FRAMEWORKS as FORMS
from training.export_rl import row_of
from training.samples import build_samples

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["FORMS", "RECORDING", "id_of_row", "rows_of", "schema", "trajectory_of_rows"]

RECORDING = "recording"
"""The column that the other trainers do not read."""


def schema(form: str) -> pa.Schema:
    """The columns of a form."""
    import pyarrow as pa

    text = pa.string()
    image = pa.struct([("bytes", pa.binary()), ("path", text)])
    columns = {
        "easyr1": [("id", text), ("problem", text), ("answer", text)],
        "verl": [
            ("data_source", text), ("prompt", pa.list_(pa.struct([("role", text), ("content", text)]))),
            ("ability", text), ("reward_model", pa.struct([("style", text), ("ground_truth", text)])),
            ("extra_info", pa.struct([("index", pa.int64()), ("id", text)])),
        ],
    }[form]
    return pa.schema([*columns, ("images", pa.list_(image)), (RECORDING, text)])


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
    config = Stage1Config(model="-", forecast=forecast)
    for number, sample in enumerate(build_samples([trajectory], forecast)):
        row = row_of(form, "stage1", sample, config, forecast, number)
        if row is None:
            continue
        place = int(sample.id.rpartition("/")[2])
        recording = {"trajectory": whole, "num_steps": len(trajectory.steps), "step": place,
                     "record": step_to_json(trajectory.steps[place], None)}
        yield {**row, RECORDING: json.dumps(recording)}


def trajectory_of_rows(rows: Sequence[Mapping[str, Any]]) -> Trajectory:
    """The trajectory of its rows, in any order, without the steps that have none.

    Args:
        rows: of `rows_of`, as parquet gives them back, their images checked.

    Raises:
        InputError: `recording` is not that of one trajectory; the message names the field.
    """
    import PIL.Image

    try:
        extras = sorted(((json.loads(row[RECORDING]), row["images"]) for row in rows), key=lambda e: e[0]["step"])
        wholes = [extra["trajectory"] for extra, _ in extras]
        if any(whole != wholes[0] for whole in wholes) or len({extra["step"] for extra, _ in extras}) < len(extras):
            raise InputError("field 'recording': rows of one id differ, or a step occurs twice")
        trajectory = trajectory_from_json({**wholes[0], "steps": [extra["record"] for extra, _ in extras]}, Path())
        images = [PIL.Image.open(BytesIO(found[0]["bytes"])).convert("RGB") if found else None for _, found in extras]
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise InputError(f"field 'recording' is not as it was written ({type(error).__name__}: {error})") from None
    steps = (replace(step, observation=replace(step.observation, image=image))
             for step, image in zip(trajectory.steps, images, strict=True))
    return replace(trajectory, steps=tuple(steps))


def id_of_row(row: Mapping[str, Any]) -> str:
    """The id of the trajectory that a row belongs to; raises InputError when it names none."""
    try:
        return str(json.loads(row[RECORDING])["trajectory"]["id"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"field 'recording' names no trajectory ({type(error).__name__})") from None
