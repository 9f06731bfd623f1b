"""The machine's devices and load, by NVML and psutil. A machine without an NVIDIA driver has one CPU slot."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Gpu:
    """One GPU now; what the driver does not tell is None."""

    device: str
    """"gpu0", ..."""
    name: str
    total_bytes: int
    used_bytes: int
    load_share: float | None = None
    """0..1"""
    temperature_celsius: float | None = None
    power_watts: float | None = None
    power_limit_watts: float | None = None
    process_ids: tuple[int, ...] = ()
    """Processes that compute on it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """The whole machine now."""

    gpus: tuple[Gpu, ...]
    cpu_share: float
    """Load of all cores since the last look, 0..1."""
    num_cores: int
    ram_total_bytes: int
    ram_used_bytes: int
    disk_total_bytes: int
    disk_free_bytes: int

    @property
    def devices(self) -> tuple[str, ...]:
        """The devices that runs may take: the GPUs and the CPU slot."""
        return (*(gpu.device for gpu in self.gpus), "cpu")


@dataclass(frozen=True, kw_only=True, slots=True)
class RunLoad:
    """What the processes of one run use now."""

    num_processes: int
    cpu_share: float
    """1.0 is one core."""
    ram_bytes: int
    gpu_bytes: int


def read_machine(folder: Path) -> Machine:
    """The machine now; the disk is that of `folder`. Never raises for a missing driver: then there are no GPUs."""
    raise NotImplementedError
