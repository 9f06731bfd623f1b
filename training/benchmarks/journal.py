"""JSON Lines that are written record by record and outlive a killed process.

Every `append` is on the disk when it returns. A line that a kill cut off is dropped when the file is opened again; what
came before it is kept.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from executors.errors import InputError, OutputError


class Journal:
    """Records by their "id"; of several with one id the last counts."""

    def __init__(self, path: Path) -> None:
        """Reads what is there and drops a line that was cut off.

        Raises:
            InputError: a line before the last is not a record.
            OutputError: the file cannot be read or mended.
        """
        self.path = path
        self.records: dict[str, dict[str, Any]] = {}
        try:
            content = path.read_bytes() if path.exists() else b""
            whole = content.rfind(b"\n") + 1
            if whole < len(content):
                os.truncate(path, whole)
        except OSError as error:
            raise OutputError(f"cannot open {path} ({error.strerror}): choose a folder you may write") from None
        for number, line in enumerate(content[:whole].splitlines(), start=1):
            try:
                record = json.loads(line)
                self.records[record["id"]] = record
            except (ValueError, TypeError, KeyError, RecursionError):
                raise InputError(f"{path} line {number}: not a record with an id: mend or remove the line") from None

    def append(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Adds records and waits until the disk has them.

        Raises:
            OutputError: the disk is full or the folder is gone.
        """
        records = list(records)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as out:
                # Escapes only: half a surrogate pair in a model's text has no UTF-8 form.
                out.write("".join(json.dumps(record) + "\n" for record in records).encode())
                out.flush()
                os.fsync(out.fileno())
        except OSError as error:
            raise OutputError(f"cannot write {self.path} ({error.strerror}): free some space, then run again") from None
        self.records.update((record["id"], dict(record)) for record in records)
