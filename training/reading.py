"""Reading lessons: every letter and every word of a screenshot, told to the vision tower where they stand.

A vision tower of random weights learns what a screen looks like long before it learns to read, since most words of a
plan can be copied from the goal; answers written by the language layers teach it little, because all but the first
letters of a label can be guessed (RESULTS.md). So before it sees its first prompt, the tower alone learns from the
embedded world's screenshots, whose texts and their places are known: of each image token, which letters stand where in
it, and which words begin in it. Words are named in the planner's own token embeddings, so what the tower then says of a
screen is close to the words that the language layers know.

Lessons begin with screenshots as they are and go on to screenshots zoomed and shifted at random. Shapes: G glyphs,
W tokens of words.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from training.samples import RESIZE_FACTOR_PX, decode_png, encode_png

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

    from executors.simulator.render import DrawnText

CELL_PX = RESIZE_FACTOR_PX
"""Side of the square that one image token sees."""
_SLOT_PX = 4
"""Letters are told apart by the square of this side that their middle lies in."""
_SLOTS_PER_SIDE = CELL_PX // _SLOT_PX
NUM_SLOTS = _SLOTS_PER_SIDE**2
_FIRST_LETTER, NUM_LETTERS = ord("!"), 94
"""Printable ASCII; other letters have no lesson."""
_INSIDE_PX = 3
"""A word begins this far right of its left edge: where its first letter is."""
_MAX_ZOOM, _MIN_ZOOM, _MAX_SHIFT_PX = 1.22, 0.82, 16
_AS_THEY_ARE, _FULLY_VARIED = 0.15, 0.55
"""Shares of the lessons after which screenshots begin to vary, and vary most."""
_VARIED_SHARE = 0.6
"""Share of varied screenshots from then on."""


@dataclass(frozen=True, slots=True)
class Screen:
    """A screenshot as PNG bytes and the texts on it."""

    png: bytes
    texts: tuple[DrawnText, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """A screen, enlarged by `zoom` about its top left corner and then moved by `shift_px` (x, y)."""

    screen: Screen
    zoom: float = 1.0
    shift_px: tuple[int, int] = (0, 0)

    def image(self) -> Image:
        """The varied screenshot, as large as the original."""
        import PIL.Image

        image = decode_png(self.screen.png)
        if self.zoom == 1.0 and self.shift_px == (0, 0):
            return image
        canvas = PIL.Image.new("RGB", image.size, image.getpixel((1, image.height - 2)))
        size = round(image.width * self.zoom), round(image.height * self.zoom)
        canvas.paste(image.resize(size, PIL.Image.Resampling.BILINEAR), self.shift_px)
        return canvas

    def glyphs(self, width: int, height: int) -> Iterator[tuple[int, int, int]]:
        """(image token, slot in it, letter's number) of every letter whose middle is in an image of that size."""
        for text in self.screen.texts:
            for letter, x, y in text.letters():
                number = ord(letter) - _FIRST_LETTER
                x, y = self._place(x, y)
                if 0 <= number < NUM_LETTERS and 0 <= x < width and 0 <= y < height:
                    slot = int(y) % CELL_PX // _SLOT_PX * _SLOTS_PER_SIDE + int(x) % CELL_PX // _SLOT_PX
                    yield _token_at(x, y, width), slot, number

    def words(self, width: int, height: int) -> Iterator[tuple[int, str]]:
        """(image token, word) of every word that lies whole between the left and right edge of such an image."""
        for text in self.screen.texts:
            for word, left, right in text.words():
                x, y = self._place(left + _INSIDE_PX, text.top + text.height / 2)
                if 0 <= x and self._place(right, 0)[0] <= width and 0 <= y < height:
                    yield _token_at(x, y, width), word

    def _place(self, x: float, y: float) -> tuple[float, float]:
        return x * self.zoom + self.shift_px[0], y * self.zoom + self.shift_px[1]


def _token_at(x: float, y: float, width: int) -> int:
    return int(y) // CELL_PX * (width // CELL_PX) + int(x) // CELL_PX


def plan_lessons(screens: Sequence[Screen], *, num_lessons: int, seed: int) -> Iterator[Lesson]:
    """`num_lessons` lessons, every screen once before one comes again; the later, the more of them vary and the more.

    Args:
        screens: at least one.
        num_lessons: at least 0.
        seed: decides order and variation.
    """
    rng = random.Random(f"reading/{seed}")
    order: list[Screen] = []
    for index in range(num_lessons):
        order = order or rng.sample(screens, len(screens))
        screen = order.pop()
        strength = (index / num_lessons - _AS_THEY_ARE) / (_FULLY_VARIED - _AS_THEY_ARE)
        strength = min(1.0, max(0.0, strength))
        if rng.random() >= _VARIED_SHARE * strength:
            yield Lesson(screen=screen)
            continue
        zoom = 1 + strength * (rng.uniform(_MIN_ZOOM, _MAX_ZOOM) - 1)
        shift = [round(rng.uniform(-_MAX_SHIFT_PX, _MAX_SHIFT_PX) * strength) for _ in range(2)]
        yield Lesson(screen=screen, zoom=zoom, shift_px=(shift[0], shift[1]))


def load_screens(data: Any) -> Iterator[Screen]:
    """The screens of the embedded world's episodes that a `DataConfig` asks for; its file has none and is not read."""
    from executors.simulator import record_drawings, sample_tasks

    for task in sample_tasks(data.split, data.num_episodes, data.seed):
        rates = {"interruption_rate": data.interruption_rate, "mistake_rate": data.mistake_rate}
        for drawing in record_drawings(task, **rates):
            yield Screen(encode_png(drawing.image), drawing.texts)


def collate_lessons(lessons: Iterable[Lesson], processor: Any) -> dict[str, torch.Tensor]:
    """pixel_values_PD and image_grid_thw of the images, glyphs_G3 (image token, slot, letter) and words_W2 (image
    token, token of a word); image tokens are counted through the batch.

    Raises:
        ValueError: the processor would resize a screenshot, whose letters then are elsewhere.
    """
    images, glyphs, words, num_tokens = [], [], [], 0
    for lesson in lessons:
        image = lesson.image()
        size = image.size
        images.append(image)
        glyphs += [(num_tokens + token, slot, letter) for token, slot, letter in lesson.glyphs(*size)]
        for token, word in lesson.words(*size):
            ids = processor.tokenizer(f" {word}", add_special_tokens=False)["input_ids"]
            words += [(num_tokens + token, number) for number in ids]
        num_tokens += size[0] // CELL_PX * (size[1] // CELL_PX)
    import torch

    seen = processor.image_processor(images=images, return_tensors="pt")
    if seen["pixel_values"].shape[0] != num_tokens * processor.image_processor.merge_size**2:
        raise ValueError("reading lessons need screenshots that the processor does not resize")
    return {
        "pixel_values": seen["pixel_values"],
        "image_grid_thw": seen["image_grid_thw"],
        "glyphs": torch.tensor(glyphs, dtype=torch.long).view(-1, 3),
        "words": torch.tensor(words, dtype=torch.long).view(-1, 2),
    }
