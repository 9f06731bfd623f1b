"""Exports for EasyR1 and verl: their reward loaders give what our stages give, and their files hold every sample."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from executors.actions import Action
from executors.errors import InputError
from executors.trajectory import write_trajectories
from training.cli import main
from training.config import DataConfig, ForecastConfig, Stage1Config, Stage2Config
from training.datasets.simulator import load_trajectories
from training.export_rl import export_stage
from training.external_reward import pack, score
from training.forecast import format_plan
from training.samples import Sample, build_samples, decode_png
from training.stages import GroundedRewardFunction, TrajectoryRewardFunction

FORECAST = ForecastConfig(prompt_style="compact", horizon=3)
DATA = DataConfig(num_episodes=3, mistake_rate=0.0)
STAGE1 = Stage1Config(model="a/b", data=DATA, forecast=FORECAST)
STAGE2 = Stage2Config(model="a/b", data=DATA, forecast=FORECAST)


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return list(build_samples(load_trajectories(DATA), FORECAST))


def replies_to(sample: Sample) -> list[str]:
    """A right reply, one that is wrong from the second step on, one that names no element, and one without a plan."""
    right = format_plan(sample.steps)
    return [
        f"{sample.thought}</think>{right}",
        right.splitlines()[0] + "\n2. press_back() | go back\n3. press_back() | go back",
        '1. click() | tap the "Zebra crossing" row',
        "I do not know",
    ]


def load_module(path: Path) -> Any:
    """The reward file as EasyR1 and verl load it: by its path, without a package."""
    spec = importlib.util.spec_from_file_location("custom_module", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("stage", "config"), [("stage1", STAGE1), ("stage2", STAGE2)])
def test_both_frameworks_get_the_rewards_of_the_stage(
    stage: str, config: Any, samples: list[Sample], tmp_path: Path
) -> None:
    from executors.tool_agents import get_tool_agent

    own = (
        TrajectoryRewardFunction(samples, FORECAST, config.reward)
        if stage == "stage1"
        else GroundedRewardFunction(samples, FORECAST, get_tool_agent("elements"), config.point_tolerance)
    )
    replies = [(number, reply) for number, sample in enumerate(samples) for reply in replies_to(sample)]
    expected = own(
        completions=[[{"content": reply}] for _, reply in replies],
        sample=[number for number, _ in replies],
        log_metric=lambda name, value: None,
    )
    export_stage("easyr1", stage, config, tmp_path / "easyr1")
    export_stage("verl", stage, config, tmp_path / "verl")
    rows = pq.read_table(tmp_path / "easyr1" / "train.parquet").to_pylist()
    module = load_module(tmp_path / "easyr1" / "reward.py")
    assert module.REWARD_TYPE == "batch" and module.REWARD_NAME == f"tracer1_{stage}"
    truths = [row["answer"] for row in rows]
    batch = [{"response": text, "response_length": 9, "ground_truth": truths[number]} for number, text in replies]
    assert [scores["overall"] for scores in module.compute_score(batch)] == pytest.approx(expected)
    assert len({round(value, 3) for value in expected}) > 1

    rows = pq.read_table(tmp_path / "verl" / "train.parquet").to_pylist()
    compute_score = load_module(tmp_path / "verl" / "reward.py").compute_score
    for (number, reply), value in zip(replies, expected, strict=True):
        row = rows[number]
        scores = compute_score(row["data_source"], reply, row["reward_model"]["ground_truth"], row["extra_info"])
        assert scores["score"] == pytest.approx(value)
        assert all(isinstance(part, float) for part in scores.values())


def test_answers_match_by_the_rule_of_the_stage(samples: list[Sample]) -> None:
    answer = Action(type="finished", content="48")
    sample = replace(samples[0], first_step=replace(samples[0].first_step, action=answer))
    for rule, value in {"exact": 0.0, "gaia": 1.0}.items():
        truth = pack(sample, replace(STAGE2, answer_match=rule), FORECAST)
        assert score("1. finished(content='$48') | give the answer", truth)["overall"] == value


def test_rows_hold_prompt_and_clean_screenshot_of_every_sample(samples: list[Sample], tmp_path: Path) -> None:
    report = export_stage("easyr1", "stage1", STAGE1, tmp_path)
    assert report["train"].num_rows == len(samples) and report["val"].num_rows > 0
    for row, sample in zip(pq.read_table(tmp_path / "train.parquet").to_pylist(), samples, strict=True):
        assert row["id"] == sample.id
        assert row["problem"].count("<image>") == len(row["images"]) == 1 and sample.goal in row["problem"]
        assert decode_png(row["images"][0]["bytes"]).tobytes() == sample.load_image().tobytes()
    settings = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert settings["worker"]["rollout"]["n"] == STAGE1.grpo.group_size
    assert Path(settings["worker"]["reward"]["reward_function"].split(":")[0]).is_file()


def test_samples_without_screenshot_are_counted(tmp_path: Path) -> None:
    trajectories = list(load_trajectories(replace(DATA, num_episodes=2)))
    bare = replace(trajectories[0], id="bare", steps=tuple(
        replace(s, observation=replace(s.observation, image=None, image_size=None)) for s in trajectories[0].steps))
    write_trajectories(tmp_path / "t.jsonl", [bare, trajectories[1]])
    config = replace(STAGE1, data=replace(DATA, path=str(tmp_path / "t.jsonl")))
    report = export_stage("verl", "stage1", config, tmp_path / "out")
    assert report["train"].num_left_out == len(bare.steps)
    assert "val" not in report and not (tmp_path / "out" / "val.parquet").exists()
    assert "train.parquet" in next(line for line in (tmp_path / "out" / "overrides.txt").read_text().splitlines()
                                   if line.startswith("data.val_files"))


def test_an_agent_that_needs_the_screenshot_is_refused(samples: list[Sample], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("executors.tool_agents", fromlist=["_AGENTS"])._AGENTS, "eyes", object)
    with pytest.raises(InputError, match="screenshot"):
        pack(samples[0], replace(STAGE2, tool_agent="eyes"), FORECAST)


def test_a_truth_that_is_no_truth_is_told_at_once() -> None:
    with pytest.raises(json.JSONDecodeError):
        score("1. wait() | wait", "not json")


def test_the_reward_needs_neither_torch_nor_transformers(tmp_path: Path) -> None:
    export_stage("easyr1", "stage2", STAGE2, tmp_path)
    code = (
        "import sys, runpy; sys.modules['torch'] = None; sys.modules['transformers'] = None; "
        f"print(runpy.run_path({str(tmp_path / 'reward.py')!r})['REWARD_NAME'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "tracer1_stage2", done.stderr


def test_command_writes_the_folder_and_names_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "out"
    words = ["--set", "model=a/b", "--set", "data.num_episodes=2", "--out", str(out)]
    assert main(["export", "easyr1", "stage1", *words]) == 0
    assert "train.parquet: " in capsys.readouterr().out and (out / "reward.py").is_file()
    (tmp_path / "file").write_text("")
    assert main(["export", "verl", "stage1", *words[:-1], str(tmp_path / "file")]) == 2
    assert "cannot write" in capsys.readouterr().err
    assert main(["export", "verl", "stage1", *words, "--set", "data.path=/nope.jsonl"]) == 2
    assert capsys.readouterr().err.startswith("tracer1: cannot read trajectories /nope.jsonl")
    assert main(["export", "verl", "stage1", *words, "--set", "model=/nope"]) == 2
    assert "checkpoint '/nope' does not exist" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["fsdp2", "deepspeed_zero3"])
def test_accelerate_reads_the_configuration_files(name: str) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    path = Path(__file__).parents[2] / "assets" / "scale_out" / f"{name}.yaml"
    config = load_config_from_file(str(path))
    assert config.num_processes == 8
    assert "Qwen3VL" in str(config.fsdp_config) if name == "fsdp2" else config.deepspeed_config["zero_stage"] == 3


def test_wrapped_layers_are_the_models_own() -> None:
    from transformers.models.qwen3_vl import modeling_qwen3_vl as modeling

    text = (Path(__file__).parents[2] / "assets" / "scale_out" / "fsdp2.yaml").read_text()
    names = re.search(r"layer_cls_to_wrap: (.*)", text).group(1).split(",")
    assert names and all(hasattr(modeling, name) for name in names)


def test_memory_table_follows_its_arithmetic() -> None:
    page = (Path(__file__).parents[2] / "training" / "SCALING.md").read_text()
    rows = re.findall(r"^\| ([\d.]+) B \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", page, re.MULTILINE)
    assert len(rows) == 4
    for billions, whole, split, far, adapters in ([float(cell) for cell in row] for row in rows):
        gib = billions * 1e9 / 2**30
        expected = [20 * gib, 20 * gib / 8, 20 * gib / 64, 2 * gib]
        assert [whole, split, far, adapters] == pytest.approx(expected, abs=0.06)
