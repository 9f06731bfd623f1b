"""The tiny Qwen3-VL: tokenizer, chat template, processor, and the files it is saved as."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import PIL.Image
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from training.checkpoint import load_model_and_processor
from training.config import TinyModelConfig
from training.cpu import speed_up_on_cpu
from training.tiny import (
    SPECIAL_TOKENS,
    build_model,
    build_processor,
    count_parameters,
    save_checkpoint,
)

CORPUS = ['Goal: Turn on the "Wi-Fi" switch\nDone: nothing\nSteps: 6', '1. click() | tap the "Wi-Fi" switch'] * 5
SMALL = TinyModelConfig(
    hidden_size=64, num_layers=1, num_heads=1, vision_hidden_size=64, vision_layers=1, vocab_size=400
)
USER = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Goal: go\nSteps: 6"}]}


@pytest.fixture(scope="module")
def processor() -> Any:
    return build_processor(CORPUS, 400)


@given(text=st.text())
@example("  double  space, tab\t and\r\nlines\n\n")
@example("naïve Ünïcödé 測試 🙂 1234 don't")
def test_any_text_comes_back_from_its_tokens(processor: Any, text: str) -> None:
    ids = processor.tokenizer(text, add_special_tokens=False)["input_ids"]
    assert processor.tokenizer.decode(ids) == text


def test_frequent_words_are_one_token_with_their_space_and_digits_stand_alone(processor: Any) -> None:
    tokens = processor.tokenizer.tokenize("tap the switch 61:60")
    assert tokens == ["tap", "Ġthe", "Ġswitch", "Ġ6", "1", ":", "6", "0"]


def test_vocabulary_stays_within_its_limit_and_holds_every_byte(processor: Any) -> None:
    assert 256 + len(SPECIAL_TOKENS) <= len(processor.tokenizer) <= 400
    many = build_processor((f"word w{chr(97 + i % 26)}{chr(97 + i // 26)}" * 2 for i in range(600)), 300)
    assert len(many.tokenizer) == 300


def test_decoding_a_reply_keeps_the_end_of_the_thought_and_hides_the_end_of_the_turn(processor: Any) -> None:
    ids = processor.tokenizer("a\n</think>\n1. click()<|im_end|>", add_special_tokens=False)["input_ids"]
    assert processor.tokenizer.convert_tokens_to_ids("</think>") in ids
    assert processor.decode(ids, skip_special_tokens=True) == "a\n</think>\n1. click()"


@pytest.mark.parametrize("reply", ["a thought\n</think>\n1. click() | go", "\n</think>\n1. finished() | done"])
def test_prompt_text_is_a_prefix_of_prompt_and_completion(processor: Any, reply: str) -> None:
    prompt = processor.apply_chat_template([USER], add_generation_prompt=True, tokenize=False)
    whole = processor.apply_chat_template([USER, {"role": "assistant", "content": reply}], tokenize=False)
    assert prompt.endswith("<|im_start|>assistant\n<think>\n")
    assert whole == prompt + reply + "<|im_end|>\n"


@pytest.mark.parametrize(("size", "num_tokens"), [((256, 448), 8 * 14), ((448, 320), 14 * 10)])
def test_screens_of_the_embedded_world_are_not_resized(processor: Any, size: tuple[int, int], num_tokens: int) -> None:
    text = processor.apply_chat_template([USER], add_generation_prompt=True, tokenize=False)
    batch = processor(text=[text], images=[PIL.Image.new("RGB", size)], return_tensors="pt")
    assert batch["image_grid_thw"].tolist() == [[1, size[1] // 16, size[0] // 16]]
    assert (batch["input_ids"] == processor.image_token_id).sum() == num_tokens


def test_default_shape_has_at_most_ten_million_parameters() -> None:
    config = TinyModelConfig()
    many_words = build_processor((f"{a}{b}{c}" for a in "abcdefghij" for b in "klmnopqrst" for c in "uvwxyz"), 2048)
    model = build_model(config, many_words, seed=0)
    assert count_parameters(model) + (2048 - len(many_words.tokenizer)) * config.hidden_size <= 10_000_000


def test_equal_seeds_give_equal_weights_and_leave_the_global_generator_alone(processor: Any) -> None:
    before = torch.random.get_rng_state()
    one, same, other = (build_model(SMALL, processor, seed).lm_head.weight for seed in (1, 1, 2))
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_saved_checkpoint_loads_like_any_qwen3_vl(processor: Any, tmp_path: Path, dtype: str) -> None:
    model = build_model(SMALL, processor, seed=0).eval()
    save_checkpoint(tmp_path, model, processor, dtype)
    assert (tmp_path / "model.safetensors").stat().st_size < (5 if dtype == "float32" else 3) * count_parameters(model)
    loaded, loaded_processor = load_model_and_processor(tmp_path, device="cpu")
    assert loaded.config.model_type == "qwen3_vl" and loaded.dtype == torch.float32
    tokenizer = loaded_processor.tokenizer
    assert tokenizer.padding_side == "left" and tokenizer.pad_token_id != tokenizer.eos_token_id
    assert loaded.generation_config.eos_token_id == tokenizer.eos_token_id
    text = loaded_processor.apply_chat_template([USER], add_generation_prompt=True, tokenize=False)
    batch = loaded_processor(text=[text], images=[PIL.Image.new("RGB", (256, 448), "red")], return_tensors="pt")
    with torch.no_grad():
        assert torch.allclose(loaded(**batch).logits, model(**batch).logits, atol=1e-5 if dtype == "float32" else 0.1)


def test_speed_up_on_cpu_changes_nothing_but_rounding(processor: Any) -> None:
    text = processor.apply_chat_template([USER], add_generation_prompt=True, tokenize=False)
    image = PIL.Image.effect_noise((64, 96), 90).convert("RGB")
    batch = processor(text=[text], images=[image], return_tensors="pt")
    model = build_model(SMALL, processor, seed=0).eval()
    with torch.no_grad():
        before = model(**batch).logits
        speed_up_on_cpu(model)
        assert torch.allclose(model(**batch).logits, before, atol=1e-5)


def test_patch_features_of_a_whitened_model_vary_equally_around_zero(processor: Any) -> None:
    noise = torch.rand(40, 128, 128, 3, generator=torch.Generator().manual_seed(0))
    tilt = torch.linspace(0.2, 1.0, 128)[None, None, :, None]  # neighbouring pixels that have something in common
    screenshots = [PIL.Image.fromarray((image * 255).byte().numpy()) for image in noise * tilt]
    embed = build_model(SMALL, processor, seed=0, screenshots=screenshots).model.visual.patch_embed
    pixels = processor.image_processor(images=screenshots, return_tensors="pt")["pixel_values"]
    features_PD = embed(pixels).detach()
    assert features_PD.mean(dim=0).abs().max() < 0.01
    covariance = torch.cov(features_PD.T)
    assert torch.allclose(covariance, 0.25 * torch.eye(len(covariance)), atol=0.01)


def test_screenshots_without_content_leave_the_patch_embedding_random(processor: Any) -> None:
    blank = [PIL.Image.new("RGB", (64, 64), colour) for colour in ("white", "navy")]
    plain, whitened = (build_model(SMALL, processor, 0, images) for images in ((), blank))
    assert torch.equal(*(m.model.visual.patch_embed.proj.weight for m in (plain, whitened)))


def test_what_differs_between_screenshots_reaches_the_answer(processor: Any) -> None:
    model = build_model(SMALL, processor, seed=0)
    for name, weight in model.named_parameters():
        if name.endswith(("o_proj.weight", "v_proj.weight")):
            gain = weight.detach().std() * weight.shape[1] ** 0.5
            assert 0.8 < gain < 1.2, name
