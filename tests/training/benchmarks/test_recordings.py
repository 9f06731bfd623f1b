"""The recorded step behind a sample: found again in a file or in the embedded world, or refused with the reason."""

from __future__ import annotations

from dataclasses import astuple, replace

import pytest

from executors.actions import Action
from executors.errors import InputError, MissingFileError
from executors.simulator import make_task, record_episode
from executors.trajectory import write_trajectories
from training.benchmarks.evaluation import load_folder
from training.benchmarks.offline_run import OfflineSettings, evaluate_offline, simulator_data, simulator_name
from training.benchmarks.recordings import find_trajectory, recorded_step
from training.config import DataConfig


def evaluated(out, **changes):
    given = {"protocol": "grounded", "data": "simulator", "planner": "oracle", "out": out}
    settings = OfflineSettings(**{**given, **changes})
    evaluate_offline(settings)
    (evaluation,) = load_folder(out)
    return evaluation


@pytest.fixture(scope="module")
def in_world(tmp_path_factory):
    return evaluated(tmp_path_factory.mktemp("world") / "out", num_episodes=3, seed=2)


@pytest.fixture
def file(tmp_path):
    recorded = [record_episode(make_task("alarm_on", "train", seed)) for seed in (0, 1)]
    trajectories = [replace(one, id=f'ä "{seed}"') for seed, one in enumerate(recorded)]
    write_trajectories(tmp_path / "data.jsonl", trajectories)
    return tmp_path / "data.jsonl"


def test_every_step_of_the_embedded_world_is_found_again_with_its_screen(in_world):
    for sample in in_world.samples:
        step = recorded_step(in_world, sample)
        assert step.action == sample.steps[0].reference
        assert step.observation.load_image().size == astuple(step.observation.image_size)


def test_a_step_of_a_file_is_found_again(tmp_path, file):
    evaluation = evaluated(tmp_path / "out", data=str(file))
    sample = evaluation.samples[-1]
    step = recorded_step(evaluation, sample)
    assert (step.action, sample.episode) == (sample.steps[0].reference, 'ä "1"')
    assert step.observation.load_image() is not None


def test_only_the_wanted_line_of_a_file_is_read(file):
    with file.open("a") as out:
        out.write("torn {\n")
    assert find_trajectory(file, 'ä "1"').id == 'ä "1"'
    assert find_trajectory(file, "nobody") is None


def test_a_damaged_line_is_told_with_its_place(file):
    file.write_text('{"id": "x", \n')
    with pytest.raises(InputError, match=r"data.jsonl line 1: not JSON"):
        find_trajectory(file, "x")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda file: file.unlink(), "cannot read trajectories"),
        (lambda file: file.write_text(""), "holds no episode"),
    ],
)
def test_data_that_are_gone_are_told(tmp_path, file, change, words):
    evaluation = evaluated(tmp_path / "out", data=str(file))
    change(file)
    with pytest.raises(MissingFileError, match=words):
        recorded_step(evaluation, evaluation.samples[0])


def test_another_recording_under_the_same_id_is_refused(in_world):
    sample = in_world.samples[0]
    other = replace(sample.steps[0], reference=Action(type="wait"))
    with pytest.raises(InputError, match="another action is recorded"):
        recorded_step(in_world, replace(sample, steps=(other,)))
    with pytest.raises(InputError, match="has no step 99"):
        recorded_step(in_world, replace(sample, index=99))


def test_the_name_of_simulated_data_is_read_back():
    data = DataConfig(split="val", num_episodes=7, seed=3, mistake_rate=0.0)
    assert simulator_data(simulator_name(data)) == data
    assert simulator_data("simulator/test, many episodes") is None
