"""The store when things go wrong: killed writers, several processes, full or read-only disks, damage, versions."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from executors.errors import InputError, MissingFileError, OutputError
from tests.workbench.test_episode_store import SETUP, frame_of
from workbench import store as store_module
from workbench.episode_store import EpisodeSetup, EpisodeStore
from workbench.store import FILE_NAME, MIGRATIONS, Store

ROOT = Path(__file__).resolve().parents[2]

WRITER = """
import sys
from pathlib import Path
from tests.workbench.test_episode_store import SETUP, frame_of
from workbench.episode_store import EpisodeStore

store = EpisodeStore(Path(sys.argv[1]))
id = store.create(SETUP, goal=sys.argv[2])
print(id, flush=True)
for number in range(1, int(sys.argv[3]) + 1):
    store.save_frame(id, frame_of(number, (number % 256, number // 256, 0)))
    print(number, flush=True)
"""


def start_writer(root: Path, goal: str, num_frames: int) -> subprocess.Popen:
    """A process that stores an episode and says the number of each frame once it is stored."""
    command = [sys.executable, "-c", WRITER, str(root), goal, str(num_frames)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_a_killed_writer_loses_at_most_the_frame_it_was_at(tmp_path: Path) -> None:
    writer = start_writer(tmp_path, "killed", 100_000)
    id = writer.stdout.readline().strip()
    said = [int(writer.stdout.readline()) for _ in range(20)]
    os.kill(writer.pid, signal.SIGKILL)
    said += [int(line) for line in writer.stdout.read().split()]
    writer.wait()
    episode = EpisodeStore(tmp_path).load(id)
    stored = [frame.number for frame in episode.frames]
    assert stored[: len(said)] == said and len(stored) <= len(said) + 1
    assert [frame.observation.load_image().getpixel((0, 0))[0] for frame in episode.frames] == [
        number % 256 for number in stored]
    assert episode.num_steps == len(stored)


def test_processes_that_open_and_write_at_once_lose_nothing(tmp_path: Path) -> None:
    writers = [start_writer(tmp_path, f"writer {n}", 15) for n in range(2)]  # the first to come makes the file
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0]
    store = EpisodeStore(tmp_path)
    rows = store.search().rows
    assert sorted(row.goal for row in rows) == ["writer 0", "writer 1"]
    assert [len(store.load(row.id).frames) for row in rows] == [15, 15]
    assert len(list((tmp_path / "screens").iterdir())) == 15  # equal screens once, no leftovers


def test_threads_share_one_store(tmp_path: Path) -> None:
    store, failures = EpisodeStore(tmp_path), []

    def work(name: str) -> None:
        try:
            id = store.create(SETUP, goal=name)
            for number in range(1, 11):
                store.save_frame(id, frame_of(number))
                assert [frame.number for frame in store.load(id).frames] == list(range(1, number + 1))
                assert store.search(name).total == 1
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(f"thread{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert store.search("thread").total == 4


def test_a_read_does_not_wait_for_a_writer(tmp_path: Path) -> None:
    store = EpisodeStore(tmp_path)
    id = store.create(SETUP, goal="g")
    with store._store.writing() as db:
        db.execute("update episodes set goal = 'half done'")
        assert EpisodeStore(tmp_path).load(id).goal == store.load(id).goal == "g"


def test_a_store_that_another_process_holds_is_said_to_be_busy(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(store_module, "BUSY_SECONDS", 0.2)
    store = EpisodeStore(tmp_path)
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as other:
        other.execute("begin immediate")
        started = time.monotonic()
        with pytest.raises(OutputError, match="database is locked"):
            store.create(SETUP, goal="g")
        assert time.monotonic() - started < 5
        other.rollback()
    store.create(SETUP, goal="g")
    assert store.search().total == 1


# ---- disks


def test_a_full_disk_is_told_and_what_was_stored_stays(tmp_path: Path) -> None:
    store = EpisodeStore(tmp_path)
    id = store.create(SETUP, goal="g")
    store.save_frame(id, frame_of(1))
    with store._store.writing() as db:
        pages = db.execute("PRAGMA page_count").fetchone()[0]
    store._store._writer.execute(f"PRAGMA max_page_count = {pages}")  # SQLite's own way to a full disk
    with pytest.raises(OutputError, match="database or disk is full.*free the disk"):
        for number in range(2, 2000):
            store.save_frame(id, frame_of(number))
    kept = len(store.load(id).frames)
    store._store._writer.execute("PRAGMA max_page_count = 1000000")
    store.save_frame(id, frame_of(kept + 1))
    assert [frame.number for frame in store.load(id).frames] == list(range(1, kept + 2))


def test_a_screenshot_that_does_not_fit_leaves_no_half_file(tmp_path: Path) -> None:
    code = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "import PIL.Image\n"
        "from executors.errors import OutputError\n"
        "from executors.trajectory import Observation\n"
        "from workbench.episode_store import EpisodeStore\n"
        "store = EpisodeStore(Path(sys.argv[1]))\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "image = PIL.Image.effect_noise((600, 600), 90).convert('RGB')\n"
        "try:\n"
        "    store._save_screen(Observation(image=image))\n"
        "except OutputError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert "cannot write screenshot" in done.stdout and "File too large" in done.stdout, done.stderr
    assert list((tmp_path / "screens").iterdir()) == []


def test_a_folder_that_cannot_be_made_or_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot make folder .*file/store"):
        EpisodeStore(tmp_path / "file" / "store")
    store = EpisodeStore(tmp_path / "ok")
    store._store._writer.execute("PRAGMA query_only = on")  # what SQLite says on a read-only disk
    with pytest.raises(OutputError, match="attempt to write a readonly database.*folder that you may write"):
        store.create(SETUP, goal="g")


# ---- damage


def test_a_lost_screenshot_is_told_when_it_is_looked_at_and_written_again_when_seen_again(tmp_path: Path) -> None:
    store = EpisodeStore(tmp_path)
    id = store.create(SETUP, goal="g")
    frame = store.save_frame(id, frame_of())
    path = store.screenshot_path(frame.screen)
    path.unlink()
    with pytest.raises(MissingFileError, match="put it back"):
        store.load(id).frames[0].observation.load_image()
    store.save_frame(id, frame)
    assert store.load(id).frames[0].observation.load_image().size == (40, 30)


def test_a_damaged_screenshot_is_told_and_the_rest_of_the_episode_is_there(tmp_path: Path) -> None:
    store = EpisodeStore(tmp_path)
    id = store.create(SETUP, goal="g")
    frame = store.save_frame(id, frame_of())
    path = store.screenshot_path(frame.screen)
    path.write_bytes(path.read_bytes()[:40])
    loaded = store.load(id).frames[0]
    assert loaded.forecasts == frame.forecasts
    with pytest.raises(InputError, match="not a readable image"):
        loaded.observation.load_image()


@pytest.mark.parametrize("record", ["", "{", "[]", "null", "{}", '{"number": 1}', '{"number": "x", "screen": 3}'])
def test_a_damaged_record_is_named_by_episode_and_frame(tmp_path: Path, record: str) -> None:
    store = EpisodeStore(tmp_path)
    id, other = store.create(SETUP, goal="g"), store.create(SETUP, goal="h")
    store.save_frame(id, frame_of())
    with store._store.writing() as db:
        db.execute("update frames set record = ?", [record])
    with pytest.raises(InputError, match=f"episode {id}: frame 1 is damaged"):
        store.load(id)
    assert store.load(other).goal == "h"


def test_a_record_that_names_a_file_elsewhere_is_refused(tmp_path: Path) -> None:
    store = EpisodeStore(tmp_path / "store")
    id = store.create(SETUP, goal="g")
    store.save_frame(id, frame_of())
    with store._store.writing() as db:
        db.execute("""update frames set record = replace(record, '"image": "screens/', '"image": "../../screens/')""")
    with pytest.raises(InputError, match="leaves the folder"):
        store.load(id)


@pytest.mark.parametrize("setup", ["{", "[1]", '{"task": "t", "executor": "rocket"}', '{"task": "t", "colour": 1}'])
def test_a_damaged_setup_is_named(tmp_path: Path, setup: str) -> None:
    store = EpisodeStore(tmp_path)
    id = store.create(SETUP, goal="g")
    with store._store.writing() as db:
        db.execute("update episodes set setup = ?", [setup])
    with pytest.raises(InputError, match=f"episode {id}: its setup is damaged"):
        store.load(id)
    assert store.search().total == 1


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("my notes, nothing else, " * 100)
    with pytest.raises(InputError, match="damaged or no SQLite file.*move the file away"):
        EpisodeStore(tmp_path)
    assert (tmp_path / FILE_NAME).read_text().startswith("my notes")


def test_a_database_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as other:
        other.execute("create table episodes (title text)")
        other.execute("insert into episodes values ('pilot')")
        other.commit()
    with pytest.raises(InputError, match="belongs to another program"):
        EpisodeStore(tmp_path)
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as other:
        assert other.execute("select * from episodes").fetchall() == [("pilot",)]


# ---- versions


def test_a_store_of_a_newer_workbench_is_refused_with_a_sentence(tmp_path: Path) -> None:
    EpisodeStore(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as newer:
        newer.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    with pytest.raises(InputError, match=f"newer workbench .version {len(MIGRATIONS) + 1}.*update the workbench"):
        EpisodeStore(tmp_path)


def test_version_1_is_brought_up_to_date_with_what_it_holds(tmp_path: Path) -> None:
    Store(tmp_path, MIGRATIONS[:1]).close()
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as old:  # as version 1 wrote it
        assert old.execute("PRAGMA user_version").fetchone() == (1,)
        old.execute(
            "insert into episodes (id, setup, goal, task, planner, platform, state, outcome, stop_reason, created, "
            "updated, num_steps, owner) values ('0123456789abcdef', ?, 'Turn it on', 'alarm_on', 'tiny', 'phone', "
            "'done', 'success', 'finished', '2026-01-02T03:04:05.678+00:00', '2026-01-02T03:05:00.000+00:00', 1, '')",
            ['{"executor": "simulator", "task": "alarm_on", "split": "train", "seed": 3, "position": 0, "goal": "", '
             '"planner": "", "tool_agent": "elements", "horizon": null, "history_length": null, "max_steps": 30, '
             '"mode": "anticipatory"}'],
        )
        old.execute(
            "insert into frames values ('0123456789abcdef', 1, 1, ?)",
            ['{"number": 1, "screen": "", "observation": {"summary": "Home"}, "forecasts": [{"forecast": {"steps": '
             '[{"action": {"type": "wait"}, "instruction": "wait"}], "thought": "", "reason": null, "kind": null, '
             '"raw": "1. wait() | wait"}, "author": "planner", "changes": [], "edited": [], "pinned": [], "messages": '
             '[], "plan_seconds": 0.5, "created": "2026-01-02T03:04:06.000+00:00"}], "step": {"number": 1, '
             '"observation": null, "forecast": null, "grounding": null, "action": {"type": "wait"}, "had_effect": '
             'true, "message": "", "error": null, "boundary": null, "plan_seconds": 0.5, "act_seconds": 0.1}, '
             '"reference": [], "ground_seconds": 0.0, "execute_seconds": 0.1}'],
        )
        old.commit()
    store = EpisodeStore(tmp_path)
    episode = store.load("0123456789abcdef")
    assert episode.setup == EpisodeSetup(task="alarm_on", split="train", seed=3)
    assert episode.frames[0].step.action.type == "wait"
    assert [row.id for row in store.search("turn").rows] == ["0123456789abcdef"]
    assert store._store.version == len(MIGRATIONS)


def test_migrations_run_once_each_and_in_order(tmp_path: Path) -> None:
    seen: list[str] = []
    steps = [lambda db, name=name: seen.append(name) for name in "abc"]
    Store(tmp_path, steps[:1]).close()
    Store(tmp_path, steps).close()
    Store(tmp_path, steps).close()
    assert seen == ["a", "b", "c"]


def test_a_migration_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    def good(db) -> None:
        db.execute("create table one (x)")

    def bad(db) -> None:
        db.execute("create table two (x)")
        db.execute("no sql at all")

    Store(tmp_path, [good]).close()
    with pytest.raises(OutputError, match="syntax error"):
        Store(tmp_path, [good, bad])
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as db:
        assert db.execute("select name from sqlite_master").fetchall() == [("one",)]
        assert db.execute("PRAGMA user_version").fetchone() == (1,)


def test_vacuum_does_not_mix_up_the_search(tmp_path: Path) -> None:
    store = EpisodeStore(tmp_path)
    ids = [store.create(SETUP, goal=f"goal number{n}") for n in range(5)]
    with store._store.writing() as db:
        db.execute("delete from episodes where id = ?", [ids[1]])
    store.close()
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as db:
        db.execute("vacuum")
    assert [row.id for row in EpisodeStore(tmp_path).search("number4").rows] == [ids[4]]
