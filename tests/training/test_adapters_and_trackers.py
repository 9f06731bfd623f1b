"""Stage 1 with adapters, and with trackers, on a tiny random planner."""

import dataclasses
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
import yaml

from executors.errors import InputError
from tests.training.grpo_helpers import reward_variety, stage1_config, tiny_checkpoint
from training.config import LoraConfig, OptimConfig
from training.config_reading import load_config, to_dict
from training.run_folder import RunFolder
from training.trackers import tracker_arguments


def _train(config, path, resume=False):
    from training.stages import run_stage1

    make = RunFolder.resume if resume else RunFolder.create
    run = make(path, command=[], **({} if resume else {"stage": "stage1", "config": config, "seed": 0}))
    with run.session():
        run_stage1(config, run, resume)
    return run


@pytest.mark.slow
def test_adapters_change_the_language_layers_only_and_are_merged_into_the_result(tmp_path, monkeypatch):
    pytest.importorskip("peft")
    from safetensors.torch import load_file

    reward_variety(monkeypatch.setattr)
    config = dataclasses.replace(
        stage1_config(tiny_checkpoint(), optim={"num_steps": 2, "learning_rate": 0.1}),
        lora=LoraConfig(rank=2, frozen_weights="float32"),
    )
    run = _train(config, tmp_path / "run")
    assert run.status().state == "finished"
    before, after = (
        {name: value for file in folder.glob("*.safetensors") for name, value in load_file(file).items()}
        for folder in (tiny_checkpoint(), run.final_path)
    )
    assert before.keys() == after.keys()
    changed = {name for name in before if not before[name].equal(after[name].to(before[name].dtype))}
    assert changed and all("language_model.layers" in name and "proj" in name for name in changed)
    saved = run.last_checkpoint()
    assert (saved / "adapter_model.safetensors").is_file() and not (saved / "model.safetensors").exists()

    longer = dataclasses.replace(config, optim=dataclasses.replace(config.optim, num_steps=4))
    resumed = _train(longer, run.path, resume=True)
    assert [row["step"] for row in resumed.metrics()] == [1, 2, 3, 4]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tensorboard", "trackio"])
def test_a_tracker_writes_beside_the_run_and_nowhere_else(tmp_path, name):
    if find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    file, home, run = tmp_path / "stage1.yaml", tmp_path / "home", tmp_path / "run"
    config = stage1_config(tiny_checkpoint(), optim={"num_steps": 2, "report_to": name})
    file.write_text(yaml.safe_dump(to_dict(config)))
    environment = {key: value for key, value in os.environ.items() if key not in ("TRACKIO_DIR", "HF_HOME")}
    # A process of its own: trackio reads its folder once, when trl imports it.
    command = [sys.executable, "-m", "training.cli", "train", "stage1", "--config", str(file), "--out", str(run)]
    subprocess.run(command, check=True, env={**environment, "HOME": str(home)})
    folder = {"tensorboard": run / "tensorboard", "trackio": tmp_path / "trackio"}[name]
    assert any(path.is_file() and path.stat().st_size for path in folder.rglob("*"))
    assert not list(home.rglob("*.db"))


def test_a_tracker_that_is_not_installed_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("training.trackers.find_spec", lambda name: None)
    with pytest.raises(InputError, match="trackio is not installed"):
        tracker_arguments(OptimConfig(report_to="trackio"), RunFolder(tmp_path))
    assert tracker_arguments(OptimConfig(), RunFolder(tmp_path))["report_to"] == []


def test_other_trackers_are_refused():
    with pytest.raises(InputError, match="report_to"):
        OptimConfig(report_to="wandb")


@pytest.mark.parametrize(
    ("override", "model"),
    [("model=true", "true"), ("model=007", "007"), ("model=null", "null"), ("model=a: b", "a: b")],
)
def test_text_on_the_command_line_stays_text(override, model):
    from training.config import Stage1Config

    assert load_config(Stage1Config, None, [override]).model == model
