"""An evaluation that is not launched yet; it stands in the queue beside training runs and is watched like them."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from executors.errors import InputError, WorkbenchError
from executors.tool_agents import get_tool_agent
from training.benchmarks.baselines import BASELINES
from training.benchmarks.evaluation import read_settings
from training.benchmarks.offline import LEVELS
from training.benchmarks.offline_run import ORACLE_AGENT, SIMULATOR, OfflineSettings
from training.benchmarks.on_policy import TITLES, TOOLS, OnPolicySettings
from training.benchmarks.protocols import get_protocol
from training.benchmarks.tools import ORACLE
from training.benchmarks.watched import STAGE
from training.checkpoint import check_checkpoint
from training.planner import load_planner
from workbench.runs.checks import Check
from workbench.runs.draft import CPU, PROJECT, Draft, check_devices, check_name, python_words


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationDraft:
    """What is launched; has what the queue needs of a `Draft`, and is always one process."""

    settings: OfflineSettings | OnPolicySettings
    out: Path
    """The run folder, absolute; the results go to `settings.out`."""
    devices: tuple[str, ...] = (CPU,)
    after: str = ""
    """Id of the run that must be finished before; empty for none."""
    resume: bool = False
    """Whether it was started before; the command is the same, as an evaluation goes on where it was."""

    def __post_init__(self) -> None:
        check_devices(self.devices)
        check_name(self.out.name)

    @property
    def stage(self) -> str:
        """What stands in place of a training stage."""
        return STAGE

    @property
    def name(self) -> str:
        """The name of the run's folder."""
        return self.out.name

    @property
    def num_processes(self) -> int:
        """Always 1."""
        return 1

    @property
    def preset(self) -> str:
        """Always empty."""
        return ""

    def values(self) -> dict[str, Any]:
        """The settings as plain values."""
        return self.settings.to_json()

    def command(self) -> list[str]:
        """The argument list that is run, as it is run: no shell reads it."""
        words = ["-m", "training.cli", "evaluate", *self.settings.arguments()]
        return [*python_words(self.devices), *words, "--run", str(self.out)]

    def command_text(self) -> str:
        """`command` quoted for a POSIX shell, to be copied."""
        return f"cd {shlex.quote(str(PROJECT))} && {shlex.join(self.command())}"

    def files(self) -> dict[Path, str]:
        """Nothing is written before the command runs."""
        return {}

    def checks(self) -> list[Check]:
        """What can be told before launching, each with its reason; nothing is loaded and nothing is requested."""
        found = []
        if isinstance(self.settings, OnPolicySettings):
            own = (("benchmark", self._check_tasks), ("planner", self._check_planner))
        else:
            own = (
                ("benchmark", self._check_benchmark), ("planner", self._check_planner), ("data", self._check_data),
                ("tool agents", self._check_agents), ("numbers", self._check_numbers),
            )  # fmt: skip
        for name, check in (*own, ("output", self._check_output)):
            try:
                found.append(Check(name=name, level="ok", reason=check()))
            except WorkbenchError as error:
                found.append(Check(name=name, level="error", reason=str(error)))
        return found

    def _check_benchmark(self) -> str:
        protocol = get_protocol(self.settings.protocol)
        if self.settings.level not in LEVELS:
            raise InputError(f"level {self.settings.level!r} is not one of {', '.join(LEVELS)}")
        return f"{protocol.title}, version {protocol.version}"

    def _check_tasks(self) -> str:
        self.settings.check_tasks()
        return f"{TITLES[self.settings.benchmark]}: the planner acts until each task ends"

    def _check_planner(self) -> str:
        planner = self.settings.planner
        if isinstance(self.settings, OnPolicySettings):
            if planner == ORACLE and self.settings.benchmark == TOOLS:
                return "the tasks' own oracles"
            if planner in BASELINES:
                raise InputError(f"the baseline {planner!r} cannot act here: choose a checkpoint, or another benchmark")
        elif planner in BASELINES:
            return f"the built-in baseline {planner}"
        if not planner.strip() or planner.startswith(("openai:", "replay:")):
            load_planner(planner)
            return "its server or recording is named"
        source, is_local = check_checkpoint(planner)
        return f"{source} is whole" if is_local else f"{source} is not a folder here: the hub's is fetched"

    def _check_data(self) -> str:
        data, references = self.settings.data, self.settings.references
        if references is not None and not Path(references).exists():
            raise InputError(f"references {references!r} do not exist: check the path, or leave it empty")
        if data == SIMULATOR:
            return "recorded from the embedded world"
        if not Path(data).is_file():
            raise InputError(f"data {data!r} is not a file: give a trajectory file of `tracer1 import`, or {SIMULATOR}")
        return f"{data} is there"

    def _check_agents(self) -> str:
        agents = self.settings.tool_agents
        if not agents:
            raise InputError("no tool agent is chosen: choose one or more")
        for agent in agents:
            if agent != ORACLE_AGENT:
                get_tool_agent(agent)
        return ", ".join(agents)

    def _check_numbers(self) -> str:
        settings = self.settings
        least = {"num_episodes": 1, "horizon": 1, "history_length": 0, "batch_size": 1, "seed": 0}
        for name, fewest in least.items():
            value = getattr(settings, name)
            if value is not None and value < fewest:
                raise InputError(f"{name.replace('_', ' ')} {value} is not allowed: give at least {fewest}")
        return "all within their ranges"

    def _check_output(self) -> str:
        if not self.resume and self.out.exists() and any(self.out.iterdir()):
            raise InputError(f"{self.out} is already used: give the evaluation another name")
        if read_settings(self.settings.out) is not None:
            return f"{self.settings.out} holds an evaluation: one with the same settings goes on, another is refused"
        folder = next(path for path in _with_parents(self.settings.out) if path.exists())
        if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
            raise InputError(f"{folder} may not be written: start the app with another --evaluations")
        return f"{self.settings.out} can be made"

    def to_json(self) -> dict[str, Any]:
        """All of it as plain values; `from_json` reads them."""
        return {
            "stage": STAGE, "settings": self.settings.to_json(), "out": str(self.out), "devices": list(self.devices),
            "after": self.after, "resume": self.resume,
        }  # fmt: skip

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> EvaluationDraft:
        """The draft of `to_json`; raises InputError or KeyError for anything else."""
        return cls(
            settings=_read_settings(record["settings"]), out=Path(record["out"]),
            devices=tuple(record["devices"]), after=record["after"], resume=record["resume"],
        )  # fmt: skip


def _read_settings(record: dict[str, Any]) -> OfflineSettings | OnPolicySettings:
    return (OnPolicySettings if "benchmark" in record else OfflineSettings).from_json(record)


def _with_parents(path: Path) -> Iterator[Path]:
    yield path
    yield from path.parents


AnyDraft = Draft | EvaluationDraft
"""What the queue holds."""


def read_draft(record: dict[str, Any]) -> AnyDraft:
    """The draft of either kind's `to_json`; raises InputError or KeyError for anything else."""
    return EvaluationDraft.from_json(record) if record["stage"] == STAGE else Draft.from_json(record)
