"""Reading lessons: a piece of a screenshot, and the words of the elements on it.

A vision tower of random weights learns what a screen looks like long before it learns to read, since most words of a
plan can be copied from the goal. So it is first shown small pieces: one to three neighbouring elements of a recorded
element tree, cut out and laid on a canvas, with their roles, labels and states as the answer. A lesson costs about a
quarter of a screenshot.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from executors.trajectory import Element
from training.samples import RESIZE_FACTOR_PX, Sample

if TYPE_CHECKING:
    from PIL.Image import Image

PROMPT = "Read."
MAX_ELEMENTS = 3
MIN_PIXELS = 64 * 64
"""Smallest canvas: the tiny planner's processor enlarges smaller ones."""
_MAX_GAP = 0.05
"""Greatest distance between neighbours, as a share of the screen's height."""
_MAX_EQUAL = 30
"""Lessons with the same answer: there are many more back buttons than names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingRecord:
    """One lesson as token ids, the image pad once; fields as in `training.sft_batches.SftRecord`.

    `box_px` is the piece (left, top, right, bottom) of the sample's screenshot, `canvas_px` the (width, height) that it
    is laid on, at `offset_px`; what is left over has the colour of the piece's corner.
    """

    sample: Sample
    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]
    box_px: tuple[int, int, int, int]
    canvas_px: tuple[int, int]
    offset_px: tuple[int, int]

    @property
    def length(self) -> int:
        """Tokens of prompt, completion and image."""
        num_image_tokens = self.canvas_px[0] * self.canvas_px[1] // RESIZE_FACTOR_PX**2
        return len(self.prompt_ids) + len(self.completion_ids) + num_image_tokens

    def load_image(self) -> Image:
        """The canvas as PIL RGB."""
        import PIL.Image

        piece = self.sample.load_image().crop(self.box_px)
        canvas = PIL.Image.new("RGB", self.canvas_px, piece.getpixel((0, 0)))
        canvas.paste(piece, self.offset_px)
        return canvas


def build_reading_records(samples: Sequence[Sample], processor: Any, *, seed: int) -> Iterator[ReadingRecord]:
    """One lesson for every two elements or so of every screenshot, in order; none for samples without elements.

    Of lessons with equal answers only the first `_MAX_EQUAL` are kept.

    Args:
        samples: with element trees of their observations.
        processor: a Qwen3-VL processor.
        seed: which elements are taken together, and where they lie on the canvas.
    """
    tokenizer = processor.tokenizer
    messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": PROMPT}]}]
    prompt = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    prompt_ids = tuple(tokenizer(prompt, add_special_tokens=False)["input_ids"])
    seen: Counter[str] = Counter()
    for sample in samples:
        rng = random.Random(f"reading/{seed}/{sample.id}")
        size = sample.observation.image_size
        elements = [e for e in sample.observation.elements if e.text]
        start = 0
        while size is not None and start < len(elements):
            group = _neighbours(elements, start, rng.randint(1, MAX_ELEMENTS))
            start += len(group)
            box = _union_px(group, size.width_px, size.height_px)
            if box[2] - box[0] < 4 or box[3] - box[1] < 4:
                continue
            canvas, offset = _lay_out(box, rng)
            answer = f" {' , '.join(map(words_of, group))}{tokenizer.eos_token}"
            seen[answer] += 1
            if seen[answer] > _MAX_EQUAL:
                continue
            yield ReadingRecord(
                sample=sample,
                prompt_ids=prompt_ids,
                completion_ids=tuple(tokenizer(answer, add_special_tokens=False)["input_ids"]),
                box_px=box,
                canvas_px=canvas,
                offset_px=offset,
            )


def words_of(element: Element) -> str:
    """Role, label and state of an element in words.

    >>> from executors.geometry import BoxNorm
    >>> words_of(Element(role="switch", text="Wi-Fi", value="off", box=BoxNorm(0, 0, 1, 1)))
    'switch Wi-Fi off'
    """
    state = [element.value] if element.value else []
    return " ".join([element.role, element.text, *state, *(["focus"] if element.is_focused else [])])


def _neighbours(elements: Sequence[Element], start: int, count: int) -> list[Element]:
    """Up to `count` elements from `start` on, each close below or beside the one before it."""
    group = [elements[start]]
    for element in elements[start + 1 : start + count]:
        before = group[-1].box
        is_below = -0.001 <= element.box.top - before.bottom <= _MAX_GAP
        is_beside = abs(element.box.top - before.top) < 0.001
        if not (is_below or is_beside):
            break
        group.append(element)
    return group


def _union_px(group: Sequence[Element], width: int, height: int) -> tuple[int, int, int, int]:
    left, top = min(e.box.left for e in group), min(e.box.top for e in group)
    right, bottom = max(e.box.right for e in group), max(e.box.bottom for e in group)
    return (
        max(0, round(left * width)), max(0, round(top * height)),
        min(width, round(right * width)), min(height, round(bottom * height)),
    )  # fmt: skip


def _lay_out(box: tuple[int, int, int, int], rng: random.Random) -> tuple[tuple[int, int], tuple[int, int]]:
    """(canvas size, offset of the piece): sides are multiples of 32 px with up to 32 px to spare."""
    factor = RESIZE_FACTOR_PX
    piece = box[2] - box[0], box[3] - box[1]
    width, height = (-(-(side + rng.randrange(factor)) // factor) * factor for side in piece)
    while width * height < MIN_PIXELS:
        height += factor
    return (width, height), (rng.randint(0, width - piece[0]), rng.randint(0, height - piece[1]))
