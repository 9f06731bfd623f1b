"""Reading and writing the files of a run folder: JSON replaced whole, lines of which the last may be torn."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ENCODING = {"encoding": "utf-8", "errors": "backslashreplace"}
"""Half a surrogate pair, as models write it, has no UTF-8; with a backslash it is the same text in JSON."""


def finite(value: Any) -> Any:
    """JSON has no NaN: such numbers become None."""
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return value


def write_atomic(path: Path, text: str) -> None:
    """Replaces the file by the text, so that a reader sees all of it or the file before."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.partial")
    temporary.write_text(text, **ENCODING)
    temporary.replace(path)


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object of a file; an empty one where none can be read."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The JSON objects of a file of lines; what is no whole JSON object is left out."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    for line in text.split("\n"):
        with contextlib.suppress(ValueError, RecursionError):
            record = json.loads(line)
            if isinstance(record, dict):
                yield record


def cut_lines(path: Path, step: int) -> None:
    """Removes the lines of later steps, and those that do not tell their step."""
    if path.exists():
        rows = [row for row in read_lines(path) if isinstance(row.get("step"), (int, float)) and row["step"] <= step]
        kept = [json.dumps(row, ensure_ascii=False) for row in rows]
        write_atomic(path, "".join(line + "\n" for line in kept))
