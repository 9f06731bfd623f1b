"""What is wrong with a document: errors, which block its submission, and warnings, which a person may overrule.

    errors      no goal; an action that its platform does not have, that lacks something, or that lies off the image;
                typed text that is empty; a step without words; steps after the end
    warnings    no `finished` or `call_user` at the end, or one that contradicts the outcome; a point outside its
                target, or on none of the screen's elements; a step that does again what was done on the same screen;
                words that name another kind of action; a goal of which no word occurs; a private screen without boxes

Warnings are rules of thumb (the lists of words below are ours and English); what is right although it is warned of is
submitted as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from executors.actions import actions_in, format_call, validate
from executors.geometry import PointNorm
from executors.trajectory import Observation
from training.samples import NOT_IMITATED, spaces_of
from workbench.annotate.document import Document, DocumentStep

_POINTERS = frozenset({"click", "left_double", "right_single", "middle_click", "triple_click", "long_press", "select"})
_KINDS: dict[str, frozenset[str]] = {
    "click": _POINTERS, "tap": _POINTERS, "scroll": frozenset({"scroll", "drag"}),
    "swipe": frozenset({"scroll", "drag"}), "drag": frozenset({"drag"}), "type": frozenset({"type"}),
    "wait": frozenset({"wait"}), "hover": frozenset({"hover"}),
    "double-click": frozenset({"left_double"}), "right-click": frozenset({"right_single"}),
}
"""First word of an instruction -> the actions that it can mean; other words can mean anything."""
_OPPOSITES = {"up": "down", "down": "up", "left": "right", "right": "left"}
_LITTLE_WORDS = frozenset("with from that this then into onto your please have some them when which open".split())
MIN_WORD_CHARS = 4


class Severity(StrEnum):
    """Whether a finding blocks submission."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong. `rule` is its short name, `key` the step's, empty for the whole trajectory."""

    severity: Severity
    rule: str
    message: str
    key: str = ""


def check(document: Document) -> list[Finding]:
    """All findings: those of the whole trajectory, then step by step, errors before warnings within each."""
    findings = [*_check_whole(document)]
    seen: dict[tuple[object, ...], int] = {}
    for number, step in enumerate(document.steps, start=1):
        found = [
            *_check_action(document, step, number), *_check_points(step), *_check_words(step), *_check_marks(step),
            *_check_repetition(step, number, seen),
        ]
        findings += sorted(found, key=lambda finding: finding.severity is Severity.WARNING)
    return findings


def errors(findings: list[Finding]) -> list[Finding]:
    """Those that block submission."""
    return [finding for finding in findings if finding.severity is Severity.ERROR]


def _error(rule: str, message: str, key: str = "") -> Finding:
    return Finding(severity=Severity.ERROR, rule=rule, message=message, key=key)


def _warning(rule: str, message: str, key: str = "") -> Finding:
    return Finding(severity=Severity.WARNING, rule=rule, message=message, key=key)


def _check_whole(document: Document) -> Iterator[Finding]:
    last = document.steps[-1].step.action
    if not document.goal.strip():
        yield _error("no goal", "the goal is empty: say what is to be reached")
    elif not _is_goal_mentioned(document):
        yield _warning("goal not mentioned", "no word of the goal occurs in any step: is this the right goal?")
    if not last.is_terminal:
        yield _warning("no end", "the last step is neither finished nor call_user: a planner learns no end from it")
    elif document.outcome == "success" and last.type == "call_user":
        yield _warning("end contradicts outcome", "the outcome is success, and the last step says it cannot be reached")
    elif document.outcome == "impossible" and last.type == "finished":
        yield _warning("end contradicts outcome", "the outcome is impossible, and the last step says it is reached")


def _is_goal_mentioned(document: Document) -> bool:
    told = " ".join(
        text for step in document.steps for text in (
            step.step.instruction, step.step.thought, step.step.action.content or "", step.step.action.app_name or "",
            step.step.observation.summary)
    )
    wanted = _content_words(document.goal)
    return not wanted or bool(wanted & _content_words(told))


def _content_words(text: str) -> set[str]:
    """Words long enough to mean something, cut to their beginnings so that "save" and "saved" are one."""
    words = re.findall(r"\w+", text.casefold())
    return {word[:5] for word in words if len(word) >= MIN_WORD_CHARS and word not in _LITTLE_WORDS}


def _check_action(document: Document, step: DocumentStep, number: int) -> Iterator[Finding]:
    action, key = step.step.action, step.key
    spaces = spaces_of(document.platform)
    if not action.spec.spaces & spaces:
        names = ", ".join(spec.name for spec in actions_in(*spaces))
        yield _error("illegal action", f"{action.type} does not exist on a {document.platform}: choose of {names}", key)
    problem = validate(action)
    if problem is not None:
        yield _error("malformed action", problem, key)
    if action.type == "type" and not (action.content or "").strip("\n"):
        yield _error("empty text", "the text to type is empty: write it, or press the key enter instead", key)
    if action.is_terminal and number < len(document.steps):
        yield _error("steps after the end", f"{action.type} ends the task, and steps follow it: delete it or them", key)


def _check_points(step: DocumentStep) -> Iterator[Finding]:
    action, target = step.step.action, step.step.target
    point = action.point or action.start_point
    if point is None or not point.is_on_image:
        return
    if target is not None and not target.contains(point):
        yield _warning("outside target", "the point lies outside the target's box: move one of them", step.key)
    elif target is None and _misses(step.step.observation, point):
        yield _warning("on no element", "the point lies on no element of the screen: move it", step.key)


def _misses(seen: Observation, point: PointNorm) -> bool:
    return bool(seen.elements) and not any(element.box.contains(point) for element in seen.elements)


def _check_words(step: DocumentStep) -> Iterator[Finding]:
    words = step.step.instruction.casefold().split()
    action = step.step.action
    if not words:
        yield _error("no words", "the step has no instruction: say in a few words what is to be done", step.key)
        return
    kinds = _KINDS.get(words[0].strip(".,:"))
    if kinds is not None and action.type not in kinds:
        yield _warning("words contradict action", f'it says "{words[0]}" and does {action.type}', step.key)
    elif words[0] == "scroll" and action.direction and _OPPOSITES[action.direction] in words[1:3]:
        yield _warning("words contradict action", f'it says "{" ".join(words[:3])}" and goes {action.direction}',
                       step.key)


def _check_marks(step: DocumentStep) -> Iterator[Finding]:
    if "private" in step.step.flags and not step.blur and step.step.observation.image_size is not None:
        yield _warning("private without boxes", "no box says what is private: the whole screen will be blurred",
                       step.key)


def _check_repetition(step: DocumentStep, number: int, seen: dict[tuple[object, ...], int]) -> Iterator[Finding]:
    """A step that does what was done before on the same screen, which is a repetition or closes a loop.

    Waiting is left out, and so are steps that are marked as not to be imitated.
    """
    if step.step.action.type == "wait" or step.step.flags & NOT_IMITATED:
        return
    screen = step.step.observation
    what = (screen.image_path, screen.summary, screen.text, format_call(step.step.action))
    earlier = seen.setdefault(what, number)
    if earlier != number:
        yield _warning("repetition", f"it does again what step {earlier} did on the same screen: mark one redundant",
                       step.key)
