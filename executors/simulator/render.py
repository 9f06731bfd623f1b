"""Draws an arrangement: one Pillow image per screen, from cached text masks and shapes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from PIL import Image, ImageDraw

from executors.simulator.fonts import fitting_size, font, text_mask, text_width
from executors.simulator.layout import Arrangement, BoxPx, Layout, Placed
from executors.simulator.themes import ICON_COLOURS, Rgb, Theme
from executors.simulator.widgets import DESKTOP, FORM_SIZES_PX, Screen


@dataclass(frozen=True, slots=True)
class DrawnText:
    """A text of a screenshot: its words, the top left corner of its line in pixels, and its font size."""

    text: str
    left: int
    top: int
    font_px: int

    @property
    def height(self) -> int:
        """Pixels of the line, from ascender to descender."""
        return sum(font(self.font_px).getmetrics())

    def letters(self) -> Iterator[tuple[str, float, float]]:
        """(letter, x, y) of each letter's middle in pixels of the screenshot; spaces are left out."""
        ends = [self.left + font(self.font_px).getlength(self.text[:i]) for i in range(len(self.text) + 1)]
        for letter, start, end in zip(self.text, ends, ends[1:], strict=False):
            if letter != " ":
                yield letter, (start + end) / 2, self.top + self.height / 2

    def words(self) -> Iterator[tuple[str, float, float]]:
        """(word, left, right) of each word in pixels of the screenshot."""
        for match in re.finditer(r"\S+", self.text):
            left, right = (self.left + font(self.font_px).getlength(self.text[:i]) for i in match.span())
            yield match.group(), left, right


@dataclass(frozen=True, slots=True)
class Drawing:
    """A screenshot and the texts on it that no dialog covers, in the order of drawing."""

    image: Image.Image
    texts: tuple[DrawnText, ...]


class Canvas:
    """An image being drawn, with the theme and font size in force."""

    def __init__(self, size: tuple[int, int], colour: Rgb, theme: Theme, layout: Layout) -> None:
        """A canvas filled with one colour."""
        self.image = Image.new("RGB", size, colour)
        self.draw = ImageDraw.Draw(self.image)
        self.theme, self.layout = theme, layout
        self.font_px = layout.font_px
        self.texts: list[DrawnText] = []

    def text(self, text: str, box: BoxPx, colour: Rgb, *, align: str = "left", size_px: int | None = None) -> None:
        """Text in the vertical middle of a box; it shrinks to 12 px to fit, and what still does not fit is cut off."""
        if not text:
            return
        room = box[2] - box[0]
        size = fitting_size(text, size_px or self.font_px, room)
        ascent, descent = font(size).getmetrics()
        x = box[0]
        if align != "left":
            spare = max(0, room - text_width(text, size))
            x += spare // 2 if align == "centre" else spare
        y = (box[1] + box[3] - ascent - descent) // 2
        mask = text_mask(text, size)
        if text_width(text, size) > room:
            mask = mask.crop((0, 0, max(1, room), mask.height))
        self.image.paste(colour, (x, y), mask)
        self.texts.append(DrawnText(text, x, y, size))

    def round(self, box: BoxPx, radius: int, fill: Rgb | None, outline: Rgb | None = None, width: int = 1) -> None:
        """A rounded rectangle inside the box."""
        inner = (box[0], box[1], box[2] - 1, box[3] - 1)
        self.draw.rounded_rectangle(inner, radius, fill=fill, outline=outline, width=width)


def render(screen: Screen, arrangement: Arrangement, *, form: str, theme: Theme, layout: Layout,
           icon_colours: dict[str, int]) -> Drawing:
    """The screenshot, and what is written on it.

    Args:
        screen: the page as widgets.
        arrangement: the same page laid out.
        form: "phone" or "desktop", which gives the size.
        theme: colours.
        layout: the variant it was laid out with.
        icon_colours: index of each app's icon colour.
    """
    if screen.is_grid:
        canvas = Canvas(FORM_SIZES_PX[form], theme.wallpaper, theme, layout)
        for placed in arrangement.base:
            _icon(canvas, placed, icon_colours[placed.widget.label])
    else:
        canvas = Canvas(FORM_SIZES_PX[form], theme.wallpaper if form == DESKTOP else theme.background, theme, layout)
        _page(canvas, screen, arrangement, form)
    if arrangement.panel is not None:
        _dim(canvas)
        canvas.texts = [text for text in canvas.texts if not _is_touched(text, arrangement.panel)]
        canvas.round(arrangement.panel, 8, theme.surface, theme.accent, 2)
        for placed in arrangement.over:
            _DRAW.get(placed.widget.role, _row)(canvas, placed)
    return Drawing(canvas.image, tuple(canvas.texts))


def _is_touched(text: DrawnText, box: BoxPx) -> bool:
    left, top, right, bottom = box
    end = text.left + text_width(text.text, text.font_px)
    return text.left < right and end > left and text.top < bottom and text.top + text.height > top


def _page(canvas: Canvas, screen: Screen, arrangement: Arrangement, form: str) -> None:
    theme, area = canvas.theme, arrangement.area
    if form == DESKTOP:
        canvas.draw.rectangle(area, fill=theme.background, outline=theme.muted)
    left, top, right, bottom = arrangement.header
    canvas.draw.rectangle((left, top, right - 1, bottom - 1), fill=theme.header)
    align = "centre" if canvas.layout.is_title_centred and form != DESKTOP else "left"
    canvas.text(screen.title, (left + 10, top, right - 10, bottom), theme.on_header, align=align,
                size_px=canvas.font_px + 2)
    if screen.hint:
        body = arrangement.body
        canvas.text(screen.hint, (body[0], body[1], body[2], body[1] + 40), theme.muted, align="centre")
    for placed in arrangement.base:
        if placed.widget in screen.window_buttons:
            canvas.round(placed.box, 4, theme.surface, theme.muted)
            canvas.text(placed.widget.label, placed.box, theme.text, align="centre")
        else:
            _DRAW.get(placed.widget.role, _row)(canvas, placed)
    _arrows(canvas, arrangement)


def _arrows(canvas: Canvas, arrangement: Arrangement) -> None:
    """The strips above and below a scrolling list; an arrow says that there is more."""
    left, top, right, bottom = arrangement.body
    middle, colour = (left + right) // 2, canvas.theme.accent
    if arrangement.has_above:
        canvas.draw.polygon([(middle - 12, top + 13), (middle + 12, top + 13), (middle, top + 3)], fill=colour)
    if arrangement.has_below:
        canvas.draw.polygon([(middle - 12, bottom - 12), (middle + 12, bottom - 12), (middle, bottom - 2)], fill=colour)
    if arrangement.has_above or arrangement.has_below:
        track = (right - 9, top + 16, right - 6, bottom - 15)
        canvas.draw.rectangle(track, fill=canvas.theme.border)
        shown = [p.item_index for p in arrangement.base if p.item_index is not None]
        half = (track[3] - track[1]) // 2
        start = track[1] if not arrangement.has_above else track[3] - half
        if arrangement.has_above and arrangement.has_below:
            start = track[1] + half // 2
        if shown:
            canvas.draw.rectangle((track[0] - 1, start, track[2] + 1, start + half), fill=colour)


def _dim(canvas: Canvas) -> None:
    shade = canvas.image.point(_dim_table())
    canvas.image.paste(shade)


@lru_cache(maxsize=1)
def _dim_table() -> tuple[int, ...]:
    return tuple(v * 55 // 100 for v in range(256)) * 3


def _icon(canvas: Canvas, placed: Placed, colour_index: int) -> None:
    left, top, right, bottom = placed.box
    theme, middle = canvas.theme, (left + right) // 2
    if placed.widget.value:
        canvas.round(placed.box, 6, theme.surface, theme.accent, 2)
    side = min(42, bottom - top - 24)
    picture = (middle - side // 2, top + 4, middle + side // 2, top + 4 + side)
    colour = ICON_COLOURS[colour_index % len(ICON_COLOURS)]
    style = canvas.layout.icon_style
    canvas.round(picture, {"round": 10, "circle": side // 2, "square": 2}[style], colour)
    canvas.text(placed.widget.label[0], picture, (255, 255, 255), align="centre", size_px=22)
    label = (left - 1, top + side + 5, right + 1, top + side + 23)
    canvas.text(placed.widget.label, label, theme.text if placed.widget.value else theme.on_wallpaper, align="centre",
                size_px=min(14, canvas.font_px))


def _row_frame(canvas: Canvas, box: BoxPx) -> None:
    theme = canvas.theme
    if canvas.layout.row_style == "card":
        canvas.round(box, 6, theme.surface, theme.border)
    else:
        canvas.draw.rectangle((box[0], box[1], box[2] - 1, box[3] - 1), fill=theme.surface)
        canvas.draw.line((box[0], box[3] - 1, box[2] - 1, box[3] - 1), fill=theme.border)


def _halves(canvas: Canvas, placed: Placed) -> tuple[BoxPx, BoxPx]:
    """Where the label and the state of a row go: side by side, or one above the other in cards of two columns."""
    box = placed.box
    left, top, right, bottom = box[0] + 8, box[1], box[2] - 8, box[3]
    if canvas.layout.columns > 1 and placed.widget.value:
        middle = (top + bottom) // 2
        return (left, top + 2, right, middle + 2), (left, middle, right, bottom - 2)
    return (left, top, right, bottom), (left, top, right, bottom)


def _row(canvas: Canvas, placed: Placed) -> None:
    _row_frame(canvas, placed.box)
    label, state = _halves(canvas, placed)
    canvas.text(placed.widget.label, label, canvas.theme.text)
    if placed.widget.value:
        align = "left" if canvas.layout.columns > 1 else "right"
        canvas.text(placed.widget.value, state, canvas.theme.muted, align=align)


def _switch(canvas: Canvas, placed: Placed) -> None:
    _row_frame(canvas, placed.box)
    label, state = _halves(canvas, placed)
    theme, is_on = canvas.theme, placed.widget.value == "on"
    canvas.text(placed.widget.label, label, theme.text)
    middle = (state[1] + state[3]) // 2
    left = state[0] if canvas.layout.columns > 1 else state[2] - 34
    pill = (left, middle - 9, left + 34, middle + 9)
    canvas.round(pill, 9, theme.accent if is_on else theme.background, theme.accent if is_on else theme.muted, 2)
    x = left + (19 if is_on else 4)
    canvas.draw.ellipse((x, middle - 6, x + 11, middle + 5), fill=theme.on_accent if is_on else theme.muted)


def _checkbox(canvas: Canvas, placed: Placed) -> None:
    _row_frame(canvas, placed.box)
    label, state = _halves(canvas, placed)
    theme, is_on = canvas.theme, placed.widget.value == "on"
    middle, left = (state[1] + state[3]) // 2, state[0]
    if canvas.layout.columns == 1:
        label = (label[0] + 28, *label[1:])
    canvas.text(placed.widget.label, label, theme.muted if is_on else theme.text)
    box = (left, middle - 9, left + 18, middle + 9)
    canvas.round(box, 3, theme.accent if is_on else theme.surface, theme.accent if is_on else theme.muted, 2)
    if is_on:
        canvas.draw.line([(left + 4, middle), (left + 8, middle + 4), (left + 14, middle - 5)], fill=theme.on_accent,
                         width=3)


def _slider(canvas: Canvas, placed: Placed) -> None:
    theme, row = canvas.theme, placed.whole
    _row_frame(canvas, row)
    top = (row[0] + 8, row[1] + 2, row[2] - 8, placed.box[1] - 1)
    canvas.text(placed.widget.label, top, theme.text)
    canvas.text(placed.widget.value, top, theme.text, align="right")
    left, y0, right, y1 = placed.box
    middle = (y0 + y1) // 2
    x = left + (right - left) * int(placed.widget.value) // 100
    canvas.draw.rectangle((left, middle - 3, right - 1, middle + 2), fill=theme.border)
    canvas.draw.rectangle((left, middle - 3, x, middle + 2), fill=theme.accent)
    canvas.draw.ellipse((x - 8, middle - 8, x + 8, middle + 8), fill=theme.accent, outline=theme.surface, width=2)


def _field(canvas: Canvas, placed: Placed) -> None:
    theme, widget = canvas.theme, placed.widget
    left, top, right, bottom = placed.box
    line = canvas.font_px + 6
    canvas.text(widget.label, (left + 2, top, right, top + line), theme.accent if widget.is_focused else theme.muted)
    box = (left, top + line, right, bottom - 1)
    outline, width = (theme.accent, 3) if widget.is_focused else (theme.muted, 1)
    canvas.round(box, 5, theme.surface, outline, width)
    inner = (left + 9, box[1], right - 12, box[3])
    canvas.text(widget.value or "", inner, theme.text)
    if widget.is_focused:
        width = text_width(widget.value, fitting_size(widget.value, canvas.font_px, inner[2] - inner[0]))
        x = min(inner[2], inner[0] + width + 2)
        canvas.draw.rectangle((x, box[1] + 5, x + 1, box[3] - 6), fill=theme.accent)


def _text(canvas: Canvas, placed: Placed) -> None:
    left, top, right, bottom = placed.box
    x = left + 4
    canvas.text(placed.widget.label, (x, top, right, bottom), canvas.theme.muted)
    x += max(60, text_width(placed.widget.label, canvas.font_px) + 12)
    canvas.text(placed.widget.value or "", (x, top, right, bottom), canvas.theme.text)


def _tab(canvas: Canvas, placed: Placed) -> None:
    theme, (left, top, right, bottom) = canvas.theme, placed.box
    is_selected = placed.widget.value is not None
    canvas.draw.rectangle((left, top, right - 1, bottom - 1), fill=theme.surface)
    if is_selected:
        canvas.draw.rectangle((left + 6, bottom - 4, right - 7, bottom - 1), fill=theme.accent)
    canvas.text(placed.widget.label, (left, top, right, bottom - 2), theme.accent if is_selected else theme.muted,
                align="centre")


def _button(canvas: Canvas, placed: Placed) -> None:
    theme, is_strong = canvas.theme, placed.widget.is_strong
    canvas.round(placed.box, 6, theme.accent if is_strong else theme.surface, theme.accent)
    canvas.text(placed.widget.label, placed.box, theme.on_accent if is_strong else theme.accent, align="centre")


def _option(canvas: Canvas, placed: Placed) -> None:
    left, top, right, bottom = placed.box
    canvas.draw.line((left, top - 1, right - 1, top - 1), fill=canvas.theme.border)
    colour = canvas.theme.muted if placed.widget.label == "Cancel" else canvas.theme.text
    canvas.text(placed.widget.label, (left + 8, top, right - 8, bottom), colour)


def _dialog_title(canvas: Canvas, placed: Placed) -> None:
    canvas.text(placed.widget.label, placed.box, canvas.theme.text, align="centre", size_px=canvas.font_px + 1)


_DRAW = {
    "row": _row,
    "switch": _switch,
    "checkbox": _checkbox,
    "slider": _slider,
    "field": _field,
    "text": _text,
    "tab": _tab,
    "button": _button,
    "option": _option,
    "dialog": _dialog_title,
}
