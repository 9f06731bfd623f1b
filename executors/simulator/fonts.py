"""Text as cached masks: Pillow's bundled font, measured and rasterised once per (text, size)."""

from __future__ import annotations

from functools import cache, lru_cache

from PIL import Image, ImageDraw, ImageFont

MIN_TEXT_PX = 12


@cache
def font(size_px: int) -> ImageFont.FreeTypeFont:
    """The bundled font at a size."""
    return ImageFont.load_default(size_px)


@lru_cache(maxsize=8192)
def text_width(text: str, size_px: int) -> int:
    """Width in pixels, rounded up."""
    return int(font(size_px).getlength(text) + 0.999)


@lru_cache(maxsize=8192)
def text_mask(text: str, size_px: int) -> Image.Image:
    """The text as an 8-bit coverage mask; its top is the font's ascender line, so baselines agree."""
    ascent, descent = font(size_px).getmetrics()
    mask = Image.new("L", (text_width(text, size_px) + 2, ascent + descent), 0)
    ImageDraw.Draw(mask).text((0, 0), text, fill=255, font=font(size_px))
    return mask


def fitting_size(text: str, size_px: int, room_px: int) -> int:
    """The largest size from `size_px` down to 12 px at which the text fits; 12 when none does."""
    while size_px > MIN_TEXT_PX and text_width(text, size_px) > room_px:
        size_px -= 1
    return size_px
