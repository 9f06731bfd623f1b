"""`osatlas`: the protocol of OS-Atlas, which UI-TARS, UI-R1 and BTL-UI follow and, by inference, TraceR1.

| | |
|---|---|
| sets | AndroidControl-High and -Low: 7,708 steps, all action steps of 1,412 test episodes (131 whole episodes are absent, assets/benchmarks/osatlas_absent_episodes.txt; why is not documented). GUI-Odyssey test splits; which one was reported is not stated |
| type | the verb is equal, over all steps |
| grounding | correct clicks among the clicks whose verb was right (a conditional figure) |
| step success | CLICK, LONG_PRESS: the point lies within 140 of 1000 in the normalised frame (a circle there, an ellipse on the screen). Text: below. Others: exact equality, which for SCROLL is its direction |
| source | OS-Copilot/OS-Atlas bad0840, eval_scripts/android_control and eval_scripts/odyssey, evaluation_unify.py |

Quirks kept on purpose; `osatlas_strict` has none of them:

1. AndroidControl TYPE and OPEN_APP: right when the whole text is equal, or when the *first* word is, brackets and all:
   upstream compares only the first piece after the verb of "TYPE [hello world]". So "Hello there" is right for "hello
   world", and "hello" is wrong, since "[hello]" is not "[hello".
2. GUI-Odyssey TYPE: token-set F1 above 0.5 over the string with its verb, so the verb alone is a word in common.
3. GUI-Odyssey: a click without a readable point counts as (0, 0), and a long press whose verb was right stands in
   grounding's denominator but never in its numerator.

Differences: coordinates are compared as canonical floats, not as whole thousandths. Steps that the data set does not
have (an added `finished` of AndroidControl) are left out.
"""  # noqa: E501 - a table's row is one line

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from executors.actions import Action
from executors.geometry import PointNorm
from training.benchmarks.protocols.base import Prediction, Protocol, ReferenceStep, StepScore
from training.benchmarks.protocols.matching import is_near, is_same, same_arguments, set_f1, text_of, tokens

_ABSENT = Path(__file__).resolve().parents[3] / "assets" / "benchmarks" / "osatlas_absent_episodes.txt"
_POINTED = ("click", "long_press")
_EPISODE_NUMBER = re.compile(r"(\d+)\D*$")


def is_text_right_android_control(action: Action, reference: Action) -> bool:
    """Upstream's rule for TYPE and OPEN_APP: equal, or equal in the first piece of the bracketed text.

    >>> is_text_right_android_control(
    ...     Action(type="type", content="Hello there"), Action(type="type", content="hello world"))
    True
    >>> is_text_right_android_control(Action(type="type", content="hello"), Action(type="type", content="hello world"))
    False
    """
    mine, theirs = f"[{text_of(action)}]", f"[{text_of(reference)}]"
    return mine == theirs or set_f1(tokens(mine.split()[0]), tokens(theirs.split()[0])) > 0.5


def is_text_right_odyssey(action: Action, reference: Action) -> bool:
    """Upstream's rule for GUI-Odyssey's TYPE: token-set F1 above 0.5, the verb among the tokens.

    >>> is_text_right_odyssey(Action(type="type", content="plums"), Action(type="type", content="red plums"))
    True
    """
    return set_f1(tokens(f"TYPE {text_of(action)}"), tokens(f"TYPE {text_of(reference)}")) > 0.5


def score_step(reference: ReferenceStep, prediction: Prediction) -> StepScore:
    """The verdict by the rules and quirks at the top of this module."""
    action, wanted = prediction.action, reference.action
    is_odyssey = reference.dataset == "gui_odyssey"
    if action is None or action.type != wanted.type:
        return StepScore(is_type_right=False, success=0.0)
    if wanted.type in _POINTED:
        point = action.point or (PointNorm(0.0, 0.0) if is_odyssey else None)
        hit = float(is_near(point, wanted.point))
        if wanted.type == "click":
            return StepScore(is_type_right=True, success=hit, grounding=hit)
        return StepScore(is_type_right=True, success=hit, grounding=0.0 if is_odyssey else None)
    if wanted.type == "type" and is_odyssey:
        is_right = is_text_right_odyssey(action, wanted)
    elif wanted.type in ("type", "open_app"):
        is_right = is_text_right_android_control(action, wanted)
    else:
        is_right = wanted.type != "scroll" or action.direction == wanted.direction
    return StepScore(is_type_right=True, success=float(is_right))


def score_step_strict(reference: ReferenceStep, prediction: Prediction) -> StepScore:
    """As `score_step`, but texts are equal as a whole and a point is a point: no quirk is kept."""
    action, wanted = prediction.action, reference.action
    if action is None or action.type != wanted.type:
        return StepScore(is_type_right=False, success=0.0)
    if wanted.type in _POINTED:
        hit = float(is_near(action.point, wanted.point))
        return StepScore(is_type_right=True, success=hit, grounding=hit)
    if wanted.type in ("type", "open_app"):
        return StepScore(is_type_right=True, success=float(is_same(text_of(action), text_of(wanted))))
    is_terminal = wanted.is_terminal  # COMPLETE and IMPOSSIBLE carry no text there
    return StepScore(is_type_right=True, success=float(is_terminal or same_arguments(action, wanted)))


@cache
def absent_episodes() -> frozenset[int]:
    """The AndroidControl test episodes that OS-Atlas's list leaves out, 131 of 1,543."""
    return frozenset(int(number) for number in _ABSENT.read_text(encoding="utf-8").split())


def includes(reference: ReferenceStep) -> bool:
    """Whether the step is in OS-Atlas's set; every step of GUI-Odyssey, and of data sets it never saw, is."""
    if reference.dataset != "android_control":
        return True
    number = _EPISODE_NUMBER.search(reference.episode)
    return not reference.action.is_terminal and (number is None or int(number[1]) not in absent_episodes())


_SOURCE = "OS-Copilot/OS-Atlas bad0840, eval_scripts/*/evaluation_unify.py"
OSATLAS = Protocol(
    name="osatlas",
    version=1,
    title="OS-Atlas's step success: 14 % of the screen, lenient text",
    source=_SOURCE,
    score_step=score_step,
    datasets=("android_control", "gui_odyssey"),
    includes=includes,
    set_sizes={"android_control": 7708},
    quirks=(
        "AndroidControl text is right when its first word is",
        "GUI-Odyssey text is right at a token F1 above 0.5, the verb counted",
        "GUI-Odyssey: no point counts as (0, 0); long presses stand only in grounding's denominator",
    ),
    strict="osatlas_strict",
)
OSATLAS_STRICT = Protocol(
    name="osatlas_strict",
    version=1,
    title="as osatlas, whole texts equal and points required",
    source=f"ours, after {_SOURCE}",
    score_step=score_step_strict,
    datasets=OSATLAS.datasets,
    includes=includes,
    set_sizes=OSATLAS.set_sizes,
)
