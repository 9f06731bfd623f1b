"""The T-step forecast: its types, its text grammar and its parse result.

Grammar (one line a step, after `</think>` where the model thinks)::

    1. click() | tap the "Wi-Fi" switch
    2. type(content='milk') | type "milk"

A line is a number, a call in the syntax of executors.actions (coordinates may be left out: the tool agent finds
them), a bar, and the step instruction in words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from executors.actions import Action, format_call
from executors.errors import InputError
from executors.geometry import ImageSize, ModelFamily
from executors.parsing import build_action, scan_call

THINK_END = "</think>"
_THINK_START = "<think>"
_STEP_LINE = re.compile(r"[ \t]*(?:[-*][ \t]+)?(?:step[ \t]*)?\d{1,3}[ \t]*[.:)][ \t]*+(?!\d)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastStep:
    """One forecast step: an action (its points may be None) and its instruction in words."""

    action: Action
    instruction: str

    def to_json(self) -> dict[str, Any]:
        """{"action": ..., "instruction": ...}."""
        return {"action": self.action.to_json(), "instruction": self.instruction}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> ForecastStep:
        """The step of a `to_json` record; raises one of `errors.WRONG_FORM` for anything else."""
        return cls(action=Action.from_json(record["action"]), instruction=str(record["instruction"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What a planner's reply says: its thought, the steps that could be read, and what was wrong.

    `reason` is None when the whole reply follows the grammar. Otherwise `steps` holds the steps before the first
    broken line, perhaps none, and `kind` tells a "structural" error (no plan, a line that is no step, a thought that
    never ends) from a "content" error (an unknown verb, a missing or impossible argument).
    """

    steps: tuple[ForecastStep, ...]
    thought: str = ""
    reason: str | None = None
    kind: str | None = None
    raw: str = ""

    @property
    def ok(self) -> bool:
        """True when the whole reply could be read."""
        return self.reason is None

    @property
    def first(self) -> ForecastStep | None:
        """The step to execute; None when nothing could be read."""
        return self.steps[0] if self.steps else None

    def to_json(self) -> dict[str, Any]:
        """A JSON object with all fields; the inverse of `from_json`."""
        return {
            "steps": [step.to_json() for step in self.steps],
            "thought": self.thought,
            "reason": self.reason,
            "kind": self.kind,
            "raw": self.raw,
        }

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Forecast:
        """The forecast of a `to_json` record; raises one of `errors.WRONG_FORM` for anything else."""
        for name in ("thought", "raw", "reason", "kind"):
            if not isinstance(record.get(name) or "", str):
                raise InputError(f"field {name!r}: {record[name]!r} is not text")
        return cls(
            steps=tuple(ForecastStep.from_json(s) for s in record["steps"]),
            thought=record.get("thought") or "",
            reason=record.get("reason"),
            kind=record.get("kind"),
            raw=record.get("raw") or "",
        )


def parse_forecast(
    text: str,
    *,
    horizon: int,
    family: ModelFamily | str = "canonical",
    image: ImageSize | None = None,
    is_cut: bool = False,
) -> Forecast:
    """The forecast of a reply; never raises for what the model wrote.

    Lines before the first step are a preamble, unless one holds a parenthesis and then a bar: that is a broken step,
    and the one behind it must not pass for the first. From the first step on, every line that is not blank must be a
    step. Numbers are not compared: a plan may count on from the history. Steps past the horizon are dropped without
    being an error. Steps after `finished` or `call_user` are kept: the reward decides what they are worth.

    Args:
        text: the whole reply; the plan is what follows the last `</think>`.
        horizon: T, at least 1; the most steps that are kept.
        family: the frame and syntax of coordinates, where the model writes them.
        image: the screenshot's size, for families that count pixels; without one there is nothing to point at.
        is_cut: the model was stopped at its most tokens; a step that ends with the reply is then half a step.

    >>> parse_forecast('Home</think>1. click() | tap the "Notes" icon', horizon=4).steps[0].instruction
    'tap the "Notes" icon'
    >>> parse_forecast("I do not know", horizon=4).reason
    'no step line such as "1. click() | tap the button"'
    """
    thought, plan = _split_thought(text)
    steps: list[ForecastStep] = []
    position = 0
    while position < len(plan):
        end = _line_end(plan, position)
        match = _STEP_LINE.match(plan, position, end)
        if match is None:
            line = plan[position:end].strip()
            if not steps and _THINK_START in line:
                thought = text.replace(_THINK_START, "").strip()
                reason = "the thought never ends: no </think>"
                return Forecast(steps=(), thought=thought, reason=reason, kind="structural", raw=text)
            if (steps and line and not line.startswith("```")) or "(" in line.rpartition("|")[0]:
                place = f"after step {len(steps)}" if steps else "before the first step"
                reason = f"line {place} is not a step: {line[:60]!r}"
                return Forecast(steps=tuple(steps), thought=thought, reason=reason, kind="structural", raw=text)
            position = end + 1
            continue
        if len(steps) == horizon:
            break
        step, position, reason, kind = _parse_step(plan, match.end(), family, image)
        if step is not None and is_cut and position > len(plan):
            step, reason, kind = None, "the reply was cut off", "structural"
        if step is None:
            reason = f"step {len(steps) + 1}: {reason}"
            return Forecast(steps=tuple(steps), thought=thought, reason=reason, kind=kind, raw=text)
        steps.append(step)
    if not steps:
        reason = 'no step line such as "1. click() | tap the button"'
        return Forecast(steps=(), thought=thought, reason=reason, kind="structural", raw=text)
    return Forecast(steps=tuple(steps), thought=thought, raw=text)


def _split_thought(text: str) -> tuple[str, str]:
    before, _, after = text.rpartition(THINK_END)
    return before.replace(_THINK_START, "").strip(), after


def _line_end(text: str, start: int) -> int:
    end = text.find("\n", start)
    return len(text) if end < 0 else end


def _parse_step(
    plan: str, start: int, family: ModelFamily | str, image: ImageSize | None
) -> tuple[ForecastStep | None, int, str | None, str | None]:
    """(step, position after its line, reason, kind); the step is None when it is broken."""
    raw_call, after, problem = scan_call(plan, start)
    if raw_call is None:
        return None, after, problem or "not a call", "structural"
    end = _line_end(plan, after)
    rest = plan[after:end].strip()
    if not rest.startswith("|"):
        return None, end + 1, "no bar and instruction after the call", "structural"
    action = build_action(raw_call, family, image or ImageSize(1, 1), need_targets=False)
    if isinstance(action, str):
        return None, end + 1, action, "content"
    instruction = rest[1:].strip()
    if not instruction:
        return None, end + 1, "the instruction is empty", "content"
    return ForecastStep(action=action, instruction=instruction), end + 1, None, None


def format_plan(
    steps: Iterable[ForecastStep], *, family: ModelFamily | str = "canonical", image: ImageSize | None = None
) -> str:
    """The steps as numbered lines of the grammar.

    >>> print(format_plan([ForecastStep(action=Action(type="finished"), instruction="done")]))
    1. finished() | done
    """
    lines = []
    for number, step in enumerate(steps, start=1):
        instruction = " ".join(step.instruction.split())
        lines.append(f"{number}. {format_call(step.action, family=family, image=image)} | {instruction}")
    return "\n".join(lines)


def format_reply(thought: str, steps: Iterable[ForecastStep], **frame: Any) -> str:
    """A whole reply as a thinking model completes it: the thought, `</think>`, the plan."""
    return f"{thought}\n{THINK_END}\n{format_plan(steps, **frame)}"


def without_points(action: Action) -> Action:
    """The action with its points removed, as a planner that leaves grounding to the tool agent writes it.

    >>> from executors.geometry import PointNorm
    >>> without_points(Action(type="click", point=PointNorm(0.5, 0.5))).point is None
    True
    """
    return replace(action, point=None, start_point=None, end_point=None)
