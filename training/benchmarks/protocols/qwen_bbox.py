"""`qwen_bbox`: the box protocol of Qwen2.5-VL and InfiGUI-R1 on AndroidControl.

| | |
|---|---|
| set | AndroidControl test, all 8,444 action steps |
| type | the verb is equal; an app opened by a click counts when the reference records its icon's boxes |
| grounding (click_match) | correct clicks / all recorded clicks |
| step success (exact_match) | click, long_press: inside a candidate box enlarged 1.2 times about its centre, or within 0.04 x max(width, height) pixels of the recorded point. type, open: one text inside the other, case and outer spaces do not count. open: or a click by the rule above, around the first box's centre. swipe: its direction. system buttons: the same one. wait: the verb |
| source | X-PLUG/MobileAgent (UI-S1) and Reallm-Labs/InfiGUI-R1 d280ab8, evaluate_android_control_action, after QwenLM/Qwen2.5-VL issue 904 |

Quirks kept on purpose; `qwen_bbox_strict` has none of them:

1. Text matches when either lies inside the other, so an empty text matches every text.
2. An app may be opened by a click on its icon.

Differences: upstream compares the finger's direction of a swipe with the recorded direction; we compare what is revealed,
since both sides are canonical. Upstream also counts opened apps among the correct clicks, though not among all clicks;
we do not. Boxes of a step come from the accessibility tree by an unpublished rule; without recorded boxes only the
distance decides. The system buttons back, home, recent apps and Enter are verbs of their own here and one there, which
shows in the type figure alone: any of them for another counts as the right verb.
"""  # noqa: E501 - a table's row is one line

from __future__ import annotations

import math

from executors.actions import Action
from executors.geometry import ImageSize, PointNorm
from training.benchmarks.protocols.base import Prediction, Protocol, ReferenceStep, StepScore
from training.benchmarks.protocols.matching import enlarged, is_in_any, is_same, text_of

BOX_FACTOR = 1.2
PIXEL_SHARE = 0.04
_BUTTONS = {"press_back": "back", "press_home": "home", "press_appselect": "menu"}
_USUAL_SCREEN = ImageSize(1080, 2400)
"""AndroidControl's usual screen, for steps that record no size; only the ratio of its sides matters here."""


def is_click_right(reference: ReferenceStep, point: PointNorm | None, wanted: PointNorm | None) -> bool:
    """Whether a point lies in an enlarged box of the step, or near the wanted point in pixels."""
    if point is None:
        return False
    if is_in_any(point, (enlarged(box, BOX_FACTOR) for box in reference.all_boxes)):
        return True
    if wanted is None:
        return False
    size = reference.image_size or _USUAL_SCREEN
    width, height = size.width_px, size.height_px
    distance_px = math.hypot((point.x - wanted.x) * width, (point.y - wanted.y) * height)
    return distance_px <= PIXEL_SHARE * max(width, height) + 1e-6


def is_text_inside(mine: str, theirs: str) -> bool:
    """Whether either text lies inside the other, without case and outer spaces.

    >>> is_text_inside("Zoho", "zoho meeting"), is_text_inside("Zoho mail", "zoho meeting")
    (True, False)
    """
    mine, theirs = mine.lower().strip(), theirs.lower().strip()
    return mine in theirs or theirs in mine


def score_step(reference: ReferenceStep, prediction: Prediction) -> StepScore:
    """The verdict by the rules and quirks at the top of this module."""
    return _score(reference, prediction, is_strict=False)


def score_step_strict(reference: ReferenceStep, prediction: Prediction) -> StepScore:
    """As `score_step`, but texts are equal and apps are opened by name."""
    return _score(reference, prediction, is_strict=True)


def _score(reference: ReferenceStep, prediction: Prediction, *, is_strict: bool) -> StepScore:
    action, wanted = prediction.action, reference.action
    grounding = 0.0 if wanted.type == "click" else None
    if action is None:
        return StepScore(is_type_right=False, success=0.0, grounding=grounding)
    button, wanted_button = _button(action), _button(wanted)
    is_same_verb = action.type == wanted.type or bool(button and wanted_button)
    if wanted.type == "open_app" and action.type == "click" and reference.all_boxes and not is_strict:
        hit = is_click_right(reference, action.point, reference.all_boxes[0].center)
        return StepScore(is_type_right=True, success=float(hit))
    if not is_same_verb:
        return StepScore(is_type_right=False, success=0.0, grounding=grounding)
    match wanted.type:
        case "click" | "long_press":
            is_right = is_click_right(reference, action.point, wanted.point)
            grounding = float(is_right) if wanted.type == "click" else None
        case "type" | "open_app":
            is_text_right = is_same if is_strict else is_text_inside
            is_right = is_text_right(text_of(action), text_of(wanted))
        case "scroll":
            is_right = action.direction == wanted.direction
        case _:
            is_right = button == wanted_button and (bool(button) or action.key == wanted.key)
    return StepScore(is_type_right=True, success=float(is_right), grounding=grounding)


def _button(action: Action) -> str:
    """Upstream's system button; "" for none. Its Enter is a key of its own here."""
    is_enter = action.type == "hotkey" and action.key in ("enter", "return")
    return "enter" if is_enter else _BUTTONS.get(action.type, "")


def includes(reference: ReferenceStep) -> bool:
    """Every step that upstream has; AndroidControl has no `finished`."""
    return not reference.action.is_terminal


_SOURCE = "Reallm-Labs/InfiGUI-R1 d280ab8 and X-PLUG/MobileAgent UI-S1, evaluate_android_control_action"
QWEN_BBOX = Protocol(
    name="qwen_bbox",
    version=2,
    title="Qwen2.5-VL's and InfiGUI-R1's AndroidControl: enlarged boxes or 4 % in pixels",
    source=_SOURCE,
    score_step=score_step,
    datasets=("android_control",),
    includes=includes,
    set_sizes={"android_control": 8444},
    quirks=("one text inside the other is right", "an app may be opened by a click on its icon"),
    strict="qwen_bbox_strict",
)
QWEN_BBOX_STRICT = Protocol(
    name="qwen_bbox_strict",
    version=2,
    title="as qwen_bbox, texts equal and apps opened by name",
    source=f"ours, after {_SOURCE}",
    score_step=score_step_strict,
    datasets=QWEN_BBOX.datasets,
    includes=includes,
    set_sizes=QWEN_BBOX.set_sizes,
)
