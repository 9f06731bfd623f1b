"""The recorded step that a sample of an evaluation is about, with its screen, for whoever looks at a verdict.

Results hold no screenshots. The step is read again from the trajectory file that was evaluated, or recorded again from
the embedded world, whose equal settings give equal episodes. GTA's queries are read from the copy that was evaluated;
of GAIA nothing is kept.
"""

from __future__ import annotations

import json
from pathlib import Path

from executors.errors import InputError, MissingFileError
from executors.trajectory import Step, Trajectory, trajectory_from_json
from training.benchmarks import gaia_run, gta_run
from training.benchmarks.evaluation import Evaluation, Sample
from training.benchmarks.offline_run import simulator_data
from training.datasets.simulator import find_recorded


def recorded_step(evaluation: Evaluation, sample: Sample) -> Step:
    """The step of a sample as it was recorded, its screenshot not yet loaded where it is a file.

    Raises:
        MissingFileError: the data are gone, or hold this episode no more.
        InputError: they cannot be read, or another step is recorded there now.
    """
    trajectory = recorded_episode(evaluation, sample.episode)
    if sample.index >= len(trajectory.steps):
        raise InputError(f"episode {sample.episode} has no step {sample.index} any more: evaluate again")
    step = trajectory.steps[sample.index]
    if step.action != sample.steps[0].reference:
        raise InputError(f"another action is recorded for {sample.id} than was evaluated: evaluate again")
    return step


def recorded_episode(evaluation: Evaluation, episode: str) -> Trajectory:
    """The whole recorded episode; raises as `recorded_step` does."""
    if evaluation.settings.get("is_live"):
        raise MissingFileError(f"{episode} was done live, so no step is recorded: look into {evaluation.folder}")
    data = simulator_data(str(evaluation.settings.get("data", "")))
    if evaluation.protocol == gaia_run.PROTOCOL:
        raise InputError("nothing of GAIA is kept with an evaluation: look the question up in your own copy, by its id")
    if evaluation.protocol in gta_run.PROTOCOLS:
        found, where = gta_run.recorded_query(evaluation, episode), "this copy of GTA"
    elif data is not None:
        found = find_recorded(data, episode)
        where = "the embedded world"
    else:
        path = Path(str(evaluation.settings.get("data_path", "")))
        found = find_trajectory(path, episode)
        where = str(path)
    if found is None:
        raise MissingFileError(f"{where} holds no episode {episode!r} any more: evaluate again")
    return found


def find_trajectory(path: Path, trajectory_id: str) -> Trajectory | None:
    """The trajectory of this id in a file of trajectories, the others left unread; None when it is not there.

    Raises:
        MissingFileError: the file cannot be read.
        InputError: the trajectory's line is damaged.
    """
    texts = {json.dumps(trajectory_id, ensure_ascii=ascii_only) for ascii_only in (True, False)}
    wanted = [text.encode("utf-8", "surrogatepass") for text in texts]
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if not any(text in line for text in wanted):
                    continue
                record = _read_line(path, number, line)
                if record.get("id") == trajectory_id:
                    return trajectory_from_json(record, path.parent)
    except OSError as error:
        raise MissingFileError(f"cannot read trajectories {path} ({error.strerror}): put the file back") from None
    return None


def _read_line(path: Path, number: int, line: bytes) -> dict:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} line {number}: not JSON ({error}): import the data again") from None
    return record if isinstance(record, dict) else {}
