"""Templates, tasks and moves of tool use, the oracle's next move, and whether an answer is right.

A template's solution is a generator: it yields the next call, is sent what the call gave, and returns the answer. So
the oracle works from any state, since calls that have been made are answered from what they gave.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from executors.actions import Action
from executors.errors import ExecutorError
from executors.sandbox import bubblewrap_problem
from executors.tool_world import ToolExecutor
from executors.toolbox.box import ToolResult

if TYPE_CHECKING:
    from PIL.Image import Image

TOOLS = ("Calculator", "Solver", "OCR", "FileInspector", "ImageCrop", "ImageMeasure", "DrawBox", "AddText", "python")
"""What may be called in every task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """What is to be done next: the action, in words, and what is known by now (empty: what is seen says it all)."""

    action: Action
    instruction: str
    thought: str = ""


Solution = Generator[Move, str, str]
"""Yields calls, is sent the text that each gave, returns the answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a template makes of chance.

    `shows` also looks at the image that is seen at the end, in tasks that ask for one; None in others.
    """

    goal: str
    files: Mapping[str, bytes] = field(repr=False)
    answer: str
    solve: Callable[[], Solution] = field(repr=False)
    shows: Callable[[Image], bool] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolTemplate:
    """One kind of task.

    `num_calls` is how many tools the oracle calls before it answers; `kind` is "train" or "task_unseen"; `needs` are a
    program ("tesseract"), "sandbox" (model-written code) and libraries that it cannot do without.
    """

    name: str
    num_calls: int
    make: Callable[[random.Random], Plan] = field(repr=False, compare=False)
    kind: str = "train"
    needs: tuple[str, ...] = ()

    @property
    def missing(self) -> str | None:
        """What of its needs is not here, with the next step; None when all is."""
        for need in self.needs:
            if need == "tesseract":
                if shutil.which(need) is None:
                    return "the program tesseract is not installed (Debian, Ubuntu: apt-get install tesseract-ocr)"
            elif need == "sandbox":
                if (problem := bubblewrap_problem()) is not None:
                    return problem
            elif find_spec(need) is None:
                return f"the library {need} is not installed: pip install -e '.[tools]'"
        return None


@dataclass(frozen=True, kw_only=True)
class ToolTask:
    """One task: a template filled by a seed."""

    template: ToolTemplate
    split: str
    seed: int
    plan: Plan = field(repr=False, compare=False)

    @property
    def id(self) -> str:
        """"tools-TEMPLATE-SPLIT-SEED"."""
        return f"tools-{self.template.name}-{self.split}-{self.seed}"

    @property
    def goal(self) -> str:
        """The goal in words."""
        return self.plan.goal

    @property
    def meta(self) -> dict[str, Any]:
        """What a record keeps, so that the task can be made again (`task_of_meta`)."""
        return {"env": "tools", "task": self.template.name, "split": self.split, "seed": self.seed,
                "tools": list(TOOLS)}  # fmt: skip

    def open(self, **options: Any) -> ToolExecutor:
        """The task's world; see `ToolExecutor` for options."""

        def judge(answer: str) -> bool:
            return self.is_right(answer, world.observe().image)

        world = ToolExecutor(self.goal, self.plan.files, tools=TOOLS, judge=judge, **options)
        return world

    def is_right(self, answer: str, image: Image | None = None) -> bool:
        """Whether this answer is the task's, and the image seen at the end what it asks for, if it asks for one."""
        is_shown = self.plan.shows is None or image is not None and self.plan.shows(image)
        return is_right(answer, self.plan.answer) and is_shown


def is_right(answer: str, truth: str) -> bool:
    """Whether two answers are the same number, or else the same text without regard to case, spaces and a last stop.

    >>> is_right("48.0", "48"), is_right(" Rome. ", "rome"), is_right("48 euros", "48")
    (True, True, False)
    """
    answer, truth = (" ".join(text.split()).removesuffix(".").casefold() for text in (answer, truth))
    try:
        return float(answer) == float(truth)
    except ValueError:
        return answer == truth


def call(tool: str, instruction: str, thought: str = "", **arguments: Any) -> Move:
    """The move that calls a tool."""
    return Move(action=Action(type="tool_call", name=tool, arguments=arguments), instruction=instruction,
                thought=thought)  # fmt: skip


def next_move(task: ToolTask, past: Sequence[tuple[Action, ToolResult]]) -> Move:
    """What the oracle does in a world where these calls were made, in any order and among others.

    Raises:
        ExecutorError: at "plan", when what a tool gave holds not what the task needs, such as letters read wrongly.
    """
    given = {_key(action): result.text for action, result in past if result.ok}
    solution = task.plan.solve()
    try:
        move = next(solution)
        while (text := given.get(_key(move.action))) is not None:
            move = solution.send(text)
        return move
    except StopIteration as end:
        return Move(action=Action(type="finished", content=end.value), instruction="give the answer",
                    thought=f"the answer is {end.value}")  # fmt: skip
    except (LookupError, ValueError, TypeError) as error:
        raise ExecutorError("plan", f"the oracle of {task.template.name} cannot go on ({error!r})") from None


def next_moves(task: ToolTask, past: Sequence[tuple[Action, ToolResult]], count: int) -> tuple[Move, ...]:
    """What the oracle does in such a world and after that, at most `count` moves.

    What its calls will give is known from having solved the task once, in a world of its own; where that says nothing
    of a call, the moves end with it.

    Raises:
        ExecutorError: at "plan", as `next_move`; or no world opens.
    """
    known = {_key(action): (action, result) for action, result in solved(task)}
    calls, moves = list(past), []
    while len(moves) < count:
        moves.append(next_move(task, calls))
        made = known.get(_key(moves[-1].action))
        if moves[-1].action.is_terminal or made is None:
            break
        calls.append(made)
    return tuple(moves)


@lru_cache(maxsize=64)
def solved(task: ToolTask) -> tuple[tuple[Action, ToolResult], ...]:
    """The oracle's calls and what came of them, up to the first that fails."""
    world = task.open()
    try:
        world.reset()
        while not world.is_done and (not world.calls or world.calls[-1][1].ok):
            world.execute(next_move(task, world.calls).action)
        return tuple(world.calls)
    finally:
        world.close()


def _key(action: Action) -> str:
    return json.dumps([action.name, dict(action.arguments or {})], sort_keys=True)
