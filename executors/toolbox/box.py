"""The toolbox of one episode: it checks a call, runs it with limits, and says what came of it, whatever happens."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from executors.errors import ExecutorError, InputError
from executors.sandbox import Outcome, Sandbox
from executors.toolbox.registry import Need, Result, Tool, all_tools
from executors.toolbox.vision import VisionModel, ask_about_text

if TYPE_CHECKING:
    from PIL.Image import Image

Kind = Literal["unknown tool", "bad arguments", "unavailable", "failed", "limit", "wrong result"]
_MAX_CALLS = 100
_FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP")


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    """What came of one call: an observation in any case.

    `kind` is None when the tool did its work, else why not; `text` is what the planner reads, `value` what code gets,
    `images` the paths in the scratch folder of images that were made. `answer` is the text that code gave to
    `final_answer`, which ends the episode; `calls` are the calls that code made, each {"name", "arguments", "kind"}.
    """

    text: str
    kind: Kind | None = None
    value: Any = None
    images: tuple[str, ...] = ()
    answer: str | None = None
    calls: tuple[Mapping[str, Any], ...] = ()
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether the tool did its work."""
        return self.kind is None


class Toolbox:
    """The tools that one episode may call, and what they need."""

    def __init__(
        self,
        sandbox: Sandbox,
        names: Iterable[str] | None = None,
        *,
        model: VisionModel | None = None,
        plugins: Mapping[str, Callable[..., Any]] | None = None,
        max_text_chars: int = 20_000,
    ) -> None:
        """Takes what the tools need.

        Args:
            sandbox: where files are, and where code and offline tools run; its owner closes it.
            names: the tools that may be called; None for all.
            model: answers the tools that need a model server.
            plugins: functions for tools that need the network or weights, by tool name. They get the call's arguments
                by name, images as PIL images, and give text, or a PIL image where the tool gives an image. They run in
                this process; where one hangs its thread is left behind.
            max_text_chars: longest observation; the rest is left out, and the text says so.

        Raises:
            InputError: a name is no tool, or a plugin is for a tool that needs none.
        """
        tools = all_tools()
        names = list(tools if names is None else names)
        for name in [*names, *(plugins or {})]:
            if name not in tools:
                raise InputError(f"tool {name!r} is unknown: choose of {', '.join(sorted(tools))}")
        for name in plugins or {}:
            if tools[name].needs not in (Need.NETWORK, Need.WEIGHTS):
                raise InputError(f"tool {name!r} takes no plugin: only those that need the network or weights do")
        self.tools = {name: tools[name] for name in names}
        self.sandbox = sandbox
        self._model, self._plugins, self._max_text_chars = model, dict(plugins or {}), max_text_chars

    def unavailable(self, name: str) -> str | None:
        """Why a tool cannot work here; None when it can, as far as is known before it runs."""
        tool = self.tools[name]
        match tool.needs:
            case Need.SANDBOX:
                return self.sandbox.refusal
            case Need.SERVER if self._model is None:
                return "it needs a vision-language model behind an OpenAI-compatible server, and none is named"
            case Need.NETWORK if name not in self._plugins:
                return "it needs the network, which is off, and no function is plugged in for it"
            case Need.WEIGHTS if name not in self._plugins:
                return "it needs a model whose weights are not here, and no function is plugged in for it"
        return None

    def call(self, name: str, arguments: Mapping[str, Any]) -> ToolResult:
        """Runs one tool; never an exception for what a model wrote or a tool did.

        Args:
            name: a tool of this box.
            arguments: by name.
        """
        begun = time.monotonic()
        try:
            result = self._checked_call(name, dict(arguments))
        except InputError as error:  # a path outside the scratch folder, a missing file
            result = ToolResult(kind="bad arguments", text=str(error))
        except ExecutorError as error:
            result = ToolResult(kind="failed", text=str(error))
        text = result.text
        if len(text) > self._max_text_chars:
            text = f"{text[: self._max_text_chars]}\n({len(text) - self._max_text_chars} more characters left out)"
        if not result.ok:
            text = f"Error: {name}: {text}"
        return replace(result, text=text, seconds=time.monotonic() - begun)

    def _checked_call(self, name: str, arguments: dict[str, Any]) -> ToolResult:
        if name not in self.tools:
            return ToolResult(kind="unknown tool", text=f"there is no such tool: {', '.join(self.tools)}")
        tool = self.tools[name]
        if (problem := tool.problem_with(arguments)) is not None:
            return ToolResult(kind="bad arguments", text=problem)
        if (reason := self.unavailable(name)) is not None:
            return ToolResult(kind="unavailable", text=f"unavailable: {reason}")
        for argument in tool.arguments:
            if argument.kind in ("image", "file") and arguments.get(argument.name) is not None:
                path = self.sandbox.relative(arguments[argument.name])
                self.sandbox.read(path)  # a missing file or a link is told before anything starts
                arguments[argument.name] = f"./{path}"
        if name == "python":
            return self._run_python(arguments["code"])
        if name == "inspect_file_as_text":
            return self._inspect(**arguments)
        if tool.needs is Need.SANDBOX:
            return self._run_code_tool(tool, arguments)
        if tool.needs is None:
            return self._of_outcome(tool, self.sandbox.call(tool.function, arguments))
        return self._run_here(tool, arguments)

    def _run_python(self, code: str) -> ToolResult:
        """Model-written code in the episode's process; it may call the other tools by name."""
        images: list[str] = []
        calls: list[Mapping[str, Any]] = []
        num_calls = 0

        def on_call(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
            nonlocal num_calls
            num_calls += 1
            if name == "python" or num_calls > _MAX_CALLS:
                return {"error": f"code may call other tools only, and at most {_MAX_CALLS} times in one step"}
            result = self.call(name, arguments)
            images.extend(result.images)
            calls.append({"name": name, "arguments": arguments, "kind": result.kind})
            return {"value": result.value} if result.ok else {"error": result.text.removeprefix("Error: ")}

        stubs = {name: [a.name for a in tool.arguments] for name, tool in self.tools.items() if name != "python"}
        before = self._images()
        outcome = self.sandbox.run(code, stubs, on_call)
        made = [path for path, stamp in self._images().items() if before.get(path) != stamp]
        kind = None if outcome.error is None else "limit" if outcome.is_lost else "failed"
        text = "\n".join(part for part in (outcome.output.rstrip("\n"), _dropped(outcome), outcome.error) if part)
        return ToolResult(kind=kind, text=text or "No output: print what you want to see.", value=outcome.output,
                          images=tuple(dict.fromkeys([*images, *made])), answer=outcome.answer, calls=tuple(calls))

    def _images(self) -> dict[str, tuple[int, int]]:
        """Size and time of the images in the scratch folder and below, by path; links are not followed."""
        found = {}
        for folder, _, names in os.walk(self.sandbox.scratch):
            for path in (Path(folder, name) for name in sorted(names)):
                if path.suffix.lower() in (".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp"):
                    with contextlib.suppress(OSError):
                        status = path.lstat()
                        found[str(path.relative_to(self.sandbox.scratch))] = (status.st_size, status.st_mtime_ns)
        return found

    def _run_code_tool(self, tool: Tool, arguments: dict[str, Any]) -> ToolResult:
        made = _function(tool)(self.sandbox, **arguments)
        outcome, path = made if isinstance(made, tuple) else (made, None)
        if path is None and outcome.error is None:
            return ToolResult(text=outcome.output.strip(), value=outcome.output.strip())
        return self._of_outcome(tool, outcome, path)

    def _inspect(self, file_path: str, question: str | None = None) -> ToolResult:
        tool = all_tools()["FileInspector"]
        result = self._of_outcome(tool, self.sandbox.call(tool.function, {"file_path": file_path}))
        if not result.ok or not question:
            return result
        if self._model is None:
            text = f"unavailable: a question needs a model server, and none is named; the file holds:\n{result.text}"
            return ToolResult(text=text, kind="unavailable")
        answer = ask_about_text(self._model, result.text, question)
        return ToolResult(text=answer, value=answer)

    def _of_outcome(self, tool: Tool, outcome: Outcome, value: Any = None) -> ToolResult:
        if outcome.error is not None:
            is_missing = outcome.error.startswith(("ModuleNotFoundError", "ImportError"))
            if is_missing or (tool.program and outcome.error.startswith("FileNotFoundError") and
                              tool.program in outcome.error):
                missing = f"the program {tool.program}" if tool.program and not is_missing else "a library"
                return ToolResult(kind="unavailable", text=f"unavailable: {missing} is missing ({outcome.error})")
            return ToolResult(kind="limit" if outcome.is_lost else "failed", text=outcome.error)
        return self._checked_value(tool, outcome.value if value is None else value)

    def _checked_value(self, tool: Tool, value: Any) -> ToolResult:
        """The result of a tool that ended well, or what is wrong with what it gave."""
        if tool.returns is Result.IMAGE:
            if not isinstance(value, str):
                return _wrong(f"gave {type(value).__name__} instead of the path of an image")
            self.open_image(value)
            return ToolResult(text=f"made the image {value}", value=value, images=(value,))
        if tool.returns is Result.TEXT:
            if not isinstance(value, str):
                return _wrong(f"gave {type(value).__name__} instead of text")
            return ToolResult(text=value, value=value[: self._max_text_chars])
        try:
            text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        except (TypeError, ValueError, RecursionError):
            return _wrong(f"gave {type(value).__name__}, which is not JSON")
        return ToolResult(text=text, value=value) if len(text) <= self._max_text_chars else _wrong(
            f"gave {len(text)} characters of JSON, more than {self._max_text_chars}")

    def _run_here(self, tool: Tool, arguments: dict[str, Any]) -> ToolResult:
        """A tool that asks a server, or a plugin: in a thread of this process, with the sandbox's time limit."""
        for argument in tool.arguments:
            if argument.kind == "image" and argument.name in arguments:
                arguments[argument.name] = self.open_image(arguments[argument.name])
        seconds = self.sandbox.limits.wall_seconds
        if tool.needs is Need.SERVER:
            work, seconds = (lambda: _function(tool)(self._model, **arguments)), None  # the server has its own limit
        else:
            work = lambda: _as_png(self._plugins[tool.name](**arguments))  # noqa: E731
        is_done, value, error = _within(seconds, work)
        if not is_done:
            return ToolResult(kind="limit", text=f"the time limit of {seconds:g} s is over")
        if error is not None:
            if isinstance(error, (InputError, ExecutorError)):
                raise error
            return ToolResult(kind="failed", text=f"{type(error).__name__}: {error}")
        if tool.returns is Result.IMAGE and isinstance(value, bytes):
            value = self.sandbox.add(f"{tool.name}-{time.time_ns()}.png", value)
        return self._checked_value(tool, value)

    def open_image(self, path: str) -> Image:
        """An image of the scratch folder as PIL RGB.

        Raises:
            InputError: no readable image is there.
        """
        import PIL.Image

        data = self.sandbox.read(path)
        try:
            return PIL.Image.open(io.BytesIO(data), formats=_FORMATS).convert("RGB")
        except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError) as error:
            raise InputError(f"path {path!r} is not a readable image ({error})") from None


def _function(tool: Tool) -> Callable[..., Any]:
    module, _, name = tool.function.partition(":")
    return getattr(importlib.import_module(module), name)


def _within(seconds: float | None, work: Callable[[], Any]) -> tuple[bool, Any, Exception | None]:
    """(whether it ended in time, what it gave, what it raised)."""
    box: list[tuple[Any, Exception | None]] = []

    def run() -> None:
        try:
            box.append((work(), None))
        except Exception as error:  # noqa: BLE001 - a named boundary: whatever a plugin raises is recorded
            box.append((None, error))

    if seconds is None:
        run()
    else:
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(seconds)
    return (True, *box[0]) if box else (False, None, None)


def _as_png(value: Any) -> Any:
    """A PIL image as the bytes of a PNG file; anything else as it is."""
    if not hasattr(value, "save"):
        return value
    buffer = io.BytesIO()
    value.save(buffer, format="PNG")
    return buffer.getvalue()


def _wrong(text: str) -> ToolResult:
    return ToolResult(kind="wrong result", text=f"the tool {text}")


def _dropped(outcome: Outcome) -> str:
    return f"({outcome.num_dropped_bytes} bytes of output left out)" if outcome.num_dropped_bytes else ""
