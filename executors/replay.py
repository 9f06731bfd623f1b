"""A recorded trajectory as a device: the screens come as they were recorded, whatever is done."""

from __future__ import annotations

from executors.actions import Action, Space, validate
from executors.errors import ExecutorError, InputError
from executors.executor import ExecutionResult
from executors.trajectory import Observation, Trajectory

_SPACES = {
    "phone": frozenset({Space.MOBILE}),
    "desktop": frozenset({Space.COMPUTER}),
    "browser": frozenset({Space.BROWSER}),
    "tools": frozenset({Space.TOOLS}),
}


class ReplayExecutor:
    """Walks through a trajectory's observations; any action leads to the next one.

    The last step's observation stays after the last action. There is no judge: `is_success` is None.
    """

    def __init__(self, trajectory: Trajectory) -> None:
        """A device at the first step.

        Raises:
            InputError: the trajectory has no steps.
        """
        if not trajectory.steps:
            raise InputError(f"trajectory {trajectory.id!r} has no steps: choose another to replay")
        self.trajectory = trajectory
        self.reset()

    @property
    def spaces(self) -> frozenset[Space]:
        """The action space of the trajectory's platform; all spaces when the platform is not known."""
        return _SPACES.get(self.trajectory.platform, frozenset(Space))

    @property
    def goal(self) -> str:
        """The recorded goal."""
        return self.trajectory.goal

    @property
    def is_done(self) -> bool:
        """True once every recorded step has been passed, or after a terminal action."""
        return self._is_ended or self.num_passed >= len(self.trajectory.steps)

    def reset(self) -> Observation:
        """Goes back to the first step."""
        self.num_passed = 0
        self._is_ended = False
        return self.observe()

    def observe(self) -> Observation:
        """The recorded observation of the present step."""
        index = min(self.num_passed, len(self.trajectory.steps) - 1)
        return self.trajectory.steps[index].observation

    def execute(self, action: Action) -> ExecutionResult:
        """Goes on to the next recorded step, whatever the action; `message` compares it with the recorded one.

        Raises:
            ExecutorError: boundary "execute": the recording has ended, or the action is malformed or of another kind of
                device than was recorded.
        """
        if self.is_done:
            raise ExecutorError("execute", "the recording has ended: reset before acting again")
        problem = validate(action, need_targets=False)
        if problem is not None:
            raise ExecutorError("execute", f"{action.type} cannot be replayed: {problem}")
        recorded = self.trajectory.steps[self.num_passed].action
        if not action.spec.spaces & self.spaces and action.type != recorded.type:
            raise ExecutorError("execute", f"a recorded {self.trajectory.platform} does not take {action.type}")
        self.num_passed += 1
        self._is_ended = action.is_terminal
        is_same = action.type == recorded.type
        verdict = f"the recorded action is {recorded.type}{' too' if is_same else ''}"
        message = f"the screens are recorded and do not answer to {action.type}: {verdict}"
        return ExecutionResult(observation=self.observe(), had_effect=is_same, message=message)

    def is_success(self) -> None:
        """None: a recording cannot judge."""
        return None

    def close(self) -> None:
        """Nothing to release."""
