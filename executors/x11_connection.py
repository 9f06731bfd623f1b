"""What the X library that pyautogui brings needs to notice that its server is gone."""

from __future__ import annotations

import os
from typing import Any


class _SendError(OSError):
    def __getitem__(self, index: int) -> Any:
        return self.args[index]


class _Socket:
    """A socket whose send errors can be read by index, all else as it is."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)

    def send(self, data: bytes) -> int:
        try:
            return self._socket.send(data)
        except OSError as error:
            raise _SendError(*error.args) from None


def end_with_server(display: Any) -> Any:
    """The same Xlib display, which from now on raises ConnectionClosedError once its server is gone.

    python3-xlib 0.15 reads a failed send by `error[1]`, as Python 2 did. The TypeError of that leaves the connection
    marked as busy, and the next request on it waits for an answer forever, at full load.
    """
    display.display.socket = _Socket(display.display.socket)
    return display


def find_xauthority() -> None:
    """Names a file of authority where there is none: python-xlib opens it, whether the server asks for it or not."""
    if "XAUTHORITY" not in os.environ and not os.path.exists(os.path.expanduser("~/.Xauthority")):
        os.environ["XAUTHORITY"] = os.devnull
