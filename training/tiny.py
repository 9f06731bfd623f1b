"""A Qwen3-VL of at most 10 million parameters with random weights, and its tokenizer and processor.

It is saved in the same form as the published checkpoints, so `AutoProcessor` and `Qwen3VLForConditionalGeneration`
load it and every other module treats both alike.

Tokenizer: byte-level BPE built from the corpus. Pre-tokenization keeps a word with its leading space together, splits
digits one by one so that numbers can be copied, and keeps runs of punctuation; no token crosses these borders. All 256
bytes are tokens, so every text round-trips.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from executors.errors import OutputError
from training.config import TinyModelConfig

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image
    from transformers import PreTrainedTokenizerFast, Qwen3VLForConditionalGeneration, Qwen3VLProcessor

IMAGE_START, IMAGE_PAD, IMAGE_END = "<|vision_start|>", "<|image_pad|>", "<|vision_end|>"
PAD, TURN_START, TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
SPECIAL_TOKENS = (PAD, TURN_START, TURN_END, IMAGE_START, IMAGE_END, IMAGE_PAD, "<|video_pad|>")
"""Hidden when a reply is decoded, as in Qwen3-VL."""
MARKS = ("<think>", "</think>")
"""One token each, but part of the reply's text, as in Qwen3-VL."""

PATCH_PX = 16
MERGE = 2
MIN_PIXELS = 64 * 64
MAX_PIXELS = 512 * 512
"""Screenshots of the embedded world (256x448, 448x320) lie between both and are multiples of 32: never resized."""
MAX_POSITIONS = 4096
_EMBEDDING_GAIN = 3.0
"""Embeddings of random start are this much larger than the library's: the tied head then learns faster (ours)."""
_PATCH_GAIN = 0.5
"""Standard deviation of each whitened patch feature (ours)."""
_DEEPSTACK_GAIN = 0.1
"""What shallow vision layers add to the image tokens starts this much smaller, so that it does not hide them (ours)."""
_WHITENING_FLOOR = 1e-4
"""Least variance that is whitened fully, as a share of the largest: what is weaker is mostly rounding (ours)."""

_WORDS = r" ?\p{L}+| ?\p{N}| ?[^\s\p{L}\p{N}]+|\s+"
_CHAT_TEMPLATE = """\
{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\\n' }}
{%- if message.role == 'assistant' and not (message.content is string and message.content.startswith('<think>')) %}
{{- '<think>\\n' }}
{%- endif %}
{%- if message.content is string %}
{{- message.content }}
{%- else %}
{%- for part in message.content %}
{%- if part.type == 'image' %}
{{- '<|vision_start|><|image_pad|><|vision_end|>' }}
{%- elif part.type == 'text' %}
{{- part.text }}
{%- endif %}
{%- endfor %}
{%- endif %}
{{- '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n<think>\\n' }}
{%- endif %}
"""


def build_tokenizer(corpus: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """The tokenizer of a corpus; at most `vocab_size` tokens, special tokens and all 256 bytes included.

    Args:
        corpus: texts of the training split: prompts and replies. Their special tokens may be included.
        vocab_size: at least 300.
    """
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(_WORDS), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    added = [AddedToken(t, special=True, normalized=False) for t in SPECIAL_TOKENS]
    added += [AddedToken(t, special=False, normalized=False) for t in MARKS]
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(MARKS),
        special_tokens=added[: len(SPECIAL_TOKENS)],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
        min_frequency=2,
    )
    tokenizer.train_from_iterator((_without_marks(text) for text in corpus), trainer)
    tokenizer.add_special_tokens(added[: len(SPECIAL_TOKENS)])
    tokenizer.add_tokens(added[len(SPECIAL_TOKENS) :])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=TURN_END,
        additional_special_tokens=[t for t in SPECIAL_TOKENS if t not in (PAD, TURN_END)],
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_max_length=MAX_POSITIONS,
    )


def _without_marks(text: str) -> str:
    for token in (*SPECIAL_TOKENS, *MARKS):
        text = text.replace(token, "\n")
    return text


def build_processor(corpus: Iterable[str], vocab_size: int) -> Qwen3VLProcessor:
    """Tokenizer, image processor and chat template in one.

    The generation prompt ends with `<|im_start|>assistant` and an open `<think>`, as Qwen3-VL-Thinking's does, and an
    assistant message is rendered as its raw content after that, so a prompt is a prefix of prompt and completion.
    """
    from transformers import Qwen2VLImageProcessor, Qwen3VLProcessor, Qwen3VLVideoProcessor

    pixels = {"shortest_edge": MIN_PIXELS, "longest_edge": MAX_PIXELS}
    shape = {"patch_size": PATCH_PX, "temporal_patch_size": 2, "merge_size": MERGE, "size": pixels}
    norm = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    return Qwen3VLProcessor(
        image_processor=Qwen2VLImageProcessor(**shape, **norm),
        tokenizer=build_tokenizer(corpus, vocab_size),
        video_processor=Qwen3VLVideoProcessor(**shape, **norm),
        chat_template=_CHAT_TEMPLATE,
    )


def build_model(
    config: TinyModelConfig, processor: Qwen3VLProcessor, seed: int, screenshots: Sequence[Image] = ()
) -> Qwen3VLForConditionalGeneration:
    """The model with random weights in float32; equal seeds give equal weights.

    The library draws all weights with a deviation of 0.02, which suits layers some thousand wide. In one of 256 a
    signal fades to a tenth at each attention, and what sets one screenshot apart from another is lost in what they
    share. So weights are scaled to the width they read from, and the patch embedding starts as the whitening of real
    patches.

    Args:
        config: widths and depths.
        processor: what `build_processor` gave; fixes the vocabulary and the ids of special tokens.
        seed: seed of the weights; torch's global generator is left as it was.
        screenshots: what the patch embedding is whitened on; without any it starts at random.
    """
    import torch
    from transformers import GenerationConfig, Qwen3VLConfig, Qwen3VLForConditionalGeneration

    tokenizer = processor.tokenizer
    ids = tokenizer.convert_tokens_to_ids
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": config.hidden_size,
        "intermediate_size": config.hidden_size * 3,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_heads,
        "head_dim": 64,
        "max_position_embeddings": MAX_POSITIONS,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [12, 10, 10],
                            "mrope_interleaved": True},
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "bos_token_id": None,
    }
    vision = {
        "depth": config.vision_layers,
        "hidden_size": config.vision_hidden_size,
        "intermediate_size": config.vision_hidden_size * 4,
        "num_heads": max(1, config.vision_hidden_size // 64),
        "patch_size": PATCH_PX,
        "temporal_patch_size": 2,
        "spatial_merge_size": MERGE,
        "out_hidden_size": config.hidden_size,
        "num_position_embeddings": 32 * 32,
        "deepstack_visual_indexes": [config.vision_layers // 2 - 1] if config.vision_layers > 1 else [],
    }
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        model = Qwen3VLForConditionalGeneration(Qwen3VLConfig(
            text_config=text,
            vision_config=vision,
            image_token_id=ids(IMAGE_PAD),
            video_token_id=ids("<|video_pad|>"),
            vision_start_token_id=ids(IMAGE_START),
            vision_end_token_id=ids(IMAGE_END),
            tie_word_embeddings=True,
            dtype="float32",
        ))
        model.model.language_model.embed_tokens.weight.mul_(_EMBEDDING_GAIN)
        for name, weight in model.named_parameters():
            if weight.ndim == 2 and "embed" not in name:
                weight.mul_(weight.shape[1] ** -0.5 / model.config.text_config.initializer_range)
        for merger in model.model.visual.deepstack_merger_list:
            merger.linear_fc2.weight.mul_(_DEEPSTACK_GAIN)
        if screenshots:
            pixels = processor.image_processor(images=list(screenshots), return_tensors="pt")["pixel_values"]
            _whiten_patches(model.model.visual.patch_embed.proj, pixels)
    model.generation_config = GenerationConfig(
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, do_sample=True
    )
    return model


def _whiten_patches(embedding: torch.nn.Conv3d, patches_PD: torch.Tensor) -> None:
    """Sets the patch embedding to the principal components of the patches that are not empty, each of equal variance.

    Fewer such patches than features say too little; the embedding is then left as it is.

    Args:
        embedding: from (channels, 2 frames, height, width) of a patch to H features.
        patches_PD: P patches; the two frames of a still image are equal.
    """
    import torch

    num_features, channels, frames, height, width = embedding.weight.shape
    still = patches_PD.view(-1, channels, frames, height * width)[:, :, 0].flatten(1)
    still = still[still.std(dim=1) > 0.02]
    if len(still) <= num_features:
        return
    mean = still.mean(dim=0)
    variances, directions = torch.linalg.eigh(torch.cov((still - mean).T))
    variances, directions = variances.flip(0)[:num_features], directions.flip(1)[:, :num_features]
    whitening = directions.T * (_PATCH_GAIN / (variances + _WHITENING_FLOOR * variances[0]).sqrt())[:, None]
    count = len(whitening)
    kernel = whitening.view(count, channels, 1, height, width) / frames
    embedding.weight[:count] = kernel.expand(-1, -1, frames, -1, -1)
    embedding.bias[:count] = -whitening @ mean


def count_parameters(model: Qwen3VLForConditionalGeneration) -> int:
    """Parameters of the model; tied ones are counted once."""
    return sum(p.numel() for p in model.parameters())


def save_checkpoint(
    folder: Path,
    model: Qwen3VLForConditionalGeneration,
    processor: Qwen3VLProcessor,
    dtype: str = "float32",
    *,
    weights: Mapping[str, torch.Tensor] | None = None,
) -> None:
    """Writes weights (safetensors), config, tokenizer, processor and chat template; the model is left as it is.

    Args:
        folder: is made when missing.
        model: the model in any dtype.
        processor: its processor.
        dtype: "float32", "bfloat16" or "float16" of the weights in the file. The config keeps the model's own type,
            so a float32 model stored in half the size is read back as float32.
        weights: all of them by name, of a model that holds a part of them itself; None takes the model's own.

    Raises:
        OutputError: the folder cannot be written.
    """
    import torch

    kind = getattr(torch, dtype)
    weights = model.state_dict() if weights is None else weights
    state = {name: tensor.detach().to(kind) for name, tensor in weights.items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        model.save_pretrained(folder, state_dict=state)
        processor.save_pretrained(folder)
    except OSError as error:
        raise OutputError(f"cannot write checkpoint {folder} ({error.strerror or error}): free or change it") from None
