"""First steps of tool samples, really carried out: in the world of the sample's task, after its recorded calls.

Only samples of tool tasks (`tracer1 record tools`) can be brought back so. Each distinct call runs once, in a sandbox
of its own, so that no completion sees what another one did.
"""

from __future__ import annotations

import json
from collections import OrderedDict

from executors.actions import Action
from executors.errors import ExecutorError, InputError
from executors.sandbox import SandboxLimits, bubblewrap_problem
from executors.tool_tasks import ToolTask, task_of_meta
from executors.toolbox.box import ToolResult
from executors.toolbox.registry import Need, all_tools
from executors.trajectory import Observation
from training.rewards import ToolOutcome
from training.samples import Sample

_MAX_KEPT = 4096
_LIMITS = SandboxLimits(wall_seconds=10.0)
"""A call of these tasks takes a second; what a policy tries may loop for ever."""


class ToolStepRunner:
    """Carries out calls in the states of samples and remembers what came of them."""

    def __init__(self) -> None:
        """Nothing has been run yet."""
        self._kept: OrderedDict[tuple[str, str], ToolOutcome | ExecutorError] = OrderedDict()

    def task(self, sample: Sample) -> ToolTask | None:
        """The tool task that the sample was recorded on; None when it is of none, or of one that is not known here."""
        try:
            return task_of_meta(sample.meta)
        except InputError:
            return None

    def outcome(self, sample: Sample, action: Action) -> ToolOutcome | ExecutorError:
        """What a tool call gives in the sample's state; the error when state or tool cannot be had here."""
        key = (sample.id, json.dumps(action.to_json(), sort_keys=True))
        if key not in self._kept:
            try:
                self._kept[key] = self._run(sample, action)
            except ExecutorError as error:
                self._kept[key] = error
            if len(self._kept) > _MAX_KEPT:
                self._kept.popitem(last=False)
        return self._kept[key]

    def _run(self, sample: Sample, action: Action) -> ToolOutcome:
        executor = self.task(sample).open(limits=_LIMITS)
        try:
            seen = executor.reset()
            for item in sample.history:
                seen = executor.execute(item.action).observation
            if seen.text != sample.observation.text:
                raise ExecutorError("restore", f"the tools give another state than was recorded in {sample.id}")
            made = executor.execute(action)
            result = executor.calls[-1][1]
            if _is_not_here(action.name, result):
                raise ExecutorError("execute", result.text)
            pixels = _pixels(made.observation) if result.images else None
            return ToolOutcome(made.observation.text or "", made.had_effect, pixels)
        finally:
            executor.close()


def _is_not_here(name: str, result: ToolResult) -> bool:
    """Whether a tool lacks its program or the sandbox, unlike model-written code that imports what there is not."""
    if result.kind != "unavailable":
        return False
    return all_tools()[name].needs is not Need.SANDBOX or bubblewrap_problem() is not None


def _pixels(seen: Observation) -> tuple[tuple[int, int], bytes] | None:
    return None if seen.image is None else (seen.image.size, seen.image.tobytes())
