"""Tools that ask a vision-language model behind an OpenAI-compatible server; any such model will do.

Boxes are asked for in the frame of the server's model family and given in pixels of the image, as GTA's tools write
them. What the model wrote is data: a reply without a box or a number is said to be one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from executors.chat_server import ChatServer, data_url
from executors.geometry import FAMILIES, ImageSize
from executors.toolbox.registry import Box, FilePath, ImagePath, Need, Result, box_of, tool

if TYPE_CHECKING:
    from PIL.Image import Image

_NUMBERS = re.compile(r"[\[(]" + r",".join([r"\s*(\d{1,9}(?:\.\d{1,9})?)\s*"] * 4) + r"[\])]")
_MAX_TOKENS = 1024
_MAX_FILE_CHARS = 30_000


@dataclass(frozen=True, slots=True)
class VisionModel:
    """A server and the frame its model counts coordinates in (a name of `geometry.FAMILIES`)."""

    server: ChatServer
    family: str = "qwen3-vl"

    def ask(self, question: str, picture: Image | None = None) -> str:
        """The model's reply, stripped.

        Raises:
            ExecutorError: the server gave none.
        """
        content = [{"type": "text", "text": question}]
        if picture is not None:
            content.insert(0, {"type": "image_url", "image_url": {"url": data_url(picture)}})
        return self.server.ask([{"role": "user", "content": content}], max_tokens=_MAX_TOKENS).content.strip()

    def boxes(self, text: str, picture: Image) -> list[list[int]]:
        """[x1, y1, x2, y2] in pixels of every box that the model finds for this text."""
        family = FAMILIES[self.family]
        size = ImageSize(*picture.size)
        width, height = family.frame_size(size)
        reply = self.ask(
            f"Locate every instance of: {text}\nThe image is {width:g} wide and {height:g} high. Answer with one line "
            "[x1, y1, x2, y2] for each instance, or with the word none.", picture,
        )  # fmt: skip
        found = []
        for match in _NUMBERS.finditer(reply):
            x1, y1, x2, y2 = (float(number) for number in match.groups())
            if x1 < x2 <= width and y1 < y2 <= height:
                found.append([round(x1 / width * size.width_px), round(y1 / height * size.height_px),
                              round(x2 / width * size.width_px), round(y2 / height * size.height_px)])
        return found


@tool("visualizer", needs=Need.SERVER)
def visualizer(model: VisionModel, /, question: str, image_path: ImagePath) -> str:
    """Answers a question about an image."""
    return model.ask(question, image_path)


@tool("ImageDescription", needs=Need.SERVER)
def image_description(model: VisionModel, /, image: ImagePath) -> str:
    """Describes an image in a few sentences."""
    return model.ask("Describe this image in a few sentences.", image)


@tool("RegionAttributeDescription", needs=Need.SERVER)
def region_attribute(
    model: VisionModel, /, image: ImagePath, bbox: Annotated[Box, "(x1, y1, x2, y2) in pixels"],
    attribute: Annotated[str, "what to describe, such as color"],
) -> str:
    """Describes an attribute of a region of an image."""
    return model.ask(f"Describe the {attribute} of this part of an image in a few words.", image.crop(box_of(bbox)))


@tool("TextToBbox", needs=Need.SERVER)
def text_to_bbox(
    model: VisionModel, /, image: ImagePath, text: Annotated[str, "the object in English"],
    top1: Annotated[bool, "only the first box"] = True,
) -> str:
    """Finds an object in an image: (x1, y1, x2, y2) in pixels, one line for each."""
    boxes = model.boxes(text, image)[: 1 if top1 else None]
    return "\n".join(f"({', '.join(map(str, box))})" for box in boxes) or "no such object was found"


@tool("objectlocation", returns=Result.VALUE, needs=Need.SERVER)
def object_location(model: VisionModel, /, object: str, image_path: ImagePath) -> list[list[int]]:  # noqa: A002
    """Finds an object in an image: a list of [x1, y1, x2, y2] in pixels."""
    return model.boxes(object, image_path)


@tool("facedetection", returns=Result.VALUE, needs=Need.SERVER)
def face_detection(model: VisionModel, /, image_path: ImagePath) -> list[list[int]]:
    """Finds faces in an image: a list of [x1, y1, x2, y2] in pixels."""
    return model.boxes("human face", image_path)


@tool("CountGivenObject", needs=Need.SERVER)
def count_object(
    model: VisionModel, /, image: ImagePath, text: Annotated[str, "the object in English"],
    bbox: Annotated[Box | None, "count in this region only"] = None,
) -> str:
    """Counts how often an object is in an image."""
    picture = image if bbox is None else image.crop(box_of(bbox))
    reply = model.ask(f"How many of these are in the image: {text}? Answer with one whole number.", picture)
    found = re.search(r"\d+", reply)
    return found[0] if found else f"the model gave no number: {reply}"


@tool("MathOCR", needs=Need.SERVER)
def math_ocr(model: VisionModel, /, image: ImagePath) -> str:
    """Reads the formula of an image as LaTeX."""
    return model.ask("Write the mathematical expression of this image as LaTeX, and nothing else.", image)


@tool("inspect_file_as_text", needs=None)
def inspect_with_question(
    file_path: FilePath, question: Annotated[str | None, "answered from the text, by the model server"] = None
) -> str:
    """Gives what is in a file as text, or the answer to a question about it. Not for images."""
    raise NotImplementedError  # the toolbox inspects the file in the sandbox and asks the server a question


def ask_about_text(model: VisionModel, text: str, question: str) -> str:
    """The answer to a question about a file's text, of which the model is given the first 30000 characters."""
    return model.ask(f"{text[:_MAX_FILE_CHARS]}\n\nAnswer from this file: {question}")
