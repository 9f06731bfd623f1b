"""Scores that others published, by data set and protocol: shown beside ours, never in one table with them.

The figures lie in assets/benchmarks/published_scores.json with their sources. None of them was run here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from training.benchmarks.markdown import table

_FILE = Path(__file__).resolve().parents[2] / "assets" / "benchmarks" / "published_scores.json"
NOT_DOCUMENTED = "not documented"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedScore:
    """One published row; figures in percent, None where the source gives none. `protocol` is "" if not documented."""

    dataset: str
    protocol: str
    model: str
    type: float | None
    grounding: float | None
    step_success: float | None
    source: str
    level: str = ""
    note: str = ""


@cache
def published_scores() -> tuple[PublishedScore, ...]:
    """All published rows, in the order of the file."""
    rows = json.loads(_FILE.read_text(encoding="utf-8"))["rows"]
    return tuple(
        PublishedScore(
            dataset=row["dataset"],
            protocol=row["protocol"] or "",
            model=row["model"],
            type=row["type"],
            grounding=row["grounding"],
            step_success=row["step_success"],
            source=row["source"],
            level=row.get("level", ""),
            note=row.get("note", ""),
        )
        for row in rows
    )


def published_for(protocol: str, datasets: Iterable[str]) -> list[PublishedScore]:
    """The rows that may stand beside results of a protocol: its own data sets, and its own or no documented protocol.

    A strict variant has no published rows: it is ours.

    >>> sorted({row.protocol for row in published_for("guir1", ["gui_odyssey"])})
    ['guir1']
    >>> published_for("osatlas_strict", ["android_control"])
    []
    """
    wanted = set(datasets)
    may_be_unnamed = protocol.startswith("m2w_") and not protocol.endswith("_strict")
    return [
        row
        for row in published_scores()
        if row.dataset in wanted and (row.protocol == protocol or (not row.protocol and may_be_unnamed))
    ]


def published_table(protocol: str, datasets: Iterable[str]) -> str:
    """The published rows of a protocol as a Markdown table under a line that says whose they are; "" without any."""
    rows = published_for(protocol, datasets)
    if not rows:
        return ""
    cells = [
        (
            row.model,
            " ".join(filter(None, (row.dataset, row.level))),
            row.protocol or NOT_DOCUMENTED,
            *("" if value is None else f"{value:.1f}" for value in (row.type, row.grounding, row.step_success)),
            row.source,
            row.note,
        )
        for row in rows
    ]
    head = ("model", "data set", "protocol", "type", "grounding", "step success", "source", "note")
    return "Published by others, not run here:\n\n" + table(head, cells)
