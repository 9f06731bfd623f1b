"""The screenshot component as HTML: exact frame, honest marks, readable rows, escaped text."""

from __future__ import annotations

import base64
import io
import re
import xml.etree.ElementTree as ET

import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st

from executors.actions import ACTIONS, Action, Shape
from executors.geometry import ImageSize, PointNorm
from workbench.screen import (
    Kind,
    Layer,
    Mark,
    Outcome,
    Place,
    png_data_uri,
    render_empty,
    render_screen,
    render_steps,
    safe_text,
    spoken,
)
from workbench.shapes import arrow_head, draw_icon, draw_shape, shape_path

SIZE = ImageSize(1276, 718)
MIDDLE = PointNorm(0.5, 0.5)
ATTACK = '<img src=x onerror="alert(1)">'
NOT_HERE = [Place.LATER, Place.NOWHERE, Place.NOT_FOUND, Place.PAST]


def mark(number: int = 1, place: Place = Place.HERE, *, kind: Kind = Kind.FORECAST, words: str = "tap it",
         point: PointNorm | None = MIDDLE, type: str = "click", lookahead: int = 0, is_editable: bool = False,
         outcome: Outcome = Outcome.UNKNOWN, reason: str = "", **arguments: object) -> Mark:
    action = Action(type=type, point=point, **arguments)
    return Mark(number=number, kind=kind, action=action, instruction=words, place=place, lookahead=lookahead,
                is_editable=is_editable, outcome=outcome, reason=reason)


def drag(start: PointNorm | None, end: PointNorm | None) -> Mark:
    return mark(type="drag", point=None, start_point=start, end_point=end)


def render(*marks: Mark, **options: object) -> str:
    return render_screen("data:image/png;base64,AA==", SIZE, marks, alt=options.pop("alt", "a screen"), **options)


def overlay(page: str) -> str:
    return page.partition('<svg class="tw-overlay"')[2].partition("</svg>")[0]


def tray(page: str) -> str:
    return page.partition('<ol class="tw-tray"')[2].partition("</ol>")[0]


def test_the_frame_of_the_overlay_is_the_image_in_pixels() -> None:
    page = render(mark(point=PointNorm(0.25, 0.5)))
    assert 'viewBox="0 0 1276 718"' in page
    assert 'data-x="319.000" data-y="359.000" transform="translate(319.000 359.000)' in page  # 0.25 * 1276, 0.5 * 718


def test_the_image_reaches_the_browser_without_loss() -> None:
    image = PIL.Image.effect_noise((64, 48), 90).convert("RGB")
    data = base64.b64decode(png_data_uri(image).partition(",")[2])
    assert PIL.Image.open(io.BytesIO(data)).tobytes() == image.tobytes()


@pytest.mark.parametrize("place", NOT_HERE)
def test_a_step_without_a_place_here_is_in_the_tray_and_not_on_the_image(place: Place) -> None:
    page = render(mark(1), mark(2, place, words="tap Send"))
    assert overlay(page).count("data-mark=") == 1
    assert 'data-mark="forecast-2"' in tray(page)
    assert "tap Send" in tray(page)


def test_a_step_that_could_not_be_grounded_says_why() -> None:
    reason = 'no "Send" on this screen'
    page = render(mark(1, Place.NOT_FOUND, reason=reason))
    assert safe_text(reason) in tray(page)
    assert "target not found" in tray(render(mark(1, Place.NOT_FOUND)))


def test_the_tray_keeps_the_order_of_time_and_steps() -> None:
    past = mark(4, Place.PAST, kind=Kind.EXECUTED)
    page = tray(render(*(mark(n, Place.LATER) for n in (2, 3, 5)), past))
    assert re.findall(r'data-mark="([\w-]+)"', page) == ["executed-4", "forecast-2", "forecast-3", "forecast-5"]


@pytest.mark.parametrize("type", ["click", "left_double", "right_single", "hover", "long_press", "type", "scroll"])
def test_a_point_is_never_drawn_as_a_box(type: str) -> None:
    drawing = re.sub(r'<g class="tw-label".*?</g>', "", overlay(render(mark(type=type))))
    assert "<rect" not in drawing and "<polygon" not in drawing
    assert "tw-pin" in drawing


@pytest.mark.parametrize("point", [PointNorm(1.5, 0.5), PointNorm(0.5, float("nan")), PointNorm(-0.01, 0)])
def test_a_point_off_the_image_is_not_drawn(point: PointNorm) -> None:
    assert "data-mark" not in overlay(render(mark(point=point)))


@pytest.mark.parametrize("end", [None, PointNorm(2.0, 0.5)])
def test_a_drag_is_drawn_only_where_both_ends_are_on_the_screen(end: PointNorm | None) -> None:
    assert "data-mark" not in overlay(render(drag(MIDDLE, end)))
    assert "data-mark" not in overlay(render(drag(end, MIDDLE)))
    page = overlay(render(drag(MIDDLE, PointNorm(0.75, 0.5))))
    assert re.findall(r'd="M638.000 359.000L957.000 359.000"', page)


def test_every_line_has_a_light_core_in_a_dark_casing() -> None:
    for shown, num_lines in ((mark(), 1), (drag(MIDDLE, PointNorm(0.1, 0.1)), 3)):
        strokes = re.findall(r'<path class="(?:tw-head |tw-shaft )?tw-(\w+)"', overlay(render(shown)))
        assert strokes == ["casing", "core", "ink"] * num_lines


@pytest.mark.parametrize("number, reach", [(1, 0), (2, 1), (3, 2), (4, 3), (9, 3)])
def test_a_farther_step_is_smaller_and_more_dashed(number: int, reach: int) -> None:
    page = overlay(render(mark(number)))
    assert f"tw-reach-{reach}" in page
    radii = [float(re.search(r'data-radius="([\d.]+)"', overlay(render(mark(n))))[1]) for n in (1, number)]
    assert (radii[1] < radii[0]) == (number > 1)


LAYER_OF = [
    (mark(1), Layer.FORECAST, "forecast-1", "1"),
    (mark(2, Place.LATER), Layer.FORECAST, "forecast-2", "2"),
    (mark(3, kind=Kind.EXECUTED, outcome=Outcome.MISS), Layer.NOW, "executed-3", "3≠"),
    (mark(2, Place.PAST, kind=Kind.EXECUTED, outcome=Outcome.HIT), Layer.PAST, "executed-2", "2✓"),
    (mark(2, Place.VISIBLE, kind=Kind.EXECUTED, outcome=Outcome.FAILED), Layer.PAST, "executed-2", "2✕"),
    (mark(3, kind=Kind.RECORDED), Layer.REFERENCE, "recorded-3", "R3"),
    (mark(3, Place.VISIBLE, kind=Kind.EARLIER, lookahead=2), Layer.EARLIER, "earlier-3-2", "−2"),
]


@pytest.mark.parametrize("shown, layer, key, label", LAYER_OF)
def test_each_kind_of_step_has_its_layer_key_and_label(shown: Mark, layer: Layer, key: str, label: str) -> None:
    assert (shown.layer, shown.key, shown.label) == (layer, key, label)
    assert f'data-mark="{key}" data-layer="{layer}" data-number="{shown.number}"' in render(shown)


def test_the_layers_are_counted_and_the_horizon_is_the_forecast() -> None:
    page = render(*(m for m, *_ in LAYER_OF))
    counts = dict(re.findall(r'data-layer-switch="(\w+)".*?tw-count">(\d+)<', page))
    assert counts == {"past": "2", "now": "1", "forecast": "2", "reference": "1", "earlier": "1"}
    assert 'data-horizon min="1" max="2" value="2">' in page
    assert "disabled" in render() and "disabled" in render(mark())
    assert "tw-tools" not in render(mark(), has_tools=False)


def test_only_what_a_person_may_move_is_marked_so() -> None:
    editable = render(mark(is_editable=True), mark(2, Place.LATER, is_editable=True))
    assert overlay(editable).count('data-editable="yes"') == 1
    assert tray(editable).count('data-editable="yes"') == 1  # it gets its place by being put there
    key = mark(2, Place.NOWHERE, type="hotkey", point=None, key="ctrl c", is_editable=True)
    assert "data-editable" not in render(mark(), key)


@pytest.mark.parametrize("text", [ATTACK, "</title><script>alert(1)</script>", "${alert(1)}\u202e\x00\ud800"])
def test_text_of_models_and_screens_is_escaped_everywhere(text: str) -> None:
    typed = mark(3, Place.NOWHERE, type="type", point=None, content=text)
    marks = (
        mark(words=text), mark(2, Place.LATER, words=text), typed, mark(4, type="type", content=text),
        mark(5, Place.NOT_FOUND, reason=text), mark(6, Place.NOWHERE, type="tool_call", point=None, name=text,
                                                     arguments={text: text}),
    )  # fmt: skip
    page = render(*marks, alt=text, note=text, selected=text)
    for html in (page, render_steps(marks, selected=text), render_empty(text, [text], code=text)):
        assert "<img src=x" not in html
        assert "<script" not in html
        assert not set("\u202e\x00\ud800") & set(html)
        html.encode("utf-8")


def test_long_text_is_cut() -> None:
    assert len(safe_text("x" * 5000, 100)) == 100
    assert "y" * 21 not in overlay(render(mark(type="type", content="y" * 500))).replace("title", "")


@given(st.text())
def test_safe_text_never_opens_a_tag_or_an_attribute(text: str) -> None:
    assert not set("<>\"'") & set(safe_text(text))


def test_rows_can_be_read_aloud() -> None:
    said = spoken(mark(2, Place.LATER, point=None, words='tap "Save"'), 3)
    assert said == 'step 2 of 3, forecast, click, on a later screen: tap "Save"'
    assert "step 2 of 3, forecast, click, on a later screen:" in render_steps([mark(), mark(2, Place.LATER), mark(3)])
    executed = mark(4, kind=Kind.EXECUTED, outcome=Outcome.MISS)
    assert spoken(executed, 3) == "step 4, executed, click at 50 %, 50 %, on this screen, miss: tap it"
    earlier = mark(4, Place.VISIBLE, kind=Kind.EARLIER, lookahead=1)
    assert spoken(earlier).startswith("step 4, forecast 1 step before, click")
    moved = drag(PointNorm(0.1, 0.2), PointNorm(0.3, 0.4))
    assert "drag at 10 %, 20 % to 30 %, 40 %" in spoken(moved)


def test_every_mark_is_a_row_of_the_screens_own_list_too() -> None:
    marks = [m for m, *_ in LAYER_OF if m.key != "executed-2"]
    words = render(*marks).partition('<div class="tw-words">')[2]
    assert re.findall(r'<li class="tw-row[^>]*data-mark="([\w-]+)"', words) == [m.key for m in marks]


def test_the_row_that_the_server_selects_is_told() -> None:
    rows = render_steps([mark(1), mark(2)], selected="forecast-2")
    assert re.findall(r'data-mark="([\w-]+)"[^>]*aria-current="true"', rows) == ["forecast-2"]
    assert 'data-selected="forecast-2"' in render(mark(1), mark(2), selected="forecast-2")


@pytest.mark.parametrize("shape", list(Shape))
@pytest.mark.parametrize("direction", ["up", "down", "left", "right"])
def test_every_shape_is_well_formed(shape: Shape, direction: str) -> None:
    strokes = ET.fromstring(f"<svg>{draw_shape(shape, direction=direction, scale=0.7)}</svg>")
    assert len(strokes) >= 3
    ET.fromstring(draw_icon(shape, direction=direction))


def test_every_action_of_the_registry_has_a_shape_of_its_own_look() -> None:
    paths = {spec.shape: shape_path(spec.shape) for spec in ACTIONS.values()}
    assert set(paths) == set(Shape)
    assert len(set(paths.values())) == len(Shape)


def test_a_scroll_points_to_what_it_reveals() -> None:
    drawn = {direction: shape_path(Shape.CHEVRON, direction=direction) for direction in ("up", "down", "left", "right")}
    assert len(set(drawn.values())) == 4
    tips = {direction: re.findall(r"L(-?[\d.]+) (-?[\d.]+)L", path)[-1] for direction, path in drawn.items()}
    assert float(tips["down"][1]) > 5 and float(tips["right"][0]) > 5
    assert float(tips["up"][1]) < -5 and float(tips["left"][0]) < -5


def test_the_tip_of_an_arrow_is_its_point() -> None:
    assert "L0 0L" in arrow_head()


@pytest.mark.parametrize("size, form", [((1276, 718), "wide"), ((1080, 2400), "tall"), ((1280, 6000), "long"),
                                        ((4000, 120), "flat"), ((1, 1), "wide"), ((20000, 1), "flat")])
def test_every_size_of_image_has_a_layout(size: tuple[int, int], form: str) -> None:
    page = render_screen("x", ImageSize(*size), [mark()], alt="")
    assert f'class="tw-screen tw-{form}"' in page


def test_the_whole_component_is_well_formed() -> None:
    page = render(mark(), mark(2, Place.VISIBLE), mark(3, Place.LATER), note="recorded")
    page = re.sub(r"(<(?:img|input) [^>]*?)( disabled| checked| data-text-only| data-horizon)*>", r"\1/>", page)
    ET.fromstring(re.sub(r" (data-horizon|data-text-only|disabled|checked)(?= |/)", "", page))
