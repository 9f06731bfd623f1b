"""The file inspector: what is in a file, as text. It runs inside the sandbox, so a bomb in a file ends that process."""

from __future__ import annotations

import csv
import tarfile
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated

from executors.toolbox.registry import FilePath, tool

_MAX_CHARS = 50_000
_MAX_UNPACKED_BYTES = 200 << 20
_MAX_ENTRIES = 500


@tool("FileInspector")
def inspect_file(file_path: Annotated[FilePath, "text, CSV, XLSX, DOCX, PPTX, PDF, HTML, image or archive"]) -> str:
    """Gives what is in a file, as text: tables as rows, slides and pages by number, of an image its size, of an archive
    its list of files."""
    path = Path(file_path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {file_path!r}")
    if zipfile.is_zipfile(path):
        _refuse_bomb(path)
    reader = _READERS.get(path.suffix.lower(), _read_unknown)
    parts, length = [], 0
    for part in reader(path):
        parts.append(part)
        length += len(part) + 1
        if length > _MAX_CHARS:
            return "\n".join(parts)[:_MAX_CHARS] + "\n(cut here: the file has more)"
    return "\n".join(parts) or "the file is empty"


def _refuse_bomb(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > _MAX_UNPACKED_BYTES:
        allowed = _MAX_UNPACKED_BYTES >> 20
        raise ValueError(f"the archive unpacks to {unpacked >> 20} MiB, more than the {allowed} allowed")


def _read_text(path: Path) -> Iterable[str]:
    data = path.open("rb").read(4 * _MAX_CHARS + 4)
    try:
        yield data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if error.start >= 4 * _MAX_CHARS:  # the cut went through a character
            yield data[: error.start].decode("utf-8-sig")
        elif b"\0" in data[:1000]:
            yield f"a binary file of {path.stat().st_size} bytes, beginning with {data[:16].hex(' ')}"
        else:
            yield data.decode("cp1252", errors="replace")


def _read_csv(path: Path) -> Iterable[str]:
    text = "".join(_read_text(path))
    try:
        dialect = csv.Sniffer().sniff(text[:4000], delimiters=",;\t|")
    except csv.Error:
        dialect = csv.excel
    for row in csv.reader(text.splitlines(), dialect):
        yield " | ".join(row)


def _read_xlsx(path: Path) -> Iterable[str]:
    import openpyxl

    book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    for sheet in book.worksheets:
        yield f"## sheet {sheet.title}"
        for row in sheet.iter_rows(values_only=True):
            if any(cell is not None for cell in row):
                yield " | ".join("" if cell is None else str(cell) for cell in row)


def _read_docx(path: Path) -> Iterable[str]:
    import docx
    from docx.table import Table

    for part in docx.Document(str(path)).iter_inner_content():
        if isinstance(part, Table):
            yield from (" | ".join(cell.text for cell in row.cells) for row in part.rows)
        elif part.text.strip():
            yield part.text


def _read_pptx(path: Path) -> Iterable[str]:
    import pptx

    for number, slide in enumerate(pptx.Presentation(str(path)).slides, start=1):
        yield f"## slide {number}"
        for shape in slide.shapes:
            if shape.has_text_frame and shape.text_frame.text.strip():
                yield shape.text_frame.text
            if shape.has_table:
                yield from (" | ".join(cell.text for cell in row.cells) for row in shape.table.rows)
        if slide.has_notes_slide and slide.notes_slide.notes_text_frame.text.strip():
            yield f"notes: {slide.notes_slide.notes_text_frame.text}"


def _read_pdf(path: Path) -> Iterable[str]:
    import pypdf

    for number, page in enumerate(pypdf.PdfReader(path).pages, start=1):
        yield f"## page {number}"
        yield page.extract_text()


def _read_html(path: Path) -> Iterable[str]:
    from bs4 import BeautifulSoup

    page = BeautifulSoup("".join(_read_text(path)), "html.parser")
    for hidden in page(["script", "style", "noscript", "template"]):
        hidden.decompose()
    for row in page("tr"):
        row.replace_with(" | ".join(cell.get_text(" ", strip=True) for cell in row(["td", "th"])) + "\n")
    lines = (" ".join(line.split()) for line in page.get_text("\n").splitlines())
    yield from (line for line in lines if line)


def _read_image(path: Path) -> Iterable[str]:
    from PIL import Image

    with Image.open(path) as picture:
        yield (f"an image: {picture.format}, {picture.width} x {picture.height} pixels, mode {picture.mode}, "
               f"{getattr(picture, 'n_frames', 1)} frame(s)")


def _read_zip(path: Path) -> Iterable[str]:
    with zipfile.ZipFile(path) as archive:
        yield from _listed((entry.filename, entry.file_size) for entry in archive.infolist())


def _read_tar(path: Path) -> Iterable[str]:
    with tarfile.open(path) as archive:
        yield from _listed((entry.name, entry.size) for entry in archive)


def _listed(entries: Iterable[tuple[str, int]]) -> Iterable[str]:
    for number, (name, size) in enumerate(entries):
        if number == _MAX_ENTRIES:
            yield "(and more)"
            return
        yield f"{name} ({size} bytes)"


def _read_unknown(path: Path) -> Iterable[str]:
    if zipfile.is_zipfile(path):
        return _read_zip(path)
    return _read_tar(path) if tarfile.is_tarfile(path) else _read_text(path)


_READERS: dict[str, Callable[[Path], Iterable[str]]] = {
    ".csv": _read_csv, ".tsv": _read_csv, ".xlsx": _read_xlsx, ".xlsm": _read_xlsx, ".docx": _read_docx,
    ".pptx": _read_pptx, ".pdf": _read_pdf, ".html": _read_html, ".htm": _read_html,
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff"), _read_image),
    ".zip": _read_zip, ".tar": _read_tar, ".gz": _read_unknown, ".tgz": _read_tar,
}  # XML, JSON, code and logs are text, which is shown as it is
