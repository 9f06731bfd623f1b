"""Assertions of the shared tests are told in full, as those of test files are; real devices are permitted to a test."""

from collections.abc import Iterator

import pytest

from executors.permission import allow_real_devices, forbid_real_devices
from tests.executors.xvfb import Window, end

pytest.register_assert_rewrite("tests.executors.conformance")


@pytest.fixture
def permitted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Real devices are permitted in this process until the test ends."""
    monkeypatch.delenv("SPACE_ID", raising=False)
    allow_real_devices()
    yield
    forbid_real_devices()


@pytest.fixture(scope="module")
def shown(display: str) -> Iterator[Window]:
    """A window on it that says what it received."""
    window = Window(display)
    yield window
    end(window.process)


@pytest.fixture
def window(shown: Window) -> Window:
    """The window, with nothing received yet."""
    shown.clear()
    return shown
