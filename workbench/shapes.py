"""The shapes of actions as SVG paths around (0, 0), in CSS pixels; one for every `Shape` of the registry.

A shape is drawn in three strokes, a dark casing, a light core and the colour of its kind, so that one of them
differs from whatever the screenshot shows. The screen component scales it so that it is equally large at every zoom.
"""

from __future__ import annotations

import math

from executors.actions import Shape

RING_PX = 16.0
HEAD_PX = 14.0

STROKES = ("casing", "core", "ink")

_TURNS = {"right": -90, "down": 0, "left": 90, "up": 180}
_EXTENTS = {Shape.DOUBLE_RING: 1.15, Shape.HOLD_RING: 1.3, Shape.HOVER: 1.4, Shape.CHEVRON: 0.85, Shape.ARROW: 0.6}
_WITHOUT_DOT = (
    Shape.ARROW, Shape.CHEVRON, Shape.CARET, Shape.DOUBLE_RING, Shape.KEY, Shape.CLOCK, Shape.APP, Shape.FLAG_DONE,
    Shape.FLAG_IMPOSSIBLE, Shape.CALL,
)  # fmt: skip


def draw_shape(shape: Shape, *, direction: str = "down", scale: float = 1.0) -> str:
    """The shape's three strokes and, where it has one, the dot on its very point.

    Args:
        shape: how the action is drawn; an arrow gives the ring of its start.
        direction: of a scroll; the chevrons point to the content that is revealed.
        scale: 1 is the size of the step for now.
    """
    lines = draw_strokes(shape_path(shape, direction=direction, scale=scale))
    return lines + ("" if shape in _WITHOUT_DOT else '<circle class="tw-dot" r="2.6"/>')


def draw_strokes(path: str, part: str = "") -> str:
    """The path in its three strokes, from the bottom up; `part` is a further class of each."""
    return "".join(f'<path class="{f"{part} tw-{stroke}".strip()}" d="{path}"/>' for stroke in STROKES)


def shape_radius(shape: Shape, *, scale: float = 1.0) -> float:
    """How far the shape reaches from its point in CSS pixels, casing included."""
    return _EXTENTS.get(shape, 1.0) * RING_PX * scale + 4.5


def draw_icon(shape: Shape, *, direction: str = "down") -> str:
    """The shape as a small picture for lists and trays, in one stroke of the text's colour."""
    path = shape_path(shape, direction=direction)
    if shape is Shape.ARROW:
        path = _circle(4, at=(-11, 8)) + "M-8 5.5L12 -9M12 -9L3 -8.5M12 -9L8 -0.5"
    return f'<svg class="tw-icon" viewBox="-25 -25 50 50" aria-hidden="true"><path d="{path}"/></svg>'


def arrow_head(scale: float = 1.0) -> str:
    """The head of a drag's arrow: its tip on (0, 0), pointing right."""
    back, side = HEAD_PX * scale * math.cos(0.5), HEAD_PX * scale * math.sin(0.5)
    return f"M{-back:.2f} {-side:.2f}L0 0L{-back:.2f} {side:.2f}"


def shape_path(shape: Shape, *, direction: str = "down", scale: float = 1.0) -> str:
    """The path data of the shape around (0, 0)."""
    r = RING_PX * scale
    match shape:
        case Shape.RING:
            return _circle(r)
        case Shape.DOUBLE_RING:
            return _circle(r * 1.15) + _circle(r * 0.55)
        case Shape.HALF_RING:
            return f"M0 {-r:.2f}A{r:.2f} {r:.2f} 0 0 1 0 {r:.2f}Z"
        case Shape.HOLD_RING:
            return _circle(r * 0.72) + "".join(_arc(r * 1.3, turn) for turn in (-125, -5, 115))
        case Shape.HOVER:
            ways = ((1, 0), (-1, 0), (0, 1), (0, -1))
            return _circle(r * 0.72) + "".join(_line(r, (0.72 * x, 0.72 * y), (1.4 * x, 1.4 * y)) for x, y in ways)
        case Shape.ARROW:
            return _circle(r * 0.33)
        case Shape.CHEVRON:
            return "".join(_chevron(r, top, _TURNS[direction]) for top in (-0.62, 0.06))
        case Shape.CARET:
            serifs = _line(r, (-0.45, -1), (0.45, -1)) + _line(r, (-0.45, 1), (0.45, 1))
            return serifs + _line(r, (0, -1), (0, 1))
        case Shape.KEY:
            return _rounded(r * 1.8, r * 1.5, r * 0.35) + _line(r, (-0.35, 0.3), (0.35, 0.3))
        case Shape.CLOCK:
            return _circle(r) + _line(r, (0, -0.55), (0, 0), (0.4, 0.25))
        case Shape.APP:
            return _rounded(r * 1.8, r * 1.8, r * 0.5) + _line(r, (0, -0.4), (0, 0.4)) + _line(r, (-0.4, 0), (0.4, 0))
        case Shape.FLAG_DONE:
            return _flag(r) + _line(r, (-0.2, -0.4), (0.1, -0.1), (0.6, -0.65))
        case Shape.FLAG_IMPOSSIBLE:
            return _flag(r) + _line(r, (-0.1, -0.65), (0.5, -0.08)) + _line(r, (0.5, -0.65), (-0.1, -0.08))
        case Shape.CALL:
            return _brace(r, -1) + _brace(r, 1)


def _line(r: float, *points: tuple[float, float]) -> str:
    """A line through the points, which are given in units of `r`."""
    return "M" + "L".join(f"{x * r:.2f} {y * r:.2f}" for x, y in points)


def _circle(r: float, at: tuple[float, float] = (0, 0)) -> str:
    x, y = at
    return f"M{x - r:.2f} {y:.2f}a{r:.2f} {r:.2f} 0 1 0 {2 * r:.2f} 0a{r:.2f} {r:.2f} 0 1 0 {-2 * r:.2f} 0Z"


def _arc(r: float, start_degrees: float, sweep_degrees: float = 70) -> str:
    a, b = math.radians(start_degrees), math.radians(start_degrees + sweep_degrees)
    x0, y0, x1, y1 = r * math.cos(a), r * math.sin(a), r * math.cos(b), r * math.sin(b)
    return f"M{x0:.2f} {y0:.2f}A{r:.2f} {r:.2f} 0 0 1 {x1:.2f} {y1:.2f}"


def _chevron(r: float, top: float, turn_degrees: float) -> str:
    cos, sin = math.cos(math.radians(turn_degrees)), math.sin(math.radians(turn_degrees))
    down = ((-0.72, top), (0, top + 0.5), (0.72, top))
    return _line(r, *((x * cos - y * sin, x * sin + y * cos) for x, y in down))


def _rounded(width: float, height: float, r: float) -> str:
    w, h, corner = width - 2 * r, height - 2 * r, f"a{r:.2f} {r:.2f} 0 0 1"
    return (
        f"M{-w / 2:.2f} {-height / 2:.2f}h{w:.2f}{corner} {r:.2f} {r:.2f}v{h:.2f}{corner} {-r:.2f} {r:.2f}"
        f"h{-w:.2f}{corner} {-r:.2f} {-r:.2f}v{-h:.2f}{corner} {r:.2f} {-r:.2f}Z"
    )


def _flag(r: float) -> str:
    return _line(r, (-0.65, 1.1), (-0.65, -1), (1.05, -1), (1.05, 0.25), (-0.65, 0.25))


def _brace(r: float, side: int) -> str:
    edge, stem, tip = side * r * 0.45, side * r * 0.8, side * r * 1.15
    return (
        f"M{edge:.2f} {-r:.2f}Q{stem:.2f} {-r:.2f} {stem:.2f} {-r * 0.5:.2f}T{tip:.2f} 0"
        f"Q{stem:.2f} 0 {stem:.2f} {r * 0.5:.2f}T{edge:.2f} {r:.2f}"
    )
