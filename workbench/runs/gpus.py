"""The machine's devices and load, by NVML and psutil. A machine without an NVIDIA driver has one CPU slot."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import psutil

_lock = Lock()
_is_started: bool | None = None


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
    process_bytes: tuple[tuple[int, int], ...] = ()
    """(process id, bytes) of what computes on it; 0 bytes where the driver does not tell."""

    @property
    def free_bytes(self) -> int:
        """Memory that nothing has taken."""
        return self.total_bytes - self.used_bytes


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
    """1.0 is one core; the mean since the processes were last looked at, or began."""
    ram_bytes: int
    gpu_bytes: int


def read_machine(folder: Path) -> Machine:
    """The machine now; the disk is that of `folder` or its nearest parent that exists.

    Never raises for a missing driver: then there are no GPUs.
    """
    memory = psutil.virtual_memory()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    disk = psutil.disk_usage(str(folder))
    return Machine(
        gpus=read_gpus(),
        cpu_share=psutil.cpu_percent() / 100,
        num_cores=os.cpu_count() or 1,
        ram_total_bytes=memory.total,
        ram_used_bytes=memory.total - memory.available,
        disk_total_bytes=disk.total,
        disk_free_bytes=disk.free,
    )


def read_gpus() -> tuple[Gpu, ...]:
    """The NVIDIA GPUs in the driver's order; none where there is no driver."""
    try:
        import pynvml

        _start(pynvml)
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        return tuple(_read_gpu(pynvml, i, handle) for i, handle in enumerate(handles))
    except (ImportError, OSError):
        return ()
    except pynvml.NVMLError:
        return ()


def _start(pynvml: Any) -> None:
    """Opens the driver once; raises NVMLError at once when it was not there the first time."""
    global _is_started
    with _lock:
        if _is_started is None:
            _is_started = False
            pynvml.nvmlInit()
            _is_started = True
        elif not _is_started:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_UNINITIALIZED)


def _read_gpu(pynvml: Any, index: int, handle: Any) -> Gpu:
    def told(read: Callable[..., Any], *args: Any) -> Any:
        with contextlib.suppress(pynvml.NVMLError):
            return read(handle, *args)
        return None

    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    load = told(pynvml.nvmlDeviceGetUtilizationRates)
    power, limit = told(pynvml.nvmlDeviceGetPowerUsage), told(pynvml.nvmlDeviceGetEnforcedPowerLimit)
    processes = told(pynvml.nvmlDeviceGetComputeRunningProcesses) or []
    name = pynvml.nvmlDeviceGetName(handle)
    return Gpu(
        device=f"gpu{index}",
        name=name.decode() if isinstance(name, bytes) else name,
        total_bytes=memory.total,
        used_bytes=memory.used,
        load_share=None if load is None else load.gpu / 100,
        temperature_celsius=told(pynvml.nvmlDeviceGetTemperature, pynvml.NVML_TEMPERATURE_GPU),
        power_watts=None if power is None else power / 1000,
        power_limit_watts=None if limit is None else limit / 1000,
        process_bytes=tuple((process.pid, process.usedGpuMemory or 0) for process in processes),
    )


def read_load(processes: list[psutil.Process]) -> RunLoad:
    """What these processes use now, without those that ended meanwhile."""
    cpu = 0.0
    ram = 0
    alive = set()
    for process in processes:
        with contextlib.suppress(psutil.Error):
            cpu += process.cpu_percent() / 100
            ram += process.memory_info().rss
            alive.add(process.pid)
    used = [size for gpu in read_gpus() for pid, size in gpu.process_bytes if pid in alive]
    return RunLoad(num_processes=len(alive), cpu_share=cpu, ram_bytes=ram, gpu_bytes=sum(used))
