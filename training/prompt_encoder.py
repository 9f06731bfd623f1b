"""Prompts as a trainer feeds them to the model: token ids and pixels, each distinct screenshot preprocessed once.

TRL runs the image processor twice for each of the G completions of a prompt and keeps 2 G copies of its pixels. Here a
screenshot is preprocessed when it is first needed and kept between batches as long as the memory bound allows; equal
screenshots of several prompts are one.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from executors.errors import InputError
from training.config import ForecastConfig
from training.samples import Sample

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image


@dataclass(frozen=True, slots=True, eq=False)
class EncodedImage:
    """What the model gets of one screenshot.

    `values` are its patches as the image processor made them, or what a frozen vision tower made of those; `grid` is
    the image's size in patches, [1, 3].
    """

    values: torch.Tensor
    grid: torch.Tensor

    @property
    def num_bytes(self) -> int:
        """Memory of the values."""
        return self.values.numel() * self.values.element_size()


@dataclass(frozen=True, slots=True, eq=False)
class EncodedPrompt:
    """One prompt: token ids with a run of image tokens for each image, and the images in order."""

    ids: list[int]
    images: tuple[EncodedImage, ...] = ()


def image_inputs(prompts: Sequence[EncodedPrompt], device: Any) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """(values, grids) of the images of all prompts in order, on the device; (None, None) when there is no image."""
    import torch

    images = [image for prompt in prompts for image in prompt.images]
    if not images:
        return None, None
    values = torch.cat([image.values.to(device, non_blocking=True) for image in images])
    return values, torch.cat([image.grid for image in images]).to(device)


class PromptEncoder:
    """Encodes the prompts of a list of samples, asked for by index."""

    def __init__(
        self, processor: Any, samples: Sequence[Sample], forecast: ForecastConfig, *, max_cache_bytes: int
    ) -> None:
        """Prepares for samples.

        Args:
            processor: a Qwen3-VL processor.
            samples: in the order of the indices.
            forecast: how the planner is asked.
            max_cache_bytes: memory for the values of screenshots that no batch holds; the least recently used go first.
        """
        self._processor, self._samples, self._forecast = processor, samples, forecast
        self._max_bytes = max_cache_bytes
        self._images: OrderedDict[bytes, EncodedImage] = OrderedDict()
        self._digests: dict[int, bytes] = {}
        self.transform: Callable[[EncodedImage], EncodedImage] = lambda image: image
        """Applied once to each preprocessed screenshot, before it is kept."""
        self.num_preprocessed = 0
        """Screenshots that went through the image processor so far."""

    def encode(self, index: int) -> EncodedPrompt:
        """The prompt of a sample.

        Raises:
            InputError: the prompt's text holds the image token.
            MissingFileError: the screenshot's file is gone.
        """
        image = self._encode_image(index)
        grids = [] if image is None else image.grid.tolist()
        return EncodedPrompt(self._encode_text(index, grids), () if image is None else (image,))

    def num_tokens(self, index: int) -> int:
        """Tokens of a sample's prompt, told without loading its screenshot."""
        size = self._samples[index].observation.image_size
        if size is None:
            return len(self._encode_text(index, []))
        # One image token stands for merge x merge patches, so a grid of 1 x patches has the right count.
        patches = self._processor.image_processor.get_number_of_image_patches(size.height_px, size.width_px, {})
        return len(self._encode_text(index, [[1, 1, patches]]))

    def _encode_text(self, index: int, grids: Sequence[Sequence[int]]) -> list[int]:
        sample = self._samples[index]
        token = self._processor.image_token
        messages = sample.messages(self._forecast)
        text = self._processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        pieces = text.split(token)
        if len(pieces) != len(grids) + 1:
            raise InputError(
                f"sample {sample.id}: its prompt holds {len(pieces) - 1} image tokens {token} for {len(grids)} "
                "screenshots: take the token out of the goal and the history"
            )
        merged = self._processor.image_processor.merge_size**2
        runs = [token * (t * height * width // merged) for t, height, width in grids]
        text = pieces[0] + "".join(run + piece for run, piece in zip(runs, pieces[1:], strict=True))
        return self._processor.tokenizer(text)["input_ids"]

    def _encode_image(self, index: int) -> EncodedImage | None:
        digest = self._digests.get(index)
        if digest in self._images:
            self._images.move_to_end(digest)
            return self._images[digest]
        image = self._samples[index].load_image()
        if image is None:
            return None
        if digest is None:
            digest = self._digests[index] = _digest(image)
        if digest not in self._images:
            features = self._processor.image_processor(images=[image], return_tensors="pt")
            self.num_preprocessed += 1
            self._images[digest] = self.transform(EncodedImage(features["pixel_values"], features["image_grid_thw"]))
        encoded = self._images[digest]
        self._images.move_to_end(digest)
        used = sum(kept.num_bytes for kept in self._images.values())
        while used > self._max_bytes and len(self._images) > 1:
            used -= self._images.popitem(last=False)[1].num_bytes
        return encoded


def prompts_within(
    samples: Sequence[Sample], processor: Any, forecast: ForecastConfig, max_tokens: int
) -> list[Sample]:
    """The samples whose prompts have at most `max_tokens` tokens, image tokens included; all of them for 0."""
    if max_tokens == 0:
        return list(samples)
    encoder = PromptEncoder(processor, samples, forecast, max_cache_bytes=0)
    return [sample for index, sample in enumerate(samples) if encoder.num_tokens(index) <= max_tokens]


def _digest(image: Image) -> bytes:
    return hashlib.blake2b(image.tobytes(), digest_size=16, salt=b"%dx%d" % image.size).digest()
