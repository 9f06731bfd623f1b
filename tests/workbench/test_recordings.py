"""Trajectory files below the data folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from executors.errors import InputError, WorkbenchError
from workbench.recordings import list_files, list_trajectories, read_trajectory, resolve_file


def test_files_are_listed_by_name(data_root: Path, tmp_path: Path) -> None:
    assert list_files(data_root) == ["desk.jsonl", "oracle.jsonl"]
    assert list_files(tmp_path / "nowhere") == []


def test_a_file_is_opened_by_its_place_in_the_list(data_root: Path) -> None:
    path = resolve_file(data_root, "desk.jsonl")
    assert list_trajectories(path) == [("1. Look at <b>three</b> screens. (3 steps)", 0)]
    assert len(read_trajectory(path, 0).steps) == 3


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "no trajectory file is chosen"),
        ("../secret.jsonl", "outside"),
        ("/etc/passwd", "outside"),
        ("desk_images", "not a .\\.jsonl file"),
        ("gone.jsonl", "does not exist"),
        ("\x00.jsonl", "not a usable name"),
    ],
)
def test_other_names_are_refused_with_the_reason(data_root: Path, name: str, words: str) -> None:
    with pytest.raises(WorkbenchError, match=words):
        resolve_file(data_root, name)


def test_a_link_that_leaves_the_folder_is_refused(data_root: Path, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "link.jsonl").symlink_to(data_root / "desk.jsonl")
    with pytest.raises(InputError, match="outside"):
        resolve_file(tmp_path / "root", "link.jsonl")


@pytest.mark.parametrize("position", [-1, 1, 99])
def test_a_position_past_the_end_is_refused(data_root: Path, position: int) -> None:
    with pytest.raises(InputError, match="is not in desk.jsonl"):
        read_trajectory(data_root / "desk.jsonl", position)


def test_an_empty_or_broken_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(InputError, match="is empty"):
        list_trajectories(tmp_path / "empty.jsonl")
    (tmp_path / "broken.jsonl").write_text("{")
    with pytest.raises(InputError, match="line 1: not JSON"):
        list_trajectories(tmp_path / "broken.jsonl")
