"""Reading run folders: only what is new since the last look, and never more than is shown.

Every reader takes and returns a `Cursor`, so the caller may be a page that keeps it, and nothing is lost when it does
not. A file that was cut back by a resume, or replaced, is read anew and says so with `is_reset`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a file was read: which file (inode), how many bytes, and the last bytes' checksum."""

    file: int = 0
    offset: int = 0
    check: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricPoints:
    """Metric points, oldest first, one column per metric; all columns have the length of `columns["step"]`.

    `columns` has "step", "time" (seconds since the epoch), "epoch" and every metric met; a metric that a line lacks, or
    that was no finite number, is None there. A step may have two lines: its own, and one of an evaluation on demand,
    which has val/... metrics only.
    """

    columns: dict[str, list[Any]] = field(default_factory=dict)
    cursor: Cursor = Cursor()
    is_reset: bool = False
    """Whether these are all points anew, because the file was cut back or replaced since the cursor."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RolloutGroup:
    """The G completions of one prompt at one step."""

    step: int
    prompt_id: str
    goal: str
    screen: Path | None
    """The prompt's screenshot; None where none was kept."""
    image_size: tuple[int, int] | None
    reference: tuple[dict[str, Any], ...]
    """The recorded steps (ForecastStep.to_json)."""
    completions: tuple[dict[str, Any], ...]
    """text, reward (None: not scored), advantage, parse_ok, reason, and "parts" (Stage 1: per step sim, rep, ...) or
    "grounding" (Stage 2), as training.stages writes them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RolloutSummary:
    """What a list of groups shows and filters by."""

    step: int
    prompt_id: str
    goal: str
    offset: int
    num_completions: int
    num_parse_failures: int
    mean_reward: float | None
    least_reward: float | None
    best_reward: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class LogPart:
    """Text of a log from a cursor on; `num_skipped` bytes before it were left out because they are too many."""

    text: str
    cursor: Cursor
    is_reset: bool = False
    num_skipped: int = 0


def read_metrics(run: Path, since: Cursor | None = None) -> MetricPoints:
    """The points after the cursor (all of them without one); an empty result when there is nothing new or no file."""
    raise NotImplementedError


def thin(points: MetricPoints, name: str, most: int = 2000) -> tuple[list[float], list[float | None]]:
    """(steps, values) of one metric with at most about `most` points: of each stretch its least and its greatest."""
    raise NotImplementedError


def rollout_steps(run: Path) -> list[int]:
    """The steps that have rollouts, ascending."""
    raise NotImplementedError


def read_rollouts(run: Path, step: int) -> list[RolloutGroup]:
    """The groups of one step, in the order written; empty when the step has none."""
    raise NotImplementedError


def find_rollouts(
    run: Path,
    *,
    prompt_id: str = "",
    least_reward: float | None = None,
    greatest_reward: float | None = None,
    only_parse_failures: bool = False,
    text: str = "",
    most: int = 200,
) -> list[RolloutSummary]:
    """The newest groups that fit all filters, oldest first; the rewards are of the group's best completion.

    One prompt through training time is `find_rollouts(run, prompt_id=...)`.
    """
    raise NotImplementedError


def read_group(run: Path, offset: int) -> RolloutGroup | None:
    """The group of a summary; None when the file has changed since."""
    raise NotImplementedError


def tail_log(run: Path, since: Cursor | None = None, most: int = 64_000) -> LogPart:
    """New text of the run's log, at most the last `most` bytes of it."""
    raise NotImplementedError


def search_log(run: Path, text: str, most: int = 200) -> list[tuple[str, int, str]]:
    """(file, line number from 1, line) of the newest lines that hold the text in any case, rotated logs included."""
    raise NotImplementedError


def read_events(run: Path) -> list[dict[str, Any]]:
    """What the trainer confirmed and what was alerted: "time", "step", "event" ("saved", "evaluated", ...), ..."""
    raise NotImplementedError
