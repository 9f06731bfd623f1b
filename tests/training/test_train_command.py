"""`tracer1 train` as a person calls it: bad input in one sentence, and a whole pipeline in miniature."""

import dataclasses
import subprocess
import sys

import pytest

from executors.errors import OutputError
from tests.training.grpo_helpers import DATA, FORECAST, TINY, tiny_checkpoint
from training import cli, pipeline, presets
from training.checkpoint import load_model_and_processor, read_planner_settings
from training.config import GrpoConfig, OptimConfig, SftConfig, Stage1Config, Stage2Config
from training.run_folder import RunFolder


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["stage1"], "'model' is missing"),
        (["stage1", "--set", "model=nowhere"], "'nowhere' does not exist"),
        (["stage1", "--set", "model=(the stage before)"], "does not exist"),
        (["stage2", "--set", "model=nowhere", "--set", "optim.num_stepz=1"], "did you mean optim.num_steps"),
        (["sft", "--config", "nowhere.yaml"], "nowhere.yaml"),
        (["sft", "--set", "data.path=nowhere.jsonl"], "nowhere.jsonl"),
        (["sft", "--set", "data.path=" + "x" * 300], "there is no file xxx"),
        (["stage1", "--set", "model=~nobody-of-this-name/x"], "'~nobody-of-this-name/x' does not exist"),
        (["sft", "--resume", "nowhere"], "not a run folder"),
        (["sft", "--resume", "x" * 300], "not a run folder"),
        (["sft", "--resume", "nowhere", "--set", "a=1"], "--set does not go with --resume"),
        (["pipeline"], "--preset is missing"),
        (["pipeline", "--preset", "huge"], "choose one of tiny, smoke"),
        (["pipeline", "--preset", "smoke", "--set", "data.path"], "is not key=value"),
        (["pipeline", "--preset", "smoke", "--set", "data.path=nowhere.jsonl"], "nowhere.jsonl"),
        (["pipeline", "--preset", "smoke", "--set", "stage2.tool_agent=nobody"], "'nobody'"),
        (["pipeline", "--preset", "smoke", "--set", "stage2.optim.num_stepz=1"], "did you mean optim.num_steps"),
        (["pipeline", "--preset", "smoke", "--set", "reward.gamma=1"], "stage sft: config field 'reward'"),
        (["pipeline", "--preset", "smoke", "--set", "sft_again.optim.seed=1"], "has no stage sft_again"),
        (["pipeline", "--preset", "smoke", "--set", "stage1.model=x"], "starts from the stage before"),
        (["pipeline", "--preset", "qwen3-vl-8b", "--set", "stage1.model=nowhere"], "'nowhere' does not exist"),
        (["pipeline", "--preset", "smoke", "--set", "stage2.tool_agent=qwen3-vl@http://me:pw@localhost:8000/v1"],
         "does not keep logins"),
        (["pipeline", "--resume", "nowhere", "--set", "a=1"], "--set does not go with --resume"),
        (["pipeline", "--resume", "nowhere"], "not a pipeline folder"),
        (["pipeline", "--resume", "nowhere", "--seed", "0"], "--seed does not go with --resume"),
    ],
)
def test_bad_input_is_one_sentence_and_makes_no_folder(argv, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["train", *argv]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_unknown_tool_agent_is_told_before_training(tmp_path, capsys):
    argv = ["train", "stage2", "--set", f"model={tiny_checkpoint()}", "--set", "tool_agent=x"]
    assert cli.main([*argv, "--out", str(tmp_path / "r")]) == 2
    assert "tool agent 'x' is unknown" in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


def test_vllm_that_is_not_installed_is_told_before_training(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(pipeline, "find_spec", lambda name: None)
    argv = ["train", "stage1", "--set", f"model={tiny_checkpoint()}", "--set", "grpo.use_vllm=true"]
    assert cli.main([*argv, "--out", str(tmp_path / "r")]) == 2
    assert "'grpo.use_vllm': vLLM is not installed" in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


def test_planner_that_cannot_be_put_in_its_place_is_told(tmp_path):
    (tmp_path / "planner").write_text("x")
    with pytest.raises(OutputError, match=r"cannot write .*planner"):
        pipeline.export_planner(tiny_checkpoint(), tmp_path / "planner")


def test_used_folder_is_told(tmp_path, capsys):
    (tmp_path / "file").write_text("x")
    for argv in (["stage1", "--set", f"model={tiny_checkpoint()}"], ["pipeline", "--preset", "smoke"]):
        assert cli.main(["train", *argv, "--out", str(tmp_path)]) == 2
        assert "already used" in capsys.readouterr().err


def test_help_needs_no_torch():
    code = (
        "import sys; from training import cli\n"
        "try: cli.main(['train', 'stage1', '--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'trl', 'transformers'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--resume" in done.stdout


def _miniature(seed):
    optim = OptimConfig(num_steps=1, batch_size=2, learning_rate=1e-4, num_threads=1, seed=seed)
    grpo = GrpoConfig(group_size=2, max_completion_tokens=8)
    before = presets.FROM_STAGE_BEFORE
    sft = SftConfig(tiny=TINY, data=DATA, forecast=FORECAST, optim=optim, eval_samples=0)
    return presets.PipelineConfig(
        sft=sft,
        sft_again=dataclasses.replace(sft, model=before),
        stage1=Stage1Config(model=before, data=DATA, grpo=grpo, optim=dataclasses.replace(optim, num_steps=2)),
        stage2=Stage2Config(model=before, data=DATA, grpo=grpo, optim=optim),
    )


def _stop_in(monkeypatch, folder):
    """The run folder of this name is asked to stop as soon as it is made."""
    original = RunFolder.create.__func__

    def create(cls, path, **kwargs):
        run = original(cls, path, **kwargs)
        if path.name == folder:
            run.request_stop()
        return run

    monkeypatch.setattr(RunFolder, "create", classmethod(create))


def test_pipeline_stops_resumes_skips_finished_stages_and_exports_the_planner(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(presets.PRESETS, "smoke", _miniature)
    out = tmp_path / "pipeline"
    _stop_in(monkeypatch, "2_stage1")
    assert cli.main(["train", "pipeline", "--preset", "smoke", "--seed", "5", "--out", str(out)]) == 0
    assert "stopped (asked to stop)" in capsys.readouterr().out
    sft, again, stage1 = [RunFolder.open(out / name) for name in ("1_sft", "1_sft_again", "2_stage1")]
    assert (sft.status().state, stage1.status().state) == ("finished", "stopped")
    assert (again.stage, again.config["model"]) == ("sft", str(out / "1_sft" / "final"))
    assert stage1.config["model"] == str(out / "1_sft_again" / "final") and stage1.info["seed"] == 5
    assert not (out / "3_stage2").exists()
    finished_at = sft.status().time

    assert cli.main(["train", "pipeline", "--resume", str(out)]) == 0
    assert f"finished: {out / 'planner'}" in capsys.readouterr().out
    assert sft.status().time == finished_at
    assert [row["step"] for row in stage1.metrics()] == [1, 2]
    assert RunFolder.open(out / "3_stage2").status().state == "finished"
    assert read_planner_settings(out / "planner") == FORECAST
    model, _ = load_model_and_processor(out / "planner", device="cpu")
    result, _ = load_model_and_processor(out / "3_stage2" / "final", device="cpu")
    for mine, theirs in zip(model.parameters(), result.parameters(), strict=True):
        assert mine.isclose(theirs, rtol=0.01, atol=1e-6).all()
    weights = sum(file.stat().st_size for file in (out / "planner").glob("*.safetensors"))
    assert weights < 2.5 * sum(p.numel() for p in model.parameters())


def test_pipeline_settings_are_changed_for_every_stage_or_one_and_kept_for_resuming(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(presets.PRESETS, "smoke", _miniature)
    out = tmp_path / "pipeline"
    _stop_in(monkeypatch, "1_sft")
    changes = ["--set", "data.num_episodes=7", "--set", "stage1.optim.num_steps=1", "--set", "sft.optim.num_steps=2"]
    assert cli.main(["train", "pipeline", "--preset", "smoke", "--out", str(out), *changes]) == 0
    assert not (out / "2_stage1").exists()
    assert cli.main(["train", "pipeline", "--resume", str(out)]) == 0
    configs = {folder: RunFolder.open(out / folder).config for folder in pipeline.PIPELINE_FOLDERS.values()}
    assert {config["data"]["num_episodes"] for config in configs.values()} == {7}
    steps = {folder: config["optim"]["num_steps"] for folder, config in configs.items()}
    assert steps == {"1_sft": 2, "1_sft_again": 1, "2_stage1": 1, "3_stage2": 1}


def test_run_of_another_stage_is_not_resumed(tmp_path, capsys):
    config = SftConfig()
    RunFolder.create(tmp_path / "run", stage="sft", config=config, command=[], seed=0)
    assert cli.main(["train", "stage1", "--resume", str(tmp_path / "run")]) == 2
    assert "is of stage sft, not stage1" in capsys.readouterr().err


def test_a_run_whose_login_was_not_kept_is_not_resumed_without_it(tmp_path, capsys):
    config = Stage2Config(model=str(tiny_checkpoint()), tool_agent="qwen3-vl@http://me:s3cret@127.0.0.1:9/v1")
    run = RunFolder.create(tmp_path / "run", stage="stage2", config=config, command=[], seed=0)
    run._set_status("stopped", "asked to stop")
    assert cli.main(["train", "stage2", "--resume", str(run.path)]) == 2
    error = capsys.readouterr().err
    assert "a login in tool_agent" in error and "s3cret" not in error


@pytest.mark.parametrize("name", sorted(presets.PRESETS))
def test_presets_are_valid_and_seeded(name):
    stages = presets.get_preset(name, 7)
    configs = {stage: getattr(stages, stage) for stage in pipeline.PIPELINE_FOLDERS}
    again = configs.pop("sft_again")
    assert {config.optim.seed for config in configs.values() if config is not None} == {7}
    assert again is None or again.optim.seed not in (7, presets.get_preset(name, 8).sft_again.optim.seed)
    assert {stage for stage, config in configs.items() if config is None} <= {"sft"}
    if stages.sft is None:  # a pretrained checkpoint needs no warm start
        assert stages.stage1.model != presets.FROM_STAGE_BEFORE
    else:
        assert stages.sft.forecast.prompt_style == "compact"
