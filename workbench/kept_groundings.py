"""Where the steps of forecasts are on their screens, found once and kept: drawing asks no server.

A tool agent that is a model at a server may take seconds and fail. A live episode asks it when a forecast has come, in
its own thread; pages draw what was found then, as often as they like. What was never asked for is not drawn.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import lru_cache
from pathlib import Path
from threading import Lock

from executors.actions import Action
from executors.errors import ExecutorError
from executors.tool_agents import Grounding, ToolAgent, get_tool_agent
from executors.trajectory import Observation, load_screenshot
from workbench.screens import screen_hash

MAX_KEPT = 4096


class KeptGroundings:
    """A tool agent and what it has found so far; itself an agent that asks, and remembers."""

    def __init__(self, agent: ToolAgent) -> None:
        self.name, self._agent = agent.name, agent
        self._kept: OrderedDict[tuple[str, Action, str], Grounding | ExecutorError] = OrderedDict()
        self._lock = Lock()
        self.drawing = _Drawing(self)

    def ground(self, observation: Observation, action: Action, instruction: str) -> Grounding:
        """The agent's, asked now; a failure is kept too, until it is asked again."""
        try:
            found: Grounding | ExecutorError = self._agent.ground(observation, action, instruction)
        except ExecutorError as error:
            found = error
        with self._lock:
            self._kept[_key(observation, action, instruction)] = found
            while len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)
        return _value(found)

    def kept(self, observation: Observation, action: Action, instruction: str) -> Grounding:
        """What was found when it was asked; raises ExecutorError when that failed or was never asked."""
        with self._lock:
            found = self._kept.get(_key(observation, action, instruction))
        if found is None:
            raise ExecutorError("ground", f"{self.name} was not asked where this is on this screen")
        return _value(found)


class _Drawing:
    """What pages draw with: an agent that only remembers."""

    def __init__(self, groundings: KeptGroundings) -> None:
        self.name, self.ground = groundings.name, groundings.kept


@lru_cache(maxsize=16)
def kept_groundings(spec: str) -> KeptGroundings:
    """The one store of a specification's agent; raises InputError as `get_tool_agent`."""
    return KeptGroundings(get_tool_agent(spec))


def acting_agent(spec: str) -> ToolAgent:
    """The agent that grounds what is carried out."""
    return kept_groundings(spec) if "@" in spec else get_tool_agent(spec)


def drawing_agent(spec: str) -> ToolAgent:
    """The agent that pages draw with: one in this process is asked anew, one at a server never."""
    return kept_groundings(spec).drawing if "@" in spec else get_tool_agent(spec)


def _key(observation: Observation, action: Action, instruction: str) -> tuple[str, Action, str]:
    if observation.image is None and observation.image_path is not None:
        return _digest_of_file(observation.image_path), action, instruction
    image = observation.image
    return ("" if image is None else screen_hash(image)), action, instruction


@lru_cache(maxsize=512)
def _digest_of_file(path: Path) -> str:
    """Screens are stored under the hash of their pixels, so a file never changes."""
    return screen_hash(load_screenshot(path))


def _value(found: Grounding | ExecutorError) -> Grounding:
    if isinstance(found, ExecutorError):
        raise found
    return found
