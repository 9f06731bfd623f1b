"""Tools that compute, draw and read images. They run inside the sandbox, with the scratch folder as working folder.

Images are read and written by path; a new image gets a new name, and no file is written over.
"""

from __future__ import annotations

import ast
import itertools
import math
import operator
import secrets
import subprocess
from typing import TYPE_CHECKING, Annotated, Any

from executors.toolbox.registry import Box, ImagePath, Result, box_of, tool

if TYPE_CHECKING:
    from PIL.Image import Image



def _power(base: float, exponent: float) -> float:
    """base ** exponent, unless the result had so many digits that nobody wants them."""
    if isinstance(base, int) and isinstance(exponent, int) and exponent * abs(base).bit_length() > 10_000:
        raise ValueError("the power is too large")
    return base**exponent


_BINARY = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
           ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.Pow: _power}
_UNARY = {ast.USub: operator.neg, ast.UAdd: operator.pos}
_FUNCTIONS = {name: getattr(math, name) for name in dir(math) if not name.startswith("_") and callable(
    getattr(math, name))} | {"abs": abs, "round": round, "min": min, "max": max, "sum": sum, "pow": _power}
_CONSTANTS = {"pi": math.pi, "e": math.e, "tau": math.tau, "inf": math.inf}


@tool("Calculator")
def calculator(expression: Annotated[str, "such as (3 * 15 + 50) / 2; operators and math functions of Python"]) -> str:
    """Calculates an arithmetic expression.

    >>> calculator("round(sqrt(2) * 10**2, 3)")
    '141.421'
    """
    if len(expression) > 10_000:
        raise ValueError("the expression has more than 10000 characters")
    return str(_value(ast.parse(expression.strip(), mode="eval").body))


def _value(node: ast.AST) -> Any:
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return number
        case ast.BinOp() if type(node.op) in _BINARY:
            return _BINARY[type(node.op)](_value(node.left), _value(node.right))
        case ast.UnaryOp() if type(node.op) in _UNARY:
            return _UNARY[type(node.op)](_value(node.operand))
        case ast.List() | ast.Tuple():
            return [_value(item) for item in node.elts]
        case ast.Name(id=name) if name in _CONSTANTS:
            return _CONSTANTS[name]
        case ast.Attribute(value=ast.Name(id="math"), attr=name) if name in _CONSTANTS:
            return _CONSTANTS[name]
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(value=ast.Name(id="math"), attr=name), keywords=[]) if (
            name in _FUNCTIONS
        ):
            return _FUNCTIONS[name](*map(_value, node.args))
    raise ValueError(f"{ast.unparse(node)[:60]!r} is no number, operator or function of math")


@tool("DrawBox", returns=Result.IMAGE)
def draw_box(
    image: ImagePath, bbox: Annotated[Box, "(x1, y1, x2, y2) in pixels"],
    annotation: Annotated[str | None, "text above the box"] = None,
) -> str:
    """Draws a red box on an image, and gives the path of the new image."""
    from PIL import Image, ImageDraw

    picture = _open(image).convert("RGBA")
    layer = Image.new("RGBA", picture.size, (0, 0, 0, 0))
    draw = ImageDraw.Draw(layer)
    left, top, right, bottom = _ordered(box_of(bbox))
    draw.rectangle((left, top, right, bottom), fill=(255, 0, 0, 64), outline=(255, 0, 0, 255), width=2)
    if annotation:
        draw.text((left, top - 5), annotation, fill=(255, 0, 0, 255), anchor="lb", font=_font(picture))
    return _save(Image.alpha_composite(picture, layer).convert("RGB"))


_ANCHORS = {"l": 0.05, "m": 0.5, "r": 0.95, "t": 0.05, "b": 0.95}


@tool("AddText", returns=Result.IMAGE)
def add_text(
    image: ImagePath, text: str,
    position: Annotated[str, "left bottom corner '(x, y)' in pixels, or l, m, r and t, m, b: 'mt' is middle top"],
    color: Annotated[str, "a name or #rrggbb"] = "red",
) -> str:
    """Writes text on an image, and gives the path of the new image."""
    from PIL import ImageDraw

    picture = _open(image).convert("RGB")
    if len(position) == 2 and position[0] in "lmr" and position[1] in "tmb":
        place = (picture.width * _ANCHORS[position[0]], picture.height * _ANCHORS[position[1]])
        anchor = position
    else:
        place, anchor = box_of(position), "lb"
        if len(place) != 2:
            raise ValueError(f"position {position!r} is neither '(x, y)' nor two letters such as 'mt'")
    ImageDraw.Draw(picture).text(place, text, anchor=anchor, fill=color, font=_font(picture))
    return _save(picture)


@tool("ImageCrop", returns=Result.IMAGE)
def image_crop(image: ImagePath, bbox: Annotated[Box, "(x1, y1, x2, y2) in pixels"]) -> str:
    """Cuts a region out of an image, and gives the path of the new image."""
    picture = _open(image)
    left, top, right, bottom = _ordered(box_of(bbox))
    right, bottom = min(picture.width, right), min(picture.height, bottom)
    box = tuple(map(round, (max(0, left), max(0, top), right, bottom)))
    if box[0] >= box[2] or box[1] >= box[3]:
        raise ValueError(f"the box {bbox} has nothing of the image, which is {picture.width} x {picture.height} pixels")
    return _save(picture.convert("RGB").crop(box))


@tool("ImageMeasure")
def image_measure(image: ImagePath, bbox: Annotated[Box | None, "only this region"] = None) -> str:
    """Gives the size of an image in pixels, and of it or a region the mean colour and the colour most pixels have."""
    picture = _open(image).convert("RGB")
    region = picture if bbox is None else picture.crop(tuple(map(round, _ordered(box_of(bbox)))))
    if region.width * region.height == 0:
        raise ValueError(f"the box {bbox} is empty")
    count, colour = max(region.quantize(64).convert("RGB").getcolors(1 << 24))
    mean = tuple(round(value) for value in _mean(region))
    return (f"image {picture.width} x {picture.height} pixels; region {region.width} x {region.height}; mean colour "
            f"{mean}; most frequent colour {colour} ({count / region.width / region.height:.0%} of the pixels)")


def _mean(picture: Image) -> list[float]:
    from PIL import ImageStat

    return ImageStat.Stat(picture).mean


@tool("OCR", returns=Result.TEXT, program="tesseract")
def ocr(image: ImagePath) -> str:
    """Reads the text of an image: one line for each line of text, as (x1, y1, x2, y2) text, boxes in pixels."""
    return "\n".join(f"({', '.join(map(str, box))}) {text}" for box, text in _lines(image)) or "no text was found"


@tool("ocr", returns=Result.VALUE, program="tesseract")
def ocr_texts(image_path: ImagePath) -> list[str]:
    """Reads the text of an image: a list of its lines."""
    return [text for _, text in _lines(image_path)]


def _lines(image: str) -> list[tuple[tuple[int, int, int, int], str]]:
    """(box in pixels, words) of every line that Tesseract reads, from its TSV output (level 5 are words)."""
    path = f"tesseract-{secrets.token_hex(6)}.png"
    _open(image).convert("RGB").save(path)
    # sparse text (psm 11) finds labels and buttons as well as paragraphs
    command = ["tesseract", path, "stdout", "--psm", "11", "tsv"]
    table = subprocess.run(command, capture_output=True, text=True, check=True)
    lines: dict[tuple[str, ...], list[tuple[int, int, int, int, str]]] = {}
    for row in table.stdout.splitlines()[1:]:
        cells = row.split("\t")
        if len(cells) == 12 and cells[0] == "5" and cells[11].strip():
            left, top, width, height = map(int, cells[6:10])
            lines.setdefault(tuple(cells[1:5]), []).append((left, top, left + width, top + height, cells[11].strip()))
    return [((min(w[0] for w in words), min(w[1] for w in words), max(w[2] for w in words), max(w[3] for w in words)),
             " ".join(w[4] for w in words)) for words in lines.values()]


def _open(path: str) -> Image:
    from PIL import Image

    picture = Image.open(path)
    picture.load()
    return picture


def _save(picture: Image) -> str:
    """Saves under the first free of image-1.png, image-2.png ..., so that the same calls give the same names."""
    for number in itertools.count(1):
        try:
            with open(f"image-{number}.png", "xb") as file:
                picture.save(file, format="PNG")
            return file.name
        except FileExistsError:
            continue


def _font(picture: Image) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size=max(8, picture.height * 18 // 336))  # as GTA's tools size it


def _ordered(box: tuple[float, ...]) -> tuple[float, float, float, float]:
    return min(box[0], box[2]), min(box[1], box[3]), max(box[0], box[2]), max(box[1], box[3])
