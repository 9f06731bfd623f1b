"""Trainers that do as a test says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.workbench.runs.fake_trainer import FakeTrainers


@pytest.fixture
def trainers() -> Iterator[FakeTrainers]:
    """Fake trainers, ended with the test."""
    trainers = FakeTrainers()
    yield trainers
    trainers.close()
