"""One screenshot component for every tab: the image, an SVG with an exact frame over it, and a tray beside it.

The SVG's viewBox is the image in pixels, so a mark lies on the pixel it names at every zoom; the image itself is
never touched. A step is drawn only where a point is known for the screen that is shown; every other step goes to the
tray, in order, with the reason. All text that comes from models, screens or files is escaped here.

Marks are told apart by number, by shape (the action's `Shape`) and by size and dash, not by colour alone; lines have
a light core in a dark casing, so they can be seen on any screen.
"""

from __future__ import annotations

import base64
import html
import io
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from PIL.Image import Image

from executors.actions import Action, ArgKind, Shape, format_call
from executors.geometry import ImageSize, PointNorm
from workbench.shapes import Badge, draw_shape, place_badges, unit_px

MAX_TEXT = 600
"""Longest text of one row in characters; a model's runaway line must not fill the page."""


class Kind(StrEnum):
    """Whose action a mark shows."""

    FORECAST = "forecast"
    EXECUTED = "executed"
    RECORDED = "recorded"


class Place(StrEnum):
    """Where a step belongs relative to the screen that is shown."""

    HERE = "here"
    VISIBLE = "visible"
    LATER = "later"
    NOWHERE = "nowhere"
    NOT_FOUND = "not-found"


PLACE_WORDS = {
    Place.HERE: "on this screen",
    Place.VISIBLE: "its target is on this screen",
    Place.LATER: "on a later screen",
    Place.NOWHERE: "needs no place",
    Place.NOT_FOUND: "target not found on this screen",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One step as it is shown: its number, whose it is, its action, its words, and where it belongs.

    The action's points are those of the screen shown; a mark without points is never drawn on it.
    """

    number: int
    kind: Kind
    action: Action
    instruction: str
    place: Place
    reason: str = ""

    @property
    def where(self) -> str:
        """Where the step belongs, in words; why its target was not found, where that is known."""
        return self.reason if self.place is Place.NOT_FOUND and self.reason else PLACE_WORDS[self.place]

    @property
    def key(self) -> str:
        """Links the mark with its row in a list."""
        return f"{self.kind}-{self.number}"

    @property
    def classes(self) -> str:
        """Classes that tell its kind and place, and whether it is the step for now."""
        now = " tw-now" if self.number == 1 or self.kind is not Kind.FORECAST else ""
        return f"tw-{self.kind} tw-{self.place}{now}"

    @property
    def anchor(self) -> PointNorm | None:
        """Where the mark is drawn; None sends it to the tray."""
        if self.place not in (Place.HERE, Place.VISIBLE):
            return None
        points = (self.action.point, self.action.start_point)
        anchor = next((p for p in points if p is not None and p.is_on_image), None)
        if self.action.spec.shape is Shape.ARROW and self.action.end_point is None:
            return None
        return anchor


def takes_place(action: Action) -> bool:
    """Whether the action needs a point on the screen."""
    return any(arg.kind is ArgKind.POINT and arg.required for arg in action.spec.args)


def first_place(action: Action) -> Place:
    """Where a grounded action of the present screen belongs: here, nowhere, or not found."""
    has_point = action.point is not None or action.start_point is not None
    if has_point:
        return Place.HERE
    return Place.NOT_FOUND if takes_place(action) else Place.NOWHERE


def png_data_uri(image: Image) -> str:
    """The image as a lossless PNG data URI."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", compress_level=3)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def safe_text(text: object, limit: int = MAX_TEXT) -> str:
    """Text ready for HTML: escaped, cut at `limit`, without control or direction-changing characters.

    >>> safe_text('<img src=x onerror=alert(1)>')
    '&lt;img src=x onerror=alert(1)&gt;'
    """
    raw = str(text)
    if len(raw) > limit:
        raw = raw[: limit - 1] + "…"
    # Cc: controls, Cf: bidi overrides and other invisible formatting, Cs: lone surrogates, which JSON cannot carry
    kept = (c if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cf", "Cs") else "\ufffd" for c in raw)
    return html.escape("".join(kept), quote=True)


def call_text(action: Action) -> str:
    """The action as a call without coordinates; only its name when nothing else is said.

    >>> call_text(Action(type="click", point=PointNorm(0.5, 0.5))), call_text(Action(type="type", content="milk"))
    ('click', "type(content='milk')")
    """
    return format_call(replace(action, point=None, start_point=None, end_point=None)).removesuffix("()")


def spoken(mark: Mark, total: int) -> str:
    """The mark as a screen reader says it, not escaped.

    >>> action = Action(type="click", point=PointNorm(0.42, 0.18))
    >>> spoken(Mark(number=1, kind=Kind.FORECAST, action=action, instruction="tap Save", place=Place.HERE), 3)
    'step 1 of 3, forecast, click at 42 %, 18 %, on this screen: tap Save'
    """
    where = mark.anchor
    at = "" if where is None else f" at {where.x * 100:.0f} %, {where.y * 100:.0f} %"
    return f"step {mark.number} of {total}, {mark.kind}, {mark.action.type}{at}, {mark.where}: {mark.instruction}"


def render_screen(image_uri: str, size: ImageSize, marks: Sequence[Mark], *, alt: str, note: str = "") -> str:
    """The screenshot with its marks and the tray, as HTML.

    Args:
        image_uri: where the browser finds the image: a data URI or a path of this server.
        size: the image's real size in pixels; the frame of the SVG.
        marks: in order; the drawn ones lie over the image, the others in the tray.
        alt: what the screenshot shows, in words.
        note: a line over the image, such as "recorded screen".
    """
    drawn = [m for m in marks if m.anchor is not None]
    tray = [m for m in marks if m.anchor is None]
    form = "tall" if size.height_px > size.width_px else "wide"
    label = f"{len(drawn)} marked steps" if len(drawn) != 1 else "1 marked step"
    badge = f'<p class="tw-note">{safe_text(note)}</p>' if note else ""
    return (
        f'<div class="tw-screen tw-{form}" style="--w:{size.width_px};--h:{size.height_px}">'
        f'<div class="tw-frame"><img src="{html.escape(image_uri, quote=True)}" alt="{safe_text(alt)}" '
        f'width="{size.width_px}" height="{size.height_px}" draggable="false">'
        f'<svg class="tw-overlay" viewBox="0 0 {size.width_px} {size.height_px}" role="img" aria-label="{label}">'
        f"{_draw_marks(drawn, size, len(marks))}</svg></div>{badge}{_render_tray(tray)}</div>"
    )


def _draw_marks(drawn: Sequence[Mark], size: ImageSize, total: int) -> str:
    unit = unit_px(size)
    anchors = [_px(m.anchor, size) for m in drawn]
    badges = place_badges(anchors, size, unit)
    # the first step is drawn last, so that it lies on top
    parts = [_draw_mark(m, badge, size, unit, total) for m, badge in zip(drawn, badges, strict=True)]
    return "".join(reversed(parts))


def _draw_mark(mark: Mark, badge: Badge, size: ImageSize, unit: float, total: int) -> str:
    action = mark.action
    start = _px(mark.anchor, size)
    end = _px(action.end_point, size) if action.end_point is not None else None
    # a recorded step may have the forecast's own point, so it is drawn around it; a step for later is smaller
    scale = 1.35 if mark.kind is Kind.RECORDED else 1.0 if mark.place is Place.HERE else 0.75
    shape = draw_shape(action.spec.shape, start, end, direction=action.direction or "down", unit=unit * scale)
    return (
        f'<g class="tw-mark {mark.classes}" data-mark="{mark.key}"><title>{safe_text(spoken(mark, total), 240)}</title>'
        f"{shape}{badge.svg(str(mark.number), unit)}</g>"
    )


def _px(point: PointNorm, size: ImageSize) -> tuple[float, float]:
    return point.x * size.width_px, point.y * size.height_px


def _render_tray(tray: Sequence[Mark]) -> str:
    if not tray:
        return ""
    chips = "".join(
        f'<li class="tw-chip {m.classes}" data-mark="{m.key}">'
        f'<span class="tw-number">{m.number}</span>'
        f'<span class="tw-chip-text"><bdi>{safe_text(m.instruction, 60)}</bdi></span>'
        f'<span class="tw-where">{PLACE_WORDS[m.place]}</span></li>'
        for m in tray
    )
    return f'<ol class="tw-tray" aria-label="Steps without a place on this screen">{chips}</ol>'


def render_steps(marks: Sequence[Mark]) -> str:
    """The marks as an ordered list of readable rows, linked to the marks on the screen by `data-mark`."""
    rows = "".join(
        f'<li class="tw-row {m.classes}" data-mark="{m.key}" tabindex="0">'
        f'<span class="tw-number" aria-hidden="true">{m.number}</span><div class="tw-row-body">'
        f'<span class="tw-sr">{safe_text(_row_speech(m, len(marks)))}</span>'
        f'<p class="tw-instruction"><bdi>{safe_text(m.instruction)}</bdi></p>'
        f'<p class="tw-meta" aria-hidden="true"><code>{safe_text(call_text(m.action), 120)}</code>'
        f'<span class="tw-where">{safe_text(m.where, 160)}</span></p></div></li>'
        for m in marks
    )
    return f'<ol class="tw-rows">{rows}</ol>'


def _row_speech(mark: Mark, total: int) -> str:
    return spoken(mark, total).rpartition(": " + mark.instruction)[0] + ":"


def render_empty(title: str, lines: Iterable[str], *, code: str = "") -> str:
    """An empty state: what is missing and what to do about it."""
    body = "".join(f"<p>{safe_text(line)}</p>" for line in lines)
    command = f"<pre><code>{safe_text(code, 2000)}</code></pre>" if code else ""
    return f'<div class="tw-empty"><h3>{safe_text(title)}</h3>{body}{command}</div>'
