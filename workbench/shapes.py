"""SVG shapes of actions and the placing of their number badges; all lengths in image pixels.

`unit` is about one CSS pixel of a screenshot at its usual size on the page, so marks look equally large on a phone
screen of 360 pixels and on a desktop of 2560.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from executors.actions import Shape
from executors.geometry import ImageSize

XY = tuple[float, float]

USUAL_WIDTH_CSS_PX = 760
USUAL_HEIGHT_CSS_PX = 600

_RING = 16.0
_BADGE = 11.0
_TURNS = {"down": 0, "left": 90, "up": 180, "right": 270}


def unit_px(size: ImageSize) -> float:
    """Image pixels in one CSS pixel at the usual display size.

    >>> unit_px(ImageSize(1520, 800))
    2.0
    """
    return max(size.width_px / USUAL_WIDTH_CSS_PX, size.height_px / USUAL_HEIGHT_CSS_PX)


def draw_shape(shape: Shape, at: XY, end: XY | None, *, direction: str, unit: float) -> str:
    """The shape as SVG, each line three times: dark casing, light core, colour.

    Args:
        shape: how the action is drawn; shapes without a place of their own are a ring.
        at: the point, or a drag's start.
        end: a drag's end.
        direction: of a scroll; the chevrons point to the content that is revealed.
        unit: length of one unit in image pixels.
    """
    path = _path(shape, at, end, direction, unit)
    lines = "".join(
        f'<path class="tw-{layer}" d="{path}" stroke-width="{width * unit:.2f}"{_dash(layer, unit)}/>'
        for layer, width in (("casing", 6.5), ("core", 4.5), ("ink", 2.2))
    )
    dot = "" if shape in (Shape.ARROW, Shape.CHEVRON, Shape.CARET, Shape.DOUBLE_RING) else _dot(at, unit)
    return lines + dot


def _dash(layer: str, unit: float) -> str:
    return f' style="--dash:{4 * unit:.2f}"' if layer == "ink" else ""


def _dot(at: XY, unit: float) -> str:
    return f'<circle class="tw-dot" cx="{at[0]:.2f}" cy="{at[1]:.2f}" r="{2.6 * unit:.2f}" stroke-width="{unit:.2f}"/>'


def _path(shape: Shape, at: XY, end: XY | None, direction: str, unit: float) -> str:
    ring = _RING * unit
    match shape:
        case Shape.DOUBLE_RING:
            return _circle(at, ring * 1.2) + _circle(at, ring * 0.6)
        case Shape.HALF_RING:
            x, y = at
            return f"M{x:.2f} {y - ring:.2f}a{ring:.2f} {ring:.2f} 0 0 1 0 {2 * ring:.2f}Z"
        case Shape.HOLD_RING:
            return _circle(at, ring * 0.8) + "".join(_arc(at, ring * 1.35, turn) for turn in (0, 120, 240))
        case Shape.HOVER:
            return _circle(at, ring * 0.8) + _cross(at, ring * 0.8, ring * 1.5)
        case Shape.ARROW if end is not None:
            return _arrow(at, end, unit)
        case Shape.CHEVRON:
            return "".join(_chevron(at, offset * unit, _TURNS[direction], unit) for offset in (-8, 4))
        case Shape.CARET:
            x, y, h, w = *at, ring, ring * 0.45
            serifs = "".join(f"M{x - w:.2f} {end_y:.2f}H{x + w:.2f}" for end_y in (y - h, y + h))
            return f"{serifs}M{x:.2f} {y - h:.2f}V{y + h:.2f}"
        case _:
            return _circle(at, ring)


def _circle(at: XY, r: float) -> str:
    x, y = at
    return f"M{x - r:.2f} {y:.2f}a{r:.2f} {r:.2f} 0 1 0 {2 * r:.2f} 0a{r:.2f} {r:.2f} 0 1 0 {-2 * r:.2f} 0Z"


def _arc(at: XY, r: float, start_degrees: float, sweep_degrees: float = 70) -> str:
    a, b = math.radians(start_degrees), math.radians(start_degrees + sweep_degrees)
    x0, y0 = at[0] + r * math.cos(a), at[1] + r * math.sin(a)
    x1, y1 = at[0] + r * math.cos(b), at[1] + r * math.sin(b)
    return f"M{x0:.2f} {y0:.2f}A{r:.2f} {r:.2f} 0 0 1 {x1:.2f} {y1:.2f}"


def _cross(at: XY, inner: float, outer: float) -> str:
    x, y = at
    return "".join(
        f"M{x + dx * inner:.2f} {y + dy * inner:.2f}L{x + dx * outer:.2f} {y + dy * outer:.2f}"
        for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1))
    )


def _arrow(start: XY, end: XY, unit: float) -> str:
    angle = math.atan2(end[1] - start[1], end[0] - start[0])
    head = 13 * unit
    x, y = end
    wings = "".join(
        f"M{x:.2f} {y:.2f}L{x - head * math.cos(angle + t):.2f} {y - head * math.sin(angle + t):.2f}"
        for t in (0.5, -0.5)
    )
    return f"{_circle(start, 5 * unit)}M{start[0]:.2f} {start[1]:.2f}L{end[0]:.2f} {end[1]:.2f}{wings}"


def _chevron(at: XY, offset: float, turn_degrees: float, unit: float) -> str:
    t = math.radians(turn_degrees)

    def turned(x: float, y: float) -> str:
        return f"{at[0] + x * math.cos(t) - y * math.sin(t):.2f} {at[1] + x * math.sin(t) + y * math.cos(t):.2f}"

    w, h = 11 * unit, 7 * unit
    return f"M{turned(-w, offset)}L{turned(0, offset + h)}L{turned(w, offset)}"


@dataclass(frozen=True, slots=True)
class Badge:
    """A number badge: its centre, and the anchor a leader line runs from."""

    x: float
    y: float
    anchor: XY

    def svg(self, text: str, unit: float) -> str:
        """The badge with its leader line; `text` is a number."""
        r = _BADGE * unit * (1.25 if len(text) > 1 else 1)
        ax, ay = self.anchor
        far = math.hypot(self.x - ax, self.y - ay)
        leader = ""
        if far > (_RING + _BADGE + 8) * unit:
            lx, ly = ax + (self.x - ax) * _RING * unit / far, ay + (self.y - ay) * _RING * unit / far
            line = f"M{lx:.2f} {ly:.2f}L{self.x:.2f} {self.y:.2f}"
            leader = (
                f'<path class="tw-casing" d="{line}" stroke-width="{4 * unit:.2f}"/>'
                f'<path class="tw-core" d="{line}" stroke-width="{2 * unit:.2f}"/>'
            )
        return (
            f'{leader}<circle class="tw-badge" cx="{self.x:.2f}" cy="{self.y:.2f}" r="{r:.2f}" '
            f'stroke-width="{1.6 * unit:.2f}"/><circle class="tw-badge-rim" cx="{self.x:.2f}" cy="{self.y:.2f}" '
            f'r="{r + 1.3 * unit:.2f}" stroke-width="{unit:.2f}"/>'
            f'<text class="tw-badge-text" x="{self.x:.2f}" y="{self.y:.2f}" dy="0.35em" '
            f'font-size="{13.5 * unit:.2f}">{text}</text>'
        )


def place_badges(anchors: Sequence[XY], size: ImageSize, unit: float) -> list[Badge]:
    """One badge for each anchor, in order, clear of the image's edges, of other targets and of earlier badges.

    Eight directions are tried near the ring, then farther out; where all are taken the badge lies on the first.
    """
    room = (2 * _BADGE + 5) * unit
    placed: list[Badge] = []
    for number, (x, y) in enumerate(anchors):
        others = [a for i, a in enumerate(anchors) if i != number and math.dist(a, (x, y)) > unit]
        spots = list(_spots(x, y, size, unit)) or [(x, y)]
        free = (s for s in spots if _is_free(s, placed, others, room))
        bx, by = next(free, spots[0])
        placed.append(Badge(bx, by, (x, y)))
    return placed


def _spots(x: float, y: float, size: ImageSize, unit: float):
    edge = (_BADGE + 3) * unit
    for distance in (_RING + _BADGE + 2, 2 * _RING + 2 * _BADGE, 3 * _RING + 3 * _BADGE):
        for degrees in (-45, -135, 45, 135, -90, 0, 180, 90):
            a = math.radians(degrees)
            bx, by = x + distance * unit * math.cos(a), y + distance * unit * math.sin(a)
            if edge <= bx <= size.width_px - edge and edge <= by <= size.height_px - edge:
                yield bx, by


def _is_free(spot: XY, placed: Sequence[Badge], others: Sequence[XY], room: float) -> bool:
    return all(math.dist(spot, (b.x, b.y)) >= room for b in placed) and all(math.dist(spot, o) >= room for o in others)
