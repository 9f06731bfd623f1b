"""What every importer is made of: raw records, notes on what was not in order, and the class they derive from.

An importer reads one data set in two halves. `read` runs in the main process and cuts the source into raw records
without looking into them; `convert` runs in any process and makes a trajectory of one record. Where a record is one
step of a task, `convert` says to which task it belongs and which step it is (`Place`), and `grouping.py` joins them.

Rules that hold for all data sets:

    a record is broken        skipped, with a reason
    a step is broken          the steps before it are kept and the rest is left out, because what follows was done on
                              screens that the kept steps do not lead to; nothing before it: the record is skipped
    a field has no sense      mended or left out, and counted as a repair
    two records share an id   the same trajectory: skipped; another one: kept as `ID#2`
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from executors.errors import InputError
from executors.trajectory import Step, Trajectory
from training.datasets.screens import ScreenStore
from training.datasets.skip import Skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """What a person asked for; small and picklable, so that worker processes get it too.

    `split` keeps only records of that split, `crop` chooses what of a full-page screenshot is kept; None is the data
    set's own default.
    """

    path: Path
    images: Path | None = None
    split: str | None = None
    crop: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RawRecord:
    """One record as it lies in the source.

    `number` counts lines, records or rows of `file` from 1, `num_bytes` is its size in memory, `end_bytes` is how far
    the file is read after it (for the progress bar). `problem` says why it cannot be read at all; it then stands for
    `num_records` of them.
    """

    file: str
    number: int
    data: Any = None
    num_bytes: int = 0
    end_bytes: int = 0
    problem: Skip | None = None
    num_records: int = 1


@dataclass(slots=True)
class Notes:
    """What one record needed; it counts in the report only when the record is kept, its problems always."""

    record: str = ""
    repairs: Counter[str] = field(default_factory=Counter)
    skipped_steps: Counter[str] = field(default_factory=Counter)
    num_instructions_generated: int = 0
    num_steps_added: int = 0
    num_source_steps: int = 0
    problems: list[tuple[str, str, str]] = field(default_factory=list)

    def repair(self, reason: str, name: str, message: str, outcome: str) -> None:
        """Counts a repair and keeps its place: the field, what was wrong with it, what was done."""
        self.repairs[reason] += 1
        self.problems.append((name, message, outcome))


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a one-step record belongs: its task, its step counted from 0, and the task's number of steps if known."""

    key: str
    step: int
    num_steps: int | None = None


class Importer:
    """A data set's reader; derive from it and add a line to `registry.IMPORTERS`.

    Class attributes: `name` and `licence` go into every trajectory; `id_field` is what the source calls the id;
    `splits` are the names that `--split` takes (empty: the set has none), `crops` those of `--crop`; `grouping` is ""
    (a record is a trajectory), "task" (records are steps, in any order) or "run" (records are steps, those of a task
    in a row).
    """

    name = ""
    licence = ""
    id_field = "id"
    splits: tuple[str, ...] = ()
    crops: tuple[str, ...] = ()
    grouping = ""

    def __init__(self, options: ImportOptions, screens: ScreenStore) -> None:
        """Finds the files.

        Raises:
            MissingFileError: the path does not exist or holds no file of this data set.
            InputError: an option that this data set does not take.
        """
        for option, value, allowed in (
            ("--split", options.split, self.splits),
            ("--crop", options.crop, self.crops),
        ):
            if value is not None and value not in allowed:
                told = f"choose one of {', '.join(allowed)}" if allowed else "leave it out"
                raise InputError(f"{option} {value} is not allowed for {self.name}: {told}")
        self.options = options
        self.screens = screens
        self.files = self.find_files(options.path)

    def find_files(self, path: Path) -> list[Path]:
        """The source files, in the order they are read."""
        raise NotImplementedError

    def read(self, file: Path) -> Iterator[RawRecord]:
        """The raw records of one file, in order; a part that cannot be read is a record with a problem."""
        raise NotImplementedError

    def convert(self, raw: RawRecord, notes: Notes) -> Trajectory | tuple[Trajectory, Place]:
        """The trajectory of one record; with its `Place` when the record is one step of it.

        Raises:
            Skip: the record is not to be kept.
        """
        raise NotImplementedError

    def choose_split(self, main: str, names: Sequence[str] = ()) -> str:
        """The trajectory's split: the one that was asked for, else `main`.

        Raises:
            Skip: a split was asked for, and the record is neither in `main` nor in one of `names`.
        """
        wanted = self.options.split
        if wanted is None:
            return main
        if wanted != main and wanted not in names:
            raise Skip(f"not in split {wanted}", "", "")
        return wanted


def read_steps(
    raws: Sequence[Any], read_step: Callable[[Any, int], Step | None], notes: Notes, name: str = "steps"
) -> tuple[list[Step], bool]:
    """The good steps up to the first broken one, and whether there was one.

    Args:
        raws: the record's steps.
        read_step: makes a step of a raw one and its index; None leaves it out, Skip says that it is broken.
        notes: gets the counts of what is left out.
        name: the field that holds the steps.

    Raises:
        Skip: no step is left.
    """
    notes.num_source_steps = len(raws)
    kept: list[Step] = []
    for index, raw in enumerate(raws):
        try:
            step = read_step(raw, index)
        except Skip as skip:
            if not kept:
                raise
            num_after = len(raws) - index - 1
            notes.skipped_steps += Counter({skip.reason: 1, "after a broken step": num_after})
            notes.repair("cut at a broken step", skip.field, skip.message,
                         f"cut to the {len(kept)} steps before it, {num_after} steps after it left out")
            return kept, True
        if step is not None:
            kept.append(step)
    if not kept:
        raise Skip("no step does anything", name, "no step is left")
    return kept, False


def text_of(value: Any) -> str:
    """The text in one line, without spaces around it; empty for anything that is not text."""
    return " ".join(value.split()) if isinstance(value, str) else ""


def show(value: object, limit: int = 60) -> str:
    """A value as messages show it: its repr, cut to `limit` characters."""
    if value is None:
        return "null or missing"
    text = repr(value) if not isinstance(value, (str, bytes)) else repr(value[: 4 * limit])
    return text if len(text) <= limit else text[: limit - 3] + "..."
