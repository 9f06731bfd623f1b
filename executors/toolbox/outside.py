"""Tools that need the network or weights that are not shipped. They are off; `Toolbox` takes functions to plug in."""

from __future__ import annotations

from typing import Annotated

from executors.toolbox.registry import ImagePath, Need, Result, tool


@tool("GoogleSearch", needs=Need.NETWORK)
def google_search(query: str, k: Annotated[int, "how many results"] = 4) -> str:
    """Searches the web and gives the first results."""
    raise NotImplementedError


@tool("ask_search_agent", needs=Need.NETWORK)
def ask_search_agent(query: str) -> str:
    """Searches the web and gives an answer to the query, with its context."""
    raise NotImplementedError


@tool("VisitPage", "visit_page", needs=Need.NETWORK)
def visit_page(url: str) -> str:
    """Gives the text of a web page."""
    raise NotImplementedError


@tool("TextToImage", returns=Result.IMAGE, needs=Need.WEIGHTS)
def text_to_image(keywords: Annotated[str, "separated by commas"]) -> str:
    """Makes an image of the keywords."""
    raise NotImplementedError


@tool("image_generator", returns=Result.IMAGE, needs=Need.WEIGHTS)
def image_generator(prompt: str) -> str:
    """Makes an image of a description."""
    raise NotImplementedError


@tool("ImageStylization", returns=Result.IMAGE, needs=Need.WEIGHTS)
def image_stylization(image: ImagePath, instruction: str) -> str:
    """Changes an image as the instruction says."""
    raise NotImplementedError


@tool("image_edit", returns=Result.IMAGE, needs=Need.WEIGHTS)
def image_edit(prompt: str, image_path: ImagePath) -> str:
    """Changes an image as the prompt says."""
    raise NotImplementedError


@tool("segmentation", returns=Result.VALUE, needs=Need.WEIGHTS)
def segmentation(image_path: ImagePath, prompt: Annotated[list | None, "boxes [x1, y1, x2, y2]"] = None) -> str:
    """Gives the path of a file with the masks of the objects in the boxes."""
    raise NotImplementedError
