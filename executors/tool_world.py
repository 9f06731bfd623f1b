"""Tools as a world: a goal, attached files in a scratch folder, calls that really run, and an answer that is judged.

    actions       `tool_call` and `finished` (with the answer); `call_user` gives up
    observation   the tool's text, and the last image that was made, else the first attached one, else none
    failed tool   its error is the observation's text and the result's message; the episode goes on
    code          `final_answer` in a `python` call ends the episode with that answer

Every episode has a sandbox of its own, which is closed when the episode ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from executors.actions import Action, Space, validate
from executors.errors import ExecutorError, InputError, WorkbenchError
from executors.executor import ExecutionResult
from executors.geometry import ImageSize
from executors.sandbox import Sandbox, SandboxLimits
from executors.toolbox.box import Toolbox, ToolResult
from executors.toolbox.registry import all_tools
from executors.toolbox.vision import VisionModel
from executors.trajectory import Observation

MAX_SUMMARY_CHARS = 100
_IMAGES = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp")


class ToolExecutor:
    """A goal over attached files as a device that takes tool calls.

    Read-only for callers: `answer` (the text given at the end, None before and where the episode was given up),
    `calls` (all calls and what came of them, in order).
    """

    def __init__(
        self,
        goal: str,
        files: Mapping[str, bytes | Path] | None = None,
        *,
        tools: Iterable[str] | None = None,
        judge: Callable[[str], bool | None] | None = None,
        mode: str = "bubblewrap",
        limits: SandboxLimits | None = None,
        model: VisionModel | None = None,
        plugins: Mapping[str, Callable[..., Any]] | None = None,
        max_text_chars: int = 20_000,
    ) -> None:
        """Nothing is opened yet.

        Args:
            goal: what is to be done.
            files: attached files by plain name: their bytes, or the file that is copied at every reset.
            tools: names of the tools that may be called; None for all.
            judge: whether a given answer is right; None when nobody can tell.
            mode: see `Sandbox`.
            limits: see `Sandbox`.
            model: see `Toolbox`.
            plugins: see `Toolbox`.
            max_text_chars: longest text of an observation.

        Raises:
            InputError: a name is no tool.
        """
        self.goal = goal
        self.tools = tuple(all_tools() if tools is None else tools)
        self.answer: str | None = None
        self.calls: list[tuple[Action, ToolResult]] = []
        self._files, self._judge = dict(files or {}), judge
        self._mode, self._limits = mode, limits
        self._options: dict[str, Any] = {"model": model, "plugins": plugins, "max_text_chars": max_text_chars}
        self._sandbox: Sandbox | None = None
        self._observation: Observation | None = None
        self._ending: str | None = None
        if unknown := next((name for name in self.tools if name not in all_tools()), None):
            raise InputError(f"tool {unknown!r} is unknown: choose of {', '.join(sorted(all_tools()))}")

    @property
    def spaces(self) -> frozenset[Space]:
        """Tools only."""
        return frozenset({Space.TOOLS})

    @property
    def is_done(self) -> bool:
        """True after a terminal action, and once code has given the answer."""
        return self._ending is not None

    @property
    def world_has_ended(self) -> bool:
        """True once code has given the answer, which ends the episode without a terminal action."""
        return self._ending == "final_answer"

    def reset(self) -> Observation:
        """A new scratch folder with the attached files; what was there before is removed.

        Raises:
            ExecutorError: at "reset", when a file is missing or cannot be put there.
        """
        self.close()
        self.answer, self.calls, self._ending = None, [], None
        try:
            self._sandbox = Sandbox(mode=self._mode, limits=self._limits)
            for name, content in self._files.items():
                self._sandbox.add(name, content.read_bytes() if isinstance(content, Path) else content)
            self._toolbox = Toolbox(self._sandbox, self.tools, **self._options)
        except (WorkbenchError, OSError) as error:
            self.close()
            raise ExecutorError("reset", f"the tools' world does not open ({error})") from None
        shown = next((name for name in self._files if name.lower().endswith(_IMAGES)), None)
        text = f"files: {', '.join(self._files)}" if self._files else "no files"
        self._observation = self._observe(text, [shown] if shown else [])
        return self._observation

    def observe(self) -> Observation:
        """What the last call gave; before the first the names of the attached files.

        Raises:
            ExecutorError: at "observe", before the first reset.
        """
        if self._observation is None:
            raise ExecutorError("observe", "no episode has begun: reset first")
        return self._observation

    def execute(self, action: Action) -> ExecutionResult:
        """Carries out a tool call, or takes the answer; `had_effect` is false for a call that failed.

        Raises:
            ExecutorError: at "execute": the episode has ended or not begun, or the action is malformed or no tool's.
        """
        if self.is_done:
            raise ExecutorError("execute", "the episode has ended: reset before acting again")
        problem = validate(action)
        if problem is not None:
            raise ExecutorError("execute", f"{action.type} cannot be carried out: {problem}")
        if not action.spec.spaces & self.spaces:
            raise ExecutorError("execute", f"a toolbox does not take {action.type}")
        if self._sandbox is None:
            raise ExecutorError("execute", "no episode has begun: reset first")
        if action.is_terminal:
            self._end(action.type, (action.content or "") if action.type == "finished" else None)
            return ExecutionResult(observation=self.observe(), message="the episode has ended")
        result = self._toolbox.call(action.name, action.arguments)
        self.calls.append((action, result))
        self._observation = self._observe(result.text, reversed(result.images))
        if result.answer is not None:
            self._end("final_answer", result.answer)
        return ExecutionResult(
            observation=self._observation, had_effect=result.ok, message="" if result.ok else result.text
        )

    def is_success(self) -> bool | None:
        """Whether the given answer is right: False without one, None where nobody can tell.

        Raises:
            ExecutorError: at "judge", when the judge raised.
        """
        if self._judge is None:
            return None
        if self.answer is None:
            return False
        try:
            return self._judge(self.answer)
        except Exception as error:  # a named boundary: whatever a judge raises is recorded
            raise ExecutorError("judge", f"{type(error).__name__}: {error}") from error

    def close(self) -> None:
        """Ends the sandbox and removes its files; what was seen last and the answer stay."""
        if self._sandbox is not None:
            self._sandbox.close()
            self._sandbox = None

    def _end(self, ending: str, answer: str | None) -> None:
        self._ending, self.answer = ending, answer
        self.close()

    def _observe(self, text: str, images: Iterable[str]) -> Observation:
        """The text beside the first of these images that can be read, else beside the image that was shown before."""
        line = " ".join(text.split())
        summary = line if len(line) <= MAX_SUMMARY_CHARS else line[: MAX_SUMMARY_CHARS - 1] + "…"
        seen = self._observation if self.calls else None
        image = None if seen is None else seen.image
        for path in images:
            try:
                image = self._toolbox.open_image(path)
                break
            except InputError:  # code may save anything under an image's name
                continue
        size = None if image is None else ImageSize(*image.size)
        return Observation(image=image, image_size=size, text=text, summary=summary)
