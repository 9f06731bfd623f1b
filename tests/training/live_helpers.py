"""Parts for tests of live benchmarks: a planner with a script for each goal, and OSWorld's environment in small."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from PIL import Image

from executors.actions import Action
from executors.errors import ExecutorError
from executors.geometry import PointNorm
from training.config import ForecastConfig
from training.forecast import Forecast, ForecastStep
from training.planner import PlanRequest

CENTER = PointNorm(0.5, 0.5)
FINISHED = Action(type="finished")


class GoalPlanner:
    """Does for each goal the actions of its script, one by one; each forecast holds all that are left.

    An entry may also be an ExecutorError, or a text that stands for an unreadable reply; the last entry repeats.
    """

    name, config = "script", ForecastConfig()

    def __init__(self, scripts: Mapping[str, Sequence[Action | ExecutorError | str]]) -> None:
        self.scripts, self.asked = scripts, []
        self.count: dict[str, int] = {}

    def forecast(self, requests: Sequence[PlanRequest]) -> list[Forecast]:
        return [self._one(request) for request in requests]

    def _one(self, request: PlanRequest) -> Forecast:
        script = self.scripts[request.goal]
        at = len(request.history)
        self.asked.append((request.goal, at))
        left = list(script[at:] or script[-1:])
        if isinstance(left[0], ExecutorError):
            raise left[0]
        if isinstance(left[0], str):
            return Forecast(steps=(), reason="no step", kind="structural", raw=left[0])
        steps = tuple(ForecastStep(action=a, instruction=f"do {a.type}") for a in left if isinstance(a, Action))
        return Forecast(steps=steps, raw=f"{len(steps)} steps for {request.goal}")


class DesktopEnv:
    """OSWorld's class in small, with its contract (desktop-env 1.0.2): commands change a picture, unless they only move
    the pointer.

    What a task's "config" asks for: {"type": "broken"} is a setup that fails. Its evaluator's "func" is "infeasible",
    "commands" (the score is 1 when the commands hold "expected"), "value" (that is the score) or "raises".
    """

    def __init__(
        self, provider_name: str = "vmware", region: str | None = None, path_to_vm: str | None = None,
        snapshot_name: str = "init_state", action_space: str = "pyautogui", cache_dir: str = "cache",
        screen_size: tuple[int, int] = (1920, 1080), headless: bool = False, require_a11y_tree: bool = True,
        require_terminal: bool = False, os_type: str = "Ubuntu", enable_proxy: bool = False, client_password: str = "",
    ) -> None:  # fmt: skip
        assert action_space == "pyautogui"
        self.screen_size = screen_size
        self.is_environment_used = False
        self.action_history: list[str] = []
        self.num_effects, self.num_resets, self.is_closed = 0, 0, False
        self.task: Mapping[str, Any] = {}
        self.is_blind = False

    def reset(self, task_config: Mapping[str, Any] | None = None, seed=None, options=None) -> dict[str, Any]:
        self.is_environment_used = False
        self.action_history.clear()
        self.num_effects, self.task = 0, task_config
        self.num_resets += 1
        if task_config["config"] and task_config["config"][0]["type"] != "broken":
            self.is_environment_used = True
        return self._get_obs()

    def _get_obs(self) -> dict[str, Any]:
        picture = Image.new("RGB", (64, 48), (self.num_effects % 256, 100, 0))
        data = io.BytesIO()
        picture.save(data, format="PNG")
        screenshot = None if self.is_blind else data.getvalue()
        return {"screenshot": screenshot, "accessibility_tree": None, "terminal": None,
                "instruction": self.task["instruction"]}  # fmt: skip

    def step(self, action: str, pause: float = 2) -> tuple[dict[str, Any], float, bool, dict[str, Any]]:
        self.is_environment_used = True
        self.action_history.append(action)
        if action == "WAIT":
            time.sleep(pause)
        elif action not in ("DONE", "FAIL"):
            compile(action, "command", "exec")
            self.num_effects += "moveTo" not in action
            self.is_blind = "blind" in action
        time.sleep(pause)
        is_done = action in ("DONE", "FAIL")
        return self._get_obs(), 0, is_done, {action.lower(): True} if is_done else {}

    def evaluate(self) -> float:
        print("a getter of OSWorld prints")
        evaluator = self.task["evaluator"]
        is_fail = self.action_history[-1:] == ["FAIL"]
        if evaluator["func"] == "infeasible":
            return int(is_fail)
        if is_fail:
            return 0
        if evaluator["func"] == "raises":
            raise KeyError("the metric's own mistake")
        if evaluator["func"] == "value":
            return evaluator["expected"]
        return float(evaluator["expected"] in " ".join(self.action_history))

    def close(self) -> None:
        self.is_closed = True


def osworld_task(id: str, func: str = "commands", expected: Any = "", config: Sequence[Mapping[str, Any]] = ()) -> dict:
    """A task in OSWorld's JSON form, for `DesktopEnv` of this module."""
    return {"id": id, "snapshot": "init", "instruction": f"goal of {id}", "source": "test", "config": list(config),
            "trajectory": "trajectories/", "related_apps": ["test"], "evaluator": {"func": func, "expected": expected},
            "proxy": False}  # fmt: skip


def opened(make: Callable[[], DesktopEnv] = DesktopEnv) -> tuple[Callable[[], DesktopEnv], list[DesktopEnv]]:
    """What opens environments, and those that it has opened."""
    envs: list[DesktopEnv] = []

    def open_env() -> DesktopEnv:
        envs.append(make())
        return envs[-1]

    return open_env, envs
