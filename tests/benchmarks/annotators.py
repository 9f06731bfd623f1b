"""Annotators at one server: `python -m tests.benchmarks.annotators --annotators 20 --seconds 180 --json`.

A server with a login is started over a new store, and annotators talk to it over HTTP as the Annotate tab does: they
take tasks, edit, undo, redo, load the page again, send edits to versions that are not the newest, submit; reviewers
accept and return. In the middle the server is ended by SIGKILL and started again over the same store.

Each annotator keeps what its draft must hold: an edit whose answer came must be there ever after; one whose answer was
cut off by the kill may be there or not, which the version tells at the next opening. At the end the store itself is
asked: is every submitted revision and every open draft as its annotator last knew it, is every task that is not done
free once its lease has run out, and does `PRAGMA integrity_check` say ok? The exit code is 1 where anything is missing.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from tests.workbench.annotate.makers import way
from tests.workbench.conftest import free_port, start_app
from workbench.annotate.document import Document
from workbench.annotate.drafts import Drafts
from workbench.annotate.queue import LEASE_SECONDS, Queue
from workbench.annotate.store import AnnotationStore
from workbench.people import People, Role, make_person, read_people, write_people

PASSWORD = "a long password"
PAUSE_SECONDS = 0.02
"""Between two requests of one annotator; a person is far slower."""


class ServerAwayError(Exception):
    """No answer came: what was asked may have been done or not."""


@dataclass
class State:
    """What a draft must hold: its steps in order, and the instructions that were set since it was begun."""

    keys: tuple[str, ...]
    words: dict[str, str] = field(default_factory=dict)

    def holds_in(self, document: Document) -> bool:
        """Whether a document is as this state says."""
        return document.keys == self.keys and all(document.step(k).step.instruction == t for k, t in self.words.items())


class Annotator:
    """One person at one server; `run` works until it is told to stop."""

    def __init__(self, name: str, port: int, project: str, is_reviewer: bool, seed: int) -> None:
        self.name, self.project, self.is_reviewer, self.rng = name, project, is_reviewer, random.Random(seed)
        self.client = httpx.Client(base_url=f"http://localhost:{port}", timeout=30)
        self.component: int | None = None
        self.counts: Counter[str] = Counter()
        self.seconds: list[float] = []
        self.problems: list[str] = []
        self.submitted: list[tuple[str, State]] = []
        self.drafts: dict[str, tuple[int, list[State], int]] = {}  # trajectory -> (version, log of states, place in it)

    # ---- asking

    def ask(self, name: str, question: dict[str, Any]) -> dict[str, Any]:
        try:
            if self.component is None:
                self._log_in()
            started = time.perf_counter()
            answer = self.client.post("/gradio_api/component_server", json={
                "session_hash": self.name, "component_id": self.component, "fn_name": name, "data": question})
            if answer.status_code == 401:  # the server was started again
                self.component = None
                return self.ask(name, question)
            answer.raise_for_status()
        except httpx.HTTPError as error:
            if self.component is not None and isinstance(error, httpx.HTTPStatusError):
                self.problems.append(f"{name}: HTTP {error.response.status_code}")
            raise ServerAwayError from error
        self.seconds.append(time.perf_counter() - started)
        self.counts["requests"] += 1
        return answer.json()

    def _log_in(self) -> None:
        self.client.post("/login", data={"username": self.name, "password": PASSWORD}).raise_for_status()
        parts = self.client.get("/config").raise_for_status().json()["components"]
        self.component = next(part["id"] for part in parts if part["props"].get("elem_id") == "an-desk")

    def insist(self, name: str, question: dict[str, Any]) -> dict[str, Any]:
        """An answer to a question that may be asked again, however long the server is away."""
        while True:
            try:
                return self.ask(name, question)
            except ServerAwayError:
                self.component = None
                time.sleep(0.2)

    # ---- working

    def run(self, stop: threading.Event) -> None:
        try:
            while not stop.is_set():
                if self.is_reviewer and self.rng.random() < 0.5:
                    self._review()
                else:
                    self._annotate(stop)
        except Exception as error:  # boundary: a thread's failure is a finding
            self.problems.append(f"{self.name} ended: {type(error).__name__}: {error}")

    def _next(self, kind: str) -> str:
        found = self.insist("act", {"act": "next", "kind": kind, "project": self.project})
        time.sleep(PAUSE_SECONDS)
        return found.get("trajectory", "")

    def _annotate(self, stop: threading.Event) -> None:
        id = self._next("annotate")
        if not id:
            return time.sleep(0.2)
        page = self._open(id)
        for _ in range(self.rng.randint(2, 10)):
            if page is None or stop.is_set():
                return
            page = self._edit_somehow(id, page)
            time.sleep(PAUSE_SECONDS)
        if page is not None and not stop.is_set() and self.rng.random() < 0.8:
            self._submit(id, page)

    def _open(self, id: str) -> dict[str, Any] | None:
        """The page, after what is known of the draft was compared with its version."""
        page = self.insist("open", {"trajectory": id, "mode": "annotate"})
        if "error" in page:
            self.problems.append(f"{self.name} cannot open {id}: {page['error']}")
            return None
        version, log, place = self.drafts.get(id, (page["version"], [State(tuple(page["keys"]))], 0))
        if page["version"] != version:
            self.problems.append(f"{self.name}, {id}: version {page['version']} instead of {version}")
        if tuple(page["keys"]) != log[place].keys:
            self.problems.append(f"{self.name}, {id}: other steps than were stored")
        self.drafts[id] = (page["version"], log, place)
        return page

    def _edit_somehow(self, id: str, page: dict[str, Any]) -> dict[str, Any] | None:
        version, log, place = self.drafts[id]
        roll = self.rng.random()
        if roll < 0.08:
            self.counts["reloads"] += 1
            return self._open(id)
        question = {**page, "version": version, "seen": {}}
        if roll < 0.16:
            stale = self.insist("edit", {**question, "version": version - 1 if version > 1 else 99,
                                         "edit": {"name": "goal", "value": "lost"}})
            self.counts["stale edits"] += 1
            if stale.get("kind") != "stale":
                self.problems.append(f"{self.name}, {id}: a stale edit was answered {str(stale)[:200]}")
            return page
        now, edit = log[place], None
        key = self.rng.choice(now.keys)
        words = f"{self.name} {self.counts['edits']} {self.rng.random()}"
        if roll < 0.30 and place > 0:
            edit, after, to = "undo", log[place - 1], place - 1
        elif roll < 0.40 and place + 1 < len(log):
            edit, after, to = "redo", log[place + 1], place + 1
        else:
            edit = {"name": "instruction", "key": key, "value": words}
            after, to = State(now.keys, {**now.words, key: words}), place + 1
            log = [*log[: place + 1], after]
        try:
            answer = self.ask("edit", {**question, "edit": edit})
        except ServerAwayError:
            self.counts["edits cut off"] += 1
            page = self.insist("open", {"trajectory": id, "mode": "annotate"})
            if "error" in page or page["version"] not in (version, version + 1):
                self.problems.append(f"{self.name}, {id}: after the kill {page.get('error', page.get('version'))}")
                return None
            if page["version"] == version + 1:
                self.drafts[id] = (version + 1, log, to)
            return page
        if "error" in answer:
            self.problems.append(f"{self.name}, {id}: an edit was refused: {answer['error']}")
            return None
        self.counts["edits"] += 1
        self.drafts[id] = (answer["version"], log, to)
        return {**page, **answer}

    def _submit(self, id: str, page: dict[str, Any]) -> None:
        version, log, place = self.drafts[id]
        question = {**page, "version": version, "act": "submit", "why": f"by {self.name}"}
        try:
            answer = self.ask("finish", question)
        except ServerAwayError:
            self.counts["submissions cut off"] += 1
            page = self.insist("open", {"trajectory": id, "mode": "annotate"})
            if "error" not in page and page["version"] == version:
                return None  # it was not submitted: the draft is as it was
            answer = {"done": ""}
        if "error" in answer:
            self.problems.append(f"{self.name}, {id}: a submission was refused: {answer['error']}")
            return None
        self.counts["submissions"] += 1
        self.submitted.append((id, log[place]))
        del self.drafts[id]

    def _review(self) -> None:
        id = self._next("review")
        if not id:
            return
        page = self.insist("open", {"trajectory": id, "mode": "review"})
        if "error" in page:
            return
        is_right = self.rng.random() < 0.6
        try:
            answer = self.ask("finish", {**page, "act": "accept" if is_right else "return", "why": "looked at"})
        except ServerAwayError:
            return
        self.counts["reviews"] += "error" not in answer


def run(num_annotators: int, seconds: float, root: Path, *, num_trajectories: int, seed: int = 0) -> dict[str, Any]:
    """Lets annotators work over a new store below `root`, kills the server once; returns the figures and problems."""
    names = [f"ann{number}" for number in range(num_annotators)]
    roles = {name: Role.REVIEWER if number % 4 == 0 else Role.ANNOTATOR for number, name in enumerate(names)}
    write_people(root / "people.json", {name: make_person(name, role, PASSWORD) for name, role in roles.items()})
    store = AnnotationStore(root / "store", read_people(root / "people.json"))
    project = store.add_project("load", person=names[0])
    for number in range(num_trajectories):
        store.add(project, way(f"t{number}"), why="made", person=names[0])
    port = free_port()
    planner = "openai:nobody@http://localhost:9/v1"  # nobody asks it, and nothing is loaded for it
    options = ("--people", str(root / "people.json"), "--data", str(root), "--planner", planner)
    process, _, _ = start_app(*options, store=root / "store", port=port)
    people = [Annotator(name, port, project.id, roles[name] >= Role.REVIEWER, seed + number)
              for number, name in enumerate(names)]
    stop = threading.Event()
    threads = [threading.Thread(target=one.run, args=(stop,)) for one in people]
    try:
        for thread in threads:
            thread.start()
        time.sleep(seconds / 2)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process, _, down_seconds = start_app(*options, store=root / "store", port=port)
        time.sleep(seconds / 2)
    finally:
        stop.set()
        for thread in threads:
            thread.join(timeout=120)
        end(process)
    counts = sum((one.counts for one in people), Counter())
    spent = sorted(second for one in people for second in one.seconds)
    problems = [problem for one in people for problem in one.problems] + check(store, project.id, people)
    return {
        "annotators": num_annotators, "seconds": seconds, "trajectories": num_trajectories, **dict(counts),
        "down_seconds": round(down_seconds, 1), "median_ms": round(1000 * statistics.median(spent), 1),
        "p95_ms": round(1000 * spent[int(0.95 * len(spent))], 1), "problems": problems,
    }


def end(process: subprocess.Popen) -> None:
    """Ends a server that the run started."""
    process.terminate()
    process.wait(timeout=60)


def check(store: AnnotationStore, project: str, people: list[Annotator]) -> list[str]:
    """What the store does not hold as the annotators know it, after the server has ended."""
    problems = []
    for one in people:
        for id, state in one.submitted:
            numbers = [r.number for r in store.history(id) if r.author in (one.name, people[0].name)]
            if not any(state.holds_in(store.load(id, number)) for number in numbers):
                problems.append(f"{id}: what {one.name} submitted is in no revision")
        for id, (_, log, place) in one.drafts.items():
            draft = Drafts(store).find(id, one.name)
            if draft is None or not log[place].holds_in(draft.document):
                problems.append(f"{id}: the draft of {one.name} is not as it was stored")
    later = Queue(store, clock=lambda: datetime.now(UTC) + timedelta(seconds=LEASE_SECONDS + 1))
    later.store.people = People()  # whoever asks next, whatever they did before
    rows = store.search(store.project(project), limit=500).rows
    for row in rows:
        kind = {"waiting": "annotate", "returned": "annotate", "submitted": "review"}.get(row.state)
        if kind and later.take(store.project(project), "checker", kind, trajectory=row.id) is None:
            problems.append(f"{row.id}: its lease is stuck ({row.state})")
    with store.file.writing() as db:
        told = db.execute("PRAGMA integrity_check").fetchone()[0]
    return problems + ([] if told == "ok" else [f"integrity_check: {told}"])


def main() -> int:
    """Runs and prints the figures; 1 where anything is missing or stuck."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--annotators", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=180.0, help="of work, without the time the server is down")
    parser.add_argument("--trajectories", type=int, default=800)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = run(args.annotators, args.seconds, Path(folder), num_trajectories=args.trajectories, seed=args.seed)
    print(json.dumps(found, indent=1) if args.json else "\n".join(f"{name}: {value}" for name, value in found.items()))
    return 1 if found["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())
