"""How far a project is and how fast it goes: counts of tasks, and of what each person did, day by day."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from statistics import median

from workbench.annotate.store import AnnotationStore, Project

VERDICTS = ("submitted", "accepted", "returned", "fixed")


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonProgress:
    """What became of one annotator's submissions, and the median seconds from one submission to the next on a day.

    `by_verdict` counts their submissions and the reviews of them (`VERDICTS`); `by_day` their submissions by UTC date.
    `seconds_between` is None below two submissions on any day.
    """

    person: str
    by_verdict: Mapping[str, int]
    by_day: Mapping[str, int]
    seconds_between: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """`tasks` counts tasks by (branch, state); `people` are those who submitted anything, by name."""

    tasks: Mapping[tuple[str, str], int]
    people: tuple[PersonProgress, ...]


def progress(store: AnnotationStore, project: Project) -> Progress:
    """How the project stands now; a project without tasks has no counts."""
    with store.file.reading() as db:
        tasks = db.execute(
            "select branch, state, count(*) from annotation_tasks where project = ? group by branch, state",
            [project.id],
        ).fetchall()
        events = db.execute(
            "select r.annotator, r.verdict, r.created from annotation_reviews r join annotation_tasks t "
            "on t.number = r.task where t.project = ? order by r.number", [project.id]
        ).fetchall()
    verdicts: dict[str, Counter[str]] = defaultdict(Counter)
    submitted: dict[str, list[str]] = defaultdict(list)
    for person, verdict, created in events:
        if verdict in VERDICTS:
            verdicts[person][verdict] += 1
        if verdict == "submitted":
            submitted[person].append(created)
    return Progress(
        tasks={(branch, state): count for branch, state, count in tasks},
        people=tuple(
            PersonProgress(person=person, by_verdict=dict(counts), seconds_between=_median_gap(submitted[person]),
                           by_day=dict(Counter(moment[:10] for moment in submitted[person])))
            for person, counts in sorted(verdicts.items())
        ),
    )


def _median_gap(moments: list[str]) -> float | None:
    """Median seconds between neighbours of one day."""
    times = [datetime.fromisoformat(moment) for moment in moments]
    gaps = [(b - a).total_seconds() for a, b in zip(times, times[1:]) if a.date() == b.date()]
    return median(gaps) if gaps else None
