"""The planner's prompt: goal, text history and screenshot as chat messages.

Two styles. "compact" is for planners trained from nothing in this project: a few words, the same every time. "full"
explains task, action space and grammar to a model that has never seen them (assets/prompts/planner_full.txt, and
planner_tools.txt where only tools can be called: the one place where a planner is told which tools there are).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from executors.actions import Action, Space, format_call, prompt_text
from executors.chat_server import without_half_characters
from executors.geometry import get_family
from executors.toolbox.registry import prompt_text as tools_text
from executors.trajectory import Observation, Step
from training.config import ForecastConfig
from training.forecast import without_points

_PROMPTS = Path(__file__).resolve().parent.parent / "assets" / "prompts"


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryItem:
    """One past step as the planner remembers it: the screen's short summary, the action, its instruction."""

    summary: str
    action: Action
    instruction: str

    @classmethod
    def of_step(cls, step: Step) -> HistoryItem:
        """The memory of a recorded step; the screenshot is left behind."""
        return cls(summary=step.observation.summary, action=step.action, instruction=step.instruction)


def build_messages(
    goal: str,
    history: Sequence[HistoryItem],
    observation: Observation,
    config: ForecastConfig,
    *,
    spaces: frozenset[Space],
    horizon: int | None = None,
    tools: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """Chat messages in the transformers form; the screenshot is one {"type": "image"} part before the text.

    Args:
        goal: the user's instruction.
        history: all past steps, oldest first; only the last K (`config.history_length`) are told.
        observation: what is seen now; its `text` (a tool's answer) is told when there is one.
        config: horizon, K, style and coordinate frame.
        spaces: the action spaces of the device; only the full style lists them.
        horizon: T to ask for, when not the config's (1 for a reactive planner).
        tools: names of the tools that may be called; only the full style describes them.
    """
    steps = horizon or config.horizon
    recent = history[-config.history_length :] if config.history_length else []
    if config.prompt_style == "compact":
        text = _compact_text(goal, recent, observation, steps)
    else:
        text = _full_text(goal, recent, len(history), observation, config, spaces, steps, tools)
    content: list[dict[str, Any]] = [{"type": "text", "text": without_half_characters(text)}]
    if observation.image_size is not None:
        content.insert(0, {"type": "image"})
    return [{"role": "user", "content": content}]


def _compact_text(goal: str, recent: Sequence[HistoryItem], observation: Observation, num_steps: int) -> str:
    done = " ; ".join(f"[{item.summary}] {item.instruction}" for item in recent) or "nothing"
    seen = f"\nSeen: {observation.text}" if observation.text else ""
    return f"Goal: {goal}\nDone: {done}{seen}\nSteps: {num_steps}"


def _full_text(
    goal: str,
    recent: Sequence[HistoryItem],
    num_past: int,
    observation: Observation,
    config: ForecastConfig,
    spaces: frozenset[Space],
    num_steps: int,
    tools: Sequence[str],
) -> str:
    first = num_past - len(recent) + 1
    is_framed = observation.image_size is not None or get_family(config.family).scale is not None
    lines = []
    for number, item in enumerate(recent, start=first):
        action = item.action if is_framed else without_points(item.action)  # no screenshot, no pixels to count
        call = format_call(action, family=config.family, image=observation.image_size)
        lines.append(f"Step {number}: [{item.summary}] {call} | {item.instruction}")
    template = "planner_tools" if spaces == {Space.TOOLS} else "planner_full"
    return _template(template).format(
        goal=goal,
        history="\n".join(lines) or "nothing yet",
        seen=f"\nTool output:\n{observation.text}\n" if observation.text else "",
        actions=prompt_text(*spaces, with_points=config.with_points),
        horizon=num_steps,
        tools=f"\nTools you can call:\n{tools_text(tools)}\n" if tools else "",
    )


@cache
def _template(name: str) -> str:
    return (_PROMPTS / f"{name}.txt").read_text(encoding="utf-8")
