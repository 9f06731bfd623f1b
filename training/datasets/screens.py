"""Screenshots on their way in: found by name, checked, and stored once by content beside the trajectory file."""

from __future__ import annotations

import hashlib
import io
import os
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from isal import isal_zlib

from executors.errors import MissingFileError, OutputError
from executors.geometry import ImageSize
from training.datasets.skip import Skip

if TYPE_CHECKING:
    from PIL.Image import Image

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
                _check_png(data)  # the checksums tell a cut file without decoding it
            else:
                image.load()
    except PIL.UnidentifiedImageError:
        raise ValueError(f"its {len(data)} bytes are no PNG, JPEG or WebP file") from None
    except (OSError, SyntaxError, ValueError, IndexError, EOFError, PIL.Image.DecompressionBombError) as error:
        raise ValueError(str(error)) from None
    return size, suffix


_PNG_START = b"\x89PNG\r\n\x1a\n"
_STRIPE_ROWS = 64


def _check_png(data: bytes) -> None:
    """Raises ValueError when a chunk is cut off or its checksum is wrong, as Pillow's slower `verify`."""
    view, start = memoryview(data), len(_PNG_START)
    while (kind := data[start + 4 : start + 8]) != b"IEND":
        if len(kind) < 4:
            raise ValueError("the PNG file is cut off")
        end = start + 8 + int.from_bytes(view[start : start + 4])
        if isal_zlib.crc32(view[start + 4 : end]) != int.from_bytes(view[end : end + 4]):
            raise ValueError(f"the checksum of a part {kind!r} of the PNG file is wrong, or it is cut off")
        start = end + 4


def png_of(image: Image, box: tuple[int, int, int, int]) -> bytes:
    """A part of an RGB image as a PNG file, in a fifth of the time that Pillow takes at its quickest level.

    Rows are stored as their differences to the ones above, which suits screens, a few at a time, which suits memory.
    Files of real screens are up to about an eighth larger than Pillow's.

    Args:
        image: the image.
        box: (left, top, right, bottom) in pixels, inside the image.

    >>> import PIL.Image
    >>> image, box = PIL.Image.effect_noise((70, 300), 50).convert("RGB"), (10, 20, 60, 290)
    >>> PIL.Image.open(io.BytesIO(png_of(image, box))).tobytes() == image.crop(box).tobytes()
    True
    """
    import numpy as np

    left, top, right, bottom = box
    above = np.zeros((1, 3 * (right - left)), np.uint8)
    deflate = isal_zlib.compressobj(2)
    packed = []
    for start in range(top, bottom, _STRIPE_ROWS):
        stripe = image.crop((left, start, right, min(bottom, start + _STRIPE_ROWS)))
        pixels = np.asarray(stripe).reshape(stripe.height, -1)
        rows = np.full((stripe.height, 1 + pixels.shape[1]), 2, np.uint8)  # 2: the filter "up"
        np.subtract(pixels, np.vstack((above, pixels[:-1])), out=rows[:, 1:])
        packed.append(deflate.compress(rows))
        above = pixels[-1:]
    header = struct.pack(">IIBBBBB", right - left, bottom - top, 8, 2, 0, 0, 0)  # 8 bits a channel, RGB
    chunks = ((b"IHDR", header), (b"IDAT", b"".join(packed) + deflate.flush()), (b"IEND", b""))
    return _PNG_START + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", isal_zlib.crc32(kind + data))
        for kind, data in chunks
    )


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
        return self._hold(data, suffix), size

    def add_part(self, image: Image, box: tuple[int, int, int, int]) -> Path:
        """Path of a part of an RGB image, as `png_of` takes it, that is held until `save` or `forget`."""
        return self._hold(png_of(image, box), ".png")

    def _hold(self, data: bytes, suffix: str) -> Path:
        path = self.folder / f"{hashlib.sha256(data).hexdigest()[:24]}{suffix}"
        self._pending[path] = data
        return path

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
            path = folder / relative
            if path.is_file():
                return path
        if not self._is_nested:
            return None
        if self._index is None:
            walks = (walk for folder in self.folders for walk in os.walk(folder))
            self._index = {file: Path(root) / file for root, _, files in walks for file in files}
        return self._index.get(relative.name)
