"""Stored episodes for tests: the oracle's way through a task of the simulator, as a planner would have gone it."""

from __future__ import annotations

from dataclasses import replace

from executors.simulator import make_task, record_episode
from executors.tool_agents import Grounding
from executors.trajectory import Observation, Step, Trajectory
from training.episode_record import StepRecord
from training.forecast import Forecast, ForecastStep, format_reply, without_points
from workbench.episode_store import EpisodeSetup, EpisodeStore, ForecastMade, StoredFrame

HORIZON = 4


def oracle_way(task: str = "alarm_on", seed: int = 0, split: str = "train") -> Trajectory:
    """The oracle's way, without chance interruptions."""
    return record_episode(make_task(task, split, seed), interruption_rate=0.0)


def frames_of(trajectory: Trajectory) -> list[StoredFrame]:
    """One frame for each step, on which the steps to come were forecast and the first one was done."""
    return [frame_of(trajectory.steps, place) for place in range(len(trajectory.steps))]


def frame_of(steps: tuple[Step, ...], place: int) -> StoredFrame:
    """The frame of one of these steps, counted from 0."""
    step, ahead = steps[place], steps[place : place + HORIZON]
    coming = tuple(ForecastStep(action=without_points(s.action), instruction=s.instruction) for s in ahead)
    forecast = Forecast(steps=coming, thought="Go on.", raw=format_reply("Go on.", coming))
    messages = ({"role": "user", "content": [{"type": "image", "sha256": "0" * 64}, {"type": "text", "text": "Goal"}]},)
    record = StepRecord(
        number=place + 1, observation=step.observation, forecast=forecast, action=step.action, had_effect=True,
        grounding=Grounding(action=step.action, target=step.target, num_candidates=1),
        plan_seconds=0.4, act_seconds=0.1,
    )
    return StoredFrame(
        number=place + 1, observation=step.observation, step=record, ground_seconds=0.02, execute_seconds=0.08,
        forecasts=(ForecastMade(forecast=forecast, messages=messages, plan_seconds=0.4),),
        reference=tuple(replace(s, observation=Observation()) for s in ahead),
    )


def store_way(
    store: EpisodeStore, trajectory: Trajectory, frames: list[StoredFrame] | None = None, planner: str = "oracle"
) -> str:
    """The episode stored whole; its id."""
    meta = trajectory.meta
    setup = EpisodeSetup(task=str(meta["template"]), split=trajectory.split, seed=int(meta["seed"]), planner=planner)
    id = store.create(setup, goal=trajectory.goal, planner_name=planner, platform=trajectory.platform)
    for frame in frames_of(trajectory) if frames is None else frames:
        store.save_frame(id, frame)
    store.save_state(id, state="done", outcome="success", stop_reason="finished")
    return id
