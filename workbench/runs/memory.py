"""What a run will hold in memory, estimated from shapes, with the arithmetic shown. Nothing is loaded.

Adam keeps two numbers for each trained weight, in float32. Activations of a token take about 17 numbers for each hidden
unit and layer (Korthikanti et al., arXiv 2205.05198: 34 h bytes in 16 bit, without attention scores, which are never
stored); with gradient checkpointing one number per layer is kept, and one layer is worked on in full. The language
model's head works in chunks and is left out.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.checkpoint import resolve_checkpoint

GIB = 1 << 30
_CONTEXT_BYTES = 1 * GIB
"""CUDA's own share of a GPU, or Python and its libraries in main memory."""
_VLLM_SHARE = 0.3
"""TRL's default share of a GPU for vLLM in the same process."""
_NUMBERS_PER_UNIT = 17
_TEXT_TOKENS = 700
"""A full prompt without its screenshot; compact prompts are shorter."""
_SCREEN_PX = {"embedded": 256 * 448, "file": 1920 * 1080}
"""Pixels of a screenshot when `data.max_pixels` says nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelShape:
    """The numbers of a Qwen3-VL that memory depends on."""

    num_parameters: int
    hidden_size: int
    num_layers: int
    intermediate_size: int
    num_heads: int
    num_kv_heads: int
    head_size: int
    pixels_per_token: int = 32 * 32
    bytes_per_patch: int = 3 * 2 * 16 * 16 * 4
    """A patch as the processor hands it over, in float32; four of them make a token."""

    def lora_parameters(self, rank: int) -> int:
        """Trained numbers of adapters on all linear layers of the language model."""
        h, i, heads, kv = self.hidden_size, self.intermediate_size, self.num_heads, self.num_kv_heads
        shapes = [(h, heads * self.head_size), (heads * self.head_size, h), *[(h, kv * self.head_size)] * 2]
        shapes += [(h, i), (h, i), (i, h)]
        return self.num_layers * rank * sum(rows + columns for rows, columns in shapes)


# config.json of Qwen/Qwen3-VL-8B-Thinking; -Instruct has the same.
_QWEN3_VL_8B = ModelShape(
    num_parameters=8_767_123_696, hidden_size=4096, num_layers=36, intermediate_size=12288, num_heads=32,
    num_kv_heads=8, head_size=128,
)  # fmt: skip
KNOWN_SHAPES = {f"Qwen/Qwen3-VL-8B-{kind}": _QWEN3_VL_8B for kind in ("Thinking", "Instruct")}
"""Models on the hub whose shape is known before they are fetched."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MemoryPart:
    """One thing that is held: `is_certain` for what no setting of the batch can shrink."""

    name: str
    num_bytes: int
    arithmetic: str
    is_certain: bool = False


def model_shape(model: str) -> ModelShape | None:
    """The shape of a checkpoint folder or of a known hub id; None when it cannot be told."""
    if model in KNOWN_SHAPES:
        return KNOWN_SHAPES[model]
    try:
        source, is_local = resolve_checkpoint(model)
        if not is_local:
            return None
        config = json.loads((Path(source) / "config.json").read_text(encoding="utf-8"))
        text = config.get("text_config", config)
        heads = text["num_attention_heads"]
        return ModelShape(
            num_parameters=sum(_count_weights(file) for file in Path(source).glob("*.safetensors")),
            hidden_size=text["hidden_size"],
            num_layers=text["num_hidden_layers"],
            intermediate_size=text["intermediate_size"],
            num_heads=heads,
            num_kv_heads=text.get("num_key_value_heads", heads),
            head_size=text.get("head_dim", text["hidden_size"] // heads),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _count_weights(file: Path) -> int:
    with file.open("rb") as opened:
        header = json.loads(opened.read(int.from_bytes(opened.read(8), "little")))
    return sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")


def estimate_memory(
    stage: str, values: dict[str, Any], shape: ModelShape, gpu_bytes: int | None
) -> list[MemoryPart]:
    """What one process holds at its fullest, largest first; every process holds a whole copy.

    Args:
        stage: "sft", "stage1" or "stage2".
        values: the stage's settings, nested and plain.
        shape: of the start checkpoint.
        gpu_bytes: memory of the GPU, of which vLLM takes a share; None on a CPU.
    """
    optim, grpo, lora = values["optim"], values.get("grpo"), values.get("lora") or {"rank": 0}
    p = shape.num_parameters
    half = optim["precision"] == "bfloat16"
    parts = []

    def add(name: str, num_bytes: float, arithmetic: str, is_certain: bool = False) -> None:
        parts.append(
            MemoryPart(name=name, num_bytes=int(num_bytes), arithmetic=arithmetic, is_certain=is_certain)
        )

    width = 2 if lora["rank"] and lora["frozen_weights"] == "bfloat16" else 4
    trained = shape.lora_parameters(lora["rank"]) if lora["rank"] else p
    add("weights", p * width, f"{_count(p)} weights x {width} bytes", True)
    if lora["rank"]:
        add("adapters", trained * 4, f"{_count(trained)} weights x 4 bytes", True)
    add("gradients", trained * 4, f"{_count(trained)} x 4 bytes", True)
    add("Adam", trained * 8, f"{_count(trained)} x 2 numbers x 4 bytes", True)
    if grpo and grpo["kl_coef"] > 0 and not lora["rank"]:
        add("reference model", p * 4, f"{_count(p)} weights x 4 bytes, for the KL distance", True)
    add("libraries", _CONTEXT_BYTES, "about 1 GiB for CUDA or Python", True)

    pixels = values["data"]["max_pixels"] or _SCREEN_PX["file" if values["data"]["path"] else "embedded"]
    image_tokens = pixels // shape.pixels_per_token
    length = _TEXT_TOKENS + image_tokens + (grpo["max_completion_tokens"] if grpo else 300)
    rows, number = optim["batch_size"], 2 if half else 4
    in_full = _NUMBERS_PER_UNIT * shape.hidden_size * number
    kept, extra, more = in_full, 0, ""
    if optim["gradient_checkpointing"]:
        kept, extra, more = shape.hidden_size * number, in_full, f" + one layer x {in_full} bytes"
    words = f"{rows} rows x {length} tokens ({image_tokens} of the screenshot)"
    add(
        "activations", rows * length * (shape.num_layers * kept + extra),
        f"{words} x ({shape.num_layers} layers x {kept} bytes{more})",
    )  # fmt: skip
    together = rows * optim["accumulation"]
    patches = image_tokens * 4
    add(
        "screenshots", together * patches * shape.bytes_per_patch,
        f"{together} rows x {patches} patches x {shape.bytes_per_patch} bytes",
    )  # fmt: skip
    if grpo and grpo["use_vllm"] and gpu_bytes:
        add("vLLM", gpu_bytes * _VLLM_SHARE, f"{_VLLM_SHARE:.0%} of the GPU's memory")
    elif grpo:
        per_token = shape.num_layers * 2 * shape.num_kv_heads * shape.head_size * width
        add("KV cache", together * length * per_token, f"{together} rows x {length} tokens x {per_token} bytes")
    return sorted(parts, key=lambda part: -part.num_bytes)


def _count(number: int) -> str:
    """
    >>> _count(8_767_123_696), _count(7_600_000)
    ('8.77 B', '7.60 M')
    """
    return f"{number / 1e9:.2f} B" if number >= 1e9 else f"{number / 1e6:.2f} M"


def checkpoint_bytes(values: dict[str, Any], shape: ModelShape) -> int:
    """Size of one checkpoint: trained weights and Adam's two numbers for each, in float32."""
    rank = (values.get("lora") or {"rank": 0})["rank"]
    return 12 * (shape.lora_parameters(rank) if rank else shape.num_parameters)


def final_bytes(values: dict[str, Any], shape: ModelShape) -> int:
    """Size of the result's weights."""
    lora = values.get("lora") or {"rank": 0}
    return shape.num_parameters * (2 if lora["rank"] and lora["frozen_weights"] == "bfloat16" else 4)


def as_gib(num_bytes: float) -> str:
    """
    >>> as_gib(3 * (1 << 30)), as_gib(5_000_000)
    ('3.0 GiB', '4.8 MiB')
    """
    return f"{num_bytes / GIB:.1f} GiB" if num_bytes >= GIB / 2 else f"{num_bytes / (1 << 20):.1f} MiB"
