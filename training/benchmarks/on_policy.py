"""On-policy evaluations that can stand in a queue: a planner acts on fresh tasks of the embedded worlds."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from executors.errors import InputError
from executors.simulator import list_tasks
from executors.tool_tasks import usable_templates
from training.benchmarks import simulator, tools
from training.benchmarks.journal import Journal
from training.benchmarks.offline import OnProgress, Progress
from training.planner import Planner, load_planner

SIMULATOR, TOOLS = "simulator", "tools"
TITLES = {SIMULATOR: "success in the embedded world", TOOLS: "success on embedded tool tasks"}
"""The benchmarks, each in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnPolicySettings:
    """Who acts on what: `benchmark` is one of `TITLES`, `planner` a planner's specification or, of tools, "oracle"."""

    benchmark: str
    planner: str
    out: Path
    split: str = "test"
    num_episodes: int = 96
    seed: int = 0
    reactive: bool = False
    batch_size: int = 16

    def arguments(self) -> list[str]:
        """The words after `tracer1 evaluate` that mean these settings."""
        words = [self.benchmark, "--planner", self.planner, "--split", self.split]
        for option, value in (("episodes", self.num_episodes), ("seed", self.seed), ("batch-size", self.batch_size)):
            words += [f"--{option}", str(value)]
        return [*words, *(["--reactive"] if self.reactive else []), "--out", str(self.out)]

    def check_tasks(self) -> None:
        """Raises InputError when the split or a number is not allowed."""
        if self.benchmark == SIMULATOR:
            list_tasks(self.split)
        else:
            usable_templates(self.split)
        for name, least in (("num_episodes", 1), ("seed", 0), ("batch_size", 1)):
            if getattr(self, name) < least:
                value = getattr(self, name)
                raise InputError(f"{name.replace('_', ' ')} {value} is not allowed: give at least {least}")

    def to_json(self) -> dict[str, Any]:
        """All of it as plain values; the inverse of `from_json`."""
        return {**asdict(self), "out": str(self.out)}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> OnPolicySettings:
        """The settings of a `to_json` record.

        Raises:
            InputError: the record has another form.
        """
        try:
            return cls(**{**record, "out": Path(record["out"])})
        except (TypeError, KeyError) as error:
            raise InputError(f"these are no settings of an evaluation ({error!r}): make them anew") from None


def evaluate_on_policy(
    settings: OnPolicySettings,
    *,
    on_progress: OnProgress | None = None,
    should_stop: Callable[[], bool] | None = None,
    load: Callable[[str], Planner] = load_planner,
) -> list[dict[str, Any]] | None:
    """Does the tasks that are missing in the folder and returns the figures of all; None when it was stopped.

    The simulator's second measurement, forecast accuracy, is left out: it is an offline one.

    Raises:
        InputError: a setting is not allowed, or the folder belongs to another evaluation.
        MissingFileError: the planner does not exist.
        OutputError: the folder cannot be written.
    """
    settings.check_tasks()
    is_oracle = settings.benchmark == TOOLS and settings.planner == tools.ORACLE
    planner = None if is_oracle else load(settings.planner)
    first = num_done = len(Journal(settings.out / "tasks.jsonl").records)
    started = time.monotonic()

    def show(line: str) -> None:
        nonlocal num_done
        num_done += 1
        print(line, flush=True)
        if on_progress is not None:
            rate = (num_done - first) / max(time.monotonic() - started, 1e-9)
            on_progress(Progress(
                phase="tasks", num_done=num_done, num_total=settings.num_episodes, rate_per_second=rate,
                seconds_left=(settings.num_episodes - num_done) / rate,
            ))  # fmt: skip

    options = {
        "batch_size": settings.batch_size, "out": settings.out, "on_progress": show, "should_stop": should_stop,
    }  # fmt: skip
    asked = (planner, settings.split, settings.num_episodes, settings.seed, settings.reactive)
    if settings.benchmark == SIMULATOR:
        result = simulator.evaluate(*asked, with_forecast_accuracy=False, **options)
    else:
        result = tools.evaluate(*asked, **options)
    return None if result is None else [result]
