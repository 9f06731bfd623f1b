"""Checkpoints on disk: loading, every kind of damage, and the planner's settings."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from executors.errors import CheckpointError, MissingFileError, OutputError
from tests.training.planner_helpers import tiny_checkpoint
from training.checkpoint import (
    SETTINGS_FILE,
    load_model_and_processor,
    own_gpu,
    read_planner_settings,
    resolve_checkpoint,
    save_planner_settings,
)
from training.config import ForecastConfig


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def copy(checkpoint, tmp_path) -> Path:
    return shutil.copytree(checkpoint, tmp_path / "copy")


def test_checkpoint_loads_in_evaluation_mode_with_left_padding(checkpoint):
    model, processor = load_model_and_processor(checkpoint, device="cpu")
    assert type(model).__name__ == "Qwen3VLForConditionalGeneration"
    assert not model.training
    assert processor.tokenizer.padding_side == "left"


def cut_in_half(file: Path) -> None:
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2])


def test_processes_of_one_launch_load_onto_their_own_gpus(monkeypatch):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert own_gpu() == "cuda:0"
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert own_gpu() == "cuda:3"


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda f: (f / "config.json").write_text("{ no"), "config.json is not JSON"),
        (lambda f: (f / "config.json").unlink(), "no config.json"),
        (lambda f: cut_in_half(f / "model.safetensors"), "damaged or cut off"),
        (lambda f: (f / "model.safetensors").write_bytes(b""), "damaged or cut off"),
        (lambda f: (f / "model.safetensors").unlink(), "no weights"),
        (lambda f: cut_in_half(f / "tokenizer.json"), "tokenizer.json is not JSON"),
        (lambda f: (f / "tokenizer.json").write_text("{}"), "processor failed"),
        (lambda f: [p.unlink() for p in f.glob("*process*.json")] + [(f / "tokenizer.json").unlink()], "processor"),
        (lambda f: (f / "config.json").write_text('{"model_type": "gpt2"}'), "failed"),
        (lambda f: (f / "config.json").write_text('{"model_type": "no_such_model"}'), "failed"),
        (lambda f: _drop_weight(f / "model.safetensors"), "lacks 1 weights"),
        (lambda f: _widen_tokens(f / "config.json"), "of another shape"),
        (lambda f: _change_config(f, "hidden_size", 48), "of another shape"),
        (lambda f: _change_config(f, "num_hidden_layers", 1), "its config.json is of another model"),
        (lambda f: (f / "config.json").write_text("[]"), "no JSON object"),
        (lambda f: (f / "chat_template.jinja").write_text("{% if %}"), "chat template failed"),
        (lambda f: (f / "chat_template.jinja").write_text("hello"), "tokens: its config.json, processor and chat"),
        (lambda f: _put(f / "config.json", 3, "image_token_id"), "tokens: its config.json, processor and chat"),
        (lambda f: _put(f / "config.json", None, "text_config"), "no text_config"),
        (lambda f: _put(f / "processor_config.json", 0, "image_processor", "patch_size"), "image processor failed"),
        (lambda f: (f / "config.json").write_text("[" * 200_000), "config.json is not JSON"),
        (lambda f: (f / "tracer1.json").write_text("[" * 200_000), "tracer1.json is not JSON"),
    ],
)
def test_damaged_checkpoint_is_told_in_one_sentence(copy, damage, words):
    damage(copy)
    with pytest.raises(CheckpointError, match="copy") as caught:
        load_model_and_processor(copy, device="cpu")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def _put(file: Path, value: object, *keys: str) -> None:
    record = part = json.loads(file.read_text())
    for key in keys[:-1]:
        part = part[key]
    assert part[keys[-1]] != value
    part[keys[-1]] = value
    file.write_text(json.dumps(record))


def _change_config(checkpoint: Path, name: str, value: int) -> None:
    _put(checkpoint / "config.json", value, "text_config", name)


def _widen_tokens(file: Path) -> None:
    record = json.loads(file.read_text())
    record["text_config"]["vocab_size"] += 32
    file.write_text(json.dumps(record))


def test_a_wrong_shape_prints_no_report_beside_the_sentence(copy, capfd):
    _widen_tokens(copy / "config.json")
    with pytest.raises(CheckpointError, match=r"weights of another shape.*first '"):
        load_model_and_processor(copy, device="cpu")
    assert capfd.readouterr() == ("", "")


def _drop_weight(file: Path) -> None:
    from safetensors.torch import load_file, save_file

    state = load_file(file)
    state.pop(next(name for name in state if "layers.0" in name))
    save_file(state, file, metadata={"format": "pt"})


@pytest.mark.parametrize("name", [
    "", "no-slash", "./no/such", "/no/such", "a/b/c", "org/na me", "a\0b", "~/none", "~no-such-user/x", "x" * 5000,
])  # fmt: skip
def test_name_that_is_neither_folder_nor_hub_id_is_missing(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingFileError, match="checkpoint"):
        resolve_checkpoint(name)


def test_file_in_place_of_a_folder_is_refused(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(MissingFileError, match="is a file"):
        resolve_checkpoint(tmp_path / "model.safetensors")


def test_missing_folder_below_an_existing_one_is_not_looked_up_on_the_hub(tmp_path, monkeypatch):
    (tmp_path / "runs").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingFileError, match="does not exist"):
        resolve_checkpoint("runs/first")


def test_unreachable_hub_is_told_in_one_sentence(monkeypatch):
    from transformers import AutoProcessor

    def offline(*_args: object, **_options: object) -> None:
        raise OSError("We couldn't connect to the hub")

    monkeypatch.setattr(AutoProcessor, "from_pretrained", offline)
    with pytest.raises(MissingFileError, match="cannot be fetched from the hub"):
        load_model_and_processor("some-org/some-model")


def test_planner_settings_survive_the_disk(tmp_path):
    config = ForecastConfig(horizon=3, history_length=2, prompt_style="compact")
    save_planner_settings(tmp_path / "new", config)
    assert read_planner_settings(tmp_path / "new") == config


@pytest.mark.parametrize("folder", ["Qwen/Qwen3-VL-8B-Thinking", "/no/such/folder"])
def test_settings_that_were_never_written_are_none(folder):
    assert read_planner_settings(folder) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "cannot be read"),
        ("[]", "schema_version"),
        ('{"schema_version": 99}', "schema_version"),
        ('{"schema_version": 1}', "forecast"),
        (json.dumps({"schema_version": 1, "forecast": {"horizon": 99}}), "horizon"),
        (json.dumps({"schema_version": 1, "forecast": {"horizn": 9}}), "horizn"),
    ],
)
def test_damaged_settings_name_file_and_field(tmp_path, text, words):
    (tmp_path / SETTINGS_FILE).write_text(text)
    with pytest.raises(CheckpointError, match=SETTINGS_FILE) as caught:
        read_planner_settings(tmp_path)
    assert words in str(caught.value)


def test_settings_that_cannot_be_written_are_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=SETTINGS_FILE):
        save_planner_settings(tmp_path / "file", ForecastConfig())
