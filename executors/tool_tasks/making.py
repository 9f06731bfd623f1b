"""Files and images of tool tasks as bytes, and the words that they hold."""

from __future__ import annotations

import csv
import io
import random
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

GOODS = tuple("apple bread butter cheese coffee honey lemon milk onion pasta rice salt soap sugar tea water".split())
PEOPLE = tuple("Anna Ben Carla David Emma Felix Grace Hugo Iris Jonas Kira Leo Maria Noah Olga Paul".split())
CITIES = tuple("Athens Berlin Cairo Dublin Geneva Helsinki Lisbon London Madrid Milan Oslo Paris Prague Rome".split())
WORDS = tuple("bridge candle castle desert engine forest garden guitar hammer island jacket ladder mirror needle ocean "
              "pencil rocket saddle ticket window".split())  # fmt: skip
COLOURS = {
    "red": (214, 48, 40), "green": (46, 160, 67), "blue": (38, 92, 214), "yellow": (242, 204, 12),
    "black": (20, 20, 20), "orange": (245, 130, 32), "purple": (128, 52, 168), "brown": (121, 78, 44),
}  # fmt: skip

Row = Sequence[object]


def csv_file(*rows: Row) -> bytes:
    """A table with commas."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue().encode()


def xlsx_file(title: str, *rows: Row) -> bytes:
    """A workbook with one sheet."""
    import openpyxl

    book = openpyxl.Workbook()
    book.active.title = title
    for row in rows:
        book.active.append(list(row))
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def docx_file(*paragraphs: str) -> bytes:
    """A text document."""
    import docx

    document = docx.Document()
    for paragraph in paragraphs:
        document.add_paragraph(paragraph)
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def zip_file(sizes: Mapping[str, int]) -> bytes:
    """An archive with files of these sizes in bytes."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, size in sizes.items():
            archive.writestr(name, b"x" * size)
    return out.getvalue()


def text_image(lines: Iterable[str], *, size_px: tuple[int, int] = (224, 160), top_px: int = 16) -> bytes:
    """Lines of large black text on white, from the top left."""
    picture, draw = _canvas(size_px)
    for number, line in enumerate(lines):
        draw.text((16, top_px + 40 * number), line, fill="black", font=_font(28))
    return png(picture)


def patches_image(
    patches: Mapping[tuple[int, int, int, int], str], *, size_px: tuple[int, int] = (224, 160)
) -> bytes:
    """Filled boxes (left, top, right, bottom in pixels, the last two outside) on white, by name of `COLOURS`."""
    picture, draw = _canvas(size_px)
    for (left, top, right, bottom), colour in patches.items():
        draw.rectangle((left, top, right - 1, bottom - 1), fill=COLOURS[colour])
    return png(picture)


def png(picture: Image) -> bytes:
    """The picture as a PNG file."""
    out = io.BytesIO()
    picture.save(out, format="PNG")
    return out.getvalue()


def priced(rng: random.Random, count: int) -> dict[str, int]:
    """Goods and their prices, 2 to 60."""
    return {name: rng.randint(2, 60) for name in rng.sample(GOODS, count)}


def table_of(text: str) -> dict[str, list[str]]:
    """The rows that the file inspector gives of a table, by their first cell.

    >>> table_of("name | price\\nmilk | 12")["milk"]
    ['12']
    """
    rows = (line.split(" | ") for line in text.splitlines() if " | " in line)
    return {row[0]: row[1:] for row in rows}


def box_text(box: tuple[int, int, int, int]) -> str:
    """A box as goals and tools write it.

    >>> box_text((1, 2, 30, 40))
    '(1, 2, 30, 40)'
    """
    return f"({', '.join(map(str, box))})"


def _canvas(size_px: tuple[int, int]) -> tuple[Image, Any]:
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", size_px, "white")
    return picture, ImageDraw.Draw(picture)


def _font(size_px: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size_px)
