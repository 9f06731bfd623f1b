"""An append-only log of what an agent proposed, what was decided and what was done, as JSON Lines.

Every line holds the SHA-256 of the line before it, so that a line changed, removed or put in later shows; lines cut off
at the end do not. The file may hold typed text: only its owner may read it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any

from executors.errors import ExecutorError, InputError, MissingFileError, OutputError

_FIRST = "0" * 64


class AuditLog:
    """Appends records to one file; may be used from many threads, and by one owner at a time."""

    def __init__(self, path: Path) -> None:
        """Opens the file, or makes it, and goes on after its last line.

        Raises:
            OutputError: it cannot be opened for appending, or another log writes to it.
            InputError: what it holds is not an unbroken log.
        """
        self.path = path
        self._lock = Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        except OSError as error:
            raise OutputError(f"cannot write the audit log {path} ({error.strerror}): choose another place") from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # two writers would break the chain for both
            self._count, self._last = _walk(path)
        except BlockingIOError:
            os.close(self._file)
            raise OutputError(f"audit log {path} is written by another that acts: end that first") from None
        except InputError:
            os.close(self._file)
            raise

    def write(self, event: str, **values: Any) -> None:
        """Appends one record; it is with the system before this returns.

        Raises:
            ExecutorError: "audit": it cannot be written, so nothing may be done.
        """
        with self._lock:
            record = {"number": self._count + 1, "time": datetime.now(UTC).isoformat(), "event": event, **values,
                      "previous": self._last}  # fmt: skip
            line = json.dumps(record, ensure_ascii=True).encode() + b"\n"
            try:
                if os.write(self._file, line) != len(line):
                    raise OSError(0, "the disk is full")
            except OSError as error:
                raise ExecutorError("audit", f"cannot write {self.path} ({error.strerror}): nothing is done") from None
            self._count, self._last = self._count + 1, hashlib.sha256(line).hexdigest()

    def close(self) -> None:
        """Closes the file; calling it again does nothing."""
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
                self._file = -1


def check_audit(path: Path) -> int:
    """The number of records of an unbroken log, 0 for an empty file.

    Raises:
        MissingFileError: there is no such file.
        InputError: a line was changed, removed or put in; the message names the first.
    """
    return _walk(path)[0]


def _walk(path: Path) -> tuple[int, str]:
    count, last = 0, _FIRST
    try:
        with path.open("rb") as lines:
            for line in lines:
                count += 1
                try:
                    previous = json.loads(line)["previous"]
                except (ValueError, KeyError, TypeError):
                    raise InputError(f"audit log {path}, line {count}: this is no record: name another log") from None
                if previous != last:
                    raise InputError(f"audit log {path}, line {count}: it does not follow the one before: name another")
                last = hashlib.sha256(line).hexdigest()
    except FileNotFoundError:
        raise MissingFileError(f"audit log {path} does not exist: name another") from None
    except OSError as error:
        raise InputError(f"audit log {path} cannot be read ({error.strerror}): name another") from None
    return count, last
