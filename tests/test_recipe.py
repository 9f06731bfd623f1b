"""The recipe page: its configurations, commands and figures, and all of it that small files and no GPU can carry."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import click.testing
import pytest
from accelerate.commands.launch import launch_command_parser
from huggingface_hub.cli import hf
from trl.scripts.vllm_serve import ScriptArguments, build_command

from executors.errors import MissingFileError
from executors.trajectory import read_trajectories
from tests.test_docs import code_lines
from tests.training.datasets import formats
from training.cli import main
from training.config import STAGES
from training.config_reading import load_config, to_dict
from training.grpo import grpo_arguments
from training.presets import get_preset
from training.samples import build_samples
from workbench.runs.memory import GIB, KNOWN_SHAPES, as_gib, checkpoint_bytes, estimate_memory, final_bytes

ROOT = Path(__file__).resolve().parents[1]
RECIPE = ROOT / "assets" / "recipe"
PAGE = (RECIPE / "README.md").read_text(encoding="utf-8")
SHAPE = KNOWN_SHAPES["Qwen/Qwen3-VL-8B-Thinking"]
TRAINING_GPUS = 6

LINES = [" ".join(line.split()) for line in code_lines(PAGE)]


def commands(program: str) -> list[list[str]]:
    """The arguments of each call of a program on the page, settings of the environment before it left out."""
    found = []
    for line in LINES:
        words = shlex.split(re.sub(r"^([A-Z_]+=\S+ )+", "", line))
        if words[: len(program.split())] == program.split():
            found.append(words[len(program.split()) :])
    assert found, program
    return found


def config_of(stage: str, way: str):
    return load_config(STAGES[stage], RECIPE / f"{stage}_{way}.yaml", [])


WAYS = [(stage, way) for stage in ("stage1", "stage2") for way in ("lora", "full")]


# ------------------------------------------------------------------------------------------------ configuration files


def test_every_configuration_file_is_of_the_page() -> None:
    assert {path.name for path in RECIPE.glob("*.yaml")} == {f"{stage}_{way}.yaml" for stage, way in WAYS}
    assert set(re.findall(r"stage\d_\w+\.yaml", PAGE)) == {path.name for path in RECIPE.glob("*.yaml")}


@pytest.mark.parametrize(("stage", "way"), WAYS)
def test_a_configuration_differs_from_its_preset_where_the_page_says(stage: str, way: str) -> None:
    config = config_of(stage, way)
    preset = getattr(get_preset({"lora": "qwen3-vl-8b-lora", "full": "qwen3-vl-8b"}[way]), stage)
    grpo = replace(config.grpo, use_vllm=False, vllm_server="", max_prompt_tokens=0)
    changes = {"model": preset.model, "tool_agent": preset.tool_agent} if stage == "stage2" else {}
    assert replace(config, data=replace(config.data, path=""), grpo=grpo, **changes) == preset


def test_stage_2_starts_where_stage_1_ends_and_asks_the_served_agent() -> None:
    (served,) = [call for call in commands("tracer1 serve") if "ui-tars-1.0" in call]
    launches = " ".join(LINES)
    for way in ("lora", "full"):
        config = config_of("stage2", way)
        assert f"stage1_{way}.yaml --out {Path(config.model).parent}" in launches
        assert config.tool_agent == f"ui-tars-1.0@http://localhost:{served[served.index('--port') + 1]}/v1"


# ---------------------------------------------------------------------------------------------------------- commands


def test_the_code_of_the_page_is_shell() -> None:
    for block in re.findall(r"^```bash\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL):
        subprocess.run(["bash", "-n"], input=block, text=True, check=True)


@pytest.mark.parametrize("call", commands("accelerate launch"), ids=" ".join)
def test_a_launch_starts_the_trainer_with_a_configuration_of_its_stage(call: list[str]) -> None:
    args = launch_command_parser().parse_args(call)
    (line,) = [line for line in LINES if shlex.join(call).replace("'", "") in line]
    assert args.num_processes == TRAINING_GPUS == len(re.match(r"CUDA_VISIBLE_DEVICES=([\d,]+)", line)[1].split(","))
    assert args.module and args.training_script == "training.cli"
    command, stage, option, config, out, folder = args.training_script_args
    assert (command, option, out, folder) == ("train", "--config", "--out", f"runs/{stage}")
    load_config(STAGES[stage], ROOT / config, [])
    assert ("full" in config) == (args.config_file is not None)
    if args.config_file is not None:
        assert (ROOT / args.config_file).is_file()


@pytest.mark.parametrize("call", [call for call in commands("vllm serve") if "--logprobs-mode" in call], ids=" ".join)
def test_the_sampler_is_served_as_the_trainer_wants_it(call: list[str]) -> None:
    wanted = build_command(ScriptArguments(model=call[0]))
    imposed = wanted[wanted.index("--weight-transfer-config") :]
    assert shlex.join(imposed) in shlex.join(call)
    for stage, way in WAYS:
        config = config_of(stage, way)
        assert config.grpo.vllm_server.endswith(f":{call[call.index('--port') + 1]}")
        run = SimpleNamespace(checkpoints_path="x", path=Path("x"))
        arguments = grpo_arguments(config.grpo, config.optim, run, SimpleNamespace(config=None))
        longest = int(call[call.index("--max-model-len") + 1])
        assert longest == arguments.vllm_max_model_length
        assert config.grpo.max_prompt_tokens + config.grpo.max_completion_tokens <= longest


def test_a_tool_agent_is_served(capsys: pytest.CaptureFixture[str]) -> None:
    for call in commands("tracer1 serve"):
        end = call.index("--") if "--" in call else len(call)
        assert main(["serve", *call[:end], "--print", *call[end:]]) == 0
    assert "--tensor-parallel-size 2" in capsys.readouterr().out


@pytest.mark.parametrize("call", commands("hf download"), ids=" ".join)
def test_a_download_is_spelt_right(call: list[str]) -> None:
    done = click.testing.CliRunner().invoke(hf.app, ["download", *call, "--help"])
    assert done.exit_code == 0, done.output
    assert f"`{call[0]}`" in PAGE


@pytest.mark.parametrize(
    ("benchmark", "asks_for"),
    [("gta", "raw/gta"), ("gaia", "raw/gaia"), ("osworld", "test_all.json"), ("android_world", "localhost:5000")],
)
def test_an_evaluation_fails_for_want_of_its_data_alone(
    benchmark: str, asks_for: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for call in commands(f"tracer1 evaluate {benchmark}"):
        port = [word.replace("localhost:5000", "127.0.0.1:9") for word in call]
        assert main(["evaluate", benchmark, *port]) == 2
        assert asks_for.replace("localhost:5000", "127.0.0.1:9") in capsys.readouterr().err


# ------------------------------------------------------------------------------- imports, one training file, two steps


def small_data_sets(raw: Path) -> None:
    """All data sets in their own form, where the page's downloads put them."""
    images = raw / "agentnet" / "ubuntu_images"
    images.mkdir(parents=True)
    (images / "a.png").write_bytes(formats.image_bytes())
    steps = [{"image": "a.png", "value": {"code": code}} for code in
             ("pyautogui.click(x=0.5, y=0.25)", "computer.terminate(status='success')")]
    for name in ("agentnet_ubuntu_5k.jsonl", "agentnet_win_mac_18k.jsonl"):
        formats.json_lines(raw / "agentnet" / name, {"task_id": name, "instruction": "Do it", "traj": steps})
    formats.android_folder(raw / "android_control", *(formats.android_episode(number) for number in (1, 2, 10)))
    root = raw / "gui_odyssey" / "data"
    formats.odyssey_folder(root, formats.odyssey_episode("91"), formats.odyssey_episode("92"))
    split = json.dumps({"train": ["91.json"], "test": ["92.json"]})
    (root / "splits" / "random_split.json").write_text(split)
    for split in ("train", "test_task", "test_website", "test_domain"):
        rows = [formats.mind2web_row(split, index) for index in range(3)]
        formats.mind2web_file(raw / "mind2web" / "data" / f"{split}-00000-of-00027.parquet", *rows)
    formats.json_array(raw / "agenttrek" / "agenttrek_1207.json", formats.agenttrek_row("Buy", 0, "click('42')"))
    formats.json_array(raw / "mm_traj" / "a.json", formats.mm_traj_record("mm"))
    (raw / "mm_traj" / "files").mkdir()


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which sections 3 and 4 of the page were done on small files."""
    folder = tmp_path_factory.mktemp("recipe")
    small_data_sets(folder / "raw")
    (folder / "assets").symlink_to(ROOT / "assets")
    (folder / "README.md").symlink_to(ROOT / "README.md")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for call in commands("tracer1 import"):
            assert main(["import", *call, "--workers", "1"]) == 0, call
    for line in LINES:
        if line.startswith(("cat data/", "shuf ")):
            subprocess.run(["bash", "-ec", line], cwd=folder, check=True)
    return folder


def test_the_imports_give_the_files_that_the_page_joins(work: Path) -> None:
    joined = list(read_trajectories(work / "data" / "train.jsonl"))
    sources = ["agentnet", "agentnet", "android_control", "android_control", "gui_odyssey", "mind2web", "mm_traj",
               "agenttrek"]
    assert [trajectory.source for trajectory in joined] == sources
    assert {trajectory.split for trajectory in joined} == {"train"}
    stage2 = list(read_trajectories(work / "data" / "train_stage2.jsonl"))
    assert [trajectory.source for trajectory in stage2] == sources[:-1]


def test_a_joined_file_finds_its_screenshots_in_the_folder_of_its_parts_only(work: Path) -> None:
    forecast, joined = config_of("stage1", "lora").forecast, work / "data" / "train.jsonl"
    samples = list(build_samples(read_trajectories(joined), forecast))
    assert sum(sample.load_image() is not None for sample in samples) == 4 + 8 + 3 + 3
    elsewhere = work / "elsewhere.jsonl"
    elsewhere.write_bytes(joined.read_bytes())
    with pytest.raises(MissingFileError):
        [sample.load_image() for sample in build_samples(read_trajectories(elsewhere), forecast)]


def test_the_checks_of_the_joined_file_say_what_the_page_says(work: Path) -> None:
    checks = [cell.replace(r"\|", "|") for cell in re.findall(r"^\| `(grep .*?)` \| ", PAGE, re.MULTILINE)]
    assert len(checks) == 2

    def told(command: str) -> list[str]:
        return subprocess.run(["bash", "-c", command], cwd=work, capture_output=True, text=True).stdout.splitlines()

    assert [line.split()[0] for line in told(checks[0])] == ["2", "1", "2", "1", "1", "1"]
    assert told(checks[1]) == []
    data = work / "data" / "train.jsonl"
    twice = data.read_text()
    try:
        data.write_text(twice + twice.splitlines(keepends=True)[0])
        assert len(told(checks[1])) == 1
    finally:
        data.write_text(twice)


@pytest.mark.slow
def test_two_steps_of_the_page_train_on_all_data_sets(
    work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(work)
    (call,) = commands("tracer1 train")
    assert main(["train", *call]) == 0
    assert "finished: runs/smoke/final" in capsys.readouterr().out


def test_the_offline_evaluations_run_on_the_imported_test_splits(
    work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(work)
    calls = commands("tracer1 evaluate osatlas") + commands("tracer1 evaluate m2w_uground")
    for name, call in zip(["osatlas"] * 2 + ["m2w_uground"] * 3, calls, strict=True):
        for option in ("--planner", "--tool-agent"):
            call[call.index(option) + 1] = "oracle"
        assert main(["evaluate", name, *call]) == 0
        assert "step success   100.0%" in capsys.readouterr().out


# ------------------------------------------------------------------------------------------------------------ figures


def parts_of(way: str) -> dict[str, float]:
    """What a training GPU holds, in GiB; the sampler has GPUs of its own, and way B is split over the training GPUs."""
    parts = estimate_memory("stage1", to_dict(config_of("stage1", way)), SHAPE, None)
    sizes = {part.name: part.num_bytes / GIB for part in parts if part.name != "KV cache"}
    split = ("weights", "gradients", "Adam", "reference model") if way == "full" else ()
    return {name: size / (TRAINING_GPUS if name in split else 1) for name, size in sizes.items()}


def row(label: str) -> list[str]:
    """The cells of a table row behind its label."""
    (line,) = re.findall(rf"^\| (?:\*\*)?{label}(?:\*\*)? \|(.*)\|$", PAGE, re.MULTILINE)
    return [cell.strip(" *") for cell in line.split("|")]


def test_the_memory_table_is_that_of_the_train_tab() -> None:
    labels = {"weights": "weights", "adapters": "adapters", "gradients": "gradients", "Adam": "Adam",
              "reference of the KL distance": "reference model", "activations": "activations",
              "screenshots": "screenshots", "libraries": "libraries"}
    for column, way in enumerate(("lora", "full"), start=1):
        parts = parts_of(way)
        assert parts.keys() <= set(labels.values())
        for label, name in labels.items():
            assert row(label)[column] == (f"{parts[name]:.1f}" if name in parts else "-"), (label, way)
        total = sum(parts.values())
        assert row("together")[column] == f"{total:.1f}"
        assert f"| {total:.1f} GiB |" in PAGE
        long = parts["activations"] * 5596 / 3428
        assert f"{long:.1f}" in PAGE and f"{total - parts['activations'] + long:.1f}" in PAGE


def test_disk_and_main_memory_follow_from_the_weights() -> None:
    for letter, way in (("A", "lora"), ("B", "full")):
        values = to_dict(config_of("stage1", way))
        whole = as_gib(final_bytes(values, SHAPE))
        assert f"{letter}: {whole}" in " ".join(row("a stage's result"))
        assert f"{letter}: {as_gib(checkpoint_bytes(values, SHAPE))}" in " ".join(row("a checkpoint, two are kept .*"))
        number = whole.split()[0]
        assert f"6 x {number} = {6 * float(number):.0f} ({letter})" in PAGE
    assert f"{SHAPE.num_parameters:,} weights" in PAGE and f"{2 * SHAPE.num_parameters / 1e9:.1f} GB" in PAGE
    per_token = SHAPE.num_layers * 2 * SHAPE.num_kv_heads * SHAPE.head_size * 2
    assert f"{per_token:,} bytes" in PAGE


def test_the_time_follows_from_the_configuration_and_the_rates() -> None:
    config = config_of("stage1", "full")
    tokens_a_row = 700 + config.data.max_pixels // SHAPE.pixels_per_token + config.grpo.max_completion_tokens
    replies = TRAINING_GPUS * config.optim.batch_size * config.optim.accumulation
    prompts = replies // config.grpo.group_size
    assert f"= {replies} replies, so {prompts} prompts" in PAGE and f"{tokens_a_row:,} tokens" in PAGE
    assert f"{replies * tokens_a_row:,} tokens" in PAGE
    seconds = replies * tokens_a_row / (8 * 1600)
    hours = seconds * config.optim.num_steps / 3600
    assert f"{seconds:.0f} s a step, {hours:.0f} hours" in PAGE
    seen = prompts * config.optim.num_steps
    assert f"see {seen:,} prompts" in PAGE
    assert f"{26 * seen / 8000:.0f} to {30 * seen / 8000:.0f} hours" in PAGE
    known = 421_453 + 74_714 + 7_775 + 52_594
    assert f"{known:,} steps known" in PAGE and round(100 * seen / known) == 2
