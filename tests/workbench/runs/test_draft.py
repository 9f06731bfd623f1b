"""Drafts: the command that is shown is the command that is run, whatever the values are."""

import os
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executors.errors import InputError
from training.config import STAGES, GrpoConfig, OptimConfig, Stage1Config
from training.config_reading import load_config
from training.presets import PRESETS, get_preset
from workbench.runs.draft import Draft, check_name, make_draft

HOSTILE = [
    "$(touch pwned)", "; rm -rf x", "a b'c\"d", "true", "null", "007", "1e3", "~", "a: b", "[1]", "-x", "--out", "ü\n",
]  # fmt: skip


def _overrides(command):
    return [command[i + 1] for i, word in enumerate(command) if word == "--set"]


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("preset", PRESETS)
def test_the_command_holds_every_setting(preset, stage, tmp_path):
    config = getattr(get_preset(preset, 3), stage)
    if config is None:
        pytest.skip("the preset has no such stage")
    draft = Draft(stage=stage, config=config, out=tmp_path / "run")
    assert load_config(STAGES[stage], None, _overrides(draft.command())) == config


@given(
    model=st.one_of(st.sampled_from(HOSTILE), st.text(min_size=1).filter(str.strip)),
    rate=st.floats(1e-12, 1.0),
    seed=st.integers(0, 9),
)
def test_any_text_and_number_come_through_the_command_line(tmp_path_factory, model, rate, seed):
    config = Stage1Config(model=model, grpo=GrpoConfig(use_vllm=True), optim=OptimConfig(learning_rate=rate, seed=seed))
    draft = Draft(stage="stage1", config=config, out=tmp_path_factory.getbasetemp() / "run")
    assert load_config(Stage1Config, None, _overrides(draft.command())) == config


@pytest.mark.parametrize("model", HOSTILE)
def test_the_text_to_copy_is_the_argument_list_quoted(model, tmp_path):
    draft = Draft(stage="stage1", config=Stage1Config(model=model), out=tmp_path / "a run")
    words = shlex.split(draft.command_text())
    assert words[:1] == ["cd"] and words[2] == "&&"
    assert words[3:] == draft.command()


def test_devices_become_visible_gpus_in_the_drivers_order(tmp_path):
    config = Stage1Config(model="a/b")
    two = Draft(stage="stage1", config=config, out=tmp_path, devices=("gpu2", "gpu0"), num_processes=2).command()
    assert two[:3] == ["env", "CUDA_DEVICE_ORDER=PCI_BUS_ID", "CUDA_VISIBLE_DEVICES=2,0"]
    assert "CUDA_VISIBLE_DEVICES=" in Draft(stage="stage1", config=config, out=tmp_path).command()


@pytest.mark.parametrize("preset", ["tiny", "qwen3-vl-8b-lora"])
def test_round_trip(preset, tmp_path):
    config = get_preset(preset, 0).stage1
    draft = Draft(
        stage="stage1", config=config, out=tmp_path / "r", devices=("gpu0", "gpu1"), num_processes=2, preset=preset,
        after="x", resume=True,
    )  # fmt: skip
    assert Draft.from_json(draft.to_json()) == draft


@pytest.mark.parametrize(
    "name", ["../x", "a/b", "", ".hidden", "a b", "x" * 81, "$(x)", "a\0", "a\n", "x.partial", "ü"]
)
def test_hostile_names_are_refused(name):
    with pytest.raises(InputError, match="name"):
        check_name(name)


@pytest.mark.parametrize(
    "devices", [(), ("gpu",), ("gpu00",), ("cpu", "gpu0"), ("gpu0", "gpu0"), ("cuda:0",), ("gpu-1",)]
)
def test_devices_that_are_none_are_refused(devices, tmp_path):
    with pytest.raises(InputError, match="devices"):
        make_draft("sft", {}, tmp_path / "run", devices=devices)


def test_one_process_for_each_gpu(tmp_path):
    with pytest.raises(InputError, match="processes"):
        make_draft("sft", {}, tmp_path / "run", devices=("gpu0", "gpu1"))


@pytest.mark.parametrize(
    ("stage", "values", "words"),
    [("sft", {"optim": {"nope": 1}}, "optim.nope"), ("sft", {"optim": {"num_steps": "many"}}, "num_steps"),
     ("stage1", {}, "model"), ("stage9", {}, "stage")],
)  # fmt: skip
def test_settings_that_are_not_allowed_are_refused(stage, values, words, tmp_path):
    with pytest.raises(InputError, match=words):
        make_draft(stage, values, tmp_path / "run")


def test_paths_become_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "planner").mkdir()
    draft = make_draft("stage1", {"model": "planner", "data": {"path": "a.jsonl"}}, tmp_path / "run")
    assert draft.config.model == str(tmp_path / "planner")
    assert draft.config.data.path == os.path.join(tmp_path, "a.jsonl")
