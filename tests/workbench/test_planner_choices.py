"""Which planners a person may choose."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from executors.errors import InputError
from workbench.planner_choices import list_checkpoints, planner_spec


def make_checkpoint(folder: Path, age_seconds: int = 0) -> None:
    folder.mkdir(parents=True)
    for name in ("tracer1.json", "config.json"):
        (folder / name).write_text("{}")
    os.utime(folder / "tracer1.json", (10**9 - age_seconds,) * 2)


def test_checkpoints_are_listed_newest_first_by_their_place_below_the_folder(tmp_path: Path) -> None:
    make_checkpoint(tmp_path / "old" / "final", 100)
    make_checkpoint(tmp_path / "new" / "planner")
    (tmp_path / "new" / "half").mkdir()
    (tmp_path / "new" / "half" / "tracer1.json").write_text("{}")  # no model in it
    assert list_checkpoints(tmp_path) == ["new/planner", "old/final"]
    assert list_checkpoints(tmp_path / "nowhere") == []


def test_a_choice_becomes_a_specification(tmp_path: Path) -> None:
    make_checkpoint(tmp_path / "one" / "final")
    assert planner_spec("default", "one/final", "m", "http://x", tmp_path) == ""
    assert planner_spec("checkpoint", "one/final", "", "", tmp_path) == str(tmp_path / "one" / "final")
    assert planner_spec("server", None, " m ", "http://localhost:8000/v1", tmp_path) == (
        "openai:m@http://localhost:8000/v1"
    )


@pytest.mark.parametrize(
    ("kind", "checkpoint", "model", "address"),
    [
        ("checkpoint", "../../etc", "", ""), ("checkpoint", None, "", ""), ("checkpoint", "/etc", "", ""),
        ("server", None, "", "http://x"), ("server", None, "m", "file:///etc/passwd"), ("server", None, "m", ""),
        ("server", None, "a@http://evil", "http://x"), ("other", None, "", ""),
    ],
)  # fmt: skip
def test_what_is_not_in_the_list_is_refused(tmp_path: Path, kind, checkpoint, model: str, address: str) -> None:
    with pytest.raises(InputError):
        planner_spec(kind, checkpoint, model, address, tmp_path)
