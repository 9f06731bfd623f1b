"""Checks before a launch: each tells its reason, and the memory estimate shows its arithmetic."""

import dataclasses

import pytest

from tests.training.grpo_helpers import tiny_checkpoint
from training.config import GrpoConfig, LoraConfig, OptimConfig, Stage1Config, Stage2Config
from training.config_reading import to_dict
from training.presets import get_preset
from workbench.runs import checks
from workbench.runs.checks import check_draft
from workbench.runs.draft import Draft
from workbench.runs.gpus import Gpu, Machine
from workbench.runs.memory import GIB, KNOWN_SHAPES, ModelShape, estimate_memory, model_shape

GPU = Gpu(device="gpu0", name="x", total_bytes=80 * GIB, used_bytes=0)
MACHINE = Machine(
    gpus=(GPU,), cpu_share=0.0, num_cores=2, ram_total_bytes=64 * GIB, ram_used_bytes=0, disk_total_bytes=1 << 42,
    disk_free_bytes=1 << 41,
)  # fmt: skip
KNOWN = "Qwen/Qwen3-VL-8B-Thinking"


def _levels(draft, machine=MACHINE):
    return {check.name: check.level for check in check_draft(draft, machine)}


def _check(draft, name, machine=MACHINE):
    (found,) = [check for check in check_draft(draft, machine) if check.name == name]
    return found


def _draft(tmp_path, config=None, stage="stage1", **options):
    return Draft(stage=stage, config=config or Stage1Config(model=KNOWN), out=tmp_path / "run", **options)


def test_a_tiny_planner_on_the_cpu_has_nothing_against_it(tmp_path):
    machine = dataclasses.replace(MACHINE, gpus=())
    for stage, config in {"sft": get_preset("smoke").sft, "stage1": Stage1Config(model=str(tiny_checkpoint()))}.items():
        assert set(_levels(_draft(tmp_path, config, stage), machine).values()) == {"ok"}


def test_a_missing_model_and_missing_data_are_errors(tmp_path):
    config = Stage1Config(model=str(tmp_path / "nowhere"))
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, path=str(tmp_path / "none.jsonl")))
    draft = _draft(tmp_path, config)
    assert "nowhere" in _check(draft, "model").reason and _check(draft, "model").level == "error"
    assert "none.jsonl" in _check(draft, "data").reason and _check(draft, "data").level == "error"


def test_a_damaged_model_is_an_error(tmp_path):
    (tmp_path / "config.json").write_text("{")
    assert _levels(_draft(tmp_path / "x", Stage1Config(model=str(tmp_path))))["model"] == "error"


def test_the_model_of_a_run_before_need_not_be_there(tmp_path):
    draft = _draft(tmp_path, Stage1Config(model=str(tmp_path / "first" / "final")), after="first")
    assert (_check(draft, "model").level, _check(draft, "memory").level) == ("ok", "ok")


def test_a_used_folder_is_an_error(tmp_path):
    (tmp_path / "run").mkdir()
    assert _levels(_draft(tmp_path))["output"] == "ok"
    (tmp_path / "run" / "x").touch()
    assert _levels(_draft(tmp_path))["output"] == "error"


@pytest.mark.parametrize(("free_gib", "level"), [(1000, "ok"), (200, "warning"), (100, "error")])
def test_the_disk_must_hold_the_checkpoints(tmp_path, free_gib, level):
    machine = dataclasses.replace(MACHINE, disk_free_bytes=free_gib * GIB)
    check = _check(_draft(tmp_path), "disk", machine)
    assert check.level == level
    assert check.detail == "3 checkpoints x 98.0 GiB + result 32.7 GiB = 326.6 GiB"


def test_devices_that_are_missing_or_busy_are_told(tmp_path):
    assert _check(_draft(tmp_path, devices=("gpu3",)), "devices").level == "error"
    busy = dataclasses.replace(MACHINE, gpus=(dataclasses.replace(GPU, process_bytes=((77, 3 * GIB),)),))
    check = _check(_draft(tmp_path, devices=("gpu0",)), "devices", busy)
    assert (check.level, check.detail) == ("warning", "gpu0: process 77 with 3.0 GiB")
    assert _check(_draft(tmp_path), "devices").level == "warning", "a GPU lies idle"
    draft = _draft(tmp_path, get_preset("smoke").sft, "sft", num_processes=2)
    assert "sft" in _check(draft, "devices").reason


@pytest.mark.parametrize(
    ("config", "level"),
    [
        (Stage1Config(model=KNOWN), "error"),  # all weights in float32
        (Stage1Config(model=KNOWN, lora=LoraConfig(rank=64)), "warning"),  # activations in float32
        (get_preset("qwen3-vl-8b-lora").stage1, "ok"),
        (Stage1Config(model="Someone/Unknown-9B"), "warning"),
    ],
)
def test_memory_is_judged_against_the_gpu(tmp_path, config, level):
    assert _check(_draft(tmp_path, config, devices=("gpu0",)), "memory").level == level


def test_the_memory_of_a_known_model_is_what_its_shapes_say():
    values = to_dict(Stage1Config(
        model=KNOWN, optim=OptimConfig(precision="bfloat16", batch_size=8, accumulation=2),
        grpo=GrpoConfig(max_completion_tokens=1000),
    ))  # fmt: skip
    values["data"]["max_pixels"] = 1024 * 1024
    parts = {part.name: part.num_bytes for part in estimate_memory("stage1", values, KNOWN_SHAPES[KNOWN], None)}
    p, length = 8_767_123_696, 700 + 1024 + 1000
    assert parts == {
        "weights": 4 * p, "gradients": 4 * p, "Adam": 8 * p, "reference model": 4 * p, "libraries": GIB,
        "activations": 8 * length * 36 * 17 * 4096 * 2,
        "screenshots": 16 * 4096 * 6144,
        "KV cache": 16 * length * 36 * 2 * 8 * 128 * 4,
    }  # fmt: skip


def test_adapters_train_few_weights_and_need_no_reference_model():
    values = to_dict(Stage1Config(model=KNOWN, lora=LoraConfig(rank=16)))
    parts = {part.name: part.num_bytes for part in estimate_memory("stage1", values, KNOWN_SHAPES[KNOWN], 80 * GIB)}
    assert parts["weights"] == 2 * 8_767_123_696 and "reference model" not in parts
    assert parts["gradients"] == 4 * KNOWN_SHAPES[KNOWN].lora_parameters(16)


def test_the_shape_of_a_checkpoint_is_read_from_its_files():
    import torch
    from safetensors.torch import load_file

    shape = model_shape(str(tiny_checkpoint()))
    (file,) = tiny_checkpoint().glob("*.safetensors")
    assert shape.num_parameters == sum(torch.numel(tensor) for tensor in load_file(file).values())
    assert (shape.hidden_size, shape.num_layers, shape.head_size) == (64, 2, 64)
    assert model_shape("/nowhere") is None


def test_adapter_sizes_follow_the_layers():
    shape = ModelShape(num_parameters=0, hidden_size=2, num_layers=3, intermediate_size=5, num_heads=1, num_kv_heads=1,
                       head_size=4)  # fmt: skip
    # q 2->4, o 4->2, k and v 2->4, gate and up 2->5, down 5->2
    assert shape.lora_parameters(7) == 3 * 7 * (6 + 6 + 6 + 6 + 7 + 7 + 7)


def test_the_batch_is_told_in_prompts(tmp_path):
    config = Stage1Config(model=KNOWN, optim=OptimConfig(batch_size=16, accumulation=3))
    check = _check(_draft(tmp_path, config, num_processes=2), "batch")
    assert check.reason == "16 x 3 x 2 = 96 completions in an optimiser step: 12 prompts x 8"
    odd = Stage1Config(model=KNOWN, grpo=GrpoConfig(updates_per_batch=2), optim=OptimConfig(num_steps=5))
    assert _check(_draft(tmp_path, odd), "batch").level == "warning"


def test_packages_that_do_not_fit_are_told(tmp_path, monkeypatch):
    real = checks._version
    monkeypatch.setattr(checks, "_version", lambda name: "0.1" if name == "trl" else real(name))
    check = _check(_draft(tmp_path), "versions")
    assert check.level == "error" and "trl 0.1" in check.reason


@pytest.mark.parametrize(
    ("installed", "devices", "level"),
    [
        (None, ("gpu0",), "error"), ("0.31.2", ("cpu",), "error"), ("0.33", ("gpu0",), "error"),
        ("0.31.2", ("gpu0",), "ok"),
    ],
)  # fmt: skip
def test_vllm_must_be_there_and_fit(tmp_path, monkeypatch, installed, devices, level):
    real = checks._version
    monkeypatch.setattr(checks, "_version", lambda name: installed if name == "vllm" else real(name))
    config = Stage1Config(model=KNOWN, grpo=GrpoConfig(use_vllm=True))
    assert _check(_draft(tmp_path, config, devices=devices), "vllm").level == level
    assert "vllm" not in _levels(_draft(tmp_path))


def test_an_unknown_tool_agent_and_a_missing_tracker_are_errors(tmp_path, monkeypatch):
    monkeypatch.setattr("training.trackers.find_spec", lambda name: None)
    config = Stage2Config(model=KNOWN, tool_agent="nobody", optim=OptimConfig(report_to="trackio"))
    levels = _levels(_draft(tmp_path, config, "stage2"))
    assert (levels["tool agent"], levels["trackers"]) == ("error", "error")
