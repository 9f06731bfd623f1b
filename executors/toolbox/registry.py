"""The one registry of tools.

A tool is a function with typed arguments, whose docstring is its prompt text; `@tool` enters it. Everything else
derives from `all_tools()`: the prompt, the check of arguments, the stubs that code calls.
"""

from __future__ import annotations

import importlib
import inspect
import math
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, NewType

ImagePath = NewType("ImagePath", str)
FilePath = NewType("FilePath", str)
Box = NewType("Box", str)

_MODULES = ("offline", "files", "code", "vision", "outside")


class Need(StrEnum):
    """What a tool cannot work without."""

    SANDBOX = "sandbox"  # bubblewrap, since it runs model-written code
    SERVER = "server"  # a vision-language model
    NETWORK = "network"
    WEIGHTS = "weights"  # of a model that is not shipped and has no server here


class Result(StrEnum):
    """What a tool gives back: text or other JSON values, or the path of an image that it made."""

    TEXT = "text"
    VALUE = "value"
    IMAGE = "image"


@dataclass(frozen=True, slots=True)
class ToolArgument:
    """One argument: its name, its kind (a key of `_CHECKS`), its meaning."""

    name: str
    kind: str
    doc: str
    is_required: bool


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool. `function` is "module:name"; `reason` says what is missing where a tool has no function of its own."""

    name: str
    arguments: tuple[ToolArgument, ...]
    doc: str
    returns: Result
    needs: Need | None
    function: str
    program: str = ""

    @property
    def signature(self) -> str:
        """One line as prompts show it.

        >>> all_tools()["DrawBox"].signature
        'DrawBox(image: image, bbox: box, annotation: text = None) -> image'
        """
        shown = [f"{a.name}: {a.kind}{'' if a.is_required else ' = None'}" for a in self.arguments]
        return f"{self.name}({', '.join(shown)}) -> {self.returns}"

    def problem_with(self, arguments: Mapping[str, Any]) -> str | None:
        """None when the arguments fit, else one sentence naming the argument.

        >>> all_tools()["Calculator"].problem_with({"expression": 5})
        "argument 'expression': 5 is not text"
        >>> all_tools()["Calculator"].problem_with({})
        "argument 'expression' is missing: Calculator(expression: text) -> text"
        """
        known = {argument.name: argument for argument in self.arguments}
        for name, value in arguments.items():
            if name not in known:
                return f"argument {name!r} is unknown: {self.signature}"
            if value is None and not known[name].is_required:
                continue
            if not _CHECKS[known[name].kind](value):
                shown = repr(value)
                return f"argument {name!r}: {shown if len(shown) < 80 else shown[:77] + '...'} is not {_a(known[name])}"
        missing = next((a.name for a in self.arguments if a.is_required and a.name not in arguments), None)
        return None if missing is None else f"argument {missing!r} is missing: {self.signature}"


def _a(argument: ToolArgument) -> str:
    return {"text": "text", "image": "the path of an image", "file": "the path of a file",
            "box": "a box '(x1, y1, x2, y2)'"}.get(argument.kind, f"a {argument.kind}")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_box(value: Any) -> bool:
    try:
        return len(box_of(value)) == 4
    except ValueError:
        return False


_CHECKS: dict[str, Callable[[Any], bool]] = {
    "text": lambda value: isinstance(value, str),
    "image": lambda value: isinstance(value, str) and bool(value),
    "file": lambda value: isinstance(value, str) and bool(value),
    "box": _is_box,
    "whole number": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": _is_number,
    "truth value": lambda value: isinstance(value, bool),
    "list": lambda value: isinstance(value, list),
}
_KINDS = {str: "text", ImagePath: "image", FilePath: "file", Box: "box", int: "whole number", float: "number",
          bool: "truth value", list: "list"}


def box_of(value: Any) -> tuple[float, ...]:
    """The numbers of '(x1, y1, x2, y2)' or of a list; in pixels, as GTA's tools write them.

    Raises:
        ValueError: anything else than finite numbers.

    >>> box_of("(1, 2, 30.5, 40)")
    (1.0, 2.0, 30.5, 40.0)
    """
    if isinstance(value, str):
        value = value.strip().strip("()[]").split(",")
    if not isinstance(value, (list, tuple)) or not value:
        raise ValueError(f"{value!r} is not a list of numbers")
    numbers = tuple(float(item) for item in value)
    if not all(map(math.isfinite, numbers)):
        raise ValueError(f"{value!r} holds a number that is not finite")
    return numbers


_registered: dict[str, Tool] = {}


def tool(
    *names: str, returns: Result = Result.TEXT, needs: Need | None = None, program: str = ""
) -> Callable[[Callable], Callable]:
    """Enters a function as a tool under these names; its annotations are the types, its docstring is the prompt text.

    Args:
        names: one or several; later ones are other projects' names of the same tool.
        returns: what the function gives back.
        needs: what it cannot work without.
        program: a program of the system that it runs.
    """

    def enter(function: Callable) -> Callable:
        hints = typing.get_type_hints(function, include_extras=True)
        arguments = tuple(
            _argument(parameter, hints[parameter.name])
            for parameter in inspect.signature(function).parameters.values()
            if parameter.kind is not inspect.Parameter.POSITIONAL_ONLY
        )
        doc = inspect.cleandoc(function.__doc__)
        for name in names:
            _registered[name] = Tool(name, arguments, doc, returns, needs,
                                     f"{function.__module__}:{function.__name__}", program)
        return function

    return enter


def _argument(parameter: inspect.Parameter, hint: Any) -> ToolArgument:
    doc = ""
    if typing.get_origin(hint) is Annotated:
        hint, doc = typing.get_args(hint)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        hint = next(part for part in typing.get_args(hint) if part is not type(None))
    return ToolArgument(parameter.name, _KINDS[hint], doc, parameter.default is inspect.Parameter.empty)


def all_tools() -> dict[str, Tool]:
    """All tools by name; the modules that hold them are imported at the first call, their libraries only by a run.

    >>> sorted(all_tools())[:4]
    ['AddText', 'Calculator', 'CountGivenObject', 'DrawBox']
    """
    _import_tools()
    return dict(_registered)


@cache
def _import_tools() -> None:
    for module in _MODULES:
        importlib.import_module(f"executors.toolbox.{module}")


def prompt_text(names: Iterable[str]) -> str:
    """What a planner is told about these tools: signature, meaning and the arguments that have a text, in order."""
    tools = all_tools()
    parts = []
    for name in names:
        lines = [f"- {tools[name].signature}", *(f"    {line}" for line in tools[name].doc.splitlines())]
        lines += [f"    {a.name}: {a.doc}" for a in tools[name].arguments if a.doc]
        parts.append("\n".join(line.rstrip() for line in lines))
    return "\n".join(parts)


T3_TO_GTA: dict[str, tuple[str, ...]] = {
    "visualizer": ("ImageDescription", "RegionAttributeDescription", "CountGivenObject", "OCR", "MathOCR"),
    "ocr": ("OCR",),
    "objectlocation": ("TextToBbox",),
    "facedetection": ("TextToBbox",),
    "ask_search_agent": ("GoogleSearch",),
    "image_generator": ("TextToImage",),
    "image_edit": ("ImageStylization", "DrawBox", "AddText"),
    "python": ("Calculator", "Solver", "Plot"),
    "segmentation": (),
    "inspect_file_as_text": (),
}
"""T3-Agent's tools -> those of GTA that do the same work; empty where GTA has none. The map is this project's own:
neither project has one. A visualizer answers any question about an image, so it stands for five tools."""
