"""Where an output file is written before it is complete, and whether it can be."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from executors.errors import OutputError, WorkbenchError


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


def expanded_path(path: str | Path) -> Path:
    """The path with its ~ resolved; that of an unknown user stays as it is.

    >>> str(expanded_path("~no-such-user/x"))
    '~no-such-user/x'
    """
    return Path(os.path.expanduser(path))


def check_writable(path: Path) -> None:
    """Returns when an output file can be made at the path, its folder then exists; for before the work it will hold.

    Raises:
        OutputError: it cannot.
    """
    try:
        partial_path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path.parent).close()
    except WorkbenchError:
        raise
    except OSError as error:
        raise OutputError(f"cannot write {path} ({error.strerror}): choose a folder you may write") from None
