"""Screenshots on their way in: found by name, checked, and stored once by content beside the trajectory file."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from executors.errors import MissingFileError, OutputError
from executors.geometry import ImageSize
from training.datasets.skip import Skip

_SUFFIXES = {"PNG": ".png", "JPEG": ".jpg", "WEBP": ".webp"}

MAX_PIXELS = 100_000_000
"""Largest screenshot that is taken; Mind2Web's longest pages have about a quarter of it."""


def check_image(data: bytes) -> tuple[ImageSize, str]:
    """(size, file suffix) of a whole PNG, JPEG or WebP file.

    Raises:
        ValueError: it is none of these, or damaged.
    """
    import PIL.Image

    try:
        with PIL.Image.open(io.BytesIO(data), formats=tuple(_SUFFIXES)) as image:
            size, suffix = ImageSize(*image.size), _SUFFIXES[image.format]
            if size.width_px * size.height_px > MAX_PIXELS:
                raise ValueError(f"{size.width_px}x{size.height_px} pixels are more than {MAX_PIXELS}")
            if image.format == "PNG":
                image.verify()  # the checksums tell a cut file without decoding it
            else:
                image.load()
    except (OSError, SyntaxError, ValueError, IndexError, EOFError, PIL.Image.DecompressionBombError) as error:
        raise ValueError(str(error)) from None
    return size, suffix


class ScreenStore:
    """The folder of a trajectory file's screenshots, named by content hash, so that equal screens are stored once.

    `add` only names a screenshot; `save` writes those that a kept trajectory uses, so that a skipped record leaves
    none behind.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._pending: dict[Path, bytes] = {}

    def add(self, data: bytes, name: str) -> tuple[Path, ImageSize]:
        """Path and size of a screenshot that is checked and held until `save` or `forget`.

        Raises:
            Skip: it is not a whole image; `name` is the field that held it.
        """
        try:
            size, suffix = check_image(data)
        except ValueError as error:
            raise Skip("unreadable image", name, f"not a readable image ({error})") from None
        path = self.folder / f"{hashlib.sha256(data).hexdigest()[:24]}{suffix}"
        self._pending[path] = data
        return path, size

    def save(self, paths: Iterable[Path | None]) -> None:
        """Writes the added screenshots among these paths and forgets the others.

        Raises:
            OutputError: the folder cannot be written.
        """
        for path in set(paths) & self._pending.keys():
            try:
                if not path.exists():
                    self.folder.mkdir(parents=True, exist_ok=True)
                    temporary = path.with_name(f"{path.name}.{os.getpid()}.partial")
                    temporary.write_bytes(self._pending[path])
                    temporary.replace(path)
            except OSError as error:
                raise OutputError(
                    f"cannot write screenshot {path} ({error.strerror}): free some space or choose another --out"
                ) from None
        self.forget()

    def forget(self) -> None:
        """Drops what was added and not saved."""
        self._pending.clear()


class ImageFolders:
    """Where a data set's screenshots lie; names in its records may not lead out of there."""

    def __init__(self, base: Path, images: Path | None, names: Sequence[str], *, is_nested: bool = False) -> None:
        """`images` when it is given, else those of `names` that exist below `base`.

        Args:
            base: the folder of the data set's file.
            images: the folder that a person named.
            names: folders that are looked for in `base`.
            is_nested: a name may also lie in a folder further below.

        Raises:
            MissingFileError: `images` is not a folder.
        """
        if images is not None and not images.is_dir():
            raise MissingFileError(f"--images {images} is not a folder: give the folder of the unzipped screenshots")
        folders = [images] if images is not None else [base / name for name in names]
        self.folders = [folder for folder in folders if folder.is_dir()]
        self._is_nested = is_nested
        self._index: dict[str, Path] | None = None

    def read(self, name: object, field: str) -> bytes:
        """The bytes of the file of this name.

        Raises:
            Skip: no name, a name that leads out of the folders, no such file, or it cannot be read.
        """
        if not isinstance(name, str) or not name:
            raise Skip("wrong image name", field, f"{name!r} is not a file name"[:200])
        relative = PurePosixPath(name)
        if relative.is_absolute() or ".." in relative.parts or any(mark in name for mark in ("\\", "\0", ":")):
            raise Skip("image outside the folder", field, f"{name[:100]!r} leaves the folder of the screenshots")
        try:
            path = self._find(relative)
            if path is not None:
                return path.read_bytes()
        except (OSError, ValueError) as error:
            raise Skip("unreadable image", field, f"{name[:100]!r} cannot be read ({error})") from None
        folders = ", ".join(map(str, self.folders))
        where = f"was not found in {folders}" if folders else "has no folder to be found in: give --images"
        raise Skip("missing image", field, f"{name[:100]!r} {where}")

    def _find(self, relative: PurePosixPath) -> Path | None:
        for folder in self.folders:
            if (folder / relative).is_file():
                return folder / relative
        if not self._is_nested:
            return None
        if self._index is None:
            walks = (walk for folder in self.folders for walk in os.walk(folder))
            self._index = {file: Path(root) / file for root, _, files in walks for file in files}
        return self._index.get(relative.name)
