"""What the machine has; the driver is a hand-written stand-in, for machines that test have none."""

import sys
import types

import pytest

from workbench.runs import gpus


class DriverError(Exception):
    """Raised by the stand-in as the driver does."""

    def __init__(self, value=0):
        super().__init__(f"NVML {value}")


def _driver(num_gpus, *, starts=True, tells_power=True):
    def fail(*args):
        raise DriverError(1)

    def memory(handle):
        return types.SimpleNamespace(total=1000, used=100 * handle)

    return types.SimpleNamespace(
        NVMLError=DriverError,
        NVML_ERROR_UNINITIALIZED=1,
        NVML_TEMPERATURE_GPU=0,
        nvmlInit=(lambda: None) if starts else fail,
        nvmlDeviceGetCount=lambda: num_gpus,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetName=lambda handle: f"Card {handle}".encode(),
        nvmlDeviceGetMemoryInfo=memory,
        nvmlDeviceGetUtilizationRates=lambda handle: types.SimpleNamespace(gpu=50),
        nvmlDeviceGetTemperature=lambda handle, kind: 61,
        nvmlDeviceGetPowerUsage=(lambda handle: 350_000) if tells_power else fail,
        nvmlDeviceGetEnforcedPowerLimit=(lambda handle: 700_000) if tells_power else fail,
        nvmlDeviceGetComputeRunningProcesses=lambda handle: [types.SimpleNamespace(pid=7, usedGpuMemory=None)],
    )


@pytest.fixture
def use_driver(monkeypatch):
    def use(driver):
        monkeypatch.setattr(gpus, "_is_started", None)
        monkeypatch.setitem(sys.modules, "pynvml", driver)

    return use


def test_gpus_are_told_with_all_the_driver_knows(use_driver):
    use_driver(_driver(2))
    assert gpus.read_gpus()[1] == gpus.Gpu(
        device="gpu1", name="Card 1", total_bytes=1000, used_bytes=100, load_share=0.5, temperature_celsius=61,
        power_watts=350.0, power_limit_watts=700.0, process_bytes=((7, 0),),
    )  # fmt: skip


def test_what_the_driver_does_not_tell_is_none(use_driver):
    use_driver(_driver(1, tells_power=False))
    (gpu,) = gpus.read_gpus()
    assert (gpu.power_watts, gpu.power_limit_watts, gpu.load_share) == (None, None, 0.5)


def test_a_machine_without_a_driver_has_one_cpu_slot(use_driver, tmp_path):
    for driver in (None, _driver(1, starts=False)):
        use_driver(driver)
        for _ in range(2):
            machine = gpus.read_machine(tmp_path / "not" / "made")
            assert machine.devices == ("cpu",)
    assert 0 < machine.disk_free_bytes <= machine.disk_total_bytes
    assert 0 < machine.ram_used_bytes < machine.ram_total_bytes
