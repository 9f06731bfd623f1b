"""Predictions that were made elsewhere: a JSON Lines file, one object for each step.

| field | what |
|---|---|
| id | the reference's: "<episode>/<step>", steps counted from 0 |
| action | a canonical action, {"type": "click", "point": [0.5, 0.25]}; null for a reply that could not be read |
| frame | of the action's points: "norm" (0..1, the default), "1000" (thousandths) or "px" (pixels of the reference's frame) |
| reply, family | in place of `action`: a model's reply and whose coordinates it writes, read by `executors.parsing` |
| error | in place of both: why planner or server failed; counted as an error |
"""  # noqa: E501 - a table's row is one line

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from executors.actions import Action
from executors.errors import InputError, MissingFileError
from executors.parsing import parse_reply
from training.benchmarks.protocols.base import Outcome, Prediction, ReferenceStep

FRAMES = ("norm", "1000", "px")
_POINTS = ("point", "start_point", "end_point")


def read_predictions(path: Path, references: Mapping[str, ReferenceStep]) -> dict[str, Prediction]:
    """The predictions of a file by step id.

    Raises:
        MissingFileError: the file cannot be read.
        InputError: a line is not as the module says, names a step that no reference has, or one that was predicted
            before.
    """
    predictions: dict[str, Prediction] = {}
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                try:
                    record = json.loads(line)
                    if not isinstance(record, dict):
                        raise InputError("not a JSON object")
                    prediction = prediction_of(record, references)
                    if predictions.setdefault(record["id"], prediction) is not prediction:
                        raise InputError(f"field 'id': {record['id']!r} was predicted before: keep one of the lines")
                except InputError as error:
                    raise InputError(f"{path} line {number}: {error}") from None
                except (ValueError, RecursionError):
                    raise InputError(f"{path} line {number}: not JSON: mend or remove the line") from None
    except OSError as error:
        if isinstance(error, MissingFileError):
            raise
        raise MissingFileError(f"cannot read predictions {path} ({error.strerror}): check the path") from None
    return predictions


def _reference(record: Mapping[str, Any], references: Mapping[str, ReferenceStep]) -> ReferenceStep:
    step_id = record.get("id")
    if not isinstance(step_id, str) or step_id not in references:
        example = next(iter(references), "<episode>/<step>")
        raise InputError(f"field 'id': {step_id!r} is no step of the references: write for example {example!r}")
    return references[step_id]


def prediction_of(record: Mapping[str, Any], references: Mapping[str, ReferenceStep]) -> Prediction:
    """The prediction of one line of the file; see the module.

    An action that is no action of the registry, or whose points lie off the image, is a wrong answer like an unreadable
    reply, not an error of the file.

    Raises:
        InputError: the line has no id of a reference, no answer, or an unknown frame.
    """
    reference = _reference(record, references)
    if record.get("error"):
        return Prediction(action=None, outcome=Outcome.FAILED, reason=str(record["error"]))
    if "reply" in record:
        reply = record["reply"] if isinstance(record["reply"], str) else ""
        result = parse_reply(
            reply, family=str(record.get("family", "canonical")), image=reference.image_size, need_targets=False
        )
        action = result.actions[0] if result.ok else None
        return Prediction(
            action=action, outcome=Outcome.OK if action else Outcome.UNREADABLE, reason=result.reason or ""
        )
    if "action" not in record:
        raise InputError("field 'action' is missing: give an action, null, a 'reply' or an 'error'")
    frame = str(record.get("frame", "norm"))
    if frame not in FRAMES:
        raise InputError(f"field 'frame': {frame!r} is not one of {', '.join(FRAMES)}")
    if frame == "px" and reference.image_size is None:
        raise InputError(f"field 'frame': step {reference.id} has no recorded size, so pixels mean nothing: use norm")
    if record["action"] is None:
        return Prediction.of(None)
    try:
        return Prediction.of(Action.from_json(_to_norm(record["action"], frame, reference)))
    except (ValueError, TypeError, OverflowError) as error:
        return Prediction(action=None, outcome=Outcome.UNREADABLE, reason=str(error))


def _to_norm(action: Mapping[str, Any], frame: str, reference: ReferenceStep) -> Mapping[str, Any]:
    if frame == "norm" or not isinstance(action, Mapping):
        return action
    size = reference.image_size
    width, height = (1000, 1000) if frame == "1000" else (size.width_px, size.height_px)
    moved = dict(action)
    for name in _POINTS:
        point = action.get(name)
        if point is not None:
            x, y = point
            moved[name] = [x / width, y / height]
    return moved
