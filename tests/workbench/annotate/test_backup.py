"""Copies of a store: whole while it is written, put back, and refused when damaged."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from executors.errors import InputError, MissingFileError, OutputError
from tests.workbench.annotate.makers import way
from workbench.annotate.backup import back_up, restore
from workbench.annotate.store import AnnotationStore, Project
from workbench.store import FILE_NAME, MIGRATIONS


def test_a_copy_made_while_the_store_is_written_is_whole_and_can_be_put_back(
    store: AnnotationStore, project: Project, tmp_path: Path
) -> None:
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            store.add(project, way(id=f"t{number}", shade=number), why="imported")
            number += 1

    store.add(project, way(id="first", shade=200), why="imported")
    writer = threading.Thread(target=write)
    writer.start()
    try:
        reports = [back_up(store.root, tmp_path / "copy") for _ in range(5)]
    finally:
        stop.set()
        writer.join()
    assert reports[0].num_screens_written >= 3 and reports[-1].num_screens_there >= 3
    assert restore(tmp_path / "copy", tmp_path / "back").num_screens_written >= 3
    with closing(sqlite3.connect(tmp_path / "back" / FILE_NAME)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    again = AnnotationStore(tmp_path / "back")
    rows = again.search(project, limit=500).rows
    assert "first" in {row.source_id for row in rows}
    for row in rows:
        for step in again.load(row.id).steps:
            step.step.observation.load_image()
    assert again.add(again.project("desk"), way(id="later"), why="imported")


def test_a_copy_is_not_put_over_a_store(store: AnnotationStore, tmp_path: Path) -> None:
    back_up(store.root, tmp_path / "copy")
    with pytest.raises(InputError, match="holds a store already"):
        restore(tmp_path / "copy", store.root)
    with pytest.raises(OutputError, match="the folder to copy from"):
        back_up(store.root, store.root)


def test_what_is_no_store_or_no_copy_is_named(store: AnnotationStore, tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="holds no workbench.sqlite"):
        back_up(tmp_path / "nowhere", tmp_path / "copy")
    with pytest.raises(MissingFileError, match="holds no workbench.sqlite"):
        restore(tmp_path / "nowhere", tmp_path / "back")
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot write"):
        back_up(store.root, tmp_path / "file")


@pytest.mark.parametrize("damage", ["text", "cut", "newer"])
def test_a_damaged_copy_is_refused_and_nothing_is_left(store: AnnotationStore, project, tmp_path, damage: str) -> None:
    for number in range(5):
        store.add(project, way(id=f"t{number}"), why="imported")
    back_up(store.root, tmp_path / "copy")
    path = tmp_path / "copy" / FILE_NAME
    if damage == "newer":
        with closing(sqlite3.connect(path)) as db:
            db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    else:
        path.write_bytes(b"notes " * 1000 if damage == "text" else path.read_bytes()[:-8192])
    with pytest.raises(InputError, match="copy|damaged|known are 1"):
        restore(tmp_path / "copy", tmp_path / "back")
    assert list((tmp_path / "back").iterdir()) == []
