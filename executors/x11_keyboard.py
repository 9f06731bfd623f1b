"""Types any text on an X11 display, whatever its keyboard layout has keys for."""

from __future__ import annotations

from typing import Any

from executors.device import StopSignal
from executors.errors import ExecutorError

_FIRST_KEYCODE, _NUM_KEYCODES = 8, 248
_SETTLE_SECONDS = 0.02
"""Programs need a moment to learn of a new key."""


class X11Keyboard:
    """Presses keys through the XTEST extension.

    A character of the (first) layout's own keys is typed on them, with shift where needed. All others are put on keys
    that have no meaning yet and stay there until that key is needed for another character, since a program may read
    the layout later than the key. `restore` takes the meanings away again.
    """

    def __init__(self, display: Any) -> None:
        """A keyboard of an open Xlib display; nothing is changed yet."""
        self._display = display
        rows = display.get_keyboard_mapping(_FIRST_KEYCODE, _NUM_KEYCODES)
        self._spare = [_FIRST_KEYCODE + number for number, row in enumerate(rows) if not any(row)]
        self._borrowed: dict[int, int] = {}

    def type(self, text: str, stop: StopSignal) -> None:
        """Types a text; newlines are the Enter key, tabs the Tab key.

        Raises:
            ExecutorError: "execute": a character cannot be typed (nothing is typed then); "stop": the stop signal.
        """
        from Xlib import XK, X

        keysyms = [keysym_of(char) for char in text.replace("\r\n", "\n")]
        keys = self._own_keys()
        shift, caps = (self._display.keysym_to_keycode(key) for key in (XK.XK_Shift_L, XK.XK_Caps_Lock))
        if self._display.screen().root.query_pointer().mask & X.LockMask:
            self._tap(caps)
        for keysym in keysyms:
            stop.check()
            keycode, is_shifted = keys.get(keysym) or (self._borrow(keysym, stop), False)
            self._tap(keycode, shift if is_shifted else None)

    def restore(self) -> None:
        """Gives the borrowed keys back."""
        for keycode in self._borrowed.values():
            self._display.change_keyboard_mapping(keycode, [(0, 0)])
        self._borrowed.clear()
        self._display.sync()

    def _own_keys(self) -> dict[int, tuple[int, bool]]:
        """keysym -> keycode and whether shift is held, as the layout is now."""
        keys: dict[int, tuple[int, bool]] = {}
        for number, row in enumerate(self._display.get_keyboard_mapping(_FIRST_KEYCODE, _NUM_KEYCODES)):
            keycode = _FIRST_KEYCODE + number
            if keycode in self._borrowed.values():
                continue
            for level in (0, 1):
                if row[level] and (row[level] not in keys or (keys[row[level]][1] and not level)):
                    keys[row[level]] = (keycode, bool(level))
        return keys

    def _borrow(self, keysym: int, stop: StopSignal) -> int:
        if keysym in self._borrowed:
            return self._borrowed[keysym]
        if not self._spare and not self._borrowed:
            raise ExecutorError("execute", "the keyboard has no key to spare for a character that its layout lacks")
        if self._spare:
            keycode = self._spare.pop()
        else:
            stop.sleep(_SETTLE_SECONDS)  # what was typed on it must be read before it means something else
            keycode = self._borrowed.pop(next(iter(self._borrowed)))
        self._display.change_keyboard_mapping(keycode, [(keysym, keysym)])
        self._display.sync()
        self._borrowed[keysym] = keycode
        stop.sleep(_SETTLE_SECONDS)
        return keycode

    def _tap(self, keycode: int, shift: int | None = None) -> None:
        from Xlib import X
        from Xlib.ext.xtest import fake_input

        if shift is not None:
            fake_input(self._display, X.KeyPress, shift)
        fake_input(self._display, X.KeyPress, keycode)
        fake_input(self._display, X.KeyRelease, keycode)
        if shift is not None:
            fake_input(self._display, X.KeyRelease, shift)
        self._display.sync()


def keysym_of(char: str) -> int:
    """The X11 keysym of a character: Latin-1 as it is, all others as Unicode keysyms.

    >>> hex(keysym_of("é")), hex(keysym_of("你"))
    ('0xe9', '0x1004f60')
    """
    code = ord(char)
    if char in "\n\t":
        return 0xFF0D if char == "\n" else 0xFF09
    if code < 0x20 or 0x7F <= code < 0xA0 or 0xD800 <= code < 0xE000:
        raise ExecutorError("execute", f"character U+{code:04X} cannot be typed on a keyboard")
    return code if code < 0x100 else 0x0100_0000 | code
