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
    """Where a data set's importer is (a class in a module of this package), and one line that tells what PATH is."""

    module: str
    class_name: str
    help: str


IMPORTERS: dict[str, ImporterEntry] = {
    "agentnet": ImporterEntry(
        "agentnet", "AgentNet", "AgentNet (OpenCUA): its .jsonl file, or the folder of one or both of its files"),
    "agentnetbench": ImporterEntry(
        "agentnetbench", "AgentNetBench", "AgentNetBench: the folder of its task files, with images/"),
    "agenttrek": ImporterEntry(
        "agenttrek", "AgentTrek", "AgentTrek, text only (no screenshots, no coordinates): agenttrek_1207.json"),
    "android_control": ImporterEntry(
        "android_control", "AndroidControl", "AndroidControl: a TFRecord shard or their folder, with splits.json"),
    "gui_odyssey": ImporterEntry(
        "gui_odyssey", "GuiOdyssey", "GUI-Odyssey, either release: the folder of annotations/, screenshots/, splits/"),
    "mind2web": ImporterEntry(
        "mind2web", "Mind2Web", "Multimodal-Mind2Web: the folder of its parquet files, or UGround's *_blocks.jsonl"),
    "mm_traj": ImporterEntry("mm_traj", "MmTraj", "MM-Traj (T3-Agent): its .json file; images with --images"),
    "ui_s1": ImporterEntry("ui_s1", "UiS1", "AndroidControl as UI-S1's .jsonl file; screenshots with --images"),
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
