"""The forecast drift of an episode's frames: training.drift, with the frames that forecasts and steps belong to.

Only what the planner itself forecast is judged: on each screen its last forecast, before a person changed it. A step
that could not be carried out takes no time, so a forecast asked for again is about the same steps to come.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from executors.tool_agents import ToolAgent
from executors.trajectory import Step
from training.drift import EarlierForecast, HitRate, earlier_forecasts, hit_rate_by_lookahead, plan_stability
from training.forecast import Forecast
from workbench.episode_store import StoredFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftRow:
    """One executed step, the frame it was taken on, and its earlier forecasts with the frames they were made on."""

    frame_number: int
    step: Step
    earlier: tuple[EarlierForecast, ...]
    made_on: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeDrift:
    """The drift of a whole episode; `stability` is None where no forecast had a next one."""

    rows: tuple[DriftRow, ...]
    rates: tuple[HitRate, ...]
    stability: float | None


def episode_drift(
    frames: Sequence[StoredFrame], tool_agent: ToolAgent, known: EpisodeDrift | None = None
) -> EpisodeDrift:
    """The drift of these frames; one row for each step that was carried out.

    Args:
        frames: all frames of the episode, in order.
        tool_agent: grounds earlier forecasts on the screens they became due on.
        known: the drift of the same episode at an earlier moment, whose rows are taken over as they are.
    """
    forecasts: list[Forecast | None] = [None]
    made_on: list[int] = [0]
    executed: list[tuple[int, Step]] = []
    for frame in frames:
        own = [made.forecast for made in frame.forecasts if made.author == "planner"]
        if own:
            forecasts[-1], made_on[-1] = own[-1], frame.number
        step = frame.step.to_step() if frame.step is not None and frame.step.error is None else None
        if step is not None:
            executed.append((frame.number, step))
            forecasts.append(None)
            made_on.append(0)
    rows = list(known.rows[: len(executed)]) if known is not None else []
    for number, (frame_number, step) in list(enumerate(executed, start=1))[len(rows) :]:
        earlier = earlier_forecasts(forecasts, number, step, tool_agent)
        on = tuple(made_on[f.made_after] for f in earlier)
        rows.append(DriftRow(frame_number=frame_number, step=step, earlier=earlier, made_on=on))
    rates = hit_rate_by_lookahead([row.earlier for row in rows])
    return EpisodeDrift(rows=tuple(rows), rates=rates, stability=plan_stability(forecasts))


def rates_words(drift: EpisodeDrift) -> str:
    """How many forecasts came so, for each number of steps that they were made before; "" where there are none.

    >>> rates = (HitRate(lookahead=2, num_hits=3, num_forecasts=4), HitRate(lookahead=3, num_hits=0, num_forecasts=1))
    >>> rates_words(EpisodeDrift(rows=(), rates=rates, stability=None))
    '1 step before: 75% of 4, 2 steps before: 0% of 1'
    """
    return ", ".join(
        f"{rate.lookahead - 1} step{'' if rate.lookahead == 2 else 's'} before: {rate.rate:.0%} of {rate.num_forecasts}"
        for rate in drift.rates
    )
