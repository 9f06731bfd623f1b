"""Points, boxes and the coordinate frames of model families.

Canonical coordinates are floats 0..1 of the image, origin top left. Models speak other frames (0..1000 relative,
0..999 relative, pixels of a resized image); they are converted here and nowhere else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from executors.errors import InputError


@dataclass(frozen=True, slots=True)
class ImageSize:
    """Width and height of an image in pixels; both at least 1."""

    width_px: int
    height_px: int

    def __post_init__(self) -> None:
        if self.width_px < 1 or self.height_px < 1:
            raise InputError(f"image size {self.width_px}x{self.height_px} is not allowed: give at least 1x1 pixels")

    @classmethod
    def parse(cls, text: str) -> ImageSize:
        """Size from "WIDTHxHEIGHT" in pixels.

        Raises:
            InputError: the text is not two positive whole numbers joined by "x".

        >>> ImageSize.parse("1920x1080")
        ImageSize(width_px=1920, height_px=1080)
        """
        width, sep, height = text.lower().partition("x")
        is_number = [side.strip().isdecimal() and len(side) <= 9 for side in (width, height)]
        if not (sep and all(is_number)):
            raise InputError(f"image size {text[:40]!r} is not WIDTHxHEIGHT: write whole numbers, such as 1920x1080")
        return cls(int(width), int(height))


@dataclass(frozen=True, slots=True)
class PointNorm:
    """A point in canonical coordinates; (0, 0) is the top left corner, (1, 1) the bottom right."""

    x: float
    y: float

    @property
    def is_on_image(self) -> bool:
        """True when both coordinates lie in 0..1, edges included; NaN and infinity are outside."""
        return 0.0 <= self.x <= 1.0 and 0.0 <= self.y <= 1.0

    def distance(self, other: PointNorm) -> float:
        """Euclidean distance in the normalised frame (anisotropic on a screen that is not square).

        >>> PointNorm(0.0, 0.0).distance(PointNorm(0.3, 0.4))
        0.5
        """
        return math.hypot(self.x - other.x, self.y - other.y)

    def to_px(self, size: ImageSize) -> tuple[int, int]:
        """Pixel (x, y) of the point, clamped to the last pixel of the image.

        >>> PointNorm(1.0, 0.5).to_px(ImageSize(200, 100))
        (199, 50)
        """
        return (
            max(0, min(size.width_px - 1, math.floor(self.x * size.width_px))),
            max(0, min(size.height_px - 1, math.floor(self.y * size.height_px))),
        )


@dataclass(frozen=True, slots=True)
class BoxNorm:
    """An axis-parallel box in canonical coordinates, edges included."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def center(self) -> PointNorm:
        """The middle of the box."""
        return PointNorm((self.left + self.right) / 2, (self.top + self.bottom) / 2)

    def contains(self, point: PointNorm) -> bool:
        """True when the point is inside or on an edge.

        >>> BoxNorm(0.1, 0.1, 0.2, 0.2).contains(PointNorm(0.2, 0.1))
        True
        """
        return self.left <= point.x <= self.right and self.top <= point.y <= self.bottom

    @classmethod
    def from_px(cls, left: float, top: float, right: float, bottom: float, size: ImageSize) -> BoxNorm:
        """Canonical box of pixel edges."""
        w, h = size.width_px, size.height_px
        return cls(left / w, top / h, right / w, bottom / h)


def smart_resize(
    height_px: int, width_px: int, *, factor: int, min_pixels: int, max_pixels: int
) -> tuple[int, int]:
    """(height, width) in pixels that the Qwen image processors resize an image to.

    Both sides become multiples of `factor` near the original; the area is brought between `min_pixels` and
    `max_pixels` with the aspect ratio kept as far as the multiples allow. Python's `round` (half to even) is part of
    the rule: 1022 / 28 = 36.5 becomes 36.

    Args:
        height_px: image height, at least 1.
        width_px: image width, at least 1.
        factor: patch size times merge size: 28 for Qwen2-VL and Qwen2.5-VL, 32 for Qwen3-VL.
        min_pixels: least area in pixels.
        max_pixels: greatest area in pixels.

    Raises:
        InputError: one side is more than 200 times the other.

    Source: `smart_resize` of qwen_vl_utils. The one of the image processors in transformers is the same but for images
    with a side below half of `factor`, which it scales up as a whole.

    >>> smart_resize(1080, 1920, factor=28, min_pixels=3136, max_pixels=16384 * 28 * 28)
    (1092, 1932)
    """
    if max(height_px, width_px) / min(height_px, width_px) > 200:
        raise InputError(f"image {width_px}x{height_px} has an aspect ratio above 200: crop or split it first")
    h_bar = max(factor, round(height_px / factor) * factor)
    w_bar = max(factor, round(width_px / factor) * factor)
    if h_bar * w_bar > max_pixels:
        beta = math.sqrt(height_px * width_px / max_pixels)
        h_bar = max(factor, math.floor(height_px / beta / factor) * factor)
        w_bar = max(factor, math.floor(width_px / beta / factor) * factor)
    elif h_bar * w_bar < min_pixels:
        beta = math.sqrt(min_pixels / (height_px * width_px))
        h_bar = math.ceil(height_px * beta / factor) * factor
        w_bar = math.ceil(width_px * beta / factor) * factor
    return h_bar, w_bar


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFamily:
    """How one family of models writes coordinates.

    `scale` is the full width of a relative frame (1000 or 999 units, 1.0 for canonical); None means pixels of the
    smart-resized image, for which `factor`, `min_pixels` and `max_pixels` are then given.
    """

    name: str
    scale: float | None
    factor: int = 28
    min_pixels: int = 4 * 28 * 28
    max_pixels: int = 16384 * 28 * 28

    def frame_size(self, image: ImageSize) -> tuple[float, float]:
        """(width, height) of the family's coordinate frame for an image of this size."""
        if self.scale is not None:
            return self.scale, self.scale
        height, width = self.resized(image)
        return float(width), float(height)

    def resized(self, image: ImageSize) -> tuple[int, int]:
        """(height, width) in pixels that the family's image processor resizes an image of this size to."""
        return smart_resize(
            image.height_px,
            image.width_px,
            factor=self.factor,
            min_pixels=self.min_pixels,
            max_pixels=self.max_pixels,
        )

    def to_norm(self, x: float, y: float, image: ImageSize) -> PointNorm:
        """Canonical point of family coordinates; not clamped, so the caller can tell a point off the image.

        >>> FAMILIES["ui-tars-1.0"].to_norm(500, 250, ImageSize(1920, 1080))
        PointNorm(x=0.5, y=0.25)
        """
        width, height = self.frame_size(image)
        return PointNorm(x / width, y / height)

    def from_norm(self, point: PointNorm, image: ImageSize) -> tuple[float, float]:
        """Family coordinates of a canonical point: whole numbers, except four decimals in the canonical frame."""
        width, height = self.frame_size(image)
        if self.scale == 1.0:
            return round(point.x, 4), round(point.y, 4)
        return float(round(point.x * width)), float(round(point.y * height))


# Frames: data_formats of each model card. Qwen3-VL's mobile cookbook tells the model a 999x999 screen, its computer
# cookbook 1000x1000; the difference is at most 0.001 of a side and 1000 is taken here.
FAMILIES: dict[str, ModelFamily] = {
    family.name: family
    for family in (
        ModelFamily(name="canonical", scale=1.0),
        ModelFamily(name="ui-tars-1.0", scale=1000.0),
        ModelFamily(name="doubao", scale=1000.0),
        ModelFamily(name="ui-tars-1.5", scale=None, min_pixels=100 * 28 * 28),
        ModelFamily(name="qwen2.5-vl", scale=None),
        ModelFamily(name="qwen3-vl", scale=1000.0, factor=32),
    )
}


def get_family(name: str) -> ModelFamily:
    """The model family of this name.

    Raises:
        InputError: the name is not in `FAMILIES`.
    """
    try:
        return FAMILIES[name]
    except KeyError:
        raise InputError(f"model family {name!r} is unknown: choose one of {', '.join(FAMILIES)}") from None
