"""Copies of a store: made while it is in use, checked, and put back.

A copy is a folder like the store's own: the SQLite file and the screenshots. The file is copied first and the
screenshots after it, and a screenshot is always written before the row that names it, so the copy has all that its
rows name. A copy into a folder that holds an earlier copy writes only the screenshots that are new.
"""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from executors.errors import InputError, MissingFileError, OutputError, WorkbenchError
from executors.files import partial_path
from workbench.screens import SCREENS
from workbench.store import FILE_NAME, MIGRATIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyReport:
    """What was copied: bytes of the file, screenshots written and those that were there already."""

    folder: Path
    num_bytes: int
    num_screens_written: int
    num_screens_there: int

    def __str__(self) -> str:
        return (f"{self.folder}: {self.num_bytes:,} bytes of records; {self.num_screens_written:,} screenshots "
                f"written, {self.num_screens_there:,} were there")


def back_up(root: Path, folder: Path) -> CopyReport:
    """Copies the store of `root` into `folder`, whatever else reads and writes it meanwhile.

    An earlier copy in the folder is replaced when the new one is whole and its integrity checked.

    Raises:
        MissingFileError: there is no store in `root`.
        InputError: the copy is damaged, because the store is; an earlier copy is left as it was.
        OutputError: the folder cannot be written, or is the store's own.
    """
    source = root / FILE_NAME
    if not source.is_file():
        raise MissingFileError(f"folder {root} holds no {FILE_NAME}: give the workbench's --store folder")
    return _copy(root, folder)


def restore(folder: Path, root: Path) -> CopyReport:
    """Puts a copy that `back_up` made in place as a store.

    Raises:
        MissingFileError: the folder holds no copy.
        InputError: the copy is damaged or of a newer workbench, or `root` holds a store already.
        OutputError: `root` cannot be written.
    """
    if not (folder / FILE_NAME).is_file():
        raise MissingFileError(f"folder {folder} holds no {FILE_NAME}: give a folder that a backup made")
    if (root / FILE_NAME).exists():
        raise InputError(f"folder {root} holds a store already: move its {FILE_NAME} away first")
    return _copy(folder, root)


def _copy(source: Path, target: Path) -> CopyReport:
    if source.resolve() == target.resolve():
        raise OutputError(f"{target} is the folder to copy from: name another one")
    written = there = 0
    try:
        target.mkdir(parents=True, exist_ok=True)
        partial = partial_path(target / FILE_NAME)
        partial.unlink(missing_ok=True)
        try:
            _copy_records(source / FILE_NAME, partial)
            partial.replace(target / FILE_NAME)
        finally:
            partial.unlink(missing_ok=True)
        (target / SCREENS).mkdir(exist_ok=True)
        for path in sorted((source / SCREENS).glob("*.png")):
            copy = target / SCREENS / path.name
            if copy.exists():
                there += 1
                continue
            shutil.copyfile(path, partial_path(copy))
            partial_path(copy).replace(copy)
            written += 1
    except OSError as error:
        if isinstance(error, WorkbenchError):
            raise
        reason = error.strerror or error
        raise OutputError(f"cannot write {target} ({reason}): free the disk or name another folder") from None
    return CopyReport(folder=target, num_bytes=(target / FILE_NAME).stat().st_size, num_screens_written=written,
                      num_screens_there=there)


def _copy_records(source: Path, target: Path) -> None:
    """Copies the SQLite file as it is at one moment; raises InputError unless it is whole and of a known version."""
    try:
        with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target)) as new:
            old.backup(new)
            new.execute("PRAGMA journal_mode = DELETE")  # one file, without a log beside it
            told = new.execute("PRAGMA integrity_check").fetchone()[0]
            version = new.execute("PRAGMA user_version").fetchone()[0]
    except sqlite3.Error as error:
        raise InputError(f"cannot copy {source} ({error}): is it a store, and is there room on the disk?") from None
    if told != "ok":
        raise InputError(f"{source} is damaged ({told}): take another copy")
    if not 1 <= version <= len(MIGRATIONS):
        raise InputError(f"{source} has version {version}, known are 1..{len(MIGRATIONS)}: update the workbench")
