"""An offline evaluation that keeps a run folder, so that a queue can watch, stop and resume it like a training run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from training.benchmarks.offline import Progress
from training.benchmarks.offline_run import OfflineSettings, evaluate_offline
from training.planner import Planner, load_planner
from training.run_folder import RunFolder, RunStopped

STAGE = "evaluate"
"""What run.json of an evaluation calls its stage."""
_LINE_SECONDS = 5.0


def evaluate_watched(
    settings: OfflineSettings,
    path: Path,
    command: Sequence[str],
    *,
    load: Callable[[str], Planner] = load_planner,
) -> list[dict[str, Any]] | None:
    """`evaluate_offline` inside a run folder with heartbeat, log and state; None when the folder asked for a stop.

    A folder of an earlier start is gone on with. The states of all passes are its steps.

    Args:
        settings: what is evaluated on what.
        path: the run folder, new or of an earlier start of this evaluation.
        command: the command line, for the record.
        load: gives the planner.

    Raises:
        WorkbenchError: as `evaluate_offline` does, or the run folder is another run's, in use or not writable.
    """
    if (path / "run.json").exists():
        run = RunFolder.resume(path, command=command, step=0)
    else:
        run = RunFolder.create(path, stage=STAGE, config=settings.to_json(), command=command, seed=settings.seed)
    summaries: list[dict[str, Any]] | None = None
    with run.session():
        watch = _Watch(run, num_passes=1 + len(settings.tool_agents))
        summaries = evaluate_offline(
            settings, on_progress=watch.show, should_stop=lambda: run.stop_reason() is not None, load=load
        )
        if summaries is None:
            raise RunStopped(run.stop_reason() or "")
    return summaries


class _Watch:
    """Progress as steps, metrics and, now and then, a line of the log."""

    def __init__(self, run: RunFolder, num_passes: int) -> None:
        self._run, self._num_passes, self._phases = run, num_passes, []
        self._next_line = 0.0

    def show(self, progress: Progress) -> None:
        """One more batch is done."""
        is_new = progress.phase not in self._phases
        if is_new:
            self._phases.append(progress.phase)
        step = (len(self._phases) - 1) * progress.num_total + progress.num_done
        self._run.set_progress(step, self._num_passes * progress.num_total)
        if not is_new:
            self._run.log_metrics(step, 0.0, {"states_per_second": progress.rate_per_second})
        is_last = progress.num_done == progress.num_total
        if is_new or is_last or time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + _LINE_SECONDS
            rate = f", {progress.rate_per_second:.1f} states/s" if progress.rate_per_second else ""
            print(f"{progress.phase}  {progress.num_done} of {progress.num_total} states{rate}", flush=True)
