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
from training.samples import RESIZE_FACTOR_PX, Sample, decode_png, encode_png

if TYPE_CHECKING:
    from PIL.Image import Image

PROMPT = "Read."
_NUM_TOGETHER = (1, 1, 1, 1, 2, 3)
"""Elements of a lesson, drawn anew for each."""
_BORDER_PX, _LEAST_PX = 3, 4
MIN_PIXELS = 64 * 64
"""Smallest canvas: the tiny planner's processor enlarges smaller ones."""
_MAX_GAP = 0.05
"""Greatest distance between neighbours, as a share of the screen's height."""
_MAX_EQUAL = 200
"""Lessons with the same answer: there are many more back buttons than names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingRecord:
    """One lesson as token ids, the image pad once; fields as in `training.sft_batches.SftRecord`.

    `png` is the piece of the sample's screenshot, `canvas_px` the (width, height) that it is laid on at `offset_px`;
    what is left over has the colour of the piece's corner.
    """

    sample: Sample
    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]
    png: bytes
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

        piece = decode_png(self.png)
        canvas = PIL.Image.new("RGB", self.canvas_px, piece.getpixel((0, 0)))
        canvas.paste(piece, self.offset_px)
        return canvas


def build_reading_records(samples: Sequence[Sample], processor: Any, *, seed: int) -> Iterator[ReadingRecord]:
    """One lesson for every two elements or so of every screenshot, in order; none for samples without elements.

    Of lessons with equal answers only the first `_MAX_EQUAL` are kept.

    Args:
        samples: with element trees of their observations.
        processor: a Qwen3-VL processor.
        seed: which elements are taken together.
    """
    tokenizer = processor.tokenizer
    messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": PROMPT}]}]
    prompt = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    prompt_ids = tuple(tokenizer(prompt, add_special_tokens=False)["input_ids"])
    seen: Counter[tuple[int, ...]] = Counter()
    for sample in samples:
        rng = random.Random(f"reading/{seed}/{sample.id}")
        elements = [e for e in sample.observation.elements if e.text]
        screenshot = sample.load_image() if elements else None
        start = 0
        while screenshot is not None and start < len(elements):
            group = _neighbours(elements, start, rng.choice(_NUM_TOGETHER))
            start += len(group)
            answer = tuple(_answer_ids(group, tokenizer))
            seen[answer] += 1
            if seen[answer] > _MAX_EQUAL:
                continue
            box = _piece_px(screenshot, group)
            if box is None:
                continue
            canvas, offset = _lay_out(box)
            yield ReadingRecord(
                sample=sample,
                prompt_ids=prompt_ids,
                completion_ids=answer,
                png=encode_png(screenshot.crop(box)),
                canvas_px=canvas,
                offset_px=offset,
            )


def _answer_ids(group: Sequence[Element], tokenizer: Any) -> Iterator[int]:
    """Each element's role, its label letter by letter, and its label and state in words; then the end token."""

    def encode(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    for number, element in enumerate(group):
        role, label = words_of(element)
        yield from encode(f"{' ,' if number else ''} {role}")
        for letter in element.text:
            yield from encode(letter)
        yield from encode(f" {label}")
    yield tokenizer.eos_token_id


def words_of(element: Element) -> tuple[str, str]:
    """(role, label and state) of an element in words.

    >>> from executors.geometry import BoxNorm
    >>> words_of(Element(role="switch", text="Wi-Fi", value="off", box=BoxNorm(0, 0, 1, 1)))
    ('switch', 'Wi-Fi off')
    """
    state = [element.value] if element.value else []
    return element.role, " ".join([element.text, *state, *(["focus"] if element.is_focused else [])])


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


def _piece_px(screenshot: Image, group: Sequence[Element]) -> tuple[int, int, int, int] | None:
    """(left, top, right, bottom) of the elements, without the empty margin of a single stateless one; None if empty.

    The margin of an element without a state is the colour that it has inside its border; it tells nothing.
    """
    width, height = screenshot.size
    left, top = min(e.box.left for e in group), min(e.box.top for e in group)
    right, bottom = max(e.box.right for e in group), max(e.box.bottom for e in group)
    box = (
        max(0, round(left * width)), max(0, round(top * height)),
        min(width, round(right * width)), min(height, round(bottom * height)),
    )  # fmt: skip
    if box[2] - box[0] < _LEAST_PX or box[3] - box[1] < _LEAST_PX:
        return None
    if len(group) == 1 and group[0].value is None and not group[0].is_focused:
        return _trimmed(screenshot, box)
    return box


def _trimmed(screenshot: Image, box: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """The part of a box that differs from the colour just inside its border; the box where nothing does."""
    import PIL.Image
    import PIL.ImageChops

    left, top, right, bottom = box[0] + _BORDER_PX, box[1] + _BORDER_PX, box[2] - _BORDER_PX, box[3] - _BORDER_PX
    if right - left < _LEAST_PX or bottom - top < _LEAST_PX:
        return box
    inside = screenshot.crop((left, top, right, bottom))
    plain = PIL.Image.new("RGB", inside.size, inside.getpixel((0, 0)))
    drawn = PIL.ImageChops.difference(inside, plain).convert("L").point(lambda v: 255 * (v > 24)).getbbox()
    if drawn is None:
        return box
    return (
        max(0, left + drawn[0] - _BORDER_PX), max(0, top + drawn[1] - _BORDER_PX),
        min(screenshot.width, left + drawn[2] + _BORDER_PX), min(screenshot.height, top + drawn[3] + _BORDER_PX),
    )  # fmt: skip


def _lay_out(box: tuple[int, int, int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """(canvas size, offset of the piece): multiples of 32 px, the piece cut by the patches as on its screenshot."""
    factor = RESIZE_FACTOR_PX
    offset = box[0] % factor, box[1] % factor
    width = -(-(offset[0] + box[2] - box[0]) // factor) * factor
    height = -(-(offset[1] + box[3] - box[1]) // factor) * factor
    while width * height < MIN_PIXELS:
        height += factor
    return (width, height), offset
