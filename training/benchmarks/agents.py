"""The planner and its tool agent as an agent in another project's own loop: OSWorld's `predict`, AndroidWorld's `step`.

Both run the same `Episode` as everything else here, half a step at a time. They never give up by themselves: after a
reply that cannot be read, a target that is not found or a server that fails they let a step pass and ask again, until
the loop's own limit. So a failure of ours is never taken for FAIL, which earns OSWorld's tasks that cannot be done.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from executors.actions import Action, Space
from executors.android_world import AndroidWorldExecutor, PhoneInProcess
from executors.errors import InputError
from executors.executor import ExecutionResult
from executors.osworld import read_observation
from executors.pyautogui_code import to_command
from executors.tool_agents import ToolAgent
from executors.trajectory import Observation
from training.episode_record import StepRecord
from training.plan_act import Episode
from training.planner import Planner

_WITHOUT_END = 10**9


class OSWorldAgent:
    """The agent that OSWorld's runner (`lib_run_single`) asks once per step; give it to that runner as it is."""

    action_space = "pyautogui"
    observation_type = "screenshot"

    def __init__(self, planner: Planner, tool_agent: ToolAgent | None = None, *, reactive: bool = False) -> None:
        """Nothing is asked yet.

        Args:
            planner: who forecasts.
            tool_agent: who grounds; None takes the element tree's, for planners that write points themselves.
            reactive: ask for one step at a time.
        """
        self._planner, self._tool_agent, self._reactive = planner, tool_agent, reactive
        self._screen: _OthersScreen | None = None
        self._episode: Episode | None = None

    def reset(self, *_: Any, **__: Any) -> None:
        """Forgets the last task; runners give a logger and more, which are not needed."""
        self._screen = self._episode = None

    def predict(self, instruction: str, obs: Mapping[str, Any]) -> tuple[str, list[str]]:
        """(the step with its whole forecast as JSON, one command).

        Whether the step before it had an effect is known only now: "previous_had_effect".

        Args:
            instruction: the task's.
            obs: OSWorld's observation.

        Raises:
            ExecutorError: at "observe", when the observation has no screenshot.
        """
        seen = read_observation(obs)
        had_effect = None
        if self._episode is None:
            self._screen = _OthersScreen(seen)
            self._episode = _endless(self._screen, self._planner, self._tool_agent, instruction, self._reactive)
        else:
            self._episode.see(seen)
            had_effect = self._episode.steps[-1].had_effect
        self._screen.show(seen)
        step = _take_step(self._episode)
        command = self._screen.command or "WAIT"
        told = {"command": command, "previous_had_effect": had_effect, **step.to_json(None)}
        return json.dumps(told), [command]  # escapes only: half a surrogate pair has no UTF-8 form


class _OthersScreen:
    """A device on which somebody else carries out what is asked for, after the step."""

    spaces = frozenset({Space.COMPUTER})
    goal = ""

    def __init__(self, seen: Observation) -> None:
        self.show(seen)

    def show(self, seen: Observation) -> None:
        self._seen, self.command = seen, ""

    def reset(self) -> Observation:
        return self._seen

    observe = reset

    def execute(self, action: Action) -> ExecutionResult:
        self.command = to_command(action, self._seen.image_size)
        return ExecutionResult(observation=self._seen)

    def is_success(self) -> None:
        return None

    def close(self) -> None:
        return None


def android_world_agent(
    env: Any, planner: Planner, tool_agent: ToolAgent | None = None, *, reactive: bool = False, name: str = "tracer1"
) -> Any:
    """An agent for AndroidWorld's own runner (`suite_utils.run`), a child of its EnvironmentInteractingAgent.

    Its steps tell the whole forecast in their data. `done` is true after a terminal action alone. Between an action and
    the look at it, the runner's `transition_pause` holds; None waits until the screen is at rest.

    Args:
        env: AndroidWorld's AsyncEnv.
        planner: who forecasts.
        tool_agent: who grounds; None takes the element tree's, for which AndroidWorld gives the elements.
        reactive: ask for one step at a time.
        name: how AndroidWorld's results call it.

    Raises:
        InputError: AndroidWorld is not installed.
    """
    try:
        from android_world.agents import base_agent
    except ImportError as error:
        raise InputError(
            f"AndroidWorld cannot be imported ({error}): install it from github.com/google-research/android_world"
        ) from None

    class Agent(base_agent.EnvironmentInteractingAgent):
        """One episode after another."""

        def __init__(self) -> None:
            super().__init__(env, name, transition_pause=None)
            self._episode: Episode | None = None

        def reset(self, go_home: bool = False) -> None:
            super().reset(go_home)
            self._close()

        def step(self, goal: str) -> base_agent.AgentInteractionResult:
            if self._episode is None:
                phone = PhoneInProcess(env=self.env, goal=goal, get_state=self.get_post_transition_state)
                self._episode = _endless(AndroidWorldExecutor(phone), planner, tool_agent, goal, reactive)
            if self._episode.is_done:  # its phone could not be seen any more
                return base_agent.AgentInteractionResult(False, {"errors": list(self._episode.errors)})
            device: AndroidWorldExecutor = self._episode.executor
            device.sent = []
            step = _take_step(self._episode)
            is_done = step.error is None and step.action is not None and step.action.is_terminal
            return base_agent.AgentInteractionResult(is_done, {"actions": device.sent, **step.to_json(None)})

        def _close(self) -> None:
            if self._episode is not None:
                self._episode.executor.close()
                self._episode = None

    return Agent()


def _endless(device: Any, planner: Planner, tool_agent: ToolAgent | None, goal: str, reactive: bool) -> Episode:
    episode = Episode(
        device, planner, tool_agent=tool_agent, goal=goal, reactive=reactive, max_steps=_WITHOUT_END,
        max_failures=_WITHOUT_END, parse_tries=_WITHOUT_END,
    )  # fmt: skip
    episode.start()
    return episode


def _take_step(episode: Episode) -> StepRecord:
    """One step of the episode; its screenshot is let go, as hours of them fill the memory."""
    step = episode.steps[-1] if episode.plan() is None else episode.act()
    episode.steps[-1] = replace(step, observation=replace(step.observation, image=None))
    return step
