"""Where things go: layout variants, and the arrangement of a screen's widgets in pixels.

Layouts of the training splits and of `layout_unseen` differ in the places of the bars or the number of columns, and in
the font size they begin with (titles are up to 2 px larger, words in narrow places smaller).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from executors.simulator.fonts import text_width
from executors.simulator.widgets import DESKTOP, FORM_SIZES_PX, PHONE, Dialog, Screen, Widget

BoxPx = tuple[int, int, int, int]
_STRIP_PX = 12
"""Height of the strips above and below a scrolling list that hold its arrows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """One way to arrange screens; `top` and `bottom` name the bars in order from the edge inwards."""

    name: str
    top: tuple[str, ...]
    bottom: tuple[str, ...]
    columns: int = 1
    row_style: str = "line"
    font_px: int = 14
    icon_columns: int = 3
    icon_style: str = "round"
    is_title_centred: bool = False
    window_inset_px: tuple[int, int] = (10, 8)


_TRAIN = (
    Layout(name="classic", top=("header", "tabs"), bottom=("actions",)),
    Layout(name="tabs-below", top=("header",), bottom=("tabs", "actions"), row_style="card", icon_columns=4,
           is_title_centred=True, window_inset_px=(14, 10)),
    Layout(name="actions-above", top=("header", "actions"), bottom=("tabs",), row_style="line", icon_style="circle",
           window_inset_px=(6, 6)),
    Layout(name="all-above", top=("header", "tabs", "actions"), bottom=(), row_style="card", icon_columns=4,
           icon_style="circle", window_inset_px=(18, 6)),
)
_UNSEEN = (
    Layout(name="header-below", top=("actions",), bottom=("header", "tabs"), row_style="line", icon_style="square"),
    Layout(name="two-columns", top=("header", "tabs"), bottom=("actions",), columns=2, row_style="card",
           icon_columns=4, icon_style="square", window_inset_px=(4, 4)),
    Layout(name="tabs-first", top=("tabs", "header"), bottom=("actions",), row_style="card", is_title_centred=True,
           window_inset_px=(22, 8)),
)
TRAIN_LAYOUTS = tuple(replace(v, font_px=size) for v in _TRAIN for size in (14, 15, 16))
UNSEEN_LAYOUTS = tuple(replace(v, font_px=size) for v in _UNSEEN for size in (13, 17))


@dataclass(frozen=True, slots=True)
class Placed:
    """A widget with its pixel box (left, top, right, bottom; right and bottom exclusive).

    `item_index` is its place among the scrollable items. For a slider the box is its track; `whole` is the row.
    """

    widget: Widget
    box: BoxPx
    item_index: int | None = None
    whole: BoxPx | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrangement:
    """A laid-out screen; `panel` is the box of the dialog over it, whose widgets are `over`."""

    area: BoxPx
    header: BoxPx | None
    body: BoxPx
    base: tuple[Placed, ...]
    over: tuple[Placed, ...] = ()
    panel: BoxPx | None = None
    has_above: bool = False
    has_below: bool = False


def arrange(screen: Screen, overlay: Dialog | None, layout: Layout, form: str, first_item: int) -> Arrangement:
    """Places a screen and what lies over it.

    Args:
        screen: the page.
        overlay: the dialog or pop-up over it, if any.
        layout: the variant.
        form: "phone" or "desktop".
        first_item: index of the first scrollable item shown; earlier ones are scrolled out.
    """
    width, height = FORM_SIZES_PX[form]
    if screen.is_grid:
        result = _arrange_grid(screen, layout, form)
    else:
        dx, dy = layout.window_inset_px if form == DESKTOP else (0, 0)
        result = _arrange_page(screen, layout, (dx, dy, width - dx, height - dy), first_item)
    if overlay is None:
        return result
    panel, over = _arrange_overlay(overlay, layout, (width, height))
    return replace(result, panel=panel, over=over)


def _arrange_grid(screen: Screen, layout: Layout, form: str) -> Arrangement:
    width, height = FORM_SIZES_PX[form]
    columns = layout.icon_columns + (form == DESKTOP)
    rows = -(-len(screen.items) // columns)
    cell_w = (width - 8) // columns
    cell_h = min(96, (height - 40) // rows)
    top = 28 if form == PHONE else 20
    placed = []
    for index, widget in enumerate(screen.items):
        left, y = 4 + index % columns * cell_w, top + index // columns * cell_h
        placed.append(Placed(widget, (left + 2, y + 2, left + cell_w - 2, y + cell_h - 2), index))
    area = (0, 0, width, height)
    return Arrangement(area=area, header=None, body=area, base=tuple(placed))


def _arrange_page(screen: Screen, layout: Layout, area: BoxPx, first_item: int) -> Arrangement:
    left, top, right, bottom = area
    heights = {"header": layout.font_px + 16, "tabs": layout.font_px + 16, "actions": layout.font_px + 20}
    present = {"header": True, "tabs": bool(screen.tabs), "actions": bool(screen.actions)}
    bars: dict[str, BoxPx] = {}
    for bar in layout.top:
        if present[bar]:
            bars[bar] = (left, top, right, top + heights[bar])
            top += heights[bar]
    for bar in layout.bottom:
        if present[bar]:
            bars[bar] = (left, bottom - heights[bar], right, bottom)
            bottom -= heights[bar]
    placed = _place_window_buttons(screen.window_buttons, bars["header"], layout)
    if screen.tabs:
        placed += _place_tabs(screen.tabs, bars["tabs"])
    if screen.actions:
        placed += _place_actions(screen.actions, bars["actions"], layout)
    body = (left, top, right, bottom)
    items, has_above, has_below = _place_items(screen.items, body, layout, first_item)
    base = tuple(sorted(placed + items, key=lambda p: (p.box[1], p.box[0])))
    return Arrangement(
        area=area, header=bars["header"], body=body, base=base, has_above=has_above, has_below=has_below
    )


def _place_window_buttons(buttons: tuple[Widget, ...], header: BoxPx, layout: Layout) -> list[Placed]:
    placed = []
    x = header[2] - 6
    for widget in reversed(buttons):
        w = text_width(widget.label, layout.font_px) + 14
        placed.append(Placed(widget, (x - w, header[1] + 4, x, header[3] - 4)))
        x -= w + 6
    return placed


def _place_tabs(tabs: tuple[Widget, ...], bar: BoxPx) -> list[Placed]:
    w = (bar[2] - bar[0]) // len(tabs)
    return [Placed(t, (bar[0] + i * w, bar[1], bar[0] + (i + 1) * w, bar[3])) for i, t in enumerate(tabs)]


def _place_actions(actions: tuple[Widget, ...], bar: BoxPx, layout: Layout) -> list[Placed]:
    """Buttons side by side, as wide as their words ask, together filling the bar (at most 150 px each)."""
    wanted = [text_width(a.label, layout.font_px) + 16 for a in actions]
    room = bar[2] - bar[0] - 12 - 6 * (len(actions) - 1)
    spare = max(0, room - sum(wanted)) // len(actions)
    placed, x = [], bar[0] + 6
    widths = [min(150, w + spare) for w in wanted]
    x += (room - sum(widths)) // 2
    for widget, w in zip(actions, widths, strict=True):
        placed.append(Placed(widget, (x, bar[1] + 4, x + w, bar[3] - 4)))
        x += w + 6
    return placed


def item_height_px(widget: Widget, layout: Layout) -> int:
    """Height of a scrollable item."""
    if widget.role == "field":
        return 2 * layout.font_px + 26
    if widget.role == "slider":
        return layout.font_px + 34
    if widget.role == "text":
        return layout.font_px + 14
    return 2 * layout.font_px + 22 if layout.columns > 1 else layout.font_px + 20


def _place_items(
    items: tuple[Widget, ...], body: BoxPx, layout: Layout, first_item: int
) -> tuple[list[Placed], bool, bool]:
    left, top, right, bottom = body[0] + 6, body[1] + 4, body[2] - 6, body[3] - 2
    total = _flow_height(items, layout)
    has_scroll = total > bottom - top
    first_item = min(first_item, len(items) - 1) if has_scroll else 0
    if has_scroll:
        top, bottom, right = top + _STRIP_PX, bottom - _STRIP_PX, right - 8
    placed: list[Placed] = []
    y, column, index = top, 0, first_item
    while index < len(items):
        widget = items[index]
        h = item_height_px(widget, layout)
        is_half = layout.columns > 1 and widget.role not in ("field", "slider", "text")
        if column and not is_half:
            y, column = y + _half_height(layout), 0
        if y + h > bottom:
            break
        gap = 2 if layout.row_style == "card" else 0
        if is_half:
            w = (right - left) // 2
            box = (left + column * w + gap, y + gap, left + (column + 1) * w - gap, y + h - gap)
            column += 1
            if column == 2:
                y, column = y + h, 0
        else:
            box = (left, y + gap, right, y + h - gap)
            y += h
        placed.append(_placed_item(widget, box, index, layout))
        index += 1
    return placed, has_scroll and first_item > 0, has_scroll and index < len(items)


def _half_height(layout: Layout) -> int:
    return 2 * layout.font_px + 22


def _placed_item(widget: Widget, box: BoxPx, index: int, layout: Layout) -> Placed:
    if widget.role != "slider":
        return Placed(widget, box, index)
    track = (box[0] + 14, box[3] - 24, box[2] - 14, box[3] - 4)
    return Placed(widget, track, index, box)


def _flow_height(items: tuple[Widget, ...], layout: Layout) -> int:
    y = column = 0
    for widget in items:
        is_half = layout.columns > 1 and widget.role not in ("field", "slider", "text")
        if is_half:
            y += item_height_px(widget, layout) if column == 0 else 0
            column = 1 - column
        else:
            y, column = y + item_height_px(widget, layout), 0
    return y


def _arrange_overlay(dialog: Dialog, layout: Layout, size: tuple[int, int]) -> tuple[BoxPx, tuple[Placed, ...]]:
    width, height = size
    font = layout.font_px
    panel_w = min(width - 8, max(180, text_width(dialog.title, font + 1) + 40))
    is_stack = dialog.kind in ("menu", "choice")
    title_h, button_h = font + 24, font + 16
    panel_h = title_h + (button_h * len(dialog.buttons) + 8 if is_stack else button_h + 14)
    left, top = (width - panel_w) // 2, (height - panel_h) // 2
    panel = (left, top, left + panel_w, top + panel_h)
    title = Placed(Widget(role="dialog", label=dialog.title), (left + 8, top + 4, left + panel_w - 8, top + title_h))
    placed = [title]
    y = top + title_h
    w = (panel_w - 16) // (1 if is_stack else len(dialog.buttons))
    for index, widget in enumerate(dialog.buttons):
        if is_stack:
            box = (left + 8, y + 1, left + panel_w - 8, y + button_h - 1)
            y += button_h
        else:
            box = (left + 8 + index * w + 3, y, left + 8 + (index + 1) * w - 3, y + button_h)
        placed.append(Placed(widget, box))
    return panel, tuple(placed)
