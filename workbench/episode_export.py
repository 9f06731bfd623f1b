"""An episode taken away: as JSON with its screens, and as a reference trajectory that the training stages read.

The page that can be read without the workbench is made in workbench.episode_export_html.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from executors.errors import InputError, OutputError, WorkbenchError
from executors.tool_agents import get_tool_agent
from executors.trajectory import Step, Trajectory, read_trajectories, write_trajectories
from workbench.episode_drift import episode_drift
from workbench.episode_marks import image_uri
from workbench.episode_store import StoredEpisode, StoredFrame

FORMAT = "tracer1-episode"
FORMAT_VERSION = 1


def export_json(episode: StoredEpisode) -> str:
    """The whole episode as one JSON object, plain ASCII: all that is stored, its screens, and its drift in numbers.

    Screens are data URIs under "screens", by the hash that frames name them with. A screen that is gone or damaged is
    listed under "missing_screens" with the reason.
    """
    drift = episode_drift(episode.frames, get_tool_agent(episode.setup.tool_agent))
    screens, missing = {}, {}
    for frame in episode.frames:
        if frame.screen and frame.screen not in screens:
            try:
                screens[frame.screen] = image_uri(frame.observation)[0]
            except WorkbenchError as error:
                missing[frame.screen] = str(error)
    record: dict[str, Any] = {"format": FORMAT, "format_version": FORMAT_VERSION}
    record |= {name: value for name, value in asdict(replace(episode, frames=())).items() if name != "frames"}
    record |= {
        "frames": [frame.to_json(None) for frame in episode.frames],
        "drift": {
            "hit_rate_by_lookahead": [asdict(rate) for rate in drift.rates],
            "plan_stability": drift.stability,
        },
        "screens": screens,
        "missing_screens": missing,
    }
    return json.dumps(record, indent=1) + "\n"


def to_trajectory(episode: StoredEpisode) -> Trajectory:
    """The steps that were carried out, as imported and recorded trajectories are.

    Steps that failed are left out and counted in `meta`. A step that the simulator says had no effect is flagged
    redundant, so that it is not imitated. What a person changed stands in `meta["changed_by_person"]`, and such a step
    keeps no thought: the planner's does not lead to it.

    Raises:
        InputError: no step was carried out.
    """
    done = [frame for frame in episode.frames if frame.step is not None and frame.step.error is None]
    steps = [_reference_step(frame, episode.setup.executor) for frame in done]
    if not steps:
        raise InputError(f"episode {episode.id} has no step that was carried out: act first, then save it")
    changed = [
        {"step": number, "changes": list(made.changes), "edited": list(made.edited), "pinned": list(made.pinned)}
        for number, frame in enumerate(done, start=1)
        for made in frame.forecasts[-1:]
        if made.author == "person"
    ]
    setup = episode.setup
    return Trajectory(
        id=f"episode-{episode.id}",
        goal=episode.goal,
        steps=tuple(steps),
        source=f"episode:{episode.planner_name}",
        platform=episode.platform,
        split=setup.split or "train",
        outcome="" if episode.outcome == "unknown" else episode.outcome,
        meta={
            "executor": setup.executor, "task": setup.task, "seed": setup.seed, "position": setup.position,
            "planner": episode.planner_name, "owner": episode.owner, "created": episode.created,
            "stop_reason": episode.stop_reason, "changed_by_person": changed,
            "num_failed_steps": sum(frame.step is not None for frame in episode.frames) - len(done),
        },
    )


def _reference_step(frame: StoredFrame, executor: str) -> Step:
    record, step = frame.step, frame.step.to_step()
    made = frame.forecasts[-1] if frame.forecasts else None
    if made is not None and made.author == "person" and 1 in (*made.edited, *made.pinned):
        step = replace(step, thought="")
    is_idle = executor == "simulator" and not record.had_effect and not record.action.is_terminal
    return replace(step, flags=frozenset({"redundant"})) if is_idle and record.action.type != "wait" else step


def save_reference(episode: StoredEpisode, path: Path) -> int:
    """Adds the episode to a file of trajectories, in place of an earlier state of it; returns how many the file holds.

    The file is made when it does not exist, its screenshots lie beside it in `<stem>_images/`. Several threads and
    processes may add to one file.

    Raises:
        InputError: no step was carried out, a screenshot is damaged, or the file is not one of trajectories.
        MissingFileError: a screenshot is gone.
        OutputError: the file cannot be written.
    """
    added = to_trajectory(episode)
    for step in added.steps:
        if step.observation.image_path is not None:
            step.observation.load_image()  # a damaged one must not become a reference
    with _locked(path):
        others = [t for t in read_trajectories(path) if t.id != added.id] if path.exists() else []
        return write_trajectories(path, [*others, added])


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Alone at this file, among all who take this lock."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_name(f".{path.name}.lock").open("w")
    except OSError as error:
        raise OutputError(f"cannot write {path} ({error.strerror}): choose a folder that you may write") from None
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
