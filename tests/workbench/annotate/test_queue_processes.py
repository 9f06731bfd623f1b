"""Several servers on one queue, some of them killed: no accepted submission is missing, no lease is stuck."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

from tests.workbench.annotate.makers import way
from workbench.annotate.queue import Queue
from workbench.annotate.store import AnnotationStore
from workbench.store import FILE_NAME

ROOT = Path(__file__).resolve().parents[3]
LEASE_SECONDS = 0.5

WORKER = """
import random, sys
from pathlib import Path
from tests.workbench.annotate.makers import random_change
from workbench.annotate import edits
from workbench.annotate.document import StaleError
from workbench.annotate.drafts import Drafts
from workbench.annotate.queue import LeaseError, Queue, StaleSaveError, SubmissionError
from workbench.annotate.store import AnnotationStore
from workbench.annotate.three_way import merge

root, person, number_of_turns, lease_seconds = sys.argv[1:]
store = AnnotationStore(Path(root))
queue, drafts, rng = Queue(store, lease_seconds=float(lease_seconds)), Drafts(store), random.Random(person)
(project,) = store.projects()
ids = [row.id for row in store.search(project).rows]
print("ready", flush=True)
for turn in range(int(number_of_turns)):
    review = queue.take(project, person, "review") if rng.random() < 0.4 else None
    if review is not None:
        id = review.task.trajectory
        try:
            if rng.random() < 0.3:
                store.restore(id, 1, why="again", person=person)  # so that drafts become stale
            queue.return_(review, store.row(id).revision, "again")
        except (LeaseError, StaleError):
            pass
        continue
    # what was returned to somebody who is gone is taken over by name
    lease = queue.take(project, person) or queue.take(project, person, trajectory=rng.choice(ids))
    if lease is None:
        continue
    id = lease.task.trajectory
    draft = drafts.open(id, person)
    for _ in range(3):
        change = random_change(draft.document, rng)
        if change is not None:
            draft = drafts.edit(draft, change)
    goal = f"Save {person} {turn}"
    draft = drafts.edit(draft, edits.set_goal(draft.document, goal))
    try:
        try:
            made = queue.submit(lease, draft, "mended")
        except StaleSaveError as stale:
            joined = merge(stale.view, dict.fromkeys(stale.view.conflicts, "mine"))
            draft = drafts.rebase(draft, joined, stale.view.their_revision)
            made = queue.submit(lease, draft, "joined")
        print("submitted", id, made, goal, flush=True)
    except SubmissionError:
        drafts.discard(draft)
        queue.release(lease)
    except (LeaseError, StaleError):
        pass
print("done", flush=True)
"""


def start(root: Path, person: str, num_turns: int) -> subprocess.Popen:
    """An annotator in a process of their own."""
    command = [sys.executable, "-c", WORKER, str(root), person, str(num_turns), str(LEASE_SECONDS)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_killed_and_living_annotators_lose_no_accepted_submission(tmp_path: Path) -> None:
    store = AnnotationStore(tmp_path)
    project = store.add_project("p")
    ids = [store.add(project, way(id=f"t{n}"), why="imported") for n in range(6)]
    killed = [start(tmp_path, f"killed{n}", 100_000) for n in range(2)]
    living = [start(tmp_path, "living", 15)]
    said = [process.stdout.readline().strip() for process in (*killed, *living)]
    assert said == ["ready"] * 3
    lines = []
    for process in killed:
        lines += [process.stdout.readline() for _ in range(3)]
        os.kill(process.pid, signal.SIGKILL)
        lines += process.stdout.read().splitlines()
        process.wait()
    for process in living:
        told = process.communicate(timeout=120)[0].splitlines()
        assert process.returncode == 0 and told[-1] == "done"
        lines += told[:-1]

    accepted = [line.split(maxsplit=3)[1:] for line in lines if len(line.split()) == 6]
    assert len(accepted) >= 6  # those that the killed ones told of before
    for id, number, goal in accepted:
        assert store.load(id, int(number)).goal == goal.strip()
    for id in ids:
        history = store.history(id)
        assert [r.number for r in history] == list(range(1, len(history) + 1))
        assert store.row(id).revision == len(history)
    time.sleep(LEASE_SECONDS)
    queue = Queue(store, lease_seconds=60)
    for id in ids:
        (task,) = queue.tasks(id)
        assert queue.take(project, "judge", "review" if task.state == "submitted" else "annotate", trajectory=id)
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
