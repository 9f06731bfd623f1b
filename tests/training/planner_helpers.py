"""A tiny random planner, states of the embedded world, and hand-written parts for the loop's tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from executors.actions import Action
from executors.errors import ExecutorError
from executors.simulator import SimulatorExecutor, make_task, record_episode, sample_tasks
from executors.simulator.tasks import Task
from training.checkpoint import save_planner_settings
from training.config import ForecastConfig, TinyModelConfig
from training.forecast import Forecast, ForecastStep, parse_forecast
from training.planner import PlanRequest, ReplayPlanner

COMPACT = ForecastConfig(prompt_style="compact", horizon=4)
CORPUS = ('Goal: turn on Wi-Fi Done: nothing Steps: 4 1. click() | tap the "Wi-Fi" switch 2. finished() | done',)


def tiny_checkpoint(folder: Path, dtype: str = "float32") -> Path:
    """A Qwen3-VL with random weights and compact planner settings in `folder`."""
    from training.tiny import build_model, build_processor, save_checkpoint

    shape = TinyModelConfig(
        hidden_size=64, num_layers=2, num_heads=1, vision_hidden_size=64, vision_layers=2, vocab_size=300
    )
    processor = build_processor(CORPUS * 4, 300)
    save_checkpoint(folder, build_model(shape, processor, seed=0), processor, dtype)
    save_planner_settings(folder, COMPACT)
    return folder


def make_request(split: str = "test", seed: int = 0, **options: object) -> PlanRequest:
    device = SimulatorExecutor(sample_tasks(split, 1, seed)[0])
    return PlanRequest(goal=device.goal, history=(), observation=device.observe(), spaces=device.spaces, **options)


def easy_task() -> Task:
    """A task that takes the oracle several steps."""
    return next(t for t in sample_tasks("test", 60, 0) if 4 <= len(_oracle(t).steps) <= 8)


def _oracle(task: Task):
    return record_episode(task, with_images=False, interruption_rate=0.0)


def oracle_planner(tasks: Sequence[Task], *, interruption_rate: float = 0.0) -> ReplayPlanner:
    """The oracle as a planner, points included."""
    recorded = [record_episode(t, with_images=False, interruption_rate=interruption_rate) for t in tasks]
    return ReplayPlanner.of_trajectories(recorded, config=COMPACT, name="oracle")


class ScriptedPlanner:
    """Answers request n with script entry n: reply text, a forecast, or an error to raise; then the last one again."""

    def __init__(self, *script: str | Forecast | ExecutorError) -> None:
        self.name, self.config = "scripted", COMPACT
        self.script, self.asked = list(script), []

    def forecast(self, requests: Sequence[PlanRequest]) -> list[Forecast]:
        forecasts = []
        for request in requests:
            entry = self.script[min(len(self.asked), len(self.script) - 1)]
            self.asked.append(request)
            if isinstance(entry, ExecutorError):
                raise entry
            horizon = request.horizon or self.config.horizon
            forecasts.append(parse_forecast(entry, horizon=horizon) if isinstance(entry, str) else entry)
        return forecasts


class BrokenDevice:
    """A simulator device in which one method fails the first `num_failures` times."""

    def __init__(self, task: Task, method: str, num_failures: int = 1) -> None:
        self.device = SimulatorExecutor(task, interruption_rate=0.0)
        self.method, self.left = method, num_failures

    def __getattr__(self, name: str) -> object:
        value = getattr(self.device, name)
        return self._failing(name, value) if name == self.method else value

    def _failing(self, name: str, call: Callable) -> Callable:
        def maybe(*args: object) -> object:
            if self.left > 0:
                self.left -= 1
                raise ExecutorError("judge" if name == "is_success" else name, "the cable fell out")
            return call(*args)

        return maybe


def forecast_of(action: Action, instruction: str) -> Forecast:
    return Forecast(steps=(ForecastStep(action=action, instruction=instruction),))


__all__ = [
    "COMPACT", "BrokenDevice", "ScriptedPlanner", "easy_task", "forecast_of", "make_request", "make_task",
    "oracle_planner", "tiny_checkpoint",
]
