"""`odyssey_ams`: GUI-Odyssey's own Action Matching Score (AMS) and episode success.

| | |
|---|---|
| set | the test part of GUI-Odyssey's random, task, device or app split; sizes are not published |
| type | the verb is equal |
| grounding | not upstream's: correct points among the point actions whose verb was right |
| step success (AMS) | verb equal, and: CLICK, LONG_PRESS inside `sam2_bbox` or within 0.14 of the recorded point (both axes divided by 1000); TYPE one text inside the other, or edit similarity >= 0.5 (case counts, outer spaces do not); SCROLL the direction; others the verb |
| episode success (SR) | every step of the episode right |
| averages | random split: means over the six categories (`by_category_mean`); other splits: over steps (`step_success`) |
| source | OpenGVLab/GUI-Odyssey fefcbe9, src/eval_mm/GUIOdyssey_action_matching.py and evaluate_GUIOdyssey.py |

Quirks kept on purpose; `odyssey_ams_strict` has none of them:

1. Predictions are split at colons, so typed text ends at its first colon.
2. A click or long press whose recorded `sam2_bbox` is empty makes upstream's scoring fail: always wrong.
3. An episode with a missing prediction is left out of episode success.
"""  # noqa: E501 - a table's row is one line

from __future__ import annotations

from training.benchmarks.protocols.base import Prediction, Protocol, ReferenceStep, StepScore
from training.benchmarks.protocols.matching import edit_similarity, is_in_any, is_near, is_same, text_of

_LEAST_SIMILARITY = 0.5


def is_text_near(mine: str, theirs: str) -> bool:
    """One text inside the other, or an edit similarity of at least 0.5; the empty text is inside every text.

    >>> is_text_near("cats", "dogs"), is_text_near("cat", "the cat"), is_text_near("Cat", "cut")
    (False, True, False)
    """
    mine, theirs = mine.strip(), theirs.strip()
    return mine in theirs or theirs in mine or edit_similarity(mine, theirs) >= _LEAST_SIMILARITY


def score_step(reference: ReferenceStep, prediction: Prediction) -> StepScore:
    """The verdict by the rules and quirks at the top of this module."""
    return _score(reference, prediction, is_strict=False)


def score_step_strict(reference: ReferenceStep, prediction: Prediction) -> StepScore:
    """As `score_step` without the quirks, and texts are equal but for case and outer spaces."""
    return _score(reference, prediction, is_strict=True)


def _score(reference: ReferenceStep, prediction: Prediction, *, is_strict: bool) -> StepScore:
    action, wanted = prediction.action, reference.action
    if action is None or action.type != wanted.type:
        return StepScore(is_type_right=False, success=0.0)
    match wanted.type:
        case "click" | "long_press":
            is_unscorable = not is_strict and reference.boxes == ()
            hit = is_in_any(action.point, reference.all_boxes) or is_near(action.point, wanted.point)
            value = float(hit and not is_unscorable)
            return StepScore(is_type_right=True, success=value, grounding=value)
        case "type" if is_strict:
            is_right = is_same(text_of(action), text_of(wanted))
        case "type":
            is_right = is_text_near(text_of(action).partition(":")[0], text_of(wanted))
        case "scroll":
            is_right = action.direction == wanted.direction
        case _:
            is_right = True
    return StepScore(is_type_right=True, success=float(is_right))


_SOURCE = "OpenGVLab/GUI-Odyssey fefcbe9, src/eval_mm/GUIOdyssey_action_matching.py"
ODYSSEY_AMS = Protocol(
    name="odyssey_ams",
    version=1,
    title="GUI-Odyssey's Action Matching Score: box or 14 %, text half alike",
    source=_SOURCE,
    score_step=score_step,
    datasets=("gui_odyssey",),
    quirks=(
        "typed text ends at its first colon",
        "a point action whose recorded box is empty is always wrong",
        "episodes with a missing prediction are left out of episode success",
    ),
    strict="odyssey_ams_strict",
    skips_incomplete_episodes=True,
)
ODYSSEY_AMS_STRICT = Protocol(
    name="odyssey_ams_strict",
    version=1,
    title="as odyssey_ams without its quirks, texts equal",
    source=f"ours, after {_SOURCE}",
    score_step=score_step_strict,
    datasets=ODYSSEY_AMS.datasets,
)
