"""`uground500`: UGround's and Aguvis's sample of 500 AndroidControl steps, scored by the accessibility tree.

| | |
|---|---|
| set | 500 random test steps of 424 episodes, a click and the typing after it merged to one step (Hugging Face demisama/UGround-Offline-Evaluation). Other steps can be scored by the same rules; the report then says how many |
| type | the verb is equal |
| grounding | right points among the steps where click, long press or pointed typing was predicted with the right verb, or stood for an equivalent action |
| step success | the point lies in the smallest element around the recorded point; typed text is exactly equal; all other arguments are equal |
| equivalent | a click for opening an app when the clicked element's text holds the app's name; a click for going back when it holds "back"; and the reverse |
| source | OSU-NLP-Group/UGround 3a9b9f2, offline_evaluation/AndroidControl/eval.py |

Differences: where the reference is a click and the prediction opens an app or goes back, upstream looks at the point
that its grounding model gave and takes any text for the (absent) app's name; we look at the element under the recorded
point and the predicted name. Without a recorded tree the smallest of the step's own boxes around its point decides,
and where there is none, nothing is right: on UI-S1's boxes an oracle reaches 97.9 %.
About a fifth of the labels are wrong, says GUI-Libra, which keeps 398 steps. There is no strict variant: nothing here
is lenient.
"""  # noqa: E501 - a table's row is one line

from __future__ import annotations

from executors.actions import Action
from executors.geometry import BoxNorm, PointNorm
from executors.trajectory import Element
from training.benchmarks.protocols.base import Prediction, Protocol, ReferenceStep, StepScore
from training.benchmarks.protocols.matching import area
from training.benchmarks.protocols.qwen_bbox import includes

_POINTED = ("click", "long_press", "type")
_ARGUMENTS = ("direction", "content", "app_name", "key", "value", "name")


def smallest_element(reference: ReferenceStep, point: PointNorm | None) -> Element | None:
    """The smallest element of the tree around a point; None without a point, a tree or an element there."""
    around = [e for e in reference.elements if point is not None and e.box.contains(point)]
    return min(around, key=lambda e: area(e.box), default=None)


def target_box(reference: ReferenceStep) -> BoxNorm | None:
    """The box that a point must hit: of the smallest element around the recorded point, else the smallest recorded."""
    point = reference.action.point
    element = smallest_element(reference, point)
    if element is not None:
        return element.box
    around = [box for box in reference.all_boxes if point is not None and box.contains(point)]
    return min(around, key=area, default=None)


def score_step(reference: ReferenceStep, prediction: Prediction) -> StepScore:
    """The verdict by the rules at the top of this module."""
    action, wanted = prediction.action, reference.action
    if action is None:
        return StepScore(is_type_right=False, success=0.0)
    if action.type == wanted.type and action.type in _POINTED and (wanted.point or wanted.type != "type"):
        box = target_box(reference)
        is_hit = box is not None and action.point is not None and box.contains(action.point)
        hit = float(is_hit and action.content == wanted.content)
        return StepScore(is_type_right=True, success=hit, grounding=hit)
    if action.type == wanted.type:
        is_right = all(getattr(action, name) == getattr(wanted, name) for name in _ARGUMENTS)
        return StepScore(is_type_right=True, success=float(is_right or wanted.type == "wait"))
    if "click" in (action.type, wanted.type):
        other = wanted if action.type == "click" else action
        if other.type in ("open_app", "press_back"):
            hit = float(_is_equivalent(reference, action, other))
            return StepScore(is_type_right=False, success=hit, grounding=hit)
    return StepScore(is_type_right=False, success=0.0)


def _is_equivalent(reference: ReferenceStep, action: Action, other: Action) -> bool:
    point = action.point if action.type == "click" else reference.action.point
    element = smallest_element(reference, point)
    needed = (other.app_name or "").strip().lower() if other.type == "open_app" else "back"
    return element is not None and bool(needed) and needed in element.text.lower()


UGROUND500 = Protocol(
    name="uground500",
    version=1,
    title="UGround's 500 AndroidControl steps: the smallest element around the recorded point",
    source="OSU-NLP-Group/UGround 3a9b9f2, offline_evaluation/AndroidControl/eval.py",
    score_step=score_step,
    datasets=("android_control",),
    includes=includes,
    set_sizes={"android_control": 500},
)
