"""Stored screenshots: PNG files named by the hash of their pixels, so equal screens are stored once.

Episodes and reference trajectories of one store share them. Small pictures of screens lie below them under the same
hash; they are for lists only and can be made again at any time, so no backup holds them.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
from pathlib import Path

from PIL.Image import Image

from executors.errors import InputError, OutputError

SCREENS, SMALL = "screens", "small"
SMALL_PX = 264, 144
"""Most pixels of a small picture, width and height: a filmstrip's frame on a display of two pixels per CSS pixel."""
_SHA256 = re.compile(r"[0-9a-f]{64}")


def screen_hash(image: Image) -> str:
    """The SHA-256 of an image's size and RGB pixels in hex; equal for equal screens, however they were encoded.

    >>> import PIL.Image
    >>> screen_hash(PIL.Image.new("RGB", (2, 1)))[:12]
    '02f09f18fa3c'
    """
    rgb = image if image.mode == "RGB" else image.convert("RGB")
    return hashlib.sha256(f"{rgb.width}x{rgb.height} ".encode() + rgb.tobytes()).hexdigest()


class Screens:
    """The screenshots of a store's folder; safe to use from several threads and processes."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, sha256: str) -> Path:
        """Where the screenshot of this hash lies, or would.

        Raises:
            InputError: it is no hash, so it cannot name a file elsewhere either.
        """
        if not _SHA256.fullmatch(sha256):
            raise InputError(f"screenshot {sha256[:80]!r} is not a SHA-256 in hex: take it from a stored frame")
        return self.root / SCREENS / f"{sha256}.png"

    def save(self, image: Image) -> str:
        """Stores the image, unless it is there, and returns its hash.

        Raises:
            OutputError: the folder cannot be written.
        """
        image = image.convert("RGB")
        sha256 = screen_hash(image)
        path = self.path(sha256)
        if not path.exists():
            self._write(path, image, format="PNG", compress_level=1)
        return sha256

    def small_path(self, sha256: str) -> Path:
        """Where the small picture of this screenshot lies, or would; raises as `path` does."""
        path = self.path(sha256)
        return path.parent / SMALL / f"{sha256}.jpg"

    def save_small(self, sha256: str, image: Image) -> None:
        """Stores a small picture of a screenshot, unless it is there.

        Args:
            sha256: what `save` gave for the screenshot.
            image: the screenshot; stays as it is.

        Raises:
            OutputError: the folder cannot be written.
        """
        path = self.small_path(sha256)
        if not path.exists():
            small = image.convert("RGB")
            small.thumbnail(SMALL_PX)
            self._write(path, small, format="JPEG", quality=80)

    def _write(self, path: Path, image: Image, **options: object) -> None:
        """Writes the file whole or not at all; raises OutputError when it cannot."""
        temporary = None
        try:
            path.parent.mkdir(exist_ok=True)
            # a name of its own: another process may be writing the same screen
            with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".partial", delete=False) as out:
                temporary = out.name
                image.save(out, **options)
            os.replace(temporary, path)
        except OSError as error:
            if temporary is not None:
                with contextlib.suppress(OSError):
                    os.unlink(temporary)
            raise OutputError(
                f"cannot write screenshot {path} ({error.strerror or error}): free the disk, or choose a folder that "
                "you may write"
            ) from None
