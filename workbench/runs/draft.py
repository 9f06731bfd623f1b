"""A run that is not launched yet: stage, settings, folder and devices, and the one command that these make."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from executors.errors import InputError
from executors.files import expanded_path
from training.config import STAGES
from training.config_reading import from_dict, to_dict

if TYPE_CHECKING:
    from workbench.runs.checks import Check

PROJECT = Path(__file__).resolve().parent.parent.parent
"""Where runs are started, so that `python -m training.cli` is this project's."""
CPU = "cpu"
"""The one slot of a machine without a GPU; GPUs are "gpu0", "gpu1", ... in the driver's order."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
_DEVICE = re.compile(r"cpu|gpu(0|[1-9][0-9]{0,2})")


@dataclass(frozen=True, kw_only=True, slots=True)
class Draft:
    """What is launched; checked when it is made."""

    stage: str
    """A key of `training.config.STAGES`."""
    config: Any
    """The stage's config dataclass."""
    out: Path
    """The run folder, absolute; its name is the run's."""
    devices: tuple[str, ...] = (CPU,)
    """"cpu", or GPUs such as ("gpu0", "gpu1")."""
    num_processes: int = 1
    """Processes that share the work; several are started by `accelerate launch`."""
    preset: str = ""
    """The preset it began as; empty for none."""
    after: str = ""
    """Id of the run that must be finished before this one starts; empty for none."""
    resume: bool = False
    """Go on with the run in `out` under its own config."""

    def __post_init__(self) -> None:
        if self.stage not in STAGES:
            raise InputError(f"stage {self.stage!r} is unknown: choose one of {', '.join(STAGES)}")
        check_devices(self.devices)
        if not 1 <= self.num_processes <= 64:
            raise InputError(f"number of processes {self.num_processes!r} is not allowed: give 1..64")
        gpus = [device for device in self.devices if device != CPU]
        if gpus and self.num_processes != len(gpus):
            raise InputError(
                f"{self.num_processes} processes do not go with {len(gpus)} GPUs: give one process for each GPU"
            )

    @property
    def name(self) -> str:
        """The name of the run's folder."""
        return self.out.name

    def command(self) -> list[str]:
        """The argument list that is run, as it is run: no shell reads it.

        Every setting that differs from its default stands in it, so it can be pasted into a terminal; several
        processes also need `launch/accelerate.yaml` in the run folder (`files`), which launching writes.
        """
        words = python_words(self.devices)
        if self.num_processes > 1:
            words += ["-m", "accelerate.commands.accelerate_cli", "launch"]
            words += ["--config_file", str(self.out / "launch" / "accelerate.yaml"), "--module"]
        else:
            words += ["-m"]
        words += ["training.cli", "train", self.stage]
        if self.resume:
            return [*words, "--resume", str(self.out)]
        for key, value in changes(_default(self.stage), to_dict(self.config)).items():
            words += ["--set", f"{key}={_as_text(value)}"]
        return [*words, "--out", str(self.out)]

    def values(self) -> dict[str, Any]:
        """The settings as nested plain values."""
        return to_dict(self.config)

    def command_text(self) -> str:
        """`command` quoted for a POSIX shell, to be copied."""
        return f"cd {shlex.quote(str(PROJECT))} && {shlex.join(self.command())}"

    def files(self) -> dict[Path, str]:
        """What launching writes into the run folder before the command runs: path -> text; often nothing."""
        if self.num_processes == 1:
            return {}
        return {self.out / "launch" / "accelerate.yaml": yaml.safe_dump(self._accelerate(), sort_keys=False)}

    def _accelerate(self) -> dict[str, Any]:
        """The settings of `accelerate launch`, on this machine and through any free port."""
        return {
            "compute_environment": "LOCAL_MACHINE",
            "distributed_type": "MULTI_GPU",  # also for CPUs: only this one starts its processes by torchrun
            "num_machines": 1,
            "machine_rank": 0,
            "num_processes": self.num_processes,
            "mixed_precision": "no",  # the trainer sets its own
            "main_training_function": "main",
            "main_process_port": 0,
            "use_cpu": self.devices == (CPU,),
        }

    def checks(self) -> list[Check]:
        """What can be told before launching, each with its reason; nothing is loaded and nothing is requested."""
        from workbench.runs.checks import check_draft

        return check_draft(self)

    def to_json(self) -> dict[str, Any]:
        """All of it as plain values; `from_json` reads them."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {**fields, "config": to_dict(self.config), "out": str(self.out), "devices": list(self.devices)}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Draft:
        """The draft of `to_json`; raises InputError as `make_draft` does."""
        return cls(
            **{
                **record,
                "config": from_dict(STAGES[record["stage"]], record["config"]),
                "out": Path(record["out"]),
                "devices": tuple(record["devices"]),
            }
        )


def python_words(devices: tuple[str, ...]) -> list[str]:
    """The words that start this Python with these devices and no others in its sight."""
    visible = ",".join(device.removeprefix("gpu") for device in devices if device != CPU)
    return ["env", "CUDA_DEVICE_ORDER=PCI_BUS_ID", f"CUDA_VISIBLE_DEVICES={visible}", sys.executable]


def make_draft(stage: str, values: dict[str, Any], out: Path, **options: Any) -> Draft:
    """The draft of nested plain values, as a form or a file gives them; paths become absolute.

    Raises:
        InputError: an unknown stage, key or device, or a value that is not allowed.
    """
    if stage not in STAGES:
        raise InputError(f"stage {stage!r} is unknown: choose one of {', '.join(STAGES)}")
    check_name(out.name)
    return Draft(stage=stage, config=_absolute(from_dict(STAGES[stage], values)), out=out.absolute(), **options)


def check_name(name: str) -> str:
    """The name itself when it can name a run or a config; raises InputError otherwise."""
    if not _NAME.fullmatch(name) or name.endswith(".partial"):
        raise InputError(f"name {name!r} is not allowed: give 1..80 letters, digits, '.', '_' or '-', no '.' first")
    return name


def check_devices(devices: tuple[str, ...]) -> None:
    """Raises InputError unless these are ("cpu",) or different GPUs."""
    unknown = [device for device in devices if not _DEVICE.fullmatch(device)]
    if unknown or not devices:
        raise InputError(f"devices {list(devices)} are not allowed: give 'cpu', or GPUs such as 'gpu0'")
    if len(set(devices)) < len(devices) or (CPU in devices and len(devices) > 1):
        raise InputError(f"devices {list(devices)} do not go together: give 'cpu' alone, or each GPU once")


def changes(before: dict[str, Any], after: dict[str, Any], place: str = "") -> dict[str, Any]:
    """The values of `after` that are others than those of `before`, under dotted keys, groups of settings flattened.

    >>> changes({"a": 1, "b": {"c": 2, "d": 3}}, {"a": 1, "b": {"c": 5, "d": 3}})
    {'b.c': 5}
    """
    found: dict[str, Any] = {}
    for key, value in after.items():
        old = before.get(key)
        if isinstance(value, dict):
            found |= changes(old if isinstance(old, dict) else {}, value, f"{place}{key}.")
        elif key not in before or type(old) is not type(value) or old != value:
            found[f"{place}{key}"] = value
    return found


def _default(stage: str) -> dict[str, Any]:
    """The stage's settings as they are when none is given; a start checkpoint has no default."""
    cls = STAGES[stage]
    if stage == "sft":
        return to_dict(cls())
    values = to_dict(cls(model="-"))
    del values["model"]
    return values


def _as_text(value: Any) -> str:
    """The value as `--set` reads it."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return str(value)


def _absolute(config: Any) -> Any:
    """The config with the paths that exist here made absolute, for runs are started in the project's folder."""
    if config.data.path:
        path = str(expanded_path(config.data.path).absolute())
        config = dataclasses.replace(config, data=dataclasses.replace(config.data, path=path))
    model = expanded_path(config.model)
    if config.model and "\0" not in config.model and model.is_dir():
        config = dataclasses.replace(config, model=str(model.absolute()))
    return config
