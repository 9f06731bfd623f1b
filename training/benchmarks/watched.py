"""An evaluation that keeps a run folder, so that a queue can watch, stop and resume it like a training run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from training.benchmarks.offline import Progress
from training.benchmarks.offline_run import OfflineSettings, evaluate_offline
from training.benchmarks.on_policy import OnPolicySettings, evaluate_on_policy
from training.planner import Planner, load_planner
from training.run_folder import RunFolder, RunStopped

STAGE = "evaluate"
"""What run.json of an evaluation calls its stage."""
_LINE_SECONDS = 5.0


def evaluate_watched(
    settings: OfflineSettings | OnPolicySettings,
    path: Path,
    command: Sequence[str],
    *,
    load: Callable[[str], Planner] = load_planner,
) -> list[dict[str, Any]] | None:
    """An evaluation inside a run folder with heartbeat, log and state; None when the folder asked for a stop.

    A folder of an earlier start is gone on with. Its steps are the states of all passes, or the tasks.

    Args:
        settings: what is evaluated on what.
        path: the run folder, new or of an earlier start of this evaluation.
        command: the command line, for the record.
        load: gives the planner.

    Raises:
        WorkbenchError: as `evaluate_offline` and `evaluate_on_policy` do, or the run folder is another run's, in use or
            not writable.
    """
    if (path / "run.json").exists():
        run = RunFolder.resume(path, command=command, step=0)
    else:
        run = RunFolder.create(path, stage=STAGE, config=settings.to_json(), command=command, seed=settings.seed)
    summaries: list[dict[str, Any]] | None = None
    with run.session():
        options = {"should_stop": lambda: run.stop_reason() is not None, "load": load}
        if isinstance(settings, OnPolicySettings):
            summaries = evaluate_on_policy(settings, on_progress=_Watch(run, 1, "tasks").show, **options)
        else:
            watch = _Watch(run, 1 + len(settings.tool_agents), "states")
            summaries = evaluate_offline(settings, on_progress=watch.show, **options)
        if summaries is None:
            raise RunStopped(run.stop_reason() or "")
    return summaries


class _Watch:
    """Progress as steps, metrics and, now and then, a line of the log."""

    def __init__(self, run: RunFolder, num_passes: int, unit: str) -> None:
        self._run, self._num_passes, self._unit, self._phases = run, num_passes, unit, []
        self._next_line = 0.0

    def show(self, progress: Progress) -> None:
        """One more batch is done."""
        is_new = progress.phase not in self._phases
        if is_new:
            self._phases.append(progress.phase)
        step = (len(self._phases) - 1) * progress.num_total + progress.num_done
        self._run.set_progress(step, self._num_passes * progress.num_total)
        if not is_new:
            self._run.log_metrics(step, 0.0, {f"{self._unit}_per_second": progress.rate_per_second})
        is_last = progress.num_done == progress.num_total
        if is_new or is_last or time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + _LINE_SECONDS
            rate = f", {progress.rate_per_second:.1f} {self._unit}/s" if progress.rate_per_second else ""
            print(f"{progress.phase}  {progress.num_done} of {progress.num_total} {self._unit}{rate}", flush=True)
