"""Forecast drift: how what was forecast compares with what was then done, and how steady the plan is.

Time is counted in executed steps: `forecasts[n]` is the forecast made after n of them (None where none was made), and
step t of it is about executed step n + t, both counted from 1. t is the lookahead. Step 1 is what is done next, so it
says nothing about foresight: drift begins at t = 2. Steps past a forecast's own `finished` or `call_user` are not
looked at, nor are steps that never became due because the episode ended.

Both figures are ours; the paper (arXiv 2603.16777) has none of the kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from executors.actions import ArgKind
from executors.errors import ExecutorError
from executors.tool_agents import Grounding, ToolAgent
from executors.trajectory import Step
from training.forecast import Forecast, ForecastStep
from training.rewards import grounded_reward, instruction_similarity, similarity

TOLERANCE = 0.14
"""Greatest normalised distance of two points that count as one where no target box is known; as in Stage 2."""

SAME_WORDS = 0.5
"""Least `instruction_similarity` of two instructions that name the same target."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierForecast:
    """One earlier forecast of an executed step: how far ahead it was, after how many steps, and whether it came so."""

    lookahead: int
    made_after: int
    step: ForecastStep
    is_hit: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class HitRate:
    """How many forecasts of one lookahead there are, and how many of them came so."""

    lookahead: int
    num_hits: int
    num_forecasts: int

    @property
    def rate(self) -> float:
        """The share of hits, 0..1."""
        return self.num_hits / self.num_forecasts


@lru_cache(maxsize=8192)  # a running episode asks about the same pairs after every step
def same_step(step: ForecastStep, other: ForecastStep) -> bool:
    """Whether two forecast steps, neither of them on its screen yet, say the same.

    Type (or tool) and arguments must be equal, and where the action needs a place the instructions must name the same
    target: an `instruction_similarity` of at least `SAME_WORDS`. Points and seconds are not looked at.

    >>> from training.forecast import parse_forecast
    >>> one = parse_forecast('1. click() | tap the "Wi-Fi" row', horizon=1).steps[0]
    >>> two = parse_forecast('1. click() | tap the "Wi-Fi" switch', horizon=1).steps[0]
    >>> three = parse_forecast('1. click() | tap the "Sound" row', horizon=1).steps[0]
    >>> same_step(one, two), same_step(one, three)
    (True, False)
    """
    if similarity(step, other, "operation_arguments") < 1.0:
        return False
    return not _needs_place(step) or instruction_similarity(step.instruction, other.instruction) >= SAME_WORDS


def _needs_place(step: ForecastStep) -> bool:
    return any(arg.required and arg.kind is ArgKind.POINT for arg in step.action.spec.args)


def hit(step: ForecastStep, executed: Step, tool_agent: ToolAgent) -> bool:
    """Whether a forecast step is what was done: the same type with the same arguments on the same target.

    The forecast step is grounded on the screen on which the other was executed, as if it were carried out there, and
    is then judged as Stage 2 judges (`training.rewards.grounded_reward`): a point in the target's box, or near the
    executed point where no box is known. A forecast that gives points itself keeps them. On a screen without an element
    tree the words decide, as in `same_step`.

    Args:
        step: the forecast step, its points perhaps None.
        executed: what was done, its points set, with the screen that it was done on.
        tool_agent: who grounds.

    >>> from executors.actions import Action
    >>> from executors.geometry import BoxNorm, PointNorm
    >>> from executors.tool_agents import ElementTreeAgent
    >>> from executors.trajectory import Element, Observation
    >>> wifi = Element(role="switch", text="Wi-Fi", box=BoxNorm(0.1, 0.1, 0.9, 0.2))
    >>> sound = Element(role="row", text="Sound", box=BoxNorm(0.1, 0.3, 0.9, 0.4))
    >>> done = Step(observation=Observation(elements=(wifi, sound)), target=wifi.box, instruction='tap "Wi-Fi"',
    ...             action=Action(type="click", point=PointNorm(0.5, 0.15)))
    >>> def forecast(words):
    ...     return ForecastStep(action=Action(type="click"), instruction=words)
    >>> agent = ElementTreeAgent()
    >>> hit(forecast('turn the "Wi-Fi" switch on'), done, agent), hit(forecast('tap the "Sound" row'), done, agent)
    (True, False)
    """
    try:
        grounding = tool_agent.ground(executed.observation, step.action, step.instruction)
    except ExecutorError:
        if not same_step(step, ForecastStep(action=executed.action, instruction=executed.instruction)):
            return False
        done = executed.action
        action = replace(step.action, point=done.point, start_point=done.start_point, end_point=done.end_point)
        grounding = Grounding(action=action)
    return grounded_reward(grounding, executed, TOLERANCE) == 1.0


def drift(
    forecasts: Sequence[Forecast | None], executed: Sequence[Step], tool_agent: ToolAgent
) -> tuple[tuple[EarlierForecast, ...], ...]:
    r"""For every executed step its earlier forecasts, the latest (lookahead 2) first; empty where there is none.

    Args:
        forecasts: after 0, 1, 2 ... executed steps; may be longer or shorter than `executed`.
        executed: the steps that were carried out, in order.
        tool_agent: grounds forecast steps on the screens they became due on, see `hit`.

    >>> from executors.actions import Action
    >>> from executors.tool_agents import ElementTreeAgent
    >>> from executors.trajectory import Observation
    >>> from training.forecast import parse_forecast
    >>> plans = [parse_forecast(text, horizon=3) for text in (
    ...     "1. press_home() | home\n2. press_back() | back\n3. finished() | done",
    ...     "1. wait() | wait\n2. finished() | done")]
    >>> done = [Step(observation=Observation(), action=Action(type=name), instruction=name)
    ...         for name in ("press_home", "wait", "finished")]
    >>> [[(f.lookahead, f.made_after, f.is_hit) for f in row] for row in drift(plans, done, ElementTreeAgent())]
    [[], [(2, 0, False)], [(2, 1, True), (3, 0, True)]]
    """
    return tuple(
        earlier_forecasts(forecasts, number, step, tool_agent) for number, step in enumerate(executed, start=1)
    )


def earlier_forecasts(
    forecasts: Sequence[Forecast | None], number: int, executed: Step, tool_agent: ToolAgent
) -> tuple[EarlierForecast, ...]:
    """One row of `drift`: the earlier forecasts of executed step `number`, counted from 1; it never changes later."""
    row = []
    for made_after in range(min(number - 2, len(forecasts) - 1), -1, -1):
        lookahead = number - made_after
        steps = _steps(forecasts[made_after])
        if lookahead <= len(steps):
            foreseen = steps[lookahead - 1]
            is_hit = hit(foreseen, executed, tool_agent)
            row.append(EarlierForecast(lookahead=lookahead, made_after=made_after, step=foreseen, is_hit=is_hit))
    return tuple(row)


def hit_rate_by_lookahead(rows: Sequence[Sequence[EarlierForecast]]) -> tuple[HitRate, ...]:
    """The share of forecasts that came so, for every lookahead that has any, nearest first.

    Args:
        rows: what `drift` gave, of one episode or of several after one another.

    >>> step = ForecastStep(action=None, instruction="")
    >>> def made(lookahead, is_hit):
    ...     return EarlierForecast(lookahead=lookahead, made_after=0, step=step, is_hit=is_hit)
    >>> [(r.lookahead, r.rate) for r in hit_rate_by_lookahead([[made(2, True)], [made(2, False), made(3, False)]])]
    [(2, 0.5), (3, 0.0)]
    """
    hits: dict[int, list[bool]] = {}
    for row in rows:
        for forecast in row:
            hits.setdefault(forecast.lookahead, []).append(forecast.is_hit)
    return tuple(
        HitRate(lookahead=t, num_hits=sum(found), num_forecasts=len(found)) for t, found in sorted(hits.items())
    )


def plan_stability(forecasts: Sequence[Forecast | None]) -> float | None:
    r"""The share of all forecasts' tails that survives in the forecast after one more step, 0..1.

    A forecast's tail is all but its first step, which is done next. A step of the tail survives when the next forecast
    has the same step (`same_step`), in the same order: the survivors are the longest common subsequence, so a plan that
    only gains a step in its middle, to close a pop-up perhaps, is as steady as before. Steps are pooled over the
    episode. A next forecast without a readable step keeps nothing of the plan; where no forecast was made (None), the
    two pairs it belongs to are left out.

    Returns:
        The share; None when no tail had a next forecast, as with forecasts of one step.

    >>> from training.forecast import parse_forecast
    >>> plans = [parse_forecast(text, horizon=3) for text in (
    ...     "1. press_home() | home\n2. press_back() | back\n3. finished() | done",
    ...     "1. press_back() | back\n2. wait() | wait\n3. finished() | done",
    ...     "1. scroll(direction='up') | up\n2. finished() | done")]
    >>> plan_stability(plans)  # of back and done both survive, of wait and done one
    0.75
    """
    num_tail = num_kept = 0
    for before, after in zip(forecasts, forecasts[1:], strict=False):
        if before is not None and after is not None:
            tail = _steps(before)[1:]
            num_tail += len(tail)
            num_kept += _common_length(tail, _steps(after))
    return num_kept / num_tail if num_tail else None


def _steps(forecast: Forecast | None) -> tuple[ForecastStep, ...]:
    """The forecast's steps up to its own end."""
    steps = forecast.steps if forecast is not None else ()
    end = next((number for number, step in enumerate(steps, start=1) if step.action.is_terminal), len(steps))
    return steps[:end]


def _common_length(one: Sequence[ForecastStep], other: Sequence[ForecastStep]) -> int:
    """The length of the longest common subsequence."""
    lengths = [0] * (len(other) + 1)
    for step in one:
        diagonal = 0
        for place, candidate in enumerate(other, start=1):
            above = lengths[place]
            lengths[place] = diagonal + 1 if same_step(step, candidate) else max(above, lengths[place - 1])
            diagonal = above
    return lengths[-1]
