"""An archive from a stranger into a folder: nothing outside it is written, and no archive swells beyond a bound."""

from __future__ import annotations

import lzma
import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from executors.errors import InputError

MAX_MEMBERS = 100_000
MAX_BYTES = 8 * 1024**3
"""Bytes of all members together, as they are written and not as the archive claims."""
_CHUNK = 1024 * 1024


def unpack(archive: Path, folder: Path, *, max_bytes: int = MAX_BYTES) -> None:
    """Writes the files of a zip archive below a folder, which is made.

    Links are left out. What was written before an error stays: the caller drops the folder.

    Raises:
        InputError: it is no zip archive or a damaged one, a member leaves the folder, or there is too much of it.
        OSError: a file cannot be written.
    """
    try:
        with zipfile.ZipFile(archive) as found:
            members = found.infolist()
            if len(members) > MAX_MEMBERS:
                raise InputError(f"{archive.name} holds {len(members)} files: at most {MAX_MEMBERS} are unpacked")
            left = max_bytes
            for member in members:
                left = _write(found, member, folder, left, archive.name)
    except InputError:
        raise
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, NotImplementedError, RuntimeError, EOFError,
            ValueError) as error:  # all that damaged, encrypted or strangely packed members make the library raise
        raise InputError(f"{archive.name} is no zip archive that can be read ({error}): pack it again") from None


def _write(found: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path, left: int, name: str) -> int:
    place = PurePosixPath(member.filename.replace("\\", "/"))
    if not place.parts or place.is_absolute() or ".." in place.parts or ":" in place.parts[0]:
        raise InputError(f"{name}: file {member.filename[:80]!r} leaves the folder of the archive: pack it again")
    if member.is_dir() or stat.S_ISLNK(member.external_attr >> 16):
        return left
    path = folder / place
    path.parent.mkdir(parents=True, exist_ok=True)
    with found.open(member) as source, path.open("wb") as out:
        while chunk := source.read(_CHUNK):
            left -= len(chunk)
            if left < 0:
                raise InputError(f"{name} unpacks to more than its bound: give the folder by its path below --data")
            out.write(chunk)
    return left


def pack(folder: Path, archive: Path) -> None:
    """Writes a folder's files as a zip archive; what is compressed already (screenshots, parquet) is stored as it is.

    Raises OSError when it cannot be written; no partial file stays.
    """
    partial = archive.with_name(archive.name + ".partial")
    try:
        with zipfile.ZipFile(partial, "w") as out:
            for path in sorted(p for p in folder.rglob("*") if p.is_file()):
                is_text = path.suffix in (".jsonl", ".json", ".txt")
                out.write(path, path.relative_to(folder),
                          zipfile.ZIP_DEFLATED if is_text else zipfile.ZIP_STORED)
        partial.replace(archive)
    finally:
        partial.unlink(missing_ok=True)


def is_zip(path: Path) -> bool:
    """Whether the file begins as a zip archive does, whatever its name says."""
    return path.is_file() and zipfile.is_zipfile(path)


def drop(folder: Path) -> None:
    """Takes a temporary folder away, as far as that can be done."""
    shutil.rmtree(folder, ignore_errors=True)
