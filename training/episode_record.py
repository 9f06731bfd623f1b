"""What came of one episode: every step with its whole forecast, and the file it is kept in.

An episode file is one JSON object with a schema version; screenshots are image files in `<stem>_images/` beside it.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import NoneType
from typing import Any

from executors.actions import Action
from executors.errors import WRONG_FORM, InputError, MissingFileError, OutputError, WorkbenchError
from executors.files import partial_path
from executors.tool_agents import Grounding
from executors.trajectory import (
    Observation,
    Step,
    Trajectory,
    box_from_json,
    box_to_json,
    json_bytes,
    step_from_json,
    step_to_json,
    store_screenshot,
)
from training.forecast import Forecast

SCHEMA_VERSION = 1


class StopReason(StrEnum):
    """Why an episode ended."""

    FINISHED = "finished"
    """The planner said that the goal is reached."""
    IMPOSSIBLE = "impossible"
    """The planner called the user."""
    MAX_STEPS = "max_steps"
    PARSE_FAILURE = "parse_failure"
    """Replies in which no step could be read, as many in a row as are allowed."""
    NOT_GROUNDED = "not_grounded"
    """First steps that fit nothing on the screen or on the device, as many in a row as are allowed."""
    EXECUTOR_ERROR = "executor_error"
    """The planner, tool agent or device failed as often in a row as is allowed, or the screen cannot be seen."""
    STOPPED = "stopped"
    """A person stopped it."""
    WORLD_ENDED = "world_ended"
    """The world itself judged the episode and counts nothing that comes after (MiniWoB++)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """One step: what was seen, the whole forecast, how its first step was grounded, and what came of it.

    `number` counts from 1. `forecast` is None when the planner itself failed, `grounding` when there was nothing to
    ground or the tool agent failed, `action` when nothing was executed. `error` says what went wrong; `boundary` names
    the failed part ("plan", "ground", "execute" or another of `ExecutorError`), None when the planner's words were at
    fault. `message` is what the device said about the action.
    """

    number: int
    observation: Observation
    forecast: Forecast | None = None
    grounding: Grounding | None = None
    action: Action | None = None
    had_effect: bool = False
    message: str = ""
    error: str | None = None
    boundary: str | None = None
    plan_seconds: float = 0.0
    act_seconds: float = 0.0

    @property
    def instruction(self) -> str:
        """The first forecast step in words; empty when there is none."""
        first = self.forecast.first if self.forecast else None
        return first.instruction if first else ""

    def to_step(self) -> Step | None:
        """The step as trajectories hold it; None when no action was sent to the device."""
        if self.action is None:
            return None
        return Step(
            observation=self.observation,
            action=self.action,
            instruction=self.instruction,
            thought=self.forecast.thought if self.forecast else "",
            target=self.grounding.target if self.grounding else None,
            error=self.error,
        )

    def to_json(self, image_path: str | None) -> dict[str, Any]:
        """The step as a JSON object, its screenshot named by `image_path`."""
        return {
            "number": self.number,
            "observation": observation_to_json(self.observation, image_path),
            "forecast": None if self.forecast is None else self.forecast.to_json(),
            "grounding": None if self.grounding is None else _grounding_to_json(self.grounding),
            "action": None if self.action is None else self.action.to_json(),
            "had_effect": self.had_effect,
            "message": self.message,
            "error": self.error,
            "boundary": self.boundary,
            "plan_seconds": round(self.plan_seconds, 4),
            "act_seconds": round(self.act_seconds, 4),
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any], folder: Path) -> StepRecord:
        """The step of a `to_json` record, image paths resolved in `folder`; raises one of `WRONG_FORM` for others."""
        _check_kinds(record, _STEP_KINDS)
        forecast, grounding, action = record.get("forecast"), record.get("grounding"), record.get("action")
        return cls(
            number=record["number"],
            observation=observation_from_json(record["observation"], folder),
            forecast=None if forecast is None else Forecast.from_json(forecast),
            grounding=None if grounding is None else _grounding_from_json(grounding),
            action=None if action is None else Action.from_json(action),
            had_effect=record.get("had_effect", False),
            message=record.get("message", ""),
            error=record.get("error"),
            boundary=record.get("boundary"),
            plan_seconds=float(record.get("plan_seconds", 0.0)),
            act_seconds=float(record.get("act_seconds", 0.0)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeRecord:
    """A whole episode.

    `success` is the device's judgement, None when it cannot judge; `num_errors` counts failures of the planner's
    server, the tool agent and the device, not wrong words of the planner. `mode` is "anticipatory" or "reactive".
    """

    goal: str
    planner: str
    mode: str
    stop_reason: StopReason
    steps: tuple[StepRecord, ...]
    success: bool | None = None
    num_errors: int = 0
    errors: tuple[str, ...] = ()
    final_observation: Observation | None = None
    platform: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)

    def to_trajectory(self, id: str = "episode") -> Trajectory:
        """The executed steps as a trajectory, as imported and recorded ones are."""
        steps = tuple(step for record in self.steps if (step := record.to_step()) is not None)
        outcome = {True: "success", False: "failure", None: ""}[self.success]
        return Trajectory(
            id=id,
            goal=self.goal,
            steps=steps,
            source=f"episode:{self.planner}",
            platform=self.platform,
            split="test",
            outcome=outcome,
            meta=dict(self.meta),
        )


def _grounding_to_json(grounding: Grounding) -> dict[str, Any]:
    return {
        "action": None if grounding.action is None else grounding.action.to_json(),
        "target": None if grounding.target is None else box_to_json(grounding.target),
        "reason": grounding.reason,
        "num_candidates": grounding.num_candidates,
    }


def _grounding_from_json(record: Mapping[str, Any]) -> Grounding:
    action, target = record.get("action"), record.get("target")
    return Grounding(
        action=None if action is None else Action.from_json(action),
        target=None if target is None else box_from_json(target, "target"),
        reason=record.get("reason"),
        num_candidates=int(record.get("num_candidates", 0)),
    )


_TEXT_OR_NONE = (str, NoneType)
_STEP_KINDS = {
    "number": int, "forecast": (dict, NoneType), "grounding": (dict, NoneType), "action": (dict, NoneType),
    "had_effect": bool, "message": str, "error": _TEXT_OR_NONE, "boundary": _TEXT_OR_NONE,
    "plan_seconds": (int, float), "act_seconds": (int, float),
}  # fmt: skip
_EPISODE_KINDS = {
    "goal": str, "planner": str, "mode": str, "stop_reason": str, "steps": list, "success": (bool, NoneType),
    "num_errors": int, "errors": list, "platform": str, "meta": dict,
}  # fmt: skip


def _check_kinds(record: Any, kinds: Mapping[str, Any]) -> None:
    if not isinstance(record, Mapping):
        raise InputError(f"{record!r} is not a JSON object")
    for name, kind in kinds.items():
        if name in record and not isinstance(record[name], kind):
            raise InputError(f"field {name!r}: {record[name]!r} is of the wrong type")


# executors.trajectory writes observations as part of a step; these two borrow that form.
def observation_to_json(observation: Observation, image_path: str | None) -> dict[str, Any]:
    """The observation as a JSON object, its screenshot named by `image_path`."""
    step = Step(observation=observation, action=Action(type="wait"), instruction="")
    return step_to_json(step, image_path)["observation"]


def observation_from_json(record: Any, folder: Path) -> Observation:
    """The observation of an `observation_to_json` record; image paths are resolved in `folder`."""
    return step_from_json({"observation": record, "action": {"type": "wait"}, "instruction": ""}, folder).observation


def save_episode(path: Path, episode: EpisodeRecord) -> None:
    """Writes the episode and its screenshots; the file appears when it is complete.

    Raises:
        OutputError: the folder cannot be written.
        MissingFileError: a screenshot's file is gone or unreadable.
    """
    images = path.parent / f"{path.stem}_images"
    temporary: Path | None = None

    def store(observation: Observation) -> str | None:
        return store_screenshot(observation, images, path.parent)

    try:
        temporary = partial_path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        final = episode.final_observation
        record = {
            "schema_version": SCHEMA_VERSION,
            "goal": episode.goal,
            "planner": episode.planner,
            "mode": episode.mode,
            "stop_reason": str(episode.stop_reason),
            "success": episode.success,
            "num_errors": episode.num_errors,
            "errors": list(episode.errors),
            "platform": episode.platform,
            "meta": dict(episode.meta),
            "steps": [step.to_json(store(step.observation)) for step in episode.steps],
            "final_observation": None if final is None else observation_to_json(final, store(final)),
        }
        temporary.write_bytes(json_bytes(record, indent=1))
        temporary.replace(path)
    except OSError as error:
        if isinstance(error, WorkbenchError):
            raise
        raise OutputError(f"cannot write {path} ({error.strerror or error}): choose a folder you may write") from None
    finally:
        with contextlib.suppress(OSError):
            if temporary is not None:
                temporary.unlink(missing_ok=True)


def load_episode(path: Path) -> EpisodeRecord:
    """The episode of a file that `save_episode` wrote.

    Raises:
        MissingFileError: the file does not exist.
        InputError: the file is not an episode; the message names file and field.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MissingFileError(f"cannot read episode {path} ({error.strerror}): check the path") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"episode {path} is not JSON ({error}): record it again") from None
    if not isinstance(record, dict) or record.get("schema_version") != SCHEMA_VERSION:
        found = record.get("schema_version") if isinstance(record, dict) else type(record).__name__
        raise InputError(f"episode {path}: field 'schema_version': {found!r} is not {SCHEMA_VERSION}: record it again")
    steps: list[StepRecord] = []
    place = ""
    try:
        _check_kinds(record, _EPISODE_KINDS)
        for number, step in enumerate(record["steps"], start=1):
            place = f"step {number}: "
            steps.append(StepRecord.from_json(step, path.parent))
        place = ""
        final = record.get("final_observation")
        return EpisodeRecord(
            goal=record["goal"],
            planner=record["planner"],
            mode=record["mode"],
            stop_reason=StopReason(record["stop_reason"]),
            steps=tuple(steps),
            success=record.get("success"),
            num_errors=record.get("num_errors", 0),
            errors=tuple(record.get("errors", ())),
            final_observation=None if final is None else observation_from_json(final, path.parent),
            platform=record.get("platform", ""),
            meta=record.get("meta", {}),
        )
    except KeyError as error:
        raise InputError(f"episode {path}: {place}field {error} is missing: record it again") from None
    except WRONG_FORM as error:
        raise InputError(f"episode {path}: {place}{error}: record it again") from None
