"""log.txt of a run: what is printed goes to the terminal and to the file, which is rotated before it grows too long.

log.txt is the newest; log.1.txt, log.2.txt and log.3.txt are what came before it, and what is older is removed.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from training.run_files import ENCODING

MAX_LOG_BYTES = 8_000_000
KEPT_LOGS = 3
"""Rotated files beside log.txt."""


class RotatingLog:
    """A text file for appending that starts anew, at the end of a line, when it has reached `max_bytes`."""

    def __init__(self, path: Path, max_bytes: int = MAX_LOG_BYTES) -> None:
        """Opens the file; raises OSError when it cannot be written."""
        self.path, self.max_bytes = path, max_bytes
        self._lock = threading.RLock()
        self._file = self._open()
        self._size = path.stat().st_size

    def _open(self) -> Any:
        return self.path.open("a", **ENCODING, buffering=1)

    def write(self, text: str) -> None:
        """Appends the text."""
        with self._lock:
            self._file.write(text)
            self._size += len(text.encode("utf-8", "replace"))
            if self._size >= self.max_bytes and text.endswith("\n"):
                self._rotate()

    def flush(self) -> None:
        """Hands what was written to the system."""
        self._file.flush()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _rotate(self) -> None:
        self._file.close()
        names = [self.path, *(rotated_path(self.path, number) for number in range(1, KEPT_LOGS + 1))]
        for older, newer in reversed(list(zip(names[1:], names, strict=False))):
            with contextlib.suppress(FileNotFoundError):
                newer.replace(older)
        self._file = self._open()
        self._size = 0


def rotated_path(path: Path, number: int) -> Path:
    """Where the file goes that was rotated `number` times.

    >>> rotated_path(Path("run/log.txt"), 2).name
    'log.2.txt'
    """
    return path.with_name(f"{path.stem}.{number}{path.suffix}")


class _Tee(io.TextIOBase):
    """A text stream that also writes to a log."""

    def __init__(self, stream: Any, log: RotatingLog) -> None:
        self._stream, self._log = stream, log

    def write(self, text: str) -> int:
        if self._stream is not None:
            self._stream.write(text)
        self._log.write(text)
        return len(text)

    def flush(self) -> None:
        if self._stream is not None:
            self._stream.flush()
        self._log.flush()

    def isatty(self) -> bool:
        return False  # no progress bars with control codes in a log

    def fileno(self) -> int:
        return (self._stream or sys.__stdout__).fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return getattr(self._stream, "encoding", None) or "utf-8"


@contextlib.contextmanager
def logged(path: Path, beside: Path) -> Iterator[None]:
    """Inside, standard output and error also go to the log at `path`, and so does the traceback of an error.

    When both already are the file `beside`, the log alone is written: nobody reads the same line twice.
    """
    before = sys.stdout, sys.stderr
    log = RotatingLog(path)
    streams = [None if _is_file(stream, beside) else stream for stream in before]
    sys.stdout, sys.stderr = _Tee(streams[0], log), _Tee(streams[1], log)
    try:
        yield
    except Exception:
        log.write(traceback.format_exc())
        raise
    finally:
        sys.stdout.flush()
        sys.stdout, sys.stderr = before
        log.close()


def _is_file(stream: Any, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(stream.fileno()), path.stat())
    except (OSError, ValueError, AttributeError):
        return False
