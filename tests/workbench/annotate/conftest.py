"""A store with one project, for the tests of reference trajectories."""

from __future__ import annotations

from pathlib import Path

import pytest

from workbench.annotate.store import AnnotationStore, Project


@pytest.fixture
def store(tmp_path: Path) -> AnnotationStore:
    """An empty store."""
    return AnnotationStore(tmp_path / "store")


@pytest.fixture
def project(store: AnnotationStore) -> Project:
    """A project without second annotations."""
    return store.add_project("desk", guide="Click the middle of things.")
