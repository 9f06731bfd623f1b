"""The world: state of all apps and of the interface, and what each operation does to them.

Chance (pop-ups, tip pages, opening on another page) is drawn from one seeded generator, once per action, so the same
task, seed and actions give the same screens.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from executors.simulator import vocab
from executors.simulator.apps import APPS, AppSpec
from executors.simulator.layout import Arrangement, Layout, Placed, arrange
from executors.simulator.operations import OPERATIONS, make_popup
from executors.simulator.screens import app_screen, home_screen, tip_screen
from executors.simulator.state import AppData, Data, copy_data
from executors.simulator.themes import Theme
from executors.simulator.widgets import DESKTOP, Dialog, Frame, Op, Screen, Widget

MAX_TEXT_LETTERS = 10_000
"""Longer texts are not typed: none of the world's comes near, and Pillow draws no text of a million letters."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """How a world is shown: form, layout, theme, and the order and colours of the icons."""

    form: str
    layout: Layout
    theme: Theme
    icon_order: tuple[str, ...]
    colour_shift: int = 0


@dataclass(kw_only=True)
class World:
    """A running world; change it only through the methods below.

    `noted` maps (app, record id) to the step at which its page was left for the home screen: the moment to have read
    it. `num_steps` counts the actions carried out.
    """

    look: Look
    data: Data
    rng: random.Random
    interruption_rate: float = 0.0
    app: str | None = None
    stack: list[Frame] = field(default_factory=list)
    dialog: Dialog | None = None
    popup: Dialog | None = None
    tip: str | None = None
    selected_icon: str | None = None
    num_steps: int = 0
    noted: dict[tuple[str, int], int] = field(default_factory=dict)
    _screen: Screen | None = None
    _arrangement: Arrangement | None = None

    # ---- what is there now

    @property
    def spec(self) -> AppSpec:
        """The spec of the open app."""
        return APPS[self.app]

    @property
    def app_data(self) -> AppData:
        """The data of the open app."""
        return self.data[self.app]

    @property
    def frame(self) -> Frame:
        """The page on top of the open app's stack."""
        return self.stack[-1]

    @property
    def overlay(self) -> Dialog | None:
        """What lies over the screen and takes all clicks: a pop-up before a dialog."""
        return self.popup or self.dialog

    @property
    def screen(self) -> Screen:
        """The page as widgets, without what lies over it."""
        if self._screen is None:
            self._screen = self._build_screen()
        return self._screen

    @property
    def arrangement(self) -> Arrangement:
        """The laid-out screen."""
        if self._arrangement is None:
            first = self.frame.first_item if self.stack and self.tip is None else 0
            self._arrangement = arrange(self.screen, self.overlay, self.look.layout, self.look.form, first)
            if self.stack and self.overlay is None and self.tip is None:
                self.frame.seen.update(p.widget.label for p in self._arrangement.base)
                if not self._arrangement.has_above:
                    self.frame.first_item = 0  # a list that got shorter no longer scrolls
        return self._arrangement

    @property
    def placed(self) -> tuple[Placed, ...]:
        """All widgets with pixel boxes that are visible and not covered, in reading order."""
        arrangement = self.arrangement
        return arrangement.base if arrangement.panel is None else arrangement.over

    def copy(self) -> World:
        """An independent copy, including the state of chance."""
        rng = random.Random()
        rng.setstate(self.rng.getstate())
        frames = [
            Frame(page=f.page, first_item=f.first_item, draft=dict(f.draft), focus=f.focus, seen=set(f.seen),
                  is_astray=f.is_astray)
            for f in self.stack
        ]
        return World(
            look=self.look, data=copy_data(self.data), rng=rng, interruption_rate=self.interruption_rate,
            app=self.app, stack=frames, dialog=self.dialog, popup=self.popup, tip=self.tip,
            selected_icon=self.selected_icon, num_steps=self.num_steps, noted=dict(self.noted),
        )

    def touch(self) -> None:
        """Forgets the laid-out screen after a change."""
        self._screen = None
        self._arrangement = None

    def forget(self) -> None:
        """Forgets what was seen and noted so far, as if someone else now took over."""
        for frame in self.stack:
            frame.seen.clear()
        self.noted.clear()
        self.touch()

    def _build_screen(self) -> Screen:
        if self.app is None:
            return home_screen(self.look.icon_order, self.look.form, self.selected_icon)
        if self.tip is not None:
            screen = tip_screen(self.app, self.tip)
        else:
            screen = app_screen(self.spec, self.app_data, self.frame)
        if self.look.form != DESKTOP:
            return screen
        close = Widget(role="button", label="Close", op=("home",))
        back = Widget(role="button", label="Back", op=("back",))
        buttons = (back, close) if len(self.stack) > 1 and self.tip is None else (close,)
        return Screen(
            title=screen.title, items=screen.items, tabs=screen.tabs, actions=screen.actions,
            window_buttons=buttons, is_grid=screen.is_grid, hint=screen.hint,
        )

    # ---- actions; each returns whether anything changed

    def pass_time(self) -> None:
        """Ends one action: counts it and lets a pop-up appear by chance."""
        self.num_steps += 1
        draw, pick = self.rng.random(), self.rng.random()
        if self.popup is None and draw < self.interruption_rate:
            self.popup = make_popup(*vocab.POPUPS[int(pick * len(vocab.POPUPS))])
            self.touch()

    def operate(self, op: Op | None) -> bool:
        """Carries out an operation of a widget."""
        if op is None:
            return False
        self.touch()
        return OPERATIONS[op[0]](self, *op[1:])

    def go_home(self) -> bool:
        """Leaves the app for the home screen or the desktop; does nothing under a pop-up."""
        if self.popup is not None or self.app is None:
            return False
        if self.frame.page[0] == "record" and self.dialog is None:
            self.noted[self.app, self.frame.page[1]] = self.num_steps
        self.app, self.stack, self.dialog, self.tip = None, [], None, None
        self.touch()
        return True

    def go_back(self) -> bool:
        """Closes what lies on top: pop-up, dialog, tip, page, app."""
        self.touch()
        if self.popup is not None:
            self.popup = None
        elif self.dialog is not None:
            self.dialog = None
        elif self.app is None:
            return False
        elif self.tip is not None:
            self.tip = None
        elif len(self.stack) > 1:
            self.stack.pop()
        else:
            self.app, self.stack = None, []
        return True

    def scroll(self, direction: str) -> bool:
        """Moves the list by one screenful, no further than its end; False there or when nothing scrolls."""
        if self.overlay is not None or not self.stack or direction not in ("up", "down"):
            return False
        shown = [p.item_index for p in self.placed if p.item_index is not None]
        if not shown:
            return False
        columns, last = self.look.layout.columns, len(self.screen.items) - 1
        stride = max(columns, (max(shown) - min(shown) + 1) // columns * columns)
        frame = self.frame
        if direction == "down":
            if max(shown) >= last:
                return False
            frame.first_item += stride
            while frame.first_item > 0 and self._shows_last(frame.first_item - columns, last):
                frame.first_item -= columns
        else:
            if frame.first_item == 0:
                return False
            frame.first_item = max(0, frame.first_item - stride)
        self.touch()
        return True

    def _shows_last(self, first_item: int, last: int) -> bool:
        arrangement = arrange(self.screen, None, self.look.layout, self.look.form, first_item)
        return any(p.item_index == last for p in arrangement.base)

    def type_text(self, text: str) -> bool:
        """Replaces the focused field's text; False without one, when it holds that text, or when that is too long."""
        if self.overlay is not None or not self.stack or self.tip is not None or self.frame.focus is None:
            return False
        label, draft = self.frame.focus, self.frame.draft
        if text == draft.get(label, "") or len(text) > MAX_TEXT_LETTERS:
            return False
        draft[label] = text
        self.touch()
        return True

    def open_app(self, name: str) -> bool:
        """Opens an app by name from anywhere; False under a pop-up, without such an app, or when it shows already."""
        if self.popup is not None or name not in APPS:
            return False
        before = self._shown()
        self.dialog = None
        self.operate(("open", name))
        return self._shown() != before

    def _shown(self) -> tuple[object, ...]:
        return self.app, self.screen, self.dialog, self.frame.first_item if self.stack else 0

    def reorder(self, moved_id: int, onto_id: int) -> bool:
        """Moves a record to another's place in the list."""
        if not self.spec.record.can_reorder or moved_id == onto_id:
            return False
        records = self.app_data.records
        ids = [r.id for r in records]
        place_index = ids.index(onto_id)
        record = records.pop(ids.index(moved_id))
        records.insert(place_index, record)
        self.touch()
        return True
