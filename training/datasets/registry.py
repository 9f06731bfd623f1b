"""The one list of data sets that can be imported."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from executors.errors import InputError

if TYPE_CHECKING:
    from training.datasets.base import Importer


@dataclass(frozen=True, slots=True)
class ImporterEntry:
    """Where a data set's importer is, and one line that tells what its PATH is."""

    module: str
    class_name: str
    help: str


IMPORTERS: dict[str, ImporterEntry] = {
    "agentnet": ImporterEntry(
        "agentnet", "AgentNet", "AgentNet (OpenCUA): its .jsonl file, or the folder of one or both of its files"),
}
"""Name on the command line -> importer; a module is imported only when its data set is asked for."""


def load_importer(name: str) -> type[Importer]:
    """The importer class of a data set.

    Raises:
        InputError: no data set has this name.
    """
    entry = IMPORTERS.get(name)
    if entry is None:
        raise InputError(f"data set {name!r} is unknown: choose one of {', '.join(IMPORTERS)}")
    return getattr(importlib.import_module(f"training.datasets.{entry.module}"), entry.class_name)
