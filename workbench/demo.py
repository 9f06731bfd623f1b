"""What a hosted demo opens with: a recorded training run, stored evaluations and an episode with recorded forecasts.

All of it was made by the project's own commands, see assets/demo/README.md.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

from executors.errors import WorkbenchError
from executors.trajectory import Trajectory
from training.config import DataConfig
from training.datasets.simulator import record_trajectories
from training.episode_record import load_episode
from training.planner import load_planner
from workbench.episode_desk import EpisodeDesk
from workbench.episode_store import EpisodeSetup, EpisodeStore
from workbench.settings import ROOT, AppSettings

log = logging.getLogger(__name__)

CONTENT = ROOT / "assets" / "demo"
EXAMPLE = CONTENT / "episode.json"
EXAMPLE_PLANNER = f"replay:{EXAMPLE}"
REFUSAL = (
    "This is a demo: nothing is trained or evaluated here. The command is the real one: duplicate this Space (button "
    "at the top) or install the project, and run it yourself."
)
_EXAMPLE_SECONDS = 60.0


def lay_out(settings: AppSettings) -> None:
    """Copies the recorded runs and evaluations to where the app reads them; what is there already stays.

    Raises:
        OSError: the folders cannot be written.
    """
    for name, target in (("runs", settings.runs_root), ("evaluations", settings.evaluations_root)):
        for source in sorted((CONTENT / name).glob("*/")):
            if not (target / source.name).exists():
                shutil.copytree(source, target / source.name)


def trajectories() -> Iterator[Trajectory]:
    """What a visitor annotates: short episodes of the embedded world, some with a mistake in them."""
    return record_trajectories(DataConfig(num_episodes=6, seed=7, mistake_rate=0.3))


def make_example(store: EpisodeStore, data_root: Path) -> str:
    """Acts the recorded episode anew in the embedded world and returns its id; "" where that failed, which is logged.

    The forecasts are those that the shipped planner made when it was recorded; the page names the recording as planner.
    """
    desk = EpisodeDesk(store, data_root, load_planner)
    try:
        task = load_episode(EXAMPLE).meta
        setup = EpisodeSetup(
            task=task["template"], split=task["split"], seed=task["task_seed"], planner=EXAMPLE_PLANNER
        )
        id = desk.start(setup)
        live = desk.live(id)
        live.run()
        live.wait_idle(_EXAMPLE_SECONDS)
    except (WorkbenchError, KeyError):
        log.exception("the demo's example episode could not be made")
        return ""
    finally:
        desk.close()
    return id
