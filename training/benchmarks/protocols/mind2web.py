"""`m2w_uground` and `m2w_seeclick`: the two protocols of Multimodal-Mind2Web.

| | m2w_uground | m2w_seeclick |
|---|---|---|
| sets | test_task 1,338, test_website 1,019, test_domain 4,050 steps | the same splits; steps without a box are skipped |
| element (grounding) | the point lies in any positive box | in the step's first box, its edges rounded to three decimals of the image |
| type | not upstream's: the operation's class is equal | the operation's class is equal (Op_match) |
| operation F1 (part) | token-set F1 of "OP value", lower case, punctuation tokens dropped | the same without dropping punctuation, OP a number, so that a typed word never equals it |
| step success | element right and operation F1 = 1 | the same |
| averages | over steps (micro) and over tasks (macro: `..._by_episode_mean`) | over steps and over tasks; operation F1 is the mean over the three classes (`by_operation_f1`) |
| source | OSU-NLP-Group/UGround 3a9b9f2, offline_evaluation/Multimodal-Mind2Web/eval.py | njucckevin/SeeClick 0ef37ac, agent_tasks/mind2web_test.py |

Operations are CLICK, TYPE and SELECT: hovering counts as CLICK, and so does a pressed Enter, which is a click on the
element there. A planner that asks to scroll on has no operation of these and is wrong.

`m2w_uground` has a ceiling: a step without a positive box (6.1, 4.3 and 5.5 % of the splits) can never be right. Kept on
purpose. `m2w_uground_strict` differs from it in one thing: such steps are left out, as SeeClick does, and the rest stays.
Difference: upstream adds a wrong step for every step of a task that its file lacks; here a step without a prediction is
wrong, and a step that the references lack is not counted. A click's value, which upstream would compare, does not
exist in canonical actions. The one number for the three splits is the mean of their step successes (`by_split_mean` of
a file that holds them all).
"""  # noqa: E501 - a table's row is one line

from __future__ import annotations

import string

from executors.actions import Action
from executors.geometry import BoxNorm
from training.benchmarks.protocols.base import Prediction, Protocol, ReferenceStep, StepScore
from training.benchmarks.protocols.matching import is_in_any, set_f1, tokens

_OPERATIONS = {"click": "click", "hover": "click", "type": "type", "select": "select"}
_NUMBERS = {"click": "4", "type": "3", "select": "2"}
"""SeeClick's numbers of the operations."""


def operation(action: Action | None) -> str:
    """The operation and value of an action as both protocols compare them, lower case; "" for none of theirs.

    >>> operation(Action(type="type", content="Kansas\\n")), operation(Action(type="scroll", direction="down"))
    ('type kansas', 'scroll')
    """
    if action is None:
        return ""
    if action.type == "hotkey" and (action.key or "") in ("enter", "return"):
        return "click"
    verb = _OPERATIONS.get(action.type, action.type)
    value = {"type": action.content, "select": action.value}.get(verb)
    return f"{verb} {(value or '').strip()}".strip().lower()


def operation_f1_uground(action: Action | None, reference: Action) -> float:
    """F1 of the two operations' sets of words, 0..1; the verb is a word like those of the value.

    >>> operation_f1_uground(Action(type="type", content="Kansas City"), Action(type="type", content="kansas !"))
    0.8
    """
    mine, theirs = (
        {token for token in tokens(operation(some)) if token not in string.punctuation} for some in (action, reference)
    )
    return set_f1(mine, theirs)


def operation_f1_seeclick(action: Action | None, reference: Action) -> float:
    """F1 of the two operations' sets of words, 0..1; the verb is a number there, equal to no word but that number.

    >>> operation_f1_seeclick(Action(type="type", content="type foo"), Action(type="type", content="foo"))
    0.8
    """
    mine, theirs = (_numbered(operation(some)) for some in (action, reference))
    return set_f1(mine, theirs)


def _numbered(text: str) -> set[str]:
    verb, _, value = text.partition(" ")
    return tokens(f"{_NUMBERS.get(verb, verb)} {value}")


def score_step_uground(reference: ReferenceStep, prediction: Prediction) -> StepScore:
    """UGround's verdict; a step without a box has a wrong element."""
    action = prediction.action
    element = float(action is not None and is_in_any(action.point, reference.all_boxes))
    return _score(action, reference.action, element, operation_f1_uground(action, reference.action))


def score_step_seeclick(reference: ReferenceStep, prediction: Prediction) -> StepScore:
    """SeeClick's verdict; a reply that cannot be read is wrong in every part."""
    action = prediction.action
    boxes = [_rounded(box) for box in reference.all_boxes[:1]]
    element = float(action is not None and is_in_any(action.point, boxes))
    return _score(action, reference.action, element, operation_f1_seeclick(action, reference.action))


def _score(action: Action | None, wanted: Action, element: float, f1: float) -> StepScore:
    verb = operation(wanted).partition(" ")[0]
    return StepScore(
        is_type_right=operation(action).partition(" ")[0] == verb,
        success=float(element == 1.0 and f1 == 1.0),
        grounding=element,
        parts={"operation_f1": f1, f"operation_f1_{verb}": f1},
    )


def _rounded(box: BoxNorm) -> BoxNorm:
    return BoxNorm(round(box.left, 3), round(box.top, 3), round(box.right, 3), round(box.bottom, 3))


def includes_uground(reference: ReferenceStep) -> bool:
    """Every step that upstream has; Mind2Web has no `finished`."""
    return not reference.action.is_terminal


def includes_seeclick(reference: ReferenceStep) -> bool:
    """Every step with a box."""
    return not reference.action.is_terminal and bool(reference.all_boxes)


_SIZES = {"mind2web/task": 1338, "mind2web/website": 1019, "mind2web/domain": 4050}
_UGROUND = "OSU-NLP-Group/UGround 3a9b9f2, offline_evaluation/Multimodal-Mind2Web/eval.py"
M2W_UGROUND = Protocol(
    name="m2w_uground",
    version=1,
    title="UGround's Mind2Web: any positive box and an operation F1 of 1",
    source=_UGROUND,
    score_step=score_step_uground,
    datasets=("mind2web",),
    includes=includes_uground,
    set_sizes=_SIZES,
    quirks=("steps without a positive box are always wrong: the ceiling is 94 to 96 %",),
    strict="m2w_uground_strict",
)
M2W_UGROUND_STRICT = Protocol(
    name="m2w_uground_strict",
    version=1,
    title="as m2w_uground, steps without a box left out",
    source=f"ours, after {_UGROUND}",
    score_step=score_step_uground,
    datasets=M2W_UGROUND.datasets,
    includes=includes_seeclick,
)
M2W_SEECLICK = Protocol(
    name="m2w_seeclick",
    version=2,
    title="SeeClick's Mind2Web: the first box, steps without one skipped",
    source="njucckevin/SeeClick 0ef37ac, agent_tasks/mind2web_test.py",
    score_step=score_step_seeclick,
    datasets=M2W_UGROUND.datasets,
    includes=includes_seeclick,
)
