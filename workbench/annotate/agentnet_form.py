"""Trajectories in AgentNet's form: one record a line, actions as pyautogui code, screenshots in images/.

What the form has no place for is told, not hidden: every record is written together with the list of what
`training.datasets.agentnet` will not give back. A record with an action that has no code is not written at all,
because its later screens would follow from nothing.

Source: the data card of xlangai/AgentNet; the code is what `training.datasets.pyautogui_code` reads.
"""

from __future__ import annotations

from typing import Any

from executors.actions import Action
from executors.errors import InputError
from executors.geometry import PointNorm
from executors.trajectory import Step, Trajectory
from training.datasets.agentnet import META_FIELDS
from training.datasets.base import text_of
from training.datasets.normalise import summary_of
from training.datasets.pyautogui_code import CodeError, read_code
from workbench.annotate.document import META

_CLICKS = {"click": "pyautogui.click", "left_double": "pyautogui.doubleClick", "right_single": "pyautogui.rightClick",
           "middle_click": "pyautogui.middleClick", "triple_click": "computer.tripleClick", "hover": "pyautogui.moveTo"}
_SCROLLS = {"up": "scroll(3)", "down": "scroll(-3)", "right": "hscroll(3)", "left": "hscroll(-3)"}
_COMPLETED = {"success": True, "failure": False}
_HELD_FLAGS = frozenset({"redundant", "incorrect"})


class NoPlaceError(InputError):
    """The form cannot hold this trajectory."""


def code_of(action: Action) -> str:
    r"""The action as AgentNet's code; optional points of typing have no place in it.

    Raises:
        NoPlaceError: no code does this.

    >>> code_of(Action(type="scroll", direction="down", point=PointNorm(0.5, 0.25)))
    'pyautogui.moveTo(x=0.5, y=0.25)\npyautogui.scroll(-3)'
    """
    match action.type:
        case kind if kind in _CLICKS and action.point is not None:
            return f"{_CLICKS[kind]}({_xy(action.point)})"
        case "drag" if action.start_point is not None and action.end_point is not None:
            return (f"pyautogui.moveTo({_xy(action.start_point)})\n"
                    f"pyautogui.dragTo({_xy(action.end_point)}, button='left')")
        case "scroll":
            move = "" if action.point is None else f"pyautogui.moveTo({_xy(action.point)})\n"
            return f"{move}pyautogui.{_SCROLLS[action.direction]}"
        case "type":
            text, submits = action.content, len(action.content) > 1 and action.content.endswith("\n")
            enter = "\npyautogui.press('enter')" if submits else ""
            return f"pyautogui.write(message={text[:-1] if submits else text!r}){enter}"
        case "hotkey":
            keys = action.key.split()
            return f"pyautogui.{'press' if len(keys) == 1 else 'hotkey'}(keys={keys!r})"
        case "wait":
            return f"computer.wait({'' if action.seconds is None else repr(action.seconds)})"
        case "finished" | "call_user":
            status = "success" if action.type == "finished" else "failure"
            answer = f", answer={action.content!r}" if action.content else ""
            return f"computer.terminate(status='{status}'{answer})"
    raise NoPlaceError(f"{action.type} has no pyautogui code")


def _xy(point: PointNorm) -> str:
    return f"x={point.x!r}, y={point.y!r}"


def record_of(trajectory: Trajectory, images: list[str | None]) -> tuple[dict[str, Any], list[str]]:
    """The record, and what of the trajectory it has no place for.

    Args:
        trajectory: as a `Document` gives it.
        images: the file name of each step's screenshot.

    Raises:
        NoPlaceError: there is no goal, or a step has no screenshot, or an action that has no code or comes back as
            another one.
    """
    if not trajectory.goal.strip():
        raise NoPlaceError("it has no goal")
    marks = trajectory.meta.get(META, {})
    meta = {name: value for name, value in trajectory.meta.items() if name != META}
    losses = _losses_of_whole(trajectory, marks, meta)
    correct = set(marks.get("correct", ()))
    steps = []
    for place, (step, image) in enumerate(zip(trajectory.steps, images, strict=True)):
        try:
            value, lost = _value_of(step, place in correct)
        except (CodeError, NoPlaceError) as error:
            raise NoPlaceError(f"step {place + 1}: {error}") from None
        if image is None:
            raise NoPlaceError(f"step {place + 1} has no screenshot")
        if step.action.is_terminal and place + 1 < len(trajectory.steps):
            raise NoPlaceError(f"step {place + 1}: {step.action.type} stands before the end")
        steps.append({"index": place, "image": image, "value": value})
        losses += [f"step {place + 1}: {name}" for name in lost]
    record = {"task_id": trajectory.id, "instruction": trajectory.goal,
              "task_completed": _COMPLETED.get(trajectory.outcome),
              **{name: meta[name] for name in META_FIELDS if name in meta and name != "task_completed"}}
    if "difficulty" in marks:
        record["task_difficulty"] = marks["difficulty"]
    return {**record, "traj": steps}, losses


def _losses_of_whole(trajectory: Trajectory, marks: dict[str, Any], meta: dict[str, Any]) -> list[str]:
    held = {"source": "agentnet", "platform": "desktop", "licence": "MIT", "split": "train"}
    losses = [name for name, value in held.items() if getattr(trajectory, name) != value]
    losses += [f"meta {name}" for name in meta if name not in META_FIELDS]
    losses += [name for name in ("correct", "blur") if name in marks]
    if meta.get("task_completed") != _COMPLETED.get(trajectory.outcome):
        losses.append("meta task_completed")
    gave_up = trajectory.steps[-1].action.type == "call_user" and meta.get("domain") == "infeasible"
    if (trajectory.outcome == "impossible") != gave_up:
        losses.append("outcome")
    if trajectory.goal != trajectory.goal.strip():
        losses.append("spaces around the goal")
    return losses


def _value_of(step: Step, is_correct: bool) -> tuple[dict[str, Any], list[str]]:
    seen, code = step.observation, code_of(step.action)
    back = read_code(code).action
    if back is None or back.type != step.action.type:
        raise NoPlaceError(f"{step.action.type} comes back as {'nothing' if back is None else back.type}")
    losses = [] if back == step.action else [f"arguments of {back.type}"]
    losses += [name for name, value in (("target", step.target), ("elements", seen.elements), ("text", seen.text),
                                        ("error", step.error)) if value not in (None, ())]
    losses += [f"mark {flag}" for flag in sorted(step.flags - _HELD_FLAGS)]
    for name, text, kept in (("instruction", step.instruction, text_of(step.instruction)),
                             ("thought", step.thought, step.thought.strip()),
                             ("summary", seen.summary, summary_of(seen.summary))):
        if not kept == text or (name == "instruction" and not text):
            losses.append(name)
    value: dict[str, Any] = {"observation": seen.summary, "thought": step.thought, "action": step.instruction,
                             "code": code, "last_step_redundant": "redundant" in step.flags}
    if is_correct or "incorrect" in step.flags:
        value["last_step_correct"] = is_correct
    return value, losses
