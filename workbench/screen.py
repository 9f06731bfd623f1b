"""One screenshot component for every tab: the image, an SVG with an exact frame over it, and a tray beside it.

The SVG's viewBox is the image in pixels, so a mark lies on the pixel it names at every zoom; the image itself is
never touched. A step is drawn only where a point is known for the screen that is shown; every other step goes to the
tray, in order, with the reason. All text that comes from models, screens or files is escaped here.

Marks are told apart by number, by shape (the action's `Shape`) and by size and dash, not by colour alone; lines have
a light core in a dark casing, so they can be seen on any screen.

What is made here can be read without a script. `screen_script()` makes it live: it keeps marks equally large at every
zoom, places the labels, switches layers, links marks with rows, and lets a person move the marks that may be moved.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from executors.actions import Shape
from executors.geometry import BoxNorm, ImageSize
from workbench.screen_marks import (
    PLACE_WORDS,
    Kind,
    Layer,
    Mark,
    Outcome,
    Place,
    call_text,
    chip_text,
    first_place,
    may_have_place,
    speech_start,
    spoken,
    takes_place,
)
from workbench.screen_text import png_data_uri, safe_text
from workbench.screen_tools import num_forecast, render_tools
from workbench.shapes import STROKES, arrow_head, draw_icon, draw_shape, draw_strokes, shape_path, shape_radius
from workbench.theme import read_script

__all__ = [
    "PLACE_WORDS", "Kind", "Layer", "Mark", "Outcome", "Place", "call_text", "first_place", "png_data_uri",
    "render_empty", "render_screen", "render_steps", "safe_text", "screen_script", "spoken", "takes_place",
]  # fmt: skip

USUAL_WIDTH_CSS_PX = 760
USUAL_HEIGHT_CSS_PX = 600
LABEL_HEIGHT_CSS_PX = 24
GRIP_CSS_PX = 14
"""Radius of the invisible disc that takes clicks, so that every target is at least 24 CSS px wide."""

MAX_SAID_CHARS = 20_000

REACH_SCALES = (1.0, 0.86, 0.78, 0.7)
REFERENCE_SCALE = 1.4
"""A reference step may have the forecast's own point, so it is drawn around it."""

_TRAY_ORDER = (Layer.PAST, Layer.NOW, Layer.FORECAST, Layer.REFERENCE, Layer.EARLIER)

_SCRIPTS = ("screen_labels.js", "screen_view.js", "screen_link.js", "screen_edit.js")


def screen_script() -> str:
    """The component's script: the body of a function of `element` and `trigger`.

    It is what `gr.HTML(js_on_load=...)` takes. A page without Gradio calls it once for each element that holds a
    screen: `((element, trigger) => {...})(element, () => {})`. Rows are linked within the nearest `.tw-link` or
    `.tw-tab` around the element, which must hold one screen only.
    """
    return "\n".join(read_script(name) for name in _SCRIPTS)


def unit_px(size: ImageSize) -> float:
    """Image pixels in one CSS pixel at the usual display size; the script replaces it by the true one.

    >>> unit_px(ImageSize(1520, 800))
    2.0
    """
    return max(size.width_px / USUAL_WIDTH_CSS_PX, size.height_px / USUAL_HEIGHT_CSS_PX)


def render_screen(
    image_uri: str,
    size: ImageSize,
    marks: Sequence[Mark],
    *,
    alt: str,
    note: str = "",
    selected: str = "",
    has_tools: bool = True,
    boxes: Sequence[tuple[str, BoxNorm, str]] = (),
    said: tuple[str, str] | None = None,
) -> str:
    """The screenshot with its marks, the tray, and the controls of what is drawn, as HTML.

    Args:
        image_uri: where the browser finds the image: a data URI or a path of this server; "" where there is none.
        size: the image's real size in pixels; the frame of the SVG. Not looked at without an image.
        marks: in order; the drawn ones lie over the image, the others in the tray.
        alt: what the screenshot shows, in words.
        note: a line over the image, such as "recorded screen".
        selected: key of the mark to select; "" leaves the choice to the person.
        has_tools: whether the controls (layers, horizon, text only) are shown.
        boxes: (class, box, what it is), drawn below the marks.
        said: (where it is from, the text), of what is seen as text beside the image or in its place.
    """
    drawn = [m for m in marks if m.anchor is not None]
    tray = sorted((m for m in marks if m.anchor is None), key=lambda m: _TRAY_ORDER.index(m.layer))
    total = num_forecast(marks)
    label = f"{len(drawn)} marked steps" if len(drawn) != 1 else "1 marked step"
    badge = f'<p class="tw-note">{safe_text(note)}</p>' if note else ""
    tools = render_tools(marks) if has_tools else ""
    size = size if image_uri else ImageSize(1, 1)
    picture = "" if not image_uri else (
        f'<img src="{html.escape(image_uri, quote=True)}" alt="{safe_text(alt)}" decoding="sync" '
        f'width="{size.width_px}" height="{size.height_px}" draggable="false">'
    )
    return (
        f'<div class="tw-screen tw-{_form(size)}" style="--w:{size.width_px};--h:{size.height_px}" '
        f'data-selected="{safe_text(selected)}">{tools}{badge}'
        f'<div class="tw-stage"><div class="tw-view"{"" if image_uri else " hidden"}><div class="tw-frame">{picture}'
        f'<svg class="tw-overlay" viewBox="0 0 {size.width_px} {size.height_px}" preserveAspectRatio="none" '
        f'role="group" aria-label="{label}">{_draw_boxes(boxes, size)}{_draw_marks(drawn, size, total)}</svg></div>'
        f"</div>{_render_said(said)}"
        f"{_render_tray(tray)}</div>{_CAPTION}"
        f'<div class="tw-words"><p class="tw-alt">{safe_text(alt)}</p>{render_steps(marks, selected=selected)}</div>'
        f"</div>"
    )


def _render_said(said: tuple[str, str] | None) -> str:
    """What is seen as text; nothing where there is none."""
    if said is None:
        return ""
    heading, text = said
    return (
        f'<section class="tw-said" aria-label="Text that is seen"><p><code>{safe_text(heading, 400)}</code></p>'
        f'<pre tabindex="0">{safe_text(text, MAX_SAID_CHARS)}</pre></section>'
    )


def _form(size: ImageSize) -> str:
    """The layout: an upright screen has its tray beside it; very long or flat ones are scrolled."""
    ratio = size.height_px / size.width_px
    return "long" if ratio > 2.6 else "tall" if ratio > 1 else "flat" if ratio < 0.2 else "wide"


def _draw_boxes(boxes: Sequence[tuple[str, BoxNorm, str]], size: ImageSize) -> str:
    """Each box in the three strokes of a mark, so that it is seen on any screen."""
    drawn = []
    for kind, box, words in boxes:
        width, height = (box.right - box.left) * size.width_px, (box.bottom - box.top) * size.height_px
        left, top = box.left * size.width_px, box.top * size.height_px
        place = f'x="{left:.2f}" y="{top:.2f}" width="{width:.2f}" height="{height:.2f}"'
        strokes = "".join(f'<rect class="tw-{stroke}" {place}/>' for stroke in STROKES)
        drawn.append(f'<g class="tw-box {kind}"><title>{safe_text(words, 160)}</title>{strokes}</g>')
    return "".join(drawn)


def _draw_marks(drawn: Sequence[Mark], size: ImageSize, total: int) -> str:
    layers = list(Layer)
    # what lies on top is drawn last: the layer's order, and in a layer the first step over the later ones
    ordered = sorted(drawn, key=lambda m: (layers.index(m.layer), -m.reach, -m.number))
    return "".join(_draw_mark(m, size, total) for m in ordered)


def _draw_mark(mark: Mark, size: ImageSize, total: int) -> str:
    points = {part: (p.x * size.width_px, p.y * size.height_px) for part, p in mark.points.items()}
    unit = unit_px(size)
    scale = REFERENCE_SCALE if mark.kind is Kind.RECORDED else REACH_SCALES[mark.reach]
    shape = mark.action.spec.shape
    if shape is Shape.ARROW:
        drawing = _draw_arrow(points, unit, scale)
    else:
        inside = draw_shape(shape, direction=mark.action.direction or "down", scale=scale)
        drawing = _pin("point", points["point"], unit, inside)
    grips = "".join(
        _pin(part, at, unit, f'<circle class="tw-grip" r="{GRIP_CSS_PX}"/>') for part, at in points.items()
    )
    return (
        f'<g class="tw-mark {mark.classes}" {_data(mark)} data-radius="{shape_radius(shape, scale=scale):.2f}" '
        f'tabindex="-1" role="img">'
        f"<title>{safe_text(spoken(mark, total), 240)}</title>"
        f'<path class="tw-leader tw-casing" d="M0 0"/><path class="tw-leader tw-core" d="M0 0"/>'
        f"{drawing}{grips}{_draw_label(mark, next(iter(points.values())), unit)}</g>"
    )


def _data(mark: Mark) -> str:
    """The attributes by which the script knows a mark, a chip or a row."""
    data = {"mark": mark.key, "layer": mark.layer, "number": mark.number}
    if mark.is_editable and (mark.points or may_have_place(mark.action)):
        data["editable"] = "yes"
    return " ".join(f'data-{name}="{value}"' for name, value in data.items())


def _pin(part: str, at: tuple[float, float], unit: float, inside: str, *, degrees: float = 0) -> str:
    """A drawing in CSS pixels around a point of the image."""
    x, y = at
    turn = f" rotate({degrees:.2f})" if degrees else ""
    return (
        f'<g class="tw-pin" data-part="{part}" data-x="{x:.3f}" data-y="{y:.3f}" '
        f'transform="translate({x:.3f} {y:.3f}) scale({unit:.4f}){turn}">{inside}</g>'
    )


def _draw_arrow(points: dict[str, tuple[float, float]], unit: float, scale: float) -> str:
    """A drag: its shaft, and over it ring and head, whose casings set them apart; the script turns the head."""
    (x0, y0), (x1, y1) = points["start"], points["end"]
    shaft = draw_strokes(f"M{x0:.3f} {y0:.3f}L{x1:.3f} {y1:.3f}", "tw-shaft")
    ring, head = draw_strokes(shape_path(Shape.ARROW, scale=scale)), draw_strokes(arrow_head(scale), "tw-head")
    return shaft + _pin("start", points["start"], unit, ring) + _pin("end", points["end"], unit, head)


def _draw_label(mark: Mark, at: tuple[float, float], unit: float) -> str:
    """Number and, for typed text, the text; without the script it stands up and right of the mark."""
    chip = chip_text(mark.action)
    shown = chip if len(chip) <= 20 else chip[:19] + "…"
    words = f'<tspan class="tw-typed" dx="6">{safe_text(shown)}</tspan>' if shown else ""
    width = 12 + 8 * len(mark.label) + (8 * len(shown) + 6 if shown else 0)
    x, y = at[0] + (16 + width / 2) * unit, at[1] - 24 * unit
    return (
        f'<g class="tw-label" transform="translate({x:.2f} {y:.2f}) scale({unit:.4f})">'
        f'<rect class="tw-pill" x="{-width / 2:.1f}" y="{-LABEL_HEIGHT_CSS_PX / 2}" width="{width}" '
        f'height="{LABEL_HEIGHT_CSS_PX}"/>'
        f'<text dy="0.35em"><tspan>{safe_text(mark.label)}</tspan>{words}</text></g>'
    )


def _render_tray(tray: Sequence[Mark]) -> str:
    """The steps that are not on this screen, in order, with words and the reason; empty when all are on it."""
    chips = "".join(
        f'<li class="tw-chip {m.classes}" {_data(m)}>'
        f'<span class="tw-number">{safe_text(m.label)}</span>{_icon(m)}<span class="tw-chip-text">'
        f"<bdi>{safe_text(m.instruction, 140)}</bdi>"
        f'<span class="tw-where">{safe_text(m.where, 140)}</span></span></li>'
        for m in tray
    )
    return f'<ol class="tw-tray" aria-label="Steps without a place on this screen">{chips}</ol>'


def _icon(mark: Mark) -> str:
    return draw_icon(mark.action.spec.shape, direction=mark.action.direction or "down")


_CAPTION = (
    '<div class="tw-caption"><p class="tw-caption-text"></p><span class="tw-sr tw-spoken" role="status"></span>'
    '<span class="tw-nudge" role="group" aria-label="Move the selected mark by one pixel">'
    + "".join(
        f'<button type="button" data-dx="{dx}" data-dy="{dy}" aria-label="{word}">{sign}</button>'
        for word, sign, dx, dy in (("left", "←", -1, 0), ("up", "↑", 0, -1), ("down", "↓", 0, 1), ("right", "→", 1, 0))
    )
    + "</span></div>"
)


def render_steps(marks: Sequence[Mark], *, selected: str = "") -> str:
    """The marks as an ordered list of readable rows, linked to the marks on the screen by `data-mark`.

    Args:
        marks: in the order to list them.
        selected: key of the mark that is selected on the server's side.
    """
    total = num_forecast(marks)
    rows = "".join(
        f'<li class="tw-row {m.classes}" {_data(m)}{_current(m.key == selected)} tabindex="0">'
        f'<span class="tw-number" aria-hidden="true">{safe_text(m.label)}</span>{_icon(m)}<div class="tw-row-body">'
        f'<span class="tw-sr">{safe_text(speech_start(m, total))}:</span>'
        f'<p class="tw-instruction"><bdi>{safe_text(m.instruction)}</bdi></p>'
        f'<p class="tw-meta" aria-hidden="true"><code>{safe_text(call_text(m.action), 120)}</code>'
        f'<span class="tw-where">{safe_text(m.where, 160)}</span></p></div></li>'
        for m in marks
    )
    return f'<ol class="tw-rows">{rows}</ol>'


def _current(is_selected: bool) -> str:
    return ' aria-current="true"' if is_selected else ""


def render_empty(title: str, lines: Iterable[str], *, code: str = "") -> str:
    """An empty state: what is missing and what to do about it."""
    body = "".join(f"<p>{safe_text(line)}</p>" for line in lines)
    command = f"<pre><code>{safe_text(code, 2000)}</code></pre>" if code else ""
    return f'<div class="tw-empty"><h3>{safe_text(title)}</h3>{body}{command}</div>'
