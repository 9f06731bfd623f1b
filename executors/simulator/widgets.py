"""The parts a screen is made of, before it is laid out: widgets, screens, dialogs.

An operation (`Op`) is a tuple whose first item names what happens, such as ("toggle", "Wi-Fi"); the world carries it
out and the oracle looks for the widget that holds the one it wants.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Op = tuple[Any, ...]
Page = tuple[Any, ...]

PHONE, DESKTOP = "phone", "desktop"
FORM_SIZES_PX = {PHONE: (256, 448), DESKTOP: (448, 320)}
"""(width, height) of the screenshots; all sides are multiples of 32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Widget:
    """One thing on a screen: what it is, what it says, and what happens when it is tapped or held.

    `op` is carried out by a click (a double click for desktop icons), `long_op` by a long press or a right click;
    a widget without `op` is only read. `is_strong` marks the main button of a screen.
    """

    role: str
    label: str
    value: str | None = None
    op: Op | None = None
    long_op: Op | None = None
    is_focused: bool = False
    is_strong: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialog:
    """Something that lies over a screen and takes all clicks; `kind` is "confirm", "menu", "choice" or "popup"."""

    kind: str
    title: str
    buttons: tuple[Widget, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """One page: fixed bars (tabs, actions, window buttons) and scrollable items; `is_grid` makes the items icons.

    `hint` is what a page without items says.
    """

    title: str
    items: tuple[Widget, ...] = ()
    tabs: tuple[Widget, ...] = ()
    actions: tuple[Widget, ...] = ()
    window_buttons: tuple[Widget, ...] = ()
    is_grid: bool = False
    hint: str = ""


@dataclass(slots=True, kw_only=True)
class Frame:
    """A page on an app's stack, with what belongs to this visit: scroll position, draft of a form, labels seen.

    `is_astray` marks a page on which the app opened by chance rather than by the user's choice.
    """

    page: Page
    first_item: int = 0
    draft: dict[str, str] = field(default_factory=dict)
    focus: str | None = None
    seen: set[str] = field(default_factory=set)
    is_astray: bool = False
