"""Copies of documents that may be given away: what was marked private is blurred, and taken out of elements' texts.

A screen is private wherever it occurs: what one step marks is blurred for every step on the same screenshot. The words
of steps and what they type are left as they are; they are edited like any other text.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from PIL.Image import Image, Resampling

from executors.geometry import BoxNorm
from executors.trajectory import Observation
from workbench.annotate.document import Document, DocumentStep

CELLS = 3
"""A blurred box keeps at most this many averages across and down, too few to read anything from."""
WHOLE = (BoxNorm(0.0, 0.0, 1.0, 1.0),)
TAKEN_OUT = "(private)"


def private_boxes(documents: Iterable[Document]) -> dict[Path, tuple[BoxNorm, ...]]:
    """For each stored screenshot that any step marks private, all boxes that are; `WHOLE` where a step names none."""
    found: dict[Path, tuple[BoxNorm, ...]] = {}
    for document in documents:
        for step in document.steps:
            path = step.step.observation.image_path
            if path is not None and "private" in step.step.flags:
                found[path] = tuple(dict.fromkeys((*found.get(path, ()), *(step.blur or WHOLE))))
    return found


def without_private(document: Document, screens: Mapping[Path, tuple[BoxNorm, ...]]) -> Document:
    """The document with the private parts of its screens blurred, held as images in memory.

    Args:
        document: any document.
        screens: `private_boxes` of all documents that leave together.

    Raises:
        MissingFileError, InputError: a screenshot to blur is gone or damaged.
    """
    return replace(document, steps=tuple(_without_private(step, screens) for step in document.steps))


def _without_private(step: DocumentStep, screens: Mapping[Path, tuple[BoxNorm, ...]]) -> DocumentStep:
    seen = step.step.observation
    boxes = screens.get(seen.image_path, ())
    if seen.image_path is None and "private" in step.step.flags:
        boxes = step.blur or WHOLE
    if not boxes:
        return step
    image = None if seen.image_path is None else blurred(seen.load_image(), boxes)
    elements = tuple(
        replace(element, text="", value=None) if any(_overlap(element.box, box) for box in boxes) else element
        for element in seen.elements
    )
    hidden = replace(seen, image=image, image_path=None, elements=elements)
    if WHOLE[0] in boxes:
        hidden = Observation(image=image, image_size=seen.image_size, summary=TAKEN_OUT if seen.summary else "",
                             text=None if seen.text is None else TAKEN_OUT)
    return replace(step, step=replace(step.step, observation=hidden))


def blurred(image: Image, boxes: Iterable[BoxNorm]) -> Image:
    """A copy of the image in which every pixel that a box touches is replaced by a few averages of the box."""
    copy = image.copy()
    for box in boxes:
        left, top = math.floor(box.left * image.width), math.floor(box.top * image.height)
        right, bottom = math.ceil(box.right * image.width), math.ceil(box.bottom * image.height)
        region = copy.crop((left, top, right, bottom))
        averages = region.resize((min(CELLS, region.width), min(CELLS, region.height)), Resampling.BOX)
        copy.paste(averages.resize(region.size, Resampling.BICUBIC), (left, top))
    return copy


def _overlap(a: BoxNorm, b: BoxNorm) -> bool:
    return a.left < b.right and b.left < a.right and a.top < b.bottom and b.top < a.bottom
