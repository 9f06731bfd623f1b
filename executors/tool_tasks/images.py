"""Templates over rendered images: read, measure, cut out, calculate, answer."""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING

from executors.tool_tasks.base import Move, Plan, Solution, ToolTemplate, call
from executors.tool_tasks.making import (
    COLOURS,
    GOODS,
    WORDS,
    box_text,
    csv_file,
    patches_image,
    priced,
    table_of,
    text_image,
)
from executors.tool_tasks.tables import calculate, number_in, read

if TYPE_CHECKING:
    from PIL.Image import Image

_CELLS = tuple((left, top, left + 48, top + 48) for top in (16, 88) for left in (16, 88, 160))
"""Boxes for patches on an image of 224 x 160 pixels."""
_RED = (255, 0, 0)
"""What DrawBox and AddText draw with; no patch has it."""


def read_image(name: str, thought: str = "") -> Move:
    """The move that reads the text of an image."""
    return call("OCR", f"read the text of {name}", thought, image=name)


def words_in(text: str) -> str:
    """What OCR read, without the boxes, on one line.

    >>> words_in("(16, 20, 90, 40) milk 12\\n(16, 60, 90, 80) tea 7")
    'milk 12 tea 7'
    """
    return " ".join(re.sub(r"^\([\d, ]+\) ", "", line) for line in text.splitlines())


def sign_code(rng: random.Random) -> Plan:
    """A number on a sign."""
    word, code = rng.choice(WORDS), rng.randint(100, 999)

    def solve() -> Solution:
        return number_in(words_in((yield read_image("sign.png"))))

    return Plan(goal=rng.choice(("Which number is on sign.png?", "Read the number of sign.png.")),
                files={"sign.png": text_image((word, str(code)))}, answer=str(code), solve=solve)


def receipt_total(rng: random.Random) -> Plan:
    """The sum of a receipt."""
    prices = priced(rng, 3)

    def solve() -> Solution:
        values = re.findall(r"\d+", words_in((yield read_image("receipt.png"))))
        return (yield calculate(" + ".join(values), "add up the prices", " , ".join(values)))

    lines = [f"{name} {price}" for name, price in prices.items()]
    return Plan(goal=rng.choice(("What is the total of receipt.png?", "Add up the prices on receipt.png.")),
                files={"receipt.png": text_image(lines)}, answer=str(sum(prices.values())), solve=solve)


def pixel_count(rng: random.Random) -> Plan:
    """Width times height."""
    size = rng.randint(64, 256), rng.randint(64, 192)
    patches = {(8, 8, 40, 40): rng.choice(list(COLOURS))}

    def solve() -> Solution:
        width, height = re.search(r"image (\d+) x (\d+) pixels", (yield measure("photo.png"))).groups()
        return (yield calculate(f"{width} * {height}", "multiply width and height", f"{width} wide , {height} high"))

    return Plan(goal=rng.choice(("How many pixels has photo.png?", "Count the pixels of photo.png.")),
                files={"photo.png": patches_image(patches, size_px=size)}, answer=str(size[0] * size[1]), solve=solve)


def measure(name: str, thought: str = "", **arguments: str) -> Move:
    """The move that measures an image."""
    return call("ImageMeasure", f"measure {name}", thought, image=name, **arguments)


def patch_colour(rng: random.Random) -> Plan:
    """The colour of a part of an image."""
    patches = dict(zip(rng.sample(_CELLS, 4), rng.sample(list(COLOURS), 4)))
    left, top, right, bottom = rng.choice(list(patches))
    box = box_text((left + 8, top + 8, right - 8, bottom - 8))

    def solve() -> Solution:
        found = re.search(r"most frequent colour \((\d+), (\d+), (\d+)\)", (yield measure("shapes.png", bbox=box)))
        seen = tuple(map(int, found.groups()))
        return min(COLOURS, key=lambda name: sum((a - b) ** 2 for a, b in zip(COLOURS[name], seen)))

    return Plan(goal=f"Which colour fills the box {box} of shapes.png? One of {', '.join(COLOURS)}.",
                files={"shapes.png": patches_image(patches)}, answer=patches[left, top, right, bottom], solve=solve)


def mark_patch(rng: random.Random) -> Plan:
    """A box and a word drawn on an image, which is looked at in the end; where the box is stands in a table."""
    patches = dict(zip(rng.sample(_CELLS, 4), rng.sample(("green", "blue", "yellow", "black", "purple", "brown"), 4)))
    colour, word = rng.choice(list(patches.values())), rng.choice(WORDS)
    box = next(cell for cell in patches if patches[cell] == colour)

    def solve() -> Solution:
        edges = table_of((yield read("boxes.csv")))[colour]
        drawn = yield call("DrawBox", f"draw a box around the {colour} patch", f"{colour} {' '.join(edges)}",
                           image="map.png", bbox=f"({', '.join(edges)})")  # fmt: skip
        named = yield call("AddText", f"write {word} at the bottom", image=drawn.split()[-1], text=word, position="mb")
        return named.split()[-1]

    def shows(image: Image) -> bool:
        left, top, right, bottom = box
        is_boxed = all(image.getpixel((x, y)) == _RED for x in (left, right) for y in (top, bottom))
        below = image.crop((60, 140, 164, 160)).getcolors(1 << 16)
        return is_boxed and any(red > 230 and green < 200 for _, (red, green, _) in below)  # small letters are pale

    return Plan(
        goal=f"Draw a box around the {colour} patch of map.png (see boxes.csv) and write {word} at the middle bottom. "
             "Name the new file.",
        files={"map.png": patches_image(patches),
               "boxes.csv": csv_file(("colour", "x1", "y1", "x2", "y2"), *((c, *b) for b, c in patches.items()))},
        answer="image-2.png", solve=solve, shows=shows,
    )  # fmt: skip


def crop_and_read(rng: random.Random) -> Plan:
    """A line of an image with several, which is cut out first."""
    lines = [f"{word} {rng.randint(100, 999)}" for word in rng.sample(WORDS, 3)]
    row = rng.randrange(3)
    box = box_text((0, 12 + 40 * row, 224, 52 + 40 * row))

    def solve() -> Solution:
        image = (yield call("ImageCrop", f"cut {box} out of board.png", image="board.png", bbox=box)).split()[-1]
        return number_in(words_in((yield read_image(image))))

    return Plan(goal=f"Which number is in the box {box} of board.png?", files={"board.png": text_image(lines)},
                answer=lines[row].split()[1], solve=solve)


def ordered_price(rng: random.Random) -> Plan:
    """What is on a label, at a price in a table."""
    prices, count = priced(rng, 4), rng.randint(2, 9)
    item = rng.choice(list(prices))

    def solve() -> Solution:
        words = words_in((yield read_image("label.png"))).lower().split()
        thing = next(word for word in words if word in GOODS)
        price = table_of((yield read("prices.csv", f"label {thing}")))[thing][0]
        return (yield calculate(f"{price} * {count}", f"multiply the price by {count}", f"{thing} {price}"))

    return Plan(
        goal=f"What do {count} of the thing on label.png cost? See prices.csv.",
        files={"label.png": text_image((item,), size_px=(224, 96), top_px=30),
               "prices.csv": csv_file(("name", "price"), *prices.items())},
        answer=str(prices[item] * count), solve=solve,
    )  # fmt: skip


def larger_image(rng: random.Random) -> Plan:
    """Which of two images has more pixels."""
    sizes = [(rng.randint(64, 256), rng.randint(64, 192)) for _ in range(2)]
    while sizes[0][0] * sizes[0][1] == sizes[1][0] * sizes[1][1]:
        sizes[1] = rng.randint(64, 256), rng.randint(64, 192)
    files = {name: patches_image({(8, 8, 40, 40): rng.choice(list(COLOURS))}, size_px=size)
             for name, size in zip(("one.png", "two.png"), sizes)}

    def solve() -> Solution:
        areas = {}
        for name in files:
            width, height = re.search(r"image (\d+) x (\d+) pixels", (yield measure(name))).groups()
            area = yield calculate(f"{width} * {height}", "multiply width and height", f"{width} , {height}")
            areas[name] = int(area)
        return max(areas, key=areas.get)

    answer = max(zip(files, sizes), key=lambda pair: pair[1][0] * pair[1][1])[0]
    return Plan(goal="Which has more pixels, one.png or two.png?", files=files, answer=answer, solve=solve)


def crop_and_count(rng: random.Random) -> Plan:
    """The pixels of a part that is cut out."""
    left, top = rng.randint(0, 60), rng.randint(0, 40)
    right, bottom = left + rng.randint(40, 140), top + rng.randint(30, 100)
    box = box_text((left, top, right, bottom))
    patches = dict(zip(rng.sample(_CELLS, 3), rng.sample(list(COLOURS), 3)))

    def solve() -> Solution:
        image = (yield call("ImageCrop", f"cut {box} out of plan.png", image="plan.png", bbox=box)).split()[-1]
        width, height = re.search(r"image (\d+) x (\d+) pixels", (yield measure(image))).groups()
        return (yield calculate(f"{width} * {height}", "multiply width and height", f"{width} wide , {height} high"))

    return Plan(goal=f"Cut the box {box} out of plan.png. How many pixels has it?",
                files={"plan.png": patches_image(patches)}, answer=str((right - left) * (bottom - top)), solve=solve)


def change_due(rng: random.Random) -> Plan:
    """What is given back on a receipt."""
    prices = priced(rng, 2)
    paid = 10 * (sum(prices.values()) // 10 + rng.randint(1, 3))

    def solve() -> Solution:
        one, other, given = re.findall(r"\d+", words_in((yield read_image("receipt.png"))))
        return (yield calculate(f"{given} - {one} - {other}", "subtract the prices from what was paid",
                                f"{one} , {other} , paid {given}"))

    lines = [*(f"{name} {price}" for name, price in prices.items()), f"paid {paid}"]
    return Plan(goal="How much change is due on receipt.png?", files={"receipt.png": text_image(lines)},
                answer=str(paid - sum(prices.values())), solve=solve)


TEMPLATES = (
    ToolTemplate(name="sign_code", num_calls=1, make=sign_code, needs=("tesseract",)),
    ToolTemplate(name="receipt_total", num_calls=2, make=receipt_total, needs=("tesseract",)),
    ToolTemplate(name="pixel_count", num_calls=2, make=pixel_count),
    ToolTemplate(name="patch_colour", num_calls=1, make=patch_colour),
    ToolTemplate(name="mark_patch", num_calls=3, make=mark_patch),
    ToolTemplate(name="crop_and_read", num_calls=2, make=crop_and_read, needs=("tesseract",)),
    ToolTemplate(name="ordered_price", num_calls=3, make=ordered_price, needs=("tesseract",)),
    ToolTemplate(name="larger_image", num_calls=4, make=larger_image),
    ToolTemplate(name="crop_and_count", num_calls=3, make=crop_and_count, kind="task_unseen"),
    ToolTemplate(name="change_due", num_calls=2, make=change_due, kind="task_unseen", needs=("tesseract",)),
)
