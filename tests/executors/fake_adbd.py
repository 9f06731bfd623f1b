"""A device daemon that speaks adb's wire protocol over TCP, with a toy phone behind its shell.

Source of the protocol: protocol.txt of AOSP's packages/modules/adb. Spoken here: CNXN without AUTH, and OPEN, OKAY,
WRTE, CLSE for `shell:` services. The phone has a home screen and two apps, and does what `input`, `screencap`,
`uiautomator`, `monkey`, `pm`, `ime`, `settings` and `am broadcast` do, as far as the executor uses them.

As a program (`python -m tests.executors.fake_adbd`) it prints the serial and serves until its input ends.
"""

from __future__ import annotations

import base64
import io
import re
import shlex
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from xml.sax.saxutils import quoteattr

import PIL.Image
import PIL.ImageDraw

CNXN, OPEN, OKAY, WRTE, CLSE = (
    int.from_bytes(name, "little") for name in (b"CNXN", b"OPEN", b"OKAY", b"WRTE", b"CLSE")
)
BANNER = b"device::ro.product.name=toy;ro.product.model=Toy;ro.product.device=toy;features=cmd,stat_v2"
KEYBOARD = "com.android.adbkeyboard/.AdbIME"
LATIN = "com.android.inputmethod.latin/.LatinIME"

# app -> (class, label, box in pixels of the upright screen)
SCREENS = {
    "com.toy.launcher": [("TextView", "Settings", (40, 200, 300, 300)), ("TextView", "Notes", (40, 400, 300, 500))],
    "com.android.settings": [("Switch", "Wi-Fi", (0, 100, 400, 200))],
    "org.toy.notes": [("EditText", "Title", (0, 100, 400, 200)), ("Button", "Save", (0, 300, 200, 400))],
}


class Phone:
    """What the toy phone shows and remembers; `log` is every command line its shell was given."""

    def __init__(self) -> None:
        self.size = (400, 800)
        self.app = "com.toy.launcher"
        self.text, self.is_saved, self.wifi = "", False, False
        self.keyboards, self.keyboard = [LATIN], LATIN
        self.touches: list[tuple] = []
        self.log: list[str] = []
        self.broken: dict[str, bytes] = {}
        """First word of a command -> what it prints instead of working."""
        self.slow_seconds: dict[str, float] = {}

    def shell(self, line: str) -> bytes:
        """The output of a command line of the form `A [&& B]; echo X4EXIT:$?`, which adbutils sends."""
        self.log.append(line)
        command, _, marker = line.rpartition("; echo X4EXIT:$?")
        output, code = b"", 0
        for part in (command or marker).split(" && "):
            words = shlex.split(part)
            time.sleep(self.slow_seconds.get(words[0], 0.0))
            if words[0] in self.broken:
                said, code = self.broken[words[0]], 0
            else:
                said, code = self._run(words)
            output += said
            if code:
                break
        return output + (f"X4EXIT:{code}\n".encode() if command else b"")

    def _run(self, words: list[str]) -> tuple[bytes, int]:
        match words:
            case ["input", "tap", x, y]:
                self._tap(int(x), int(y))
            case ["input", "swipe", *numbers]:
                self.touches.append(("swipe", *map(int, numbers)))
            case ["input", "keyevent", key]:
                self._key(key)
            case ["input", "text", text]:
                if not text.isascii():
                    return b"java.lang.NullPointerException: Attempt to get length of null array\n", 0
                self.text += text.replace("%s", " ")
            case ["screencap", "-p"]:
                return self.picture(), 0
            case ["uiautomator", "dump", _]:
                return b"UI hierchary dumped to: /data/local/tmp/x.xml\n", 0
            case ["cat", _]:
                return self.hierarchy().encode(), 0
            case ["pm", "list", "packages"]:
                return "".join(f"package:{name}\n" for name in SCREENS).encode(), 0
            case ["monkey", "-p", package, "-c", _, "1"]:
                if package not in SCREENS:
                    return b"** No activities found to run, monkey aborted.\n", 252
                self.app = package
                return b"Events injected: 1\n", 0
            case ["ime", "list", "-a", "-s"]:
                return "\n".join(self.keyboards).encode(), 0
            case ["ime", "enable", _]:
                pass
            case ["ime", "set", name]:
                self.keyboard = name
            case ["settings", "get", "secure", "default_input_method"]:
                return self.keyboard.encode() + b"\n", 0
            case ["am", "broadcast", "-a", "ADB_INPUT_B64", "--es", "msg", message]:
                if self.keyboard == KEYBOARD:
                    self.text += base64.b64decode(message).decode()
                return b"Broadcast completed: result=0\n", 0
            case _:
                return f"/system/bin/sh: {words[0]}: inaccessible or not found\n".encode(), 127
        return b"", 0

    def _tap(self, x: int, y: int) -> None:
        self.touches.append(("tap", x, y))
        for _, label, (left, top, right, bottom) in SCREENS[self.app]:
            if left <= x < right and top <= y < bottom:
                self.wifi ^= label == "Wi-Fi"
                self.is_saved |= label == "Save"
                self.app = {"Settings": "com.android.settings", "Notes": "org.toy.notes"}.get(label, self.app)

    def _key(self, key: str) -> None:
        if key in ("3", "4"):
            self.app = "com.toy.launcher"
        self.text += {"66": "\n", "61": "\t"}.get(key, "")
        self.touches.append(("key", key))

    def picture(self) -> bytes:
        image = PIL.Image.new("RGBA", self.size, "white")
        draw = PIL.ImageDraw.Draw(image)
        for kind, label, box in SCREENS[self.app]:
            draw.rectangle(box, outline="black", fill="lightgreen" if self.wifi and kind == "Switch" else None)
            draw.text((box[0] + 4, box[1] + 4), label, fill="black")
        draw.text((4, 4), f"{self.app} {self.is_saved} {self.text!a}", fill="black")
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        return buffer.getvalue()

    def hierarchy(self) -> str:
        nodes = []
        for kind, label, (left, top, right, bottom) in SCREENS[self.app]:
            text, extra = label, ""
            if kind == "EditText":
                text, extra = self.text, f' hint="{label}" focused="true"'
            if kind == "Switch":
                extra = f' checkable="true" checked="{str(self.wifi).lower()}"'
            nodes.append(
                f'<node class="android.widget.{kind}" package="{self.app}" text={quoteattr(text)} content-desc="" '
                f'clickable="true" bounds="[{left},{top}][{right},{bottom}]"{extra}/>'
            )
        return "<?xml version='1.0' encoding='UTF-8'?><hierarchy rotation=\"0\">" + "".join(nodes) + "</hierarchy>"


class FakeAdbd:
    """Serves one phone on a free TCP port until closed; `drop` cuts the connection as a pulled cable does."""

    def __init__(self, phone: Phone) -> None:
        self.phone = phone
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._connections: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def serial(self) -> str:
        return f"127.0.0.1:{self.port}"

    def drop(self) -> None:
        for connection in self._connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self._connections.clear()

    def close(self) -> None:
        self._listener.close()
        self.drop()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            threading.Thread(target=_Connection(connection, self.phone.shell).run, daemon=True).start()


class _Connection:
    """One connection of the adb server."""

    def __init__(self, connection: socket.socket, shell: Callable[[str], bytes]) -> None:
        self._socket, self._shell = connection, shell
        self._lock = threading.Lock()
        self._acknowledged: dict[int, threading.Semaphore] = {}
        self._next = 1

    def run(self) -> None:
        try:
            while True:
                command, first, second, length, _, _ = struct.unpack("<6I", self._read(24))
                data = self._read(length)
                if command == CNXN:
                    self._send(CNXN, 0x01000001, 256 * 1024, BANNER)
                elif command == OPEN:
                    local, self._next = self._next, self._next + 1
                    self._acknowledged[local] = threading.Semaphore(0)
                    threading.Thread(target=self._serve, args=(local, first, data), daemon=True).start()
                elif command == OKAY and second in self._acknowledged:
                    self._acknowledged[second].release()
        except OSError:
            pass  # the server or the test has gone away

    def _serve(self, local: int, remote: int, service: bytes) -> None:
        try:
            self._send(OKAY, local, remote)
            match = re.fullmatch(rb"shell(?:,[^:]*)?:(.*)\0", service, re.DOTALL)
            output = self._shell(match[1].decode()) if match else b""
            for start in range(0, len(output), 64 * 1024):
                self._send(WRTE, local, remote, output[start : start + 64 * 1024])
                self._acknowledged[local].acquire(timeout=10)
            self._send(CLSE, local, remote)
        except OSError:
            pass

    def _send(self, command: int, first: int, second: int, data: bytes = b"") -> None:
        head = struct.pack("<6I", command, first, second, len(data), sum(data) & 0xFFFFFFFF, command ^ 0xFFFFFFFF)
        with self._lock:
            self._socket.sendall(head + data)

    def _read(self, length: int) -> bytes:
        data = b""
        while len(data) < length:
            piece = self._socket.recv(length - len(data))
            if not piece:
                raise OSError("closed")
            data += piece
        return data


if __name__ == "__main__":
    served = FakeAdbd(Phone())
    print(served.serial, flush=True)
    sys.stdin.read()
    served.close()
