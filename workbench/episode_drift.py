"""The forecast drift of an episode's frames: training.drift, with the frames that forecasts and steps belong to.

Only what the planner itself forecast is judged: on each screen its last forecast, before a person changed it. A step
that could not be carried out takes no time, so a forecast asked for again is about the same steps to come.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from executors.tool_agents import ToolAgent
from executors.trajectory import Step
from training.drift import EarlierForecast, HitRate, drift, hit_rate_by_lookahead, plan_stability
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


def episode_drift(frames: Sequence[StoredFrame], tool_agent: ToolAgent) -> EpisodeDrift:
    """The drift of these frames, in order; one row for each step that was carried out."""
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
    found = drift(forecasts, [step for _, step in executed], tool_agent)
    rows = tuple(
        DriftRow(frame_number=number, step=step, earlier=row, made_on=tuple(made_on[f.made_after] for f in row))
        for (number, step), row in zip(executed, found, strict=True)
    )
    return EpisodeDrift(rows=rows, rates=hit_rate_by_lookahead(found), stability=plan_stability(forecasts))
