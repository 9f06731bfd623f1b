"""What the Compare tab reads: answers to the page's questions as plain values. Nothing here changes anything.

Questions come from a browser and are checked as any other input; an error is an answer, told in words.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from executors.errors import InputError, MissingFileError, WorkbenchError
from training.benchmarks.comparison import Comparison
from training.benchmarks.watched import STAGE
from workbench.compare_desk import Choice, CompareDesk, FlipChoice
from workbench.compare_flip import render_flip
from workbench.compare_html import (
    FLIPS_PER_PAGE,
    render_comparison,
    render_flips,
    render_leaderboard,
    render_queue,
    render_refusal,
    render_saved,
    render_start,
    render_stored,
)
from workbench.compare_launch import render_form, render_runs
from workbench.planner_choices import list_checkpoints
from workbench.recordings import list_files
from workbench.runs.desk import RunDesk
from workbench.runs.gpus import read_machine
from workbench.train_views import answering, page_hash, unseen_parts

Answer = dict[str, Any]


class CompareViews:
    """Answers for one desk; shared by all pages."""

    def __init__(self, desk: CompareDesk, runs: RunDesk, data_root: Path) -> None:
        self.desk, self.runs, self.data_root = desk, runs, data_root

    @answering
    def look(self, ask: Mapping[str, Any]) -> Answer:
        """The lists, each as {"hash", "html"} if it is other than in `seen`; "results" changes with any result.

        Args:
            ask: "chosen" (ids), "shown" (name of the saved comparison that is shown), "seen" (part -> hash).
        """
        choice, rows = choice_of(ask), self.desk.shelf.list()
        evaluations = [row for row in self.runs.list() if row.stage == STAGE]
        num_queued = self.desk.queue.count()
        pages = {
            "stored": render_stored(rows, choice.ids, str(self.desk.shelf.root)),
            "saved": render_saved(self.desk.saved.list(), _text(ask, "shown")),
            "leaders": render_leaderboard(rows),
            "queue": render_queue(self.desk.queue.list(), num_queued),
            "runs": render_runs(evaluations),
        }
        return {
            "parts": unseen_parts(pages, ask),
            "known": [row.id for row in rows],
            "results": page_hash(repr((rows, [self.desk.shelf.stamp(id) for id in choice.ids]))),
            "num_queued": num_queued,
        }

    @answering
    def compare(self, ask: Mapping[str, Any]) -> Answer:
        """The comparison of "chosen" as HTML, and its curves; a refusal stands in the HTML.

        Args:
            ask: "chosen", "allow" (different prompts); "shown": name of a saved comparison, whose changes are told.
        """
        choice = choice_of(ask)
        if len(choice.ids) < 2:
            return {"html": render_start(len(choice.ids)), "figures": [], "is_compared": False}
        try:
            comparison = self.desk.comparison(choice)
        except WorkbenchError as error:
            return {"html": render_refusal(str(error)), "figures": [], "is_compared": False}
        try:
            notes = self.desk.open(_text(ask, "shown"))[1]
        except MissingFileError:  # none is shown, or it was deleted meanwhile
            notes = []
        return {"html": render_comparison(comparison, notes), "figures": figures_of(comparison), "is_compared": True}

    @answering
    def open(self, ask: Mapping[str, Any]) -> Answer:
        """What was saved under "name": "chosen" and "allow"."""
        choice, _ = self.desk.open(_text(ask, "name"))
        return {"chosen": list(choice.ids), "allow": choice.allow_different_prompts}

    @answering
    def flips(self, ask: Mapping[str, Any]) -> Answer:
        """A page of the flip list of "benchmark", "a" and "b".

        Args:
            ask: as for `compare`, and "right" (whose right ones), "offset", "flip" (id that is shown).
        """
        choice, wanted = choice_of(ask), _flip_choice(ask)
        found = self.desk.flips(choice, wanted)
        right = _text(ask, "right") or wanted.b
        if right not in (wanted.a, wanted.b):
            raise InputError(f"{right[:60]!r} is neither {wanted.a} nor {wanted.b}")
        offset = _count(ask, "offset") // FLIPS_PER_PAGE * FLIPS_PER_PAGE
        html = render_flips(
            found, names=(wanted.a, wanted.b), right=right, offset=offset, chosen=_text(ask, "flip"),
            queued=self.desk.queue.waiting_ids(wanted.benchmark),
        )  # fmt: skip
        return {"html": html, "ids": [flip.id for flip in found if flip.right == right]}

    @answering
    def flip(self, ask: Mapping[str, Any]) -> Answer:
        """Both forecasts of the sample "flip" on its screenshot; else asked as `flips`."""
        choice, wanted, id = choice_of(ask), _flip_choice(ask), _text(ask, "flip")
        found = next((flip for flip in self.desk.flips(choice, wanted) if flip.id == id), None)
        if found is None:
            raise InputError(f"sample {id[:120]!r} is no flip of {wanted.a} and {wanted.b}: choose one of the list")
        a, b = self.desk.pair(choice, wanted)
        is_queued = id in self.desk.queue.waiting_ids(wanted.benchmark)
        return {"html": render_flip(found, a, b, is_queued=is_queued)}

    @answering
    def report(self, ask: Mapping[str, Any]) -> Answer:
        """The comparison as a file: "form" is html, md or csv."""
        form = _text(ask, "form")
        name = _text(ask, "shown") or "comparison"
        return {"text": self.desk.report(choice_of(ask), form), "name": f"{name}.{form}"}

    @answering
    def form(self, ask: Mapping[str, Any]) -> Answer:
        """The empty form of a new evaluation, with what may be chosen here."""
        planners, data = [], []
        if not self.runs.refusal:
            planners = [str(self.runs.root / name) for name in list_checkpoints(self.runs.root)]
            data = [str(self.data_root / name) for name in list_files(self.data_root)]
        return {"html": render_form(read_machine(self.runs.root).devices, planners, data)}


def figures_of(comparison: Comparison) -> list[list[dict[str, Any]]]:
    """For each benchmark one series per evaluation: "name", and "t", "rate", "low", "high" in percent.

    Empty where there is one lookahead only: a point is no curve.
    """
    figures = []
    for result in comparison.benchmarks:
        series = []
        for name, curve in result.lookahead.items():
            ends = [result.intervals[name][t] for t in curve]
            series.append({
                "name": name, "t": [int(t) for t in curve], "rate": [100 * found["rate"] for found in curve.values()],
                "low": [100 * low for low, _ in ends], "high": [100 * high for _, high in ends],
            })  # fmt: skip
        figures.append(series if any(len(one["t"]) > 1 for one in series) else [])
    return figures


def choice_of(ask: Mapping[str, Any]) -> Choice:
    """The choice that a page sent; raises InputError when it is none."""
    chosen = ask.get("chosen") or []
    if not isinstance(chosen, list) or not all(isinstance(id, str) and len(id) <= 600 for id in chosen):
        raise InputError("chosen: give a list of ids of evaluations")
    return Choice(ids=tuple(dict.fromkeys(chosen)), allow_different_prompts=ask.get("allow") is True)


def _flip_choice(ask: Mapping[str, Any]) -> FlipChoice:
    return FlipChoice(benchmark=_text(ask, "benchmark"), a=_text(ask, "a"), b=_text(ask, "b"))


def _text(ask: Mapping[str, Any], name: str) -> str:
    value = ask.get(name) or ""
    if not isinstance(value, str) or len(value) > 600:
        raise InputError(f"{name}: {str(value)[:60]!r} is not a text of at most 600 characters")
    return value


def _count(ask: Mapping[str, Any], name: str) -> int:
    value: Any = ask.get(name) or 0
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 10**9:
        raise InputError(f"{name}: {str(value)[:60]!r} is not a whole number of at least 0")
    return value


