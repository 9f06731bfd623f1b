"""`agentnetbench`: OpenCUA's offline benchmark, with graded scores and several right answers per step.

| | |
|---|---|
| set | AgentNetBench's tasks; their number is not confirmed |
| type | the first predicted verb is among the reference's verbs |
| grounding | the score of the pointed verbs of the best answer |
| step score | the mean, over the kinds of recorded verbs, of their scores; the best of the ground truth and the alternatives. 0 when the first predicted verb is not recorded |
| click family, moveTo, dragTo | 1 in any box; else 1 within 0.01 x sqrt 2 of the point, else exp(-120 (d - 0.01 sqrt 2)) |
| write | edit similarity of the lower-cased, stripped texts; 1 from 0.8 on, else divided by 0.8 |
| press, hotkey | the same set of keys |
| scroll | the verb |
| terminate | the same status |
| source | xlang-ai/OpenCUA 1d70f20, evaluation/agentnetbench/eval.py |

A recorded step is a list of raw actions (moveTo, then dragTo); a canonical prediction is written out in the same form:
`drag` as moveTo and dragTo, `scroll` with a point as moveTo and scroll, `type` as write. For an answer that records no
moveTo a pointed scroll is a scroll alone: the rule of the first verb would else call it wrong, the recorded one, too.

Quirks kept on purpose; `agentnetbench_strict` has none of them:

1. Texts are stripped before the last newline is looked at, so a missing Enter never costs anything.
2. A scroll is right by its verb, whatever its direction.
3. Keys may stand in any order.
4. Upstream's predictor writes `triple_click` where its evaluator expects `tripleclick`: triple clicks never score.

Differences: command and cmd count as ctrl on both sides; upstream maps them in predictions only, and its recorded Mac
keys are already ctrl. A later upstream version (60da8b9) scores scroll amounts, key order and superfluous actions; the
strict variant takes its key order and scroll direction.
"""  # noqa: E501 - a table's row is one line

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from executors.actions import Action
from executors.errors import InputError
from executors.geometry import BoxNorm, PointNorm
from training.benchmarks.protocols.base import Prediction, Protocol, ReferenceStep, StepScore
from training.benchmarks.protocols.matching import edit_similarity, is_in_any

NEAR = 0.01 * math.sqrt(2)
STEEPNESS = 120.0
ENOUGH_SIMILARITY = 0.8
_CLICKS = {
    "click": "click", "left_double": "doubleclick", "right_single": "rightclick", "middle_click": "middleclick",
    "triple_click": "tripleclick", "hover": "moveto", "long_press": "click",
}  # fmt: skip
_POINTED = frozenset({"click", "doubleclick", "rightclick", "middleclick", "tripleclick", "moveto", "dragto"})
_SAME_KEYS = {"cmd": "ctrl", "command": "ctrl"}


@dataclass(frozen=True, slots=True, kw_only=True)
class RawAction:
    """One action in AgentNetBench's own form; what the verb does not have is empty."""

    verb: str
    point: PointNorm | None = None
    boxes: tuple[BoxNorm, ...] = ()
    text: str = ""
    keys: tuple[str, ...] = ()
    status: str = ""
    amount: float = 0.0

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> RawAction:
        """The action of an upstream record.

        Raises:
            InputError: a field is missing or wrong; the message names it.
        """
        try:
            params, metadata = record.get("params") or {}, record.get("metadata") or {}
            position, keys = params.get("position"), params.get("keys") or ()
            return cls(
                verb=str(record["type"]).lower(),
                point=None if position is None else PointNorm(_finite(position["x"]), _finite(position["y"])),
                boxes=tuple(_box(found["rel_bbox"]) for found in metadata.get("bboxes") or ()),
                text=str(params.get("text") or params.get("content") or ""),
                keys=tuple(map(_key, [keys] if isinstance(keys, str) else keys)),
                status=str(params.get("status") or ""),
                amount=_finite(params.get("amount") or params.get("pixels") or 0.0),
            )
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise InputError(f"{str(record)[:80]!r} is no AgentNetBench action ({error!r}): mend the record") from None


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{number} is not a finite number")
    return number


def _box(values: Sequence[Any]) -> BoxNorm:
    left, top, width, height = map(_finite, values)
    return BoxNorm(left, top, left + width, top + height)


def _key(name: object) -> str:
    return _SAME_KEYS.get(str(name).lower(), str(name).lower())


def written_out(action: Action) -> tuple[RawAction, ...]:
    """A canonical action in AgentNetBench's form; empty for actions it does not know.

    >>> [a.verb for a in written_out(Action(type="drag", start_point=PointNorm(0, 0), end_point=PointNorm(1, 1)))]
    ['moveto', 'dragto']
    """
    match action.type:
        case "drag":
            start = RawAction(verb="moveto", point=action.start_point)
            return start, RawAction(verb="dragto", point=action.end_point)
        case "scroll":
            amount = {"up": 1.0, "right": 1.0, "down": -1.0, "left": -1.0}.get(action.direction or "", 0.0)
            verb = "hscroll" if action.direction in ("left", "right") else "scroll"
            turn = RawAction(verb=verb, amount=amount)
            return (turn,) if action.point is None else (RawAction(verb="moveto", point=action.point), turn)
        case "type":
            return (RawAction(verb="write", text=action.content or ""),)
        case "hotkey":
            keys = tuple(map(_key, (action.key or "").split()))
            return (RawAction(verb="press" if len(keys) == 1 else "hotkey", keys=keys),)
        case "finished" | "call_user":
            return (RawAction(verb="terminate", status="success" if action.type == "finished" else "failure"),)
        case "wait":
            return (RawAction(verb="wait"),)
        case _ if action.type in _CLICKS:
            return (RawAction(verb=_CLICKS[action.type], point=action.point),)
    return ()


def point_score(point: PointNorm | None, wanted: RawAction) -> float:
    """1 in a box or near the point, then falling off steeply; 0 without a point.

    >>> round(point_score(PointNorm(0.53, 0.5), RawAction(verb="click", point=PointNorm(0.5, 0.5))), 4)
    0.1491
    """
    if point is None:
        return 0.0
    if is_in_any(point, wanted.boxes):
        return 1.0
    distance = math.inf if wanted.point is None else point.distance(wanted.point)
    return 1.0 if distance <= NEAR else math.exp(-STEEPNESS * (distance - NEAR))


def text_score(mine: str, theirs: str, *, is_strict: bool = False) -> float:
    """1 for texts that are at least 80 % alike, else their similarity divided by 0.8; case does not count.

    A missing or superfluous newline at the end costs a tenth in the strict variant only.

    >>> text_score("Spotify", "SPOTIFY\\n"), round(text_score("abcd", "abxy"), 3)
    (1.0, 0.625)
    """
    similarity = edit_similarity(mine.lower().strip(), theirs.lower().strip())
    is_submitted_alike = not is_strict or mine.endswith("\n") == theirs.endswith("\n")
    return min(1.0, similarity / ENOUGH_SIMILARITY) * (1.0 if is_submitted_alike else 0.9)


def score_actions(
    predicted: Sequence[RawAction], wanted: Sequence[RawAction], *, is_strict: bool = False
) -> tuple[float, float | None, bool]:
    """(score, score of the pointed verbs or None, whether the first verb is recorded) of one list of right actions."""
    verbs = {action.verb for action in wanted}
    pointed = [verb for verb in verbs if verb in _POINTED]
    if not predicted or predicted[0].verb not in verbs:
        return 0.0, 0.0 if pointed else None, False
    by_verb: dict[str, list[float]] = {}
    for place, right in enumerate(wanted):
        mine = predicted[place] if place < len(predicted) else None
        score = 0.0 if mine is None or mine.verb != right.verb else _score_one(mine, right, is_strict)
        by_verb.setdefault(right.verb, []).append(score)
    means = {verb: sum(scores) / len(scores) for verb, scores in by_verb.items()}
    grounding = sum(means[verb] for verb in pointed) / len(pointed) if pointed else None
    return sum(means.values()) / len(means), grounding, True


def _score_one(mine: RawAction, right: RawAction, is_strict: bool) -> float:
    match right.verb:
        case "tripleclick" if not is_strict:
            return 0.0
        case "write":
            return text_score(mine.text, right.text, is_strict=is_strict)
        case "press" | "hotkey":
            return float(mine.keys == right.keys if is_strict else set(mine.keys) == set(right.keys))
        case "scroll" | "hscroll":
            return float(not is_strict or mine.amount * right.amount > 0)
        case "terminate":
            return float(mine.status == right.status)
        case verb if verb in _POINTED:
            return point_score(mine.point, right)
    return 1.0


def _answers(reference: ReferenceStep) -> list[list[RawAction]]:
    """The right answers of a step: upstream's own where recorded, else the canonical action's with the step's boxes."""
    recorded = reference.details.get("ground_truth_actions")
    if not recorded:
        raw = list(written_out(reference.action))
        if raw and raw[0].point is not None:
            raw[0] = replace(raw[0], boxes=reference.all_boxes)
        return [raw]
    answers = (recorded, *(reference.details.get("alternative_options") or ()))
    return [raw_actions(answer) for answer in answers]


def raw_actions(answer: Sequence[Mapping[str, Any]]) -> list[RawAction]:
    """One recorded answer, typing and the Enter after it as one action.

    Raises:
        InputError: one of its actions cannot be read.
    """
    return merge_enter([RawAction.from_json(action) for action in answer])


def merge_enter(actions: Sequence[RawAction]) -> list[RawAction]:
    """Typing and the Enter after it as one action, its text ending in a newline."""
    merged: list[RawAction] = []
    for action in actions:
        is_enter = action.verb in ("press", "hotkey") and action.keys in (("enter",), ("return",))
        if is_enter and merged and merged[-1].verb == "write":
            merged[-1] = replace(merged[-1], text=merged[-1].text + "\n")
        else:
            merged.append(action)
    return merged


def _score(reference: ReferenceStep, prediction: Prediction, is_strict: bool) -> StepScore:
    predicted = () if prediction.action is None else written_out(prediction.action)
    scores = [
        score_actions(_as_answered(predicted, answer), answer, is_strict=is_strict)
        for answer in _answers(reference)
        if answer
    ]
    if not scores:
        return StepScore(is_type_right=False, success=0.0)
    total, grounding, _ = max(scores, key=lambda found: found[0])
    return StepScore(is_type_right=any(found[2] for found in scores), success=total, grounding=grounding)


def _as_answered(predicted: Sequence[RawAction], wanted: Sequence[RawAction]) -> Sequence[RawAction]:
    """A pointed scroll without its moveTo, where the answer records none."""
    is_pointed_scroll = [action.verb for action in predicted] in (["moveto", "scroll"], ["moveto", "hscroll"])
    has_move = any(action.verb == "moveto" for action in wanted)
    return predicted[1:] if is_pointed_scroll and not has_move else predicted


def score_step(reference: ReferenceStep, prediction: Prediction) -> StepScore:
    """The verdict by the rules and quirks at the top of this module."""
    return _score(reference, prediction, is_strict=False)


def score_step_strict(reference: ReferenceStep, prediction: Prediction) -> StepScore:
    """As `score_step` without the quirks."""
    return _score(reference, prediction, is_strict=True)


_SOURCE = "xlang-ai/OpenCUA 1d70f20, evaluation/agentnetbench/eval.py"
AGENTNETBENCH = Protocol(
    name="agentnetbench",
    version=2,
    title="OpenCUA's AgentNetBench: graded, best of several answers",
    source=_SOURCE,
    score_step=score_step,
    datasets=("agentnetbench", "agentnet"),
    quirks=("Enter after a text", "a scroll's direction", "the order of keys", "triple clicks never score"),
    strict="agentnetbench_strict",
)
AGENTNETBENCH_STRICT = Protocol(
    name="agentnetbench_strict",
    version=2,
    title="as agentnetbench; Enter, scroll direction and key order count, triple clicks score",
    source=f"ours, after {_SOURCE}",
    score_step=score_step_strict,
    datasets=AGENTNETBENCH.datasets,
)
