"""Evaluation records side by side: pooled over seeds, as a Markdown table.

A record is what `training.benchmarks.simulator.evaluate` returns, with "name" added: the planner's name in the table.
Seeds are pooled: the interval is over all their episodes, and the spread of the seeds' own rates stands beside it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from executors.errors import InputError, MissingFileError
from training.benchmarks.statistics import wilson_interval

EASY_LEVELS = ("1", "2")
_HEAD = ("planner", "mode", "split", "levels 1+2", "95 %", "seeds", "level 3", "all", "episodes", "errors", "steps")


@dataclass(frozen=True, slots=True)
class Share:
    """A number of successes among episodes."""

    num_successes: int
    num_episodes: int

    @property
    def rate(self) -> float:
        """The share, 0 for no episodes."""
        return self.num_successes / self.num_episodes if self.num_episodes else 0.0

    def __add__(self, other: Share) -> Share:
        return Share(self.num_successes + other.num_successes, self.num_episodes + other.num_episodes)


def level_share(record: Mapping[str, Any], levels: Iterable[str]) -> Share:
    """Successes of a record's episodes of these levels.

    >>> level_share({"by_level": {"1": {"success_rate": 0.75, "num_episodes": 4}}}, ["1", "2"])
    Share(num_successes=3, num_episodes=4)
    """
    total = Share(0, 0)
    for level in levels:
        part = record["by_level"].get(level, {"success_rate": 0.0, "num_episodes": 0})
        total += Share(round(part["success_rate"] * part["num_episodes"]), part["num_episodes"])
    return total


def read_records(path: Path) -> list[dict[str, Any]]:
    """The records of a JSON Lines file; none when it does not exist yet.

    Raises:
        InputError: a line is not a record; the message names file, line and what is missing.
        MissingFileError: the file cannot be read.
    """
    if not path.exists():
        return []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise MissingFileError(f"cannot read results {path} ({error}): check the path") from None
    records = []
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
            missing = {"name", "split", "mode", "seed", "by_level", "num_episodes"} - set(record)
        except (ValueError, TypeError):
            raise InputError(f"{path} line {number}: not a JSON object: mend or remove the line") from None
        if missing:
            raise InputError(f"{path} line {number}: field {sorted(missing)[0]!r} is missing: remove the line")
        records.append(record)
    return records


def success_table(records: Sequence[Mapping[str, Any]]) -> str:
    """Success by planner, mode and split, seeds pooled, in order of first appearance; Wilson 95 % intervals."""
    rows = [_HEAD, tuple("---" for _ in _HEAD)]
    for (name, mode, split), group in _groups(records).items():
        easy = sum((level_share(r, EASY_LEVELS) for r in group), Share(0, 0))
        hard = sum((level_share(r, ["3"]) for r in group), Share(0, 0))
        low, high = wilson_interval(easy.num_successes, easy.num_episodes)
        seeds = " / ".join(_percent(level_share(r, EASY_LEVELS).rate) for r in group)
        total = easy + hard
        num_steps = sum(r["mean_steps"] * r["num_episodes"] for r in group) / max(1, total.num_episodes)
        rows.append((
            name, mode, split, _percent(easy.rate), f"{_percent(low)} to {_percent(high)}", seeds, _percent(hard.rate),
            _percent(total.rate), str(total.num_episodes), str(sum(r["num_errors"] for r in group)), f"{num_steps:.1f}",
        ))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def forecast_table(records: Sequence[Mapping[str, Any]]) -> str:
    """Share of right forecast steps by lookahead, seeds pooled; records without the measurement are left out."""
    groups = {k: [r for r in g if r.get("forecast_accuracy")] for k, g in _groups(records).items()}
    groups = {key: group for key, group in groups.items() if group}
    horizon = max((len(r["forecast_accuracy"]) for g in groups.values() for r in g), default=0)
    head = ("planner", "mode", "split", *(f"t={t}" for t in range(1, horizon + 1)), "unreadable")
    rows = [head, tuple("---" for _ in head)]
    for (name, mode, split), group in groups.items():
        cells = []
        for t in map(str, range(1, horizon + 1)):
            parts = [r["forecast_accuracy"][t] for r in group if t in r["forecast_accuracy"]]
            num = sum(part["num"] for part in parts)
            cells.append(_percent(sum(p["accuracy"] * p["num"] for p in parts) / num) if num else "")
        unreadable = sum(r["parse_failure_rate"] for r in group) / len(group)
        rows.append((name, mode, split, *cells, _percent(unreadable)))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _groups(records: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str, str], list[Mapping[str, Any]]]:
    groups: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for record in records:
        groups.setdefault((record["name"], record["mode"], record["split"]), []).append(record)
    return groups


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"
