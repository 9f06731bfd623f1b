"""What a person compares: chosen evaluations, their comparison, their flips, and the reports. No gradio, no HTML."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock

from executors.errors import InputError, MissingFileError
from training.benchmarks.comparison import Comparison, Flip, check_comparable, compare, flips
from training.benchmarks.evaluation import Evaluation
from training.benchmarks.reports import to_csv, to_html, to_markdown
from workbench.annotation_queue import AnnotationQueue
from workbench.compare_saved import SavedComparison, SavedComparisons
from workbench.compare_shelf import EvaluationShelf

MOST_COMPARED = 24
"""Evaluations in one comparison; more cannot be told apart, and each benchmark makes pairs of all of its own."""
REPORTS = {"html": to_html, "md": to_markdown, "csv": to_csv}
_KEPT = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Ids of stored evaluations, in the order they were chosen, and whether their prompts may differ."""

    ids: tuple[str, ...]
    allow_different_prompts: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FlipChoice:
    """Two evaluations of one comparison: `a` and `b` are names within `benchmark`."""

    benchmark: str
    a: str
    b: str


class CompareDesk:
    """The stored evaluations, the saved comparisons and the annotation queue; shared by all pages."""

    def __init__(self, shelf: EvaluationShelf, saved: SavedComparisons, queue: AnnotationQueue) -> None:
        self.shelf, self.saved, self.queue = shelf, saved, queue
        self._kept: OrderedDict[tuple[object, ...], Comparison] = OrderedDict()
        self._lock = Lock()

    def evaluations(self, choice: Choice) -> dict[str, Evaluation]:
        """The chosen evaluations by id.

        Raises:
            InputError: fewer than two or too many are chosen, or one is damaged.
            MissingFileError: one is gone.
        """
        return {id: evaluation for id, (evaluation, _) in self._load(choice).items()}

    def _load(self, choice: Choice) -> dict[str, tuple[Evaluation, str]]:
        if not 2 <= len(choice.ids) <= MOST_COMPARED:
            raise InputError(f"{len(choice.ids)} evaluations are chosen: choose 2..{MOST_COMPARED} to compare")
        return {id: self.shelf.load(id) for id in choice.ids}

    def comparison(self, choice: Choice) -> Comparison:
        """The report on the chosen evaluations; worked out once for the same results.

        Raises:
            InputError, MissingFileError: as `evaluations` does.
            NotComparableError: they must not be compared; the message says why.
        """
        with self._lock:  # pages that ask for the same wait for the one that works it out
            loaded = self._load(choice)
            key = (choice, *(digest for _, digest in loaded.values()))
            if key not in self._kept:
                self._kept[key] = compare(
                    [evaluation for evaluation, _ in loaded.values()],
                    allow_different_prompts=choice.allow_different_prompts,
                )
            self._kept.move_to_end(key)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
            return self._kept[key]

    def pair(self, choice: Choice, wanted: FlipChoice) -> tuple[Evaluation, Evaluation]:
        """The two evaluations of a flip list.

        Raises:
            InputError: the comparison has no such two, or they are the same one.
            NotComparableError: they must not be compared.
        """
        by_name = {
            evaluation.name: evaluation
            for evaluation in self.evaluations(choice).values()
            if evaluation.benchmark == wanted.benchmark
        }
        if wanted.a == wanted.b or not {wanted.a, wanted.b} <= set(by_name):
            raise InputError(
                f"{wanted.a[:60]!r} and {wanted.b[:60]!r} are no pair of {wanted.benchmark[:80]!r}: choose two of its "
                f"evaluations ({', '.join(by_name) or 'none is chosen'})"
            )
        a, b = by_name[wanted.a], by_name[wanted.b]
        check_comparable(a, b, allow_different_prompts=choice.allow_different_prompts)
        return a, b

    def flips(self, choice: Choice, wanted: FlipChoice) -> list[Flip]:
        """The samples that only one of the two got fully right; raises as `pair` does."""
        return flips(*self.pair(choice, wanted))

    def report(self, choice: Choice, form: str) -> str:
        """The comparison as text in one of `REPORTS`; raises as `comparison` does."""
        if form not in REPORTS:
            raise InputError(f"report {form[:20]!r} is unknown: choose one of {', '.join(REPORTS)}")
        return REPORTS[form](self.comparison(choice))

    def save(self, name: str, choice: Choice, person: str, *, replace: bool = False) -> None:
        """Keeps the choice under a name, with the hashes of the results that it is about.

        Raises:
            InputError: the name is not allowed or taken, or the evaluations cannot be compared.
        """
        self.comparison(choice)  # what cannot be compared is not kept
        digests = {id: digest for id, (_, digest) in self._load(choice).items()}
        self.saved.save(
            SavedComparison(
                name=name, digests=digests, allow_different_prompts=choice.allow_different_prompts, person=person
            ),
            replace=replace,
        )

    def open(self, name: str) -> tuple[Choice, list[str]]:
        """(the choice that was saved under a name, what has changed since in words); raises MissingFileError."""
        saved = self.saved.load(name)
        choice = Choice(ids=tuple(saved.digests), allow_different_prompts=saved.allow_different_prompts)
        return choice, self._changes(saved.digests)

    def _changes(self, digests: Mapping[str, str]) -> list[str]:
        notes = []
        for id, digest in digests.items():
            try:
                if self.shelf.digest(id) != digest:
                    notes.append(f"The results of {id} have changed since this comparison was saved.")
            except MissingFileError:
                notes.append(f"{id} is not stored any more.")
        return notes
