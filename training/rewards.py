"""The rewards of Stage 1 and Stage 2: pure functions of a forecast and a recorded reference.

How they differ from the paper ("Anticipatory Planning for Multimodal AI Agents", arXiv 2603.16777, 2026), which gives
the formulas but publishes neither sim, rep, nor any weight:

1. sim and rep are ours and chosen in `RewardConfig`. The paper's wording is sim="operation".
2. A repetition that the reference makes at the same place is not punished (`StepReward.rep` is 0): scrolling down
   twice is right where the recorded trajectory scrolled down twice.
3. Steps beyond the end of the reference, and steps after the forecast's own `finished` or `call_user`, count as
   repetitions unless `RewardConfig.overlong` is "ignore": without this, a longer forecast would never cost anything.
4. A reply without one readable step gets `RewardConfig.parse_failure` in place of R.
5. Stage 2's match of coordinates, texts and answers is spelled out in `grounded_reward` and `tool_reward`.

Legend: T forecast horizon, t lookahead counted from 1.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from executors.actions import Action, ArgKind
from executors.errors import ExecutorError
from executors.geometry import BoxNorm, PointNorm
from executors.tool_agents import Grounding
from executors.trajectory import Step
from training.benchmarks import gaia, gta
from training.config import RewardConfig
from training.forecast import Forecast, ForecastStep

_WORD = re.compile(r"\w+")
_QUOTED = re.compile(r"\"([^\"]+)\"|“([^”]+)”|(?<!\w)'([^']+)'(?!\w)|(?<!\w)‘([^’]+)’(?!\w)")


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReward:
    """The reward of lookahead t: sim_t in 0..1, rep_t (0 or 1), and gamma^(t-1) (lambda_align sim - lambda_rep rep)."""

    sim: float
    rep: float
    discounted: float
    is_overlong: bool = False

    def to_json(self) -> dict[str, Any]:
        """A JSON object with the numbers rounded to six decimals."""
        record = {"sim": round(self.sim, 6), "rep": self.rep, "discounted": round(self.discounted, 6)}
        return {**record, "is_overlong": True} if self.is_overlong else record


@dataclass(frozen=True, slots=True)
class ToolOutcome:
    """What a call gave: its text (or why it failed), and size and pixels of the image it made, None without one."""

    text: str
    is_ok: bool
    pixels: tuple[tuple[int, int], bytes] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrajectoryReward:
    """R of one forecast, the parts of its steps, and whether the whole reply could be read."""

    total: float
    steps: tuple[StepReward, ...]
    parse_ok: bool


def trajectory_reward(
    forecast: Forecast, reference: Sequence[ForecastStep], config: RewardConfig, horizon: int
) -> TrajectoryReward:
    """Stage 1's reward R = sum over t = 1..T of gamma^(t-1) (lambda_align sim_t - lambda_rep rep_t).

    - A step that the forecast lacks has sim 0 and rep 0, so stopping early earns nothing more.
    - A step beyond the end of the reference, or after the forecast's own terminal action, has sim 0; by
      `config.overlong` it counts as a repetition ("penalise") or only when it is one ("ignore").
    - A reply that breaks off keeps the reward of the steps read before the break; one without a readable step gets
      `config.parse_failure`, whatever the reference holds.
    - Neither forecast nor reference has a step, and the reply is not broken: R = 0.

    Args:
        forecast: the parsed reply.
        reference: the recorded continuation, at most T steps; fewer when the trajectory ended.
        config: weights and variants.
        horizon: T; later steps of either side are not looked at.

    Returns:
        R between -lambda_rep S and lambda_align S with S = sum of gamma^(t-1), or the parse failure's value; the parts
        hold one entry per forecast step.

    Source: equation of Stage 1 in arXiv 2603.16777; differences at the top of this module.

    >>> from training.forecast import parse_forecast
    >>> reference = parse_forecast('1. click() | tap the "Wi-Fi" row\\n2. press_back() | go back', horizon=2).steps
    >>> reply = '1. click() | tap the "Wi-Fi" row\\n2. click() | tap the "Wi-Fi" row'
    >>> config = RewardConfig(gamma=0.5, lambda_align=1.0, lambda_rep=0.3)
    >>> round(trajectory_reward(parse_forecast(reply, horizon=2), reference, config, 2).total, 3)  # 1 + 0.5 (0 - 0.3)
    0.85
    """
    steps, reference = forecast.steps[:horizon], reference[:horizon]
    if not steps:
        total = 0.0 if forecast.ok and not reference else config.parse_failure
        return TrajectoryReward(total=total, steps=(), parse_ok=forecast.ok)
    parts = []
    has_ended = False
    for t, step in enumerate(steps):
        is_overlong = has_ended or t >= len(reference)
        sim = 0.0 if is_overlong else similarity(step, reference[t], config.sim)
        rep = repetition(steps[: t + 1], config.rep)
        if rep and not is_overlong and _same_operation(step.action, reference[t].action):
            rep -= repetition(reference[: t + 1], config.rep)
        if is_overlong and config.overlong == "penalise":
            rep = 1.0
        discounted = config.gamma**t * (config.lambda_align * sim - config.lambda_rep * rep)
        parts.append(StepReward(sim=sim, rep=rep, discounted=discounted, is_overlong=is_overlong))
        has_ended = has_ended or step.action.is_terminal
    return TrajectoryReward(total=sum(p.discounted for p in parts), steps=tuple(parts), parse_ok=forecast.ok)


def similarity(step: ForecastStep, reference: ForecastStep, kind: str) -> float:
    """sim of one forecast step, 0..1; 0 when action type (or tool name) differs.

    - "operation": 1.
    - "operation_arguments": 1/2 + 1/2 `argument_agreement`.
    - "operation_instruction": half of that and half of `instruction_similarity`.

    Args:
        step: the predicted step; points are not looked at, the tool agent finds them.
        reference: the recorded step.
        kind: `RewardConfig.sim`.

    >>> wifi = ForecastStep(action=Action(type="click"), instruction='tap the "Wi-Fi" row')
    >>> sound = ForecastStep(action=Action(type="click"), instruction='tap the "Sound" row')
    >>> similarity(wifi, wifi, "operation_instruction"), similarity(sound, wifi, "operation_instruction")
    (1.0, 0.5)
    """
    if not _same_operation(step.action, reference.action):
        return 0.0
    if kind == "operation":
        return 1.0
    with_arguments = 0.5 + 0.5 * argument_agreement(step.action, reference.action)
    if kind == "operation_arguments":
        return with_arguments
    return 0.5 * with_arguments + 0.5 * instruction_similarity(step.instruction, reference.instruction)


def argument_agreement(action: Action, reference: Action) -> float:
    """Mean agreement, 0..1, of the arguments that either of two actions of one type has; 1 when neither has any.

    Points, seconds and a tool's name (it is the operation) are left out. Keys, directions and names are equal or not
    (case and outer spaces do not count). Text that differs (what is typed, an option, an answer) gets half its word F1,
    so nearly the right thing is worth at most half. A tool's arguments count the share of names with equal values.

    >>> argument_agreement(Action(type="type", content="red apples"), Action(type="type", content="red plums"))
    0.25
    """
    scores = []
    for arg in reference.spec.args:
        mine, theirs = getattr(action, arg.name), getattr(reference, arg.name)
        if arg.kind in (ArgKind.POINT, ArgKind.SECONDS) or arg.name == "name" or mine is theirs is None:
            continue
        if mine is None or theirs is None:
            scores.append(0.0)
        elif arg.kind is ArgKind.MAPPING:
            names = set(mine) | set(theirs)
            equal = [n in mine and n in theirs and _plain_value(mine[n]) == _plain_value(theirs[n]) for n in names]
            scores.append(sum(equal) / len(names) if names else 1.0)
        elif _equal_argument(arg.kind, mine, theirs):
            scores.append(1.0)
        else:
            words = _words(mine), _words(theirs)
            scores.append(0.5 * _f1(*words) if arg.kind is ArgKind.TEXT and any(words) else 0.0)
    return sum(scores) / len(scores) if scores else 1.0


def instruction_similarity(instruction: str, reference: str) -> float:
    """Word F1 of two step instructions times the agreement of their quoted labels, 0..1.

    Words are compared without case; 1 when both have no word. Labels are what stands in quotes. When both quote
    equally many, they are compared in order, so swapping the ends of a drag counts as wrong; else a label agrees when
    the other instruction says its words in a row, quoted or not. A wrong label makes the similarity 0.

    >>> instruction_similarity('tap the "Wi-Fi" row', 'Tap the "Wi-Fi" switch')
    0.8
    >>> instruction_similarity('tap the "Sound" row', 'tap the "Wi-Fi" row')
    0.0
    """
    mine, theirs = _labels(instruction), _labels(reference)
    if len(mine) == len(theirs):
        agreement = sum(map(str.__eq__, mine, theirs)) / len(mine) if mine else 1.0
    else:
        said = [_says(reference, label) for label in mine] + [_says(instruction, label) for label in theirs]
        agreement = sum(said) / len(said)
    return agreement * _f1(_words(instruction), _words(reference))


def repetition(steps: Sequence[ForecastStep], kind: str) -> float:
    """rep of the last of these steps: 1.0 when it repeats the prefix, else 0.0; 0.0 for no or one step.

    - "exact": an earlier step has the same action, arguments and instruction (case and punctuation do not count).
    - "cycle": also when the last two or three steps do to the same targets what the two or three before them did,
      however worded; the target is the quoted labels, or the whole instruction when it quotes nothing.
    - "none": never.

    Terminal actions are told apart like others. Points are not looked at: they follow from the instruction.

    >>> def tap(label, verb="tap"):
    ...     return ForecastStep(action=Action(type="click"), instruction=f'{verb} the "{label}" row')
    >>> repetition([tap("A"), tap("B"), tap("A")], "exact")
    1.0
    >>> loop = [tap("A"), tap("B"), tap("A", "open"), tap("B", "open")]
    >>> repetition(loop, "exact"), repetition(loop, "cycle")
    (0.0, 1.0)
    """
    if kind == "none" or len(steps) < 2:
        return 0.0
    last = _exact_key(steps[-1])
    if any(_exact_key(step) == last for step in steps[:-1]):
        return 1.0
    if kind == "cycle":
        keys = [_target_key(step) for step in steps[-6:]]
        for length in (2, 3):
            if len(keys) >= 2 * length and keys[-length:] == keys[-2 * length : -length]:
                return 1.0
    return 0.0


def grounded_reward(
    result: Grounding | ExecutorError | None, reference: Step, tolerance: float, answer_match: str = "exact"
) -> float | None:
    """Stage 2's reward of the first forecast step: 1[coordinate match] for GUI steps, 1[answer match] for tool steps.

    The action type must be equal, and then:

    - a required point lies in the target's box where one is recorded, else within `tolerance` of the recorded point;
      a drag starts so, and ends within `tolerance` of the recorded end;
    - text, keys, direction, app and option are equal, without regard to case and outer or doubled spaces. A newline at
      the end of a text submits it, so both must have one or neither. Keys may stand in any order. An option that the
      reference lacks is not asked for;
    - a tool call has the same name and equal arguments (where it can be carried out, `tool_reward` judges instead);
    - `finished` matches by type, and by its answer (`answer_match`) where the reference has one; `call_user` by type.

    `wait` matches by type, `scroll` by direction, `type` by text: their optional points and seconds do not count.

    Args:
        result: the tool agent's grounding; None when the reply had no readable first step; the error when the agent
            itself failed.
        reference: the recorded step with its grounded action and, where known, the target's box.
        tolerance: greatest normalised distance to a recorded point, 0..1.
        answer_match: the rule for final answers, a key of `ANSWER_MATCHES`.

    Returns:
        1.0 or 0.0. A reply that cannot be read, and an instruction to which the agent finds no target or several, are
        the planner's fault: 0.0. A failed agent is not: None, which takes the completion out of its group.

    Source: Stage 2 of arXiv 2603.16777; the 14 % rule for points without a box is OS-Atlas's.

    >>> from executors.trajectory import Observation
    >>> click = Action(type="click", point=PointNorm(0.5, 0.5))
    >>> step = Step(observation=Observation(), action=click, instruction="tap it", target=BoxNorm(0.4, 0.4, 0.6, 0.6))
    >>> grounded_reward(Grounding(action=Action(type="click", point=PointNorm(0.6, 0.4))), step, 0.14)
    1.0
    >>> grounded_reward(ExecutorError("ground", "no element tree"), step, 0.14) is None
    True
    """
    if isinstance(result, ExecutorError):
        return None
    if result is None or result.action is None:
        return 0.0
    return float(_matches(result.action, reference, tolerance, ANSWER_MATCHES[answer_match]))


def tool_reward(
    outcome: ToolOutcome | ExecutorError, reference: ToolOutcome | ExecutorError, answer_match: str
) -> float | None:
    """Stage 2's reward of a tool call that was carried out: 1[answer match] with what the recorded call gives.

    Images that both made are compared by their pixels, else the texts by the rule. A call that failed is wrong, however
    it was worded, and another tool that gives the same is right.

    Args:
        outcome: what the forecast's call gave in the recorded state, or why that state could not be reached.
        reference: the same of the recorded call.
        answer_match: a key of `ANSWER_MATCHES`.

    Returns:
        1.0 or 0.0; None where the state was not reached or the recorded call fails here, so that nobody can tell.

    >>> tool_reward(ToolOutcome("48", True), ToolOutcome("48", True), "exact")
    1.0
    >>> tool_reward(ToolOutcome("Error: Calculator: ...", False), ToolOutcome("48", True), "exact")
    0.0
    """
    if isinstance(outcome, ExecutorError) or isinstance(reference, ExecutorError) or not reference.is_ok:
        return None
    if not outcome.is_ok:
        return 0.0
    if outcome.pixels is not None and reference.pixels is not None:
        return float(outcome.pixels == reference.pixels)
    return float(ANSWER_MATCHES[answer_match](outcome.text, reference.text))


def has_target(reference: Step) -> bool:
    """Whether every point that the recorded action needs is known, as a point or as the target's box.

    Without it no reply could ever match, so Stage 2 leaves such steps out: demonstrations in text alone have them.
    """
    action = reference.action
    return all(
        getattr(action, arg.name) is not None or (arg.name != "end_point" and reference.target is not None)
        for arg in action.spec.args
        if arg.kind is ArgKind.POINT and arg.required
    )


def _matches(
    action: Action, reference: Step, tolerance: float, is_same_answer: Callable[[str, str], bool]
) -> bool:
    wanted = reference.action
    if action.type != wanted.type:
        return False
    if action.type == "call_user" or (action.type == "finished" and not (wanted.content or "").strip()):
        return True
    if action.type == "finished":
        return is_same_answer(action.content or "", wanted.content)
    for arg in wanted.spec.args:
        mine, theirs = getattr(action, arg.name), getattr(wanted, arg.name)
        if arg.kind is ArgKind.SECONDS or (arg.kind is ArgKind.POINT and not arg.required):
            continue
        if arg.kind is ArgKind.POINT:
            box = None if arg.name == "end_point" else reference.target
            if not _point_matches(mine, theirs, box, tolerance):
                return False
        elif arg.kind is ArgKind.MAPPING:
            if _plain_value(mine or {}) != _plain_value(theirs or {}):
                return False
        elif theirs is None and not arg.required:
            continue
        elif mine is None or theirs is None or not _equal_argument(arg.kind, mine, theirs):
            return False
    return True


def _point_matches(point: PointNorm | None, wanted: PointNorm | None, box: BoxNorm | None, tolerance: float) -> bool:
    if point is None:
        return False
    if box is not None:
        return box.contains(point)
    return wanted is not None and point.distance(wanted) <= tolerance


def _same_operation(action: Action, reference: Action) -> bool:
    return action.type == reference.type and _plain(action.name or "") == _plain(reference.name or "")


def _equal_argument(kind: ArgKind, mine: str, theirs: str) -> bool:
    if kind is ArgKind.KEYS:
        return sorted(mine.casefold().split()) == sorted(theirs.casefold().split())
    if kind is ArgKind.TEXT and mine.endswith("\n") != theirs.endswith("\n"):
        return False
    return _plain(mine) == _plain(theirs)


def _plain(text: str) -> str:
    """Text without case, compatibility variants, and outer or doubled spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _plain_value(value: Any) -> Hashable:
    """A tool's argument for comparison: texts plain, names in any order, 1 equal to 1.0 but not to true."""
    if isinstance(value, str):
        return _plain(value)
    if isinstance(value, Mapping):
        return frozenset((str(key), _plain_value(item)) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return tuple(_plain_value(item) for item in value)
    return (bool, value) if isinstance(value, bool) else value


def _words(text: str) -> list[str]:
    return _WORD.findall(_plain(text))


def _labels(text: str) -> list[str]:
    return [_plain(next(filter(None, match.groups()))) for match in _QUOTED.finditer(text)]


def _says(text: str, label: str) -> bool:
    """Whether the label's words stand in the text in a row; a label without words must stand there as it is."""
    words = _words(label)
    if not words:
        return label in _plain(text)
    return f" {' '.join(words)} " in f" {' '.join(_words(text))} "


def _f1(mine: Sequence[str], theirs: Sequence[str]) -> float:
    """Harmonic mean of precision and recall of two bags of words; 1.0 when both are empty."""
    if not mine and not theirs:
        return 1.0
    shared = sum((Counter(mine) & Counter(theirs)).values())
    return 2 * shared / (len(mine) + len(theirs))


def _operation_key(action: Action) -> Hashable:
    arguments = [
        (arg.name, _plain_value(getattr(action, arg.name)))
        for arg in action.spec.args
        if arg.kind not in (ArgKind.POINT, ArgKind.SECONDS) and getattr(action, arg.name) is not None
    ]
    return action.type, tuple(arguments)


def _exact_key(step: ForecastStep) -> Hashable:
    return _operation_key(step.action), tuple(_words(step.instruction)), tuple(_labels(step.instruction))


def _target_key(step: ForecastStep) -> Hashable:
    return _operation_key(step.action), tuple(_labels(step.instruction)) or tuple(_words(step.instruction))


def _is_in(answer: str, truth: str) -> bool:
    """GTA's rule with the truth as its one alias."""
    return gta.is_right_official(answer, {"whitelist": [[truth]]})


ANSWER_MATCHES: dict[str, Callable[[str, str], bool]] = {
    "exact": lambda answer, truth: _plain(answer) == _plain(truth),
    "gaia": gaia.is_right,
    "gta": _is_in,
}
"""Rules by which an answer matches the recorded one: (answer, truth) -> whether it does. "exact" looks at letters
without case, outer and doubled spaces; the others are the scorers of GAIA and GTA, with their quirks."""
