"""Where an output file is written before it is complete."""

from __future__ import annotations

from pathlib import Path

from executors.errors import OutputError


def partial_path(path: Path) -> Path:
    """The temporary name beside an output file, which is moved into place when the file is complete.

    A path that exists must be a plain file: moving onto a device or a pipe such as /dev/stdout would replace it.

    Raises:
        OutputError: the path is a folder, a device or a pipe.
        OSError: the path cannot be looked at.

    >>> str(partial_path(Path("runs/a.jsonl")))
    'runs/a.jsonl.partial'
    """
    if not path.name or (path.exists() and not path.is_file()):
        raise OutputError(f"cannot write {path}: it is no plain file: name a file that may be made or replaced")
    return path.with_name(path.name + ".partial")
