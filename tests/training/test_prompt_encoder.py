"""Prompts encoded as the processor does it, each distinct screenshot preprocessed once, within a memory bound."""

from dataclasses import replace

import pytest
import torch

from executors.errors import InputError
from tests.training.grpo_helpers import FORECAST, tiny_checkpoint, tiny_samples
from training.checkpoint import load_model_and_processor
from training.frozen_vision import accept_features, tower_features
from training.prompt_encoder import PromptEncoder, image_inputs, prompts_within


@pytest.fixture(scope="module")
def model_and_processor():
    return load_model_and_processor(tiny_checkpoint(), dtype="float32", device="cpu")


def _encoder(processor, samples=None, max_cache_bytes=2**30):
    return PromptEncoder(processor, samples or tiny_samples(), FORECAST, max_cache_bytes=max_cache_bytes)


def _without_screenshot(sample):
    blind = replace(sample.observation, image_size=None, image_path=None)
    return replace(sample, png=None, observation=blind)


def test_tokens_and_pixels_are_those_of_the_processor(model_and_processor):
    _, processor = model_and_processor
    encoder = _encoder(processor)
    for index in (0, 4):
        sample = tiny_samples()[index]
        text = processor.apply_chat_template(sample.messages(FORECAST), add_generation_prompt=True, tokenize=False)
        expected = processor(text=[text], images=[sample.load_image()], return_tensors="pt")
        prompt = encoder.encode(index)
        values, grids = image_inputs([prompt], "cpu")
        assert prompt.ids == expected["input_ids"][0].tolist()
        assert torch.equal(values, expected["pixel_values"]) and torch.equal(grids, expected["image_grid_thw"])
        assert encoder.num_tokens(index) == len(prompt.ids)


def test_a_prompt_without_a_screenshot_has_no_image(model_and_processor):
    encoder = _encoder(model_and_processor[1], [_without_screenshot(tiny_samples()[0])])
    prompt = encoder.encode(0)
    assert prompt.images == () and encoder.num_tokens(0) == len(prompt.ids)
    assert image_inputs([prompt], "cpu") == (None, None)


def test_each_distinct_screenshot_is_preprocessed_once(model_and_processor):
    samples = [tiny_samples()[0], tiny_samples()[4], replace(tiny_samples()[0], goal="Another goal")]
    encoder = _encoder(model_and_processor[1], samples)
    prompts = [encoder.encode(index) for index in (0, 1, 2, 0, 1, 2)]
    assert encoder.num_preprocessed == 2
    assert prompts[0].images[0] is prompts[2].images[0] is prompts[3].images[0]
    assert prompts[0].ids != prompts[2].ids


def test_the_least_recently_used_screenshot_leaves_a_full_cache(model_and_processor):
    _, processor = model_and_processor
    indices = [0, 4, 5]
    samples = [tiny_samples()[index] for index in indices]
    size = _encoder(processor, samples).encode(0).images[0].num_bytes
    encoder = _encoder(processor, samples, max_cache_bytes=2 * size)
    for index in (0, 1, 0, 2):  # the last one drives out 1
        encoder.encode(index)
    assert encoder.num_preprocessed == 3
    encoder.encode(0)
    assert encoder.num_preprocessed == 3
    encoder.encode(1)
    assert encoder.num_preprocessed == 4


def test_prompts_over_the_limit_are_left_out(model_and_processor):
    _, processor = model_and_processor
    samples = [tiny_samples()[0], replace(tiny_samples()[0], goal="a much longer goal " * 9)]
    short, long = (_encoder(processor, samples).num_tokens(index) for index in (0, 1))
    assert short < long
    assert prompts_within(samples, processor, FORECAST, short) == samples[:1]
    assert prompts_within(samples, processor, FORECAST, short - 1) == []
    for limit in (long, 0):
        assert prompts_within(samples, processor, FORECAST, limit) == samples


def test_a_goal_that_holds_the_image_token_is_named(model_and_processor):
    _, processor = model_and_processor
    sample = replace(tiny_samples()[0], goal=f"click {processor.image_token}")
    with pytest.raises(InputError, match=f"sample {sample.id}.*image tokens"):
        _encoder(processor, [sample]).encode(0)


def test_a_frozen_tower_gives_the_same_states_from_kept_features(model_and_processor):
    model, processor = model_and_processor
    prompts = [_encoder(processor).encode(index) for index in (0, 4)]
    values, grids = image_inputs(prompts, "cpu")
    visual = model.model.visual
    expected = visual(values, grid_thw=grids)
    features = [tower_features(visual, prompt.images[0]) for prompt in prompts]
    accept_features(visual)
    kept = visual(torch.cat([image.values for image in features]), grid_thw=grids)
    torch.testing.assert_close(kept.pooler_output, expected.pooler_output)
    for mine, theirs in zip(kept.deepstack_features, expected.deepstack_features, strict=True):
        torch.testing.assert_close(mine, theirs)
    assert torch.equal(visual(values, grid_thw=grids).pooler_output, expected.pooler_output)
