"""The screenshot component: exact frame, honest marks, escaped text."""

from __future__ import annotations

import base64
import io
import math
import re
import xml.etree.ElementTree as ET

import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st

from executors.actions import Action, Shape
from executors.geometry import ImageSize, PointNorm
from workbench.screen import (
    Kind,
    Mark,
    Place,
    png_data_uri,
    render_empty,
    render_screen,
    render_steps,
    safe_text,
    spoken,
)
from workbench.shapes import draw_shape, place_badges, unit_px

SIZE = ImageSize(1276, 718)
MIDDLE = PointNorm(0.5, 0.5)
ATTACK = '<img src=x onerror="alert(1)">'


def mark(number: int = 1, place: Place = Place.HERE, *, kind: Kind = Kind.FORECAST, words: str = "tap it",
         point: PointNorm | None = MIDDLE, type: str = "click", **arguments: object) -> Mark:
    action = Action(type=type, point=point, **arguments)
    return Mark(number=number, kind=kind, action=action, instruction=words, place=place)


def render(*marks: Mark, **options: str) -> str:
    return render_screen("data:image/png;base64,AA==", SIZE, marks, alt=options.pop("alt", "a screen"), **options)


def test_the_frame_of_the_overlay_is_the_image_in_pixels() -> None:
    page = render(mark(point=PointNorm(0.25, 0.5)))
    assert 'viewBox="0 0 1276 718"' in page
    assert 'cx="319.00" cy="359.00"' in page  # 0.25 * 1276, 0.5 * 718


def test_the_image_reaches_the_browser_without_loss() -> None:
    image = PIL.Image.effect_noise((64, 48), 90).convert("RGB")
    data = base64.b64decode(png_data_uri(image).partition(",")[2])
    assert PIL.Image.open(io.BytesIO(data)).tobytes() == image.tobytes()


@pytest.mark.parametrize("place", [Place.LATER, Place.NOWHERE, Place.NOT_FOUND])
def test_a_step_without_a_place_here_is_in_the_tray_and_not_on_the_image(place: Place) -> None:
    page = render(mark(1), mark(2, place))
    overlay, tray = page.split("</svg>")
    assert overlay.count("data-mark=") == 1
    assert 'data-mark="forecast-2"' in tray


def test_the_tray_keeps_the_order_of_the_steps() -> None:
    page = render(*(mark(n, Place.LATER) for n in (2, 3, 5)))
    assert re.findall(r'data-mark="forecast-(\d)"', page) == ["2", "3", "5"]


def test_only_points_are_drawn_and_never_a_box() -> None:
    page = render(mark(), mark(2, type="left_double"), mark(3, Place.VISIBLE))
    assert "<rect" not in page and "<polygon" not in page


def test_a_point_off_the_image_is_not_drawn() -> None:
    assert "data-mark" not in render(mark(point=PointNorm(1.5, 0.5))).split("</svg>")[0]


def test_every_line_has_a_light_core_in_a_dark_casing() -> None:
    overlay = render(mark()).split("</svg>")[0]
    order = re.findall(r'<path class="tw-(casing|core|ink)"', overlay)
    assert order == ["casing", "core", "ink"]


@pytest.mark.parametrize("text", [ATTACK, "</title><script>alert(1)</script>", "${alert(1)}\u202e\x00\ud800"])
def test_text_of_models_and_screens_is_escaped_everywhere(text: str) -> None:
    typed = mark(3, Place.NOWHERE, type="type", point=None, content=text)
    marks = (mark(words=text), mark(2, Place.LATER, words=text), typed)
    for page in (render(*marks, alt=text, note=text), render_steps(marks), render_empty(text, [text], code=text)):
        assert "<img src=x" not in page
        assert "<script" not in page
        assert not set("\u202e\x00\ud800") & set(page)
        page.encode("utf-8")


def test_long_text_is_cut() -> None:
    assert len(safe_text("x" * 5000, 100)) == 100


@given(st.text())
def test_safe_text_never_opens_a_tag_or_an_attribute(text: str) -> None:
    assert not set("<>\"'") & set(safe_text(text))


def test_rows_can_be_read_aloud() -> None:
    said = spoken(mark(2, Place.LATER, point=None, words='tap "Save"'), 3)
    assert said == 'step 2 of 3, forecast, click, on a later screen: tap "Save"'
    assert "step 2 of 3, forecast, click, on a later screen:" in render_steps([mark(), mark(2, Place.LATER), mark(3)])


@pytest.mark.parametrize("shape", list(Shape))
@pytest.mark.parametrize("direction", ["up", "down", "left", "right"])
def test_every_shape_is_well_formed(shape: Shape, direction: str) -> None:
    svg = draw_shape(shape, (50.0, 40.0), (90.0, 10.0), direction=direction, unit=1.5)
    assert len(ET.fromstring(f"<svg>{svg}</svg>")) >= 3


def test_the_whole_component_is_well_formed() -> None:
    page = render(mark(), mark(2, Place.VISIBLE), mark(3, Place.LATER), note="recorded")
    ET.fromstring(re.sub(r"(<img [^>]*)>", r"\1/>", page))


coordinates = st.tuples(st.floats(0, 1), st.floats(0, 1))
sizes = st.builds(ImageSize, st.integers(200, 4000), st.integers(200, 4000))


@given(st.lists(coordinates, min_size=1, max_size=12), sizes)
def test_badges_lie_on_the_image(points: list[tuple[float, float]], size: ImageSize) -> None:
    anchors = [(x * size.width_px, y * size.height_px) for x, y in points]
    for badge in place_badges(anchors, size, unit_px(size)):
        assert 0 <= badge.x <= size.width_px and 0 <= badge.y <= size.height_px


def test_badges_of_steps_on_one_target_do_not_cover_each_other() -> None:
    badges = place_badges([(600.0, 300.0)] * 6, SIZE, unit_px(SIZE))
    gaps = [math.dist((a.x, a.y), (b.x, b.y)) for i, a in enumerate(badges) for b in badges[:i]]
    assert min(gaps) > 2 * 11 * unit_px(SIZE)
