"""The stored evaluations below one folder: what there is, and one of them read whole.

An evaluation's id is its folder below the root, protocol and tool agent: "sft_phone/osatlas.elements". No id leads out
of the root.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from executors.errors import MissingFileError
from training.benchmarks.evaluation import Evaluation, file_stem, load_evaluation, stored_summaries

_KEPT = 12
"""Evaluations that stay in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvaluation:
    """One line of the leaderboard; `summary` is `training.benchmarks.metrics.summarise` and what was evaluated."""

    id: str
    name: str
    benchmark: str
    summary: Mapping[str, Any]

    @property
    def is_scored(self) -> bool:
        """False where no step counts, as with answers that are hidden."""
        return self.summary["step_success"] is not None

    @property
    def rate(self) -> float:
        """Mean step success, 0..1; 0 where no step counts."""
        return (self.summary["step_success"] or {"rate": 0.0})["rate"]

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the rate."""
        low, high = self.summary["ci95"]
        return low, high


class EvaluationShelf:
    """The evaluations below a root folder, which may not exist yet; safe to use from several threads."""

    def __init__(self, root: Path) -> None:
        """Touches nothing on disk."""
        self.root = root
        self._kept: OrderedDict[str, tuple[str, Evaluation]] = OrderedDict()
        self._lock = Lock()

    def list(self) -> list[StoredEvaluation]:
        """All finished evaluations, best first within each benchmark; what cannot be read is left out."""
        found = []
        for summary in stored_summaries(self.root):
            folder = Path(summary["folder"])
            stem = file_stem(summary["protocol"], summary["tool_agent"])
            id = f"{folder.relative_to(self.root).as_posix()}/{stem}"
            found.append(
                StoredEvaluation(id=id, name=self._name(folder), benchmark=summary["benchmark"], summary=summary)
            )
        return found

    def _name(self, folder: Path) -> str:
        """How reports call the evaluation of a folder."""
        return folder.name if folder == self.root else folder.relative_to(self.root).as_posix()

    def digest(self, id: str) -> str:
        """The hash of an evaluation's result file; raises MissingFileError when it is not there."""
        path = self._results_path(id)
        try:
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()[:24]
        except OSError as error:
            raise MissingFileError(f"cannot read results {path} ({error.strerror}): evaluate again") from None

    def stamp(self, id: str) -> tuple[int, int] | None:
        """Time and size of an evaluation's result file, other after every change; None when it is not there."""
        try:
            found = self._results_path(id).stat()
        except OSError:  # a MissingFileError too
            return None
        return found.st_mtime_ns, found.st_size

    def _results_path(self, id: str) -> Path:
        folder, _, stem = id.rpartition("/")
        if "\0" in id or (folder != "." and not set(folder.split("/")).isdisjoint(("", ".", ".."))):
            raise MissingFileError(f"evaluation {id[:120]!r} is not below {self.root}: choose one of the list")
        return self.root / folder / f"results.{stem}.jsonl"

    def load(self, id: str) -> tuple[Evaluation, str]:
        """The evaluation of this id and the hash of its result file.

        Raises:
            MissingFileError: there is none of this id.
            InputError: its results are damaged.
        """
        path, digest = self._results_path(id), self.digest(id)
        with self._lock:  # a large file is read once, however many pages ask for it
            if id not in self._kept or self._kept[id][0] != digest:
                self._kept[id] = (digest, load_evaluation(path, self._name(path.parent)))
            self._kept.move_to_end(id)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
            return self._kept[id][1], digest
