"""What an import kept, repaired and skipped, and why: counts of everything, places of the first problems."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from executors.errors import OutputError

MAX_PROBLEMS = 1000
"""Problems whose place is kept; later ones are only counted, so that memory stays bounded."""


_COUNTERS = ("skipped_records", "skipped_steps", "repairs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One broken place: file, line (record, row) from 1, the record's id, the field, and what was done about it."""

    file: str
    line: int
    record: str
    field: str
    message: str
    outcome: str

    def __str__(self) -> str:
        record = f" ({self.record})" if self.record else ""
        return f"{self.file} line {self.line}{record}, field {self.field}: {self.message} -> {self.outcome}"


@dataclass(slots=True, kw_only=True)
class ImportReport:
    """Counts of one import; added to while the source is read.

    A record is what the source counts: a line, an episode, a row, an annotation file. `num_records_read` is always
    kept plus skipped; repaired ones are among the kept. Where a record is one step (Mind2Web, AgentTrek), several make
    one trajectory. `num_steps_added` counts closing `finished` steps that the source does not hold. The counters map a
    short reason to how often it occurred.
    """

    dataset: str
    path: str
    num_records_read: int = 0
    num_records_kept: int = 0
    num_records_repaired: int = 0
    num_records_skipped: int = 0
    num_trajectories: int = 0
    num_steps_kept: int = 0
    num_steps_skipped: int = 0
    num_steps_added: int = 0
    num_instructions_generated: int = 0
    skipped_records: Counter[str] = field(default_factory=Counter)
    skipped_steps: Counter[str] = field(default_factory=Counter)
    repairs: Counter[str] = field(default_factory=Counter)
    num_problems: int = 0
    problems: list[Problem] = field(default_factory=list)

    def add_problem(self, problem: Problem) -> None:
        """Counts a problem, and keeps its place while there are fewer than `MAX_PROBLEMS`."""
        self.num_problems += 1
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(problem)

    def to_json(self) -> dict[str, Any]:
        """All fields as a JSON object."""
        record = {f.name: getattr(self, f.name) for f in fields(self)}
        record |= {name: dict(record[name].most_common()) for name in _COUNTERS}
        return record | {"problems": [asdict(problem) for problem in self.problems]}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> ImportReport:
        """The report of a `to_json` record.

        >>> report = ImportReport(dataset="agentnet", path="a", repairs=Counter({"goal from another field": 2}))
        >>> ImportReport.from_json(report.to_json()) == report
        True
        """
        counters = {name: Counter(record[name]) for name in _COUNTERS}
        return cls(**{**record, **counters, "problems": [Problem(**problem) for problem in record["problems"]]})

    def save(self, path: Path) -> None:
        """Writes the report as indented JSON; raises OutputError when it cannot be written."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            text = json.dumps(self.to_json(), indent=2, ensure_ascii=False)
            path.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise OutputError(f"cannot write the report {path} ({error.strerror}): choose another --out") from None

    def summary(self, num_problems: int = 10) -> str:
        """The report as lines for a terminal, with the first `num_problems` places.

        >>> print(ImportReport(dataset="agentnet", path="a.jsonl").summary())
        agentnet a.jsonl
        records: 0 read, 0 kept (0 of them repaired), 0 skipped
        trajectories: 0
        steps:   0 kept, 0 skipped, 0 finish steps added; 0 instructions generated
        """
        lines = [
            f"{self.dataset} {self.path}",
            f"records: {self.num_records_read} read, {self.num_records_kept} kept "
            f"({self.num_records_repaired} of them repaired), {self.num_records_skipped} skipped",
            f"trajectories: {self.num_trajectories}",
            f"steps:   {self.num_steps_kept} kept, {self.num_steps_skipped} skipped, "
            f"{self.num_steps_added} finish steps added; "
            f"{self.num_instructions_generated} instructions generated",
        ]
        for title, counts in (
            ("records skipped", self.skipped_records),
            ("steps skipped", self.skipped_steps),
            ("repairs", self.repairs),
        ):
            if counts:
                lines.append(f"{title}: " + ", ".join(f"{reason} {n}" for reason, n in counts.most_common()))
        shown = self.problems[:num_problems]
        if shown:
            lines.append("problems:")
            lines.extend(f"  {problem}" for problem in shown)
            if self.num_problems > len(shown):
                lines.append(f"  ... and {self.num_problems - len(shown)} more, see the saved report")
        return "\n".join(lines)
