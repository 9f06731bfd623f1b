"""Points, boxes and coordinate frames."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executors.errors import InputError
from executors.geometry import FAMILIES, BoxNorm, ImageSize, PointNorm, get_family, smart_resize

SIDES = st.integers(1, 5000)

# Outputs of the Qwen image processors' smart_resize, (height, width): 16384 and 1280 tokens of 28x28 or 32x32 pixels.
RESIZED = [
    ((1080, 1920), (1092, 1932), (1088, 1920), (728, 1316), (832, 1504)),
    ((2400, 1080), (2408, 1092), (2400, 1088), (1484, 672), (1696, 768)),
    ((720, 1280), (728, 1288), (704, 1280), (728, 1288), (704, 1280)),
    ((1600, 2560), (1596, 2548), (1600, 2560), (784, 1260), (896, 1440)),
    ((2160, 3840), (2156, 3836), (2176, 3840), (728, 1316), (832, 1504)),
    ((1840, 2208), (1848, 2212), (1856, 2208), (896, 1092), (1024, 1248)),
    ((1022, 1522), (1008, 1512), (1024, 1536), (812, 1204), (928, 1376)),
]
LIMITS = [(28, 16384), (32, 16384), (28, 1280), (32, 1280)]


@pytest.mark.parametrize(
    ("size", "factor", "max_tokens", "expected"),
    [(row[0], *limit, value) for row in RESIZED for limit, value in zip(LIMITS, row[1:], strict=True)],
)
def test_smart_resize_gives_the_reference_values(size, factor, max_tokens, expected):
    area = factor * factor
    assert smart_resize(*size, factor=factor, min_pixels=4 * area, max_pixels=max_tokens * area) == expected


def test_smart_resize_rounds_half_to_even():
    # 1022 / 28 = 36.5: Python's round gives 36, a rounding up would give 1036.
    assert smart_resize(1022, 1022, factor=28, min_pixels=3136, max_pixels=16384 * 784) == (1008, 1008)


def test_smart_resize_enlarges_below_the_least_area():
    height, width = smart_resize(10, 20, factor=28, min_pixels=100 * 784, max_pixels=16384 * 784)
    assert height * width >= 100 * 784


def test_smart_resize_refuses_an_aspect_ratio_above_200():
    assert smart_resize(10, 2000, factor=28, min_pixels=3136, max_pixels=16384 * 784)
    with pytest.raises(InputError, match="aspect ratio"):
        smart_resize(10, 2001, factor=28, min_pixels=3136, max_pixels=16384 * 784)


@given(height=SIDES, width=SIDES, factor=st.sampled_from([28, 32]))
def test_smart_resize_sides_are_multiples_within_the_area(height, width, factor):
    area = factor * factor
    if max(height, width) / min(height, width) > 200:
        return
    h, w = smart_resize(height, width, factor=factor, min_pixels=4 * area, max_pixels=1280 * area)
    assert h % factor == w % factor == 0
    assert h >= factor and w >= factor
    is_bounded = 4 * area <= h * w <= 1280 * area
    assert is_bounded or min(h, w) == factor  # a strip one factor high may leave the area


@pytest.mark.parametrize(
    ("family", "frame"),
    [
        ("canonical", (1.0, 1.0)),
        ("ui-tars-1.0", (1000.0, 1000.0)),
        ("doubao", (1000.0, 1000.0)),
        ("qwen3-vl", (1000.0, 1000.0)),
        ("ui-tars-1.5", (1932.0, 1092.0)),
        ("qwen2.5-vl", (1932.0, 1092.0)),
    ],
)
def test_frame_of_a_full_hd_screen(family, frame):
    assert get_family(family).frame_size(ImageSize(1920, 1080)) == frame


def test_unknown_family_is_named_with_the_choices():
    with pytest.raises(InputError, match="'gpt'.*canonical"):
        get_family("gpt")


@given(
    x=st.floats(0, 1), y=st.floats(0, 1), width=st.integers(50, 4000), height=st.integers(50, 4000),
    name=st.sampled_from(sorted(FAMILIES)),
)  # fmt: skip
def test_a_point_survives_the_frame_within_half_a_unit(x, y, width, height, name):
    family, size = FAMILIES[name], ImageSize(width, height)
    frame_width, frame_height = family.frame_size(size)
    unit = 1e-4 if name == "canonical" else 1.0
    back = family.to_norm(*family.from_norm(PointNorm(x, y), size), size)
    assert back.is_on_image
    assert abs(back.x - x) <= 0.5 * unit / frame_width + 1e-12
    assert abs(back.y - y) <= 0.5 * unit / frame_height + 1e-12


@given(x=st.floats(0, 1), y=st.floats(0, 1), width=SIDES, height=SIDES)
def test_to_px_is_a_pixel_of_the_image(x, y, width, height):
    px, py = PointNorm(x, y).to_px(ImageSize(width, height))
    assert 0 <= px < width and 0 <= py < height


@pytest.mark.parametrize("value", [-0.001, 1.001, math.nan, math.inf])
def test_points_beyond_an_edge_are_off_the_image(value):
    assert not PointNorm(value, 0.5).is_on_image
    assert not PointNorm(0.5, value).is_on_image


def test_points_on_an_edge_are_on_the_image_and_in_a_box():
    assert PointNorm(0.0, 1.0).is_on_image
    box = BoxNorm.from_px(10, 20, 30, 40, ImageSize(100, 200))
    assert box == BoxNorm(0.1, 0.1, 0.3, 0.2)
    assert box.contains(PointNorm(0.3, 0.2)) and not box.contains(PointNorm(0.31, 0.2))
    assert box.center.distance(PointNorm(0.2, 0.15)) < 1e-12


@pytest.mark.parametrize("text", ["", "x", "1920", "1920x", "x1080", "-1x5", "1.5x2", "0x10", "axb", "9" * 5000 + "x1"])
def test_image_size_refuses_what_is_not_two_whole_numbers(text):
    with pytest.raises(InputError, match="image size"):
        ImageSize.parse(text)


def test_image_size_reads_width_first():
    assert ImageSize.parse(" 1920 X 1080 ") == ImageSize(1920, 1080)
