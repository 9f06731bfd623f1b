"""Checkpoints: a Qwen3-VL model with its processor, and the planner settings stored beside them.

A checkpoint is what `save_pretrained` writes (config, safetensors, tokenizer, image processor, chat template) plus
`tracer1.json`, which says how the planner was trained to be asked. torch is imported when a model is loaded.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from executors.errors import WRONG_FORM, CheckpointError, InputError, MissingFileError, OutputError
from executors.files import expanded_path
from training.config import ForecastConfig
from training.config_reading import from_dict, to_dict
from training.cpu import keep_freed_memory

SETTINGS_FILE = "tracer1.json"
SCHEMA_VERSION = 1

_GREETING = [{"role": "user", "content": [{"type": "text", "text": "hello"}]}]
_MAX_HEADER_BYTES = 100_000_000
"""Longest header that the safetensors library reads."""
_HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*/[A-Za-z0-9][A-Za-z0-9._-]*")


def load_model_and_processor(path: str | Path, *, dtype: Any = "auto", device: Any = None) -> tuple[Any, Any]:
    """The vision-language model in evaluation mode and its processor, which pads on the left.

    A folder is read without any request to the hub; code that comes with a checkpoint is never run.

    Args:
        path: a checkpoint folder, or a hub id such as "Qwen/Qwen3-VL-8B-Thinking".
        dtype: a torch dtype or its name; "auto" keeps the checkpoint's own.
        device: a torch device or its name; None takes the GPU when there is one, of several processes each its own.

    Raises:
        MissingFileError: neither a folder nor a hub id that can be found or reached.
        CheckpointError: a file of the checkpoint is missing, damaged or of another kind of model.
    """
    source, is_local = check_checkpoint(path)
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    options = {"local_files_only": is_local, "trust_remote_code": False}
    import transformers

    transformers.logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()  # what its report on the weights would say is raised below
    # Damaged files surface as nearly any exception type (the tokenizers library raises bare Exception), so these two
    # loads are one boundary: whatever they raise becomes one sentence.
    try:
        processor = AutoProcessor.from_pretrained(source, **options)
    except Exception as error:
        raise _load_error(source, is_local, "processor", error) from error
    tokenizer = getattr(processor, "tokenizer", None)
    if tokenizer is None or getattr(processor, "image_processor", None) is None:
        raise CheckpointError(
            f"checkpoint {source} has no processor for text and images: copy the tokenizer and preprocessor files of "
            "its base model into the folder"
        )
    try:
        processor.apply_chat_template(_GREETING, add_generation_prompt=True, tokenize=False)
    except Exception as error:  # a template is a program of its own: jinja2's errors, and any that its code raises
        raise _load_error(source, is_local, "chat template", error) from error
    try:
        model, info = AutoModelForImageTextToText.from_pretrained(
            source, dtype=dtype, output_loading_info=True, ignore_mismatched_sizes=True, **options
        )
    except Exception as error:
        raise _load_error(source, is_local, "model", error) from error
    left_over = sorted(name for name in info.get("unexpected_keys") or () if re.search(r"\.(layers|blocks)\.\d", name))
    if left_over:
        raise CheckpointError(
            f"checkpoint {source} has {len(left_over)} weights of layers that its config.json does not count, first "
            f"{left_over[0]!r}: its config.json is of another model, take the one saved with the weights"
        )
    missing = sorted(info.get("missing_keys") or ())
    if missing:
        raise CheckpointError(
            f"checkpoint {source} lacks {len(missing)} weights, first {missing[0]!r}: save or download it again"
        )
    mismatched = sorted(info.get("mismatched_keys") or ())
    if mismatched:
        name, found, wanted = mismatched[0]
        raise CheckpointError(
            f"checkpoint {source} has {len(mismatched)} weights of another shape than its config.json says, first "
            f"{name!r} with {list(found)}, not {list(wanted)}: save or download it again"
        )
    _check_image(source, is_local, model, processor)
    tokenizer.padding_side = "left"
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    if device is None:
        device = own_gpu() if torch.cuda.is_available() else "cpu"
    if str(device) == "cpu":
        keep_freed_memory()
    return model.to(device).eval(), processor


def _check_image(source: str, is_local: bool, model: Any, processor: Any) -> None:
    """Raises CheckpointError where a prompt does not hold as many image tokens as the model makes parts of an image."""
    import PIL.Image

    content = [{"type": "image"}, *_GREETING[0]["content"]]
    try:  # the processor's settings and the template's program may raise anything
        text = processor.apply_chat_template([{"role": "user", "content": content}], tokenize=False)
        inputs = processor(text=[text], images=[PIL.Image.new("RGB", (64, 64))], return_tensors="pt")
        num_tokens = int((inputs["input_ids"] == model.config.image_token_id).sum())
        num_parts = int(inputs["image_grid_thw"].prod()) // model.config.vision_config.spatial_merge_size**2
    except Exception as error:
        raise _load_error(source, is_local, "image processor", error) from error
    if num_tokens != num_parts:
        raise CheckpointError(
            f"checkpoint {source} gives an image of {num_parts} parts {num_tokens} tokens: its config.json, processor "
            "and chat template are not of one model, save or download it again"
        )


def own_gpu() -> str:
    """The GPU of this process: of those of `accelerate launch` each has its own, which torch is not yet told of."""
    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}"


def resolve_checkpoint(path: str | Path) -> tuple[str, bool]:
    """(folder or hub id, whether it is a folder here); nothing is loaded and nothing is requested.

    A name such as "runs/first" is taken for a folder when "runs" exists here, else for a hub id.

    Raises:
        MissingFileError: the folder does not exist and the name cannot be a hub id.

    >>> resolve_checkpoint("Qwen/Qwen3-VL-8B-Thinking")
    ('Qwen/Qwen3-VL-8B-Thinking', False)
    """
    text = str(path).strip()
    if "\0" in text or len(text) > 4096:
        raise MissingFileError("the checkpoint path holds a null byte or is too long: give a folder or a hub id")
    folder = expanded_path(text)
    try:
        if text and folder.is_dir():
            return str(folder), True
        is_file = bool(text) and folder.exists()
    except OSError as error:
        raise MissingFileError(f"cannot read checkpoint {text!r} ({error.strerror}): check the path") from None
    if is_file:
        raise MissingFileError(f"checkpoint {text!r} is a file: give the folder that holds config.json")
    if not _HUB_ID.fullmatch(text) or folder.parent.is_dir():
        raise MissingFileError(
            f"checkpoint {text!r} does not exist: give a folder with config.json, or a hub id such as "
            "Qwen/Qwen3-VL-8B-Thinking"
        )
    return text, False


def check_checkpoint(path: str | Path) -> tuple[str, bool]:
    """`resolve_checkpoint`, and for a folder all that can be told of its files without torch.

    Raises:
        MissingFileError: see `resolve_checkpoint`.
        CheckpointError: a file is missing, not JSON or cut off, or the planner settings are damaged.
    """
    source, is_local = resolve_checkpoint(path)
    if is_local:
        _check_folder(Path(source))
        read_planner_settings(source)
    return source, is_local


def _check_folder(folder: Path) -> None:
    config = folder / "config.json"
    if not config.is_file():
        raise CheckpointError(f"checkpoint {folder} has no config.json: give the folder that save_pretrained wrote")
    for file in sorted(folder.glob("*.json")):
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise CheckpointError(
                f"checkpoint file {file} is not JSON ({_one_line(error)}): save or download the checkpoint again"
            ) from None
        if file.name.endswith("config.json") and not isinstance(content, dict):
            raise CheckpointError(f"checkpoint file {file} is no JSON object: save or download the checkpoint again")
    if not any(folder.glob("*.safetensors")) and not any(folder.glob("*.bin")):
        raise CheckpointError(f"checkpoint {folder} holds no weights (*.safetensors): save or download it again")
    for file in sorted(folder.glob("*.safetensors")):
        tensors = _read_header(file)
        if tensors is None:
            raise CheckpointError(f"checkpoint weights {file} are damaged or cut off: save or download them again")
        _check_embedding(folder, tensors)


def _check_embedding(folder: Path, tensors: dict[str, Any]) -> None:
    """Raises CheckpointError where the token embedding has another shape than config.json says.

    Other shapes are compared when the model is loaded; where this one is wrong, transformers fails before it tells so.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    text = config.get("text_config")
    if config.get("model_type") == "qwen3_vl" and not isinstance(text, dict):  # else the 8B model's is taken
        raise CheckpointError(f"checkpoint {folder} has no text_config in its config.json: save or download it again")
    wanted = [text.get("vocab_size"), text.get("hidden_size")] if isinstance(text, dict) else [None]
    for name, tensor in tensors.items():
        if name.endswith("embed_tokens.weight") and None not in wanted and tensor.get("shape") != wanted:
            raise CheckpointError(
                f"checkpoint {folder} has weights of another shape than its config.json says, first {name!r} with "
                f"{tensor.get('shape')}, not {wanted}: save or download it again"
            )


def _read_header(weights: Path) -> dict[str, Any] | None:
    """Name -> entry of the tensors of a safetensors file; None unless the file is as long as its header says.

    The format: 8 bytes of length, the header as JSON, the tensors.
    """
    try:
        with weights.open("rb") as file:
            header_bytes = int.from_bytes(file.read(8), "little")
            tensors = json.loads(file.read(min(header_bytes, _MAX_HEADER_BYTES)))
        tensors.pop("__metadata__", None)
        end = max((tensor["data_offsets"][1] for tensor in tensors.values()), default=0)
        return tensors if weights.stat().st_size == 8 + header_bytes + end else None
    except (OSError, *WRONG_FORM):
        return None


def _load_error(source: str, is_local: bool, part: str, error: Exception) -> Exception:
    if is_local:
        return CheckpointError(
            f"checkpoint {source} cannot be loaded, its {part} failed ({_one_line(error)}): save or download it again, "
            "and check that it is a Qwen3-VL"
        )
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None and len(chain) < 20:
        chain.append(cause)
    names = {type(e).__name__ for e in chain}
    if names & {"RepositoryNotFoundError", "GatedRepoError", "RevisionNotFoundError"}:
        return MissingFileError(
            f"checkpoint {source!r} is neither a folder here nor a model you may read on the hub: check the name, or "
            "log in with `hf auth login`"
        )
    if isinstance(error, OSError) or names & {"ConnectError", "ConnectTimeout", "LocalEntryNotFoundError"}:
        return MissingFileError(
            f"checkpoint {source!r} is not a folder here and cannot be fetched from the hub ({_one_line(error)}): "
            "connect to the network, or give a local folder"
        )
    return CheckpointError(f"checkpoint {source!r} cannot be loaded, its {part} failed ({_one_line(error)})")


def _one_line(error: Exception, limit: int = 200) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= limit else text[: limit - 1] + "…"


def read_planner_settings(folder: str | Path) -> ForecastConfig | None:
    """How the checkpoint's planner is to be asked; None when the folder does not say (or the path is a hub id).

    Raises:
        CheckpointError: the file is there but damaged, or of another schema version.
    """
    file = expanded_path(folder) / SETTINGS_FILE
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"planner settings {file} cannot be read ({_one_line(error)}): mend the file") from None
    if not isinstance(record, dict) or record.get("schema_version") != SCHEMA_VERSION:
        found = record.get("schema_version") if isinstance(record, dict) else record
        raise CheckpointError(f"planner settings {file}: field 'schema_version': {found!r} is not {SCHEMA_VERSION}")
    try:
        return from_dict(ForecastConfig, record.get("forecast"), "forecast.")
    except InputError as error:
        raise CheckpointError(f"planner settings {file}: {error}") from None


def save_planner_settings(folder: str | Path, config: ForecastConfig) -> None:
    """Writes the settings into the checkpoint folder as `tracer1.json`.

    Raises:
        OutputError: the folder cannot be written.
    """
    file = expanded_path(folder) / SETTINGS_FILE
    text = json.dumps({"schema_version": SCHEMA_VERSION, "forecast": to_dict(config)}, indent=2) + "\n"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot write {file} ({error.strerror or error}): choose another folder") from None
