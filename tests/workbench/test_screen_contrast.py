"""Marks can be seen on every screenshot: contrast measured in the pixels that Chromium draws.

At every place along every line of every shape, for each shade of the background around it, a pixel of the mark must
differ from that shade by 3:1 (WCAG 1.4.11, non-text contrast).
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

import numpy as np
import PIL.Image
import pytest

from executors.actions import ACTIONS, Action, ArgKind, Shape
from executors.geometry import ImageSize, PointNorm
from tests.workbench.screen_page import Pages, screen_page
from workbench.screen import Kind, Mark, Place, png_data_uri
from workbench.shapes import draw_shape

SIZE = ImageSize(1120, 760)
LEAST = 3.0
NEAR_PX = 4  # half the width of the thinnest line, casing included
AROUND_PX = 6


def noise() -> PIL.Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (SIZE.height_px, SIZE.width_px, 3), dtype=np.uint8)
    return PIL.Image.fromarray(pixels)


def plain(colour: str) -> PIL.Image.Image:
    return PIL.Image.new("RGB", (SIZE.width_px, SIZE.height_px), colour)


# #757575 is the grey that differs least from both the casing and the core; the reds and blues are near the inks
BACKGROUNDS = {
    "white": plain("white"), "black": plain("black"), "mid-grey": plain("#808080"), "worst grey": plain("#757575"),
    "forecast's colour": plain("#b84300"), "executed's colour": plain("#00609c"), "noise": noise(),
}  # fmt: skip

PLACED = {spec.shape: spec.name for spec in ACTIONS.values() if any(arg.kind is ArgKind.POINT for arg in spec.args)}


def every_mark() -> list[Mark]:
    """Every shape that has a place, at several reaches and of every kind, so far apart that no label hides a line."""
    marks = []
    kinds = [(Kind.FORECAST, n, 0) for n in (1, 2, 4)]
    kinds += [(Kind.EXECUTED, 1, 0), (Kind.RECORDED, 1, 0), (Kind.EARLIER, 1, 3)]
    for row, (kind, number, lookahead) in enumerate(kinds):
        for column, name in enumerate(PLACED.values()):
            point = PointNorm(0.05 + column / 8, 0.08 + row / 6.2)
            arguments = {"point": point}
            if name == "drag":
                arguments = {"start_point": point, "end_point": PointNorm(point.x + 0.04, point.y + 0.06)}
            if name == "scroll":
                arguments["direction"] = "down"
            if name == "type":
                arguments["content"] = "ab"
            marks.append(Mark(number=number, kind=kind, action=Action(type=name, **arguments), instruction="x",
                              place=Place.VISIBLE, lookahead=lookahead))
    return marks


def every_shape() -> str:
    """Every shape of the registry, also those that only stand in lists, at every reach, as the component draws them."""
    drawn = "".join(
        f'<g class="tw-mark tw-forecast tw-reach-{reach}{"" if reach else " tw-now"}" '
        f'transform="translate({50 + 76 * column} {60 + 150 * reach})">{draw_shape(shape, scale=1 - reach / 10)}</g>'
        for column, shape in enumerate(Shape) for reach in range(4)
    )  # fmt: skip
    style = "position: absolute; inset: 0"
    return f'<svg class="board" style="{style}" viewBox="0 0 {SIZE.width_px} {SIZE.height_px}">{drawn}</svg>'


# Places along all lines of the marks and along the edges of their labels, in pixels of the frame.
_PLACES = """() => {
    const frame = document.querySelector(".tw-frame").getBoundingClientRect();
    const places = [];
    for (const line of document.querySelectorAll(".tw-mark .tw-casing, .tw-mark .tw-pill")) {
        const length = line.getTotalLength();
        if (length < 1) continue;
        const matrix = line.getScreenCTM();
        const what = line.closest(".tw-mark").getAttribute("class") + " " + line.getAttribute("class");
        const steps = Math.ceil(length * matrix.a / 4);
        for (let i = 0; i <= steps; i++) {
            const point = line.getPointAtLength((length * i) / steps).matrixTransform(matrix);
            places.push([point.x - frame.x, point.y - frame.y, what]);
        }
    }
    return places;
}"""


def luminance(image: PIL.Image.Image) -> np.ndarray:
    """WCAG's relative luminance of each pixel."""
    srgb = np.asarray(image.convert("RGB"), dtype=float) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    return linear @ (0.2126, 0.7152, 0.0722)


def least_contrast(seen: np.ndarray, background: np.ndarray, x: float, y: float) -> float:
    """The contrast of the mark's best pixel near this place with the shade around it that it differs least from."""
    mark = _disc(seen, x, y, NEAR_PX)
    shades = _disc(background, x, y, AROUND_PX)
    lighter = (mark.max() + 0.05) / (shades + 0.05)
    darker = (shades + 0.05) / (mark.min() + 0.05)
    return float(np.maximum(lighter, darker).min())


def _disc(values: np.ndarray, x: float, y: float, radius: float) -> np.ndarray:
    left, top = max(0, int(x - radius)), max(0, int(y - radius))
    part = values[top : int(y + radius) + 1, left : int(x + radius) + 1]
    rows, columns = np.mgrid[top : top + part.shape[0], left : left + part.shape[1]]
    return part[np.hypot(columns + 0.5 - x, rows + 0.5 - y) <= radius]


@pytest.fixture(scope="module")
def boards(browser) -> Iterator[dict[str, object]]:
    """Two pages, one with every mark and one with every shape; tests put the background under them."""
    pages = Pages(browser)
    opened = {}
    for name, marks in (("marks", every_mark()), ("shapes", [])):
        html = screen_page(marks, BACKGROUNDS["white"], has_tools=False)
        opened[name] = pages.open(html, width=1140, height=1200)
    board = json.dumps(every_shape())
    opened["shapes"].evaluate(f"document.querySelector('.tw-overlay').insertAdjacentHTML('afterend', {board})")
    yield opened
    pages.close()


def too_faint(page, background: PIL.Image.Image) -> list[tuple[float, str]]:
    """(contrast, which line) of every place whose contrast with this background is too low."""
    page.evaluate("uri => { document.querySelector('.tw-frame img').src = uri; }", png_data_uri(background))
    page.evaluate("document.querySelector('.tw-frame img').decode()")
    places = page.evaluate(_PLACES)
    seen, under = (luminance(_picture(page, visibility)) for visibility in ("visible", "hidden"))
    assert len(places) > 1000
    assert np.mean(seen != under) > 0.03  # something was drawn
    found = [(least_contrast(seen, under, x, y), what) for x, y, what in places]
    return sorted((contrast, what) for contrast, what in found if contrast < LEAST)


def _picture(page, visibility: str) -> PIL.Image.Image:
    page.evaluate("v => document.querySelectorAll('.tw-frame svg').forEach(s => s.style.visibility = v)", visibility)
    return PIL.Image.open(io.BytesIO(page.locator(".tw-frame").screenshot()))


@pytest.mark.parametrize("name", BACKGROUNDS)
@pytest.mark.parametrize("board", ["marks", "shapes"])
def test_every_mark_and_shape_stands_out_from_every_background(boards, board: str, name: str) -> None:
    assert too_faint(boards[board], BACKGROUNDS[name]) == []


def test_the_measure_finds_lines_that_cannot_be_seen(boards) -> None:
    page = boards["shapes"]
    style = page.add_style_tag(content=".tw-mark * { stroke: #8a8a8a !important; fill: #8a8a8a !important; }")
    assert len(too_faint(page, BACKGROUNDS["worst grey"])) > 1000
    style.evaluate("style => style.remove()")
