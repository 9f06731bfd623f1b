"""Screenshots: which files are whole, and parts of images as PNG files."""

from __future__ import annotations

import io
import random
import struct
import zlib

import PIL.Image
import pytest

from executors.geometry import ImageSize
from tests.training.datasets.formats import image_bytes
from training.datasets.screens import check_image, png_of


def is_whole_to_pillow(data: bytes) -> bool:
    """What Pillow's own check says."""
    try:
        with PIL.Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            image.verify()
    except (OSError, SyntaxError, ValueError):
        return False
    return True


def is_whole(data: bytes) -> bool:
    """What ours says."""
    try:
        check_image(data)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_size_and_suffix_are_those_of_the_file(form: str) -> None:
    suffix = {"PNG": ".png", "JPEG": ".jpg", "WEBP": ".webp"}[form]
    assert check_image(image_bytes((27, 60), form=form)) == (ImageSize(27, 60), suffix)


def test_a_png_file_is_whole_where_pillow_says_so() -> None:
    rng, whole = random.Random(0), image_bytes((27, 60))
    damaged = [whole[:length] for length in range(len(whole))]
    for _ in range(2000):
        data = bytearray(whole)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        damaged.append(bytes(data))
    assert is_whole(whole) and is_whole_to_pillow(whole)
    assert [is_whole(data) for data in damaged] == [is_whole_to_pillow(data) for data in damaged]
    assert not all(map(is_whole, damaged)) and any(map(is_whole, damaged))  # Pillow looks at nothing behind IEND


def test_a_png_part_longer_than_the_file_is_told() -> None:
    data = image_bytes((27, 60))
    place = data.index(b"IDAT") - 4
    with pytest.raises(ValueError, match="cut off"):
        check_image(data[:place] + struct.pack(">I", 2**32 - 1) + data[place + 4 :])


@pytest.mark.parametrize("box", [(0, 0, 1, 1), (3, 5, 4, 190), (0, 0, 90, 200), (10, 64, 80, 128), (89, 199, 90, 200)])
def test_a_part_of_an_image_keeps_its_pixels(box: tuple[int, int, int, int]) -> None:
    image = PIL.Image.effect_noise((90, 200), 60).convert("RGB")
    data = png_of(image, box)
    assert is_whole_to_pillow(data)
    with PIL.Image.open(io.BytesIO(data)) as part:
        assert (part.format, part.mode) == ("PNG", "RGB") and part.tobytes() == image.crop(box).tobytes()


def test_a_plain_screen_becomes_a_small_png_file() -> None:
    image = PIL.Image.new("RGB", (1280, 1000), (250, 250, 250))
    image.paste((10, 20, 30), (100, 100, 900, 300))
    assert len(png_of(image, (0, 0, 1280, 1000))) < len(zlib.compress(image.tobytes(), 1))
