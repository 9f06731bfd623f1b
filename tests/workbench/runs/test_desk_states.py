"""The queue's state machine: any order of what people, trainers and the system do leaves every run in a true state."""

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.workbench.runs.fake_trainer import FakeTrainers
from workbench.runs import gpus
from workbench.runs.desk import RunDesk
from workbench.runs.launcher import is_same_process
from workbench.runs.observe import RESUMABLE

DEVICES = [("cpu",), ("gpu0",), ("gpu1",), ("gpu0", "gpu1")]
LIVING = ("starting", "running")


class RunsOfAllFates(RuleBasedStateMachine):
    """`expected` is what a person who saw everything would say of each run."""

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="runs_"))
        self.trainers = FakeTrainers()
        self.expected: dict[str, str] = {}
        self.devices: dict[str, tuple[str, ...]] = {}
        self.before_resume: dict[str, str] = {}
        self.has_begun: set[str] = set()
        two = tuple(gpus.Gpu(device=f"gpu{i}", name="x", total_bytes=1 << 37, used_bytes=0) for i in range(2))
        self.real_read_gpus = gpus.read_gpus
        self._use_gpus(lambda: two)
        self.desk = self._open()

    def _use_gpus(self, read):
        from workbench.runs import desk

        gpus.read_gpus = desk.read_gpus = read

    def _open(self):
        return RunDesk(self.folder / "runs", self.folder / "queue.sqlite", start=self.trainers.start)

    def teardown(self):
        self._use_gpus(self.real_read_gpus)
        self.trainers.close()
        shutil.rmtree(self.folder)

    def _in(self, *states):
        return sorted(run_id for run_id, state in self.expected.items() if state in states)

    def _pick(self, data, *states):
        return data.draw(st.sampled_from(self._in(*states)))

    @initialize()
    def first(self):
        self._launch(("cpu",))

    def _launch(self, devices):
        draft = self.desk.draft(
            "sft", {}, name=f"run{len(self.expected)}", devices=devices, num_processes=len(devices) if len(devices) > 1
            else 1,
        )  # fmt: skip
        if draft.num_processes > 1:  # SFT shares no work, and a Stage 1 needs a checkpoint: past the checks
            with self.desk._queue.writing() as db:
                self.desk._queue.append(db, draft.name, draft)
            run_id = draft.name
        else:
            run_id = self.desk.launch(draft)
        self.expected[run_id], self.devices[run_id] = "waiting", devices

    # ------------------------------------------------------------ people

    @precondition(lambda self: len(self.expected) < 6)
    @rule(devices=st.sampled_from(DEVICES))
    def launch(self, devices):
        self._launch(devices)

    @precondition(lambda self: self._in("waiting"))
    @rule(data=st.data())
    def hold(self, data):
        run_id = self._pick(data, "waiting")
        self.desk.hold(run_id)
        self.expected[run_id] = "held"

    @precondition(lambda self: self._in("held"))
    @rule(data=st.data())
    def release(self, data):
        run_id = self._pick(data, "held")
        self.desk.release(run_id)
        self.expected[run_id] = "waiting"

    @precondition(lambda self: self._in("waiting", "held"))
    @rule(data=st.data())
    def cancel(self, data):
        run_id = self._pick(data, "waiting", "held")
        self.desk.cancel(run_id)
        self.expected[run_id] = self.before_resume[run_id] if run_id in self.has_begun else "cancelled"

    @precondition(lambda self: self._in("waiting", "held"))
    @rule(data=st.data(), place=st.integers(-1, 8))
    def reorder(self, data, place):
        run_id = self._pick(data, "waiting", "held")
        self.desk.reorder(run_id, place)
        waiting = self._in("waiting", "held")
        assert self.desk.row(run_id).place == min(max(1, place), len(waiting))

    @precondition(lambda self: self._in(*LIVING))
    @rule(data=st.data())
    def kill(self, data):
        run_id = self._pick(data, *LIVING)
        self.desk.request(run_id, "kill")
        self.expected[run_id] = "killed"

    @precondition(lambda self: self._in(*RESUMABLE))
    @rule(data=st.data())
    def resume(self, data):
        run_id = self._pick(data, *RESUMABLE)
        self.desk.resume(run_id)
        self.before_resume[run_id] = self.expected[run_id]
        self.expected[run_id] = "waiting"

    # ------------------------------------------------------------ trainers

    @precondition(lambda self: self._in("starting"))
    @rule(data=st.data())
    def trainer_begins(self, data):
        run_id = self._pick(data, "starting")
        self.trainers.begin(run_id)
        self.has_begun.add(run_id)
        self.expected[run_id] = "running"

    @precondition(lambda self: self._in("running"))
    @rule(data=st.data(), state=st.sampled_from(["finished", "failed"]))
    def trainer_ends(self, data, state):
        run_id = self._pick(data, "running")
        self.trainers.end(run_id, state, "of itself")
        self.expected[run_id] = state

    @precondition(lambda self: self._in("running"))
    @rule(data=st.data())
    def stop_is_asked_and_answered(self, data):
        run_id = self._pick(data, "running")
        self.desk.request(run_id, "stop")
        assert self.desk.row(run_id).requests == {"stop": "asked"}
        self.trainers.end(run_id, "stopped", "asked to stop")
        self.expected[run_id] = "stopped"

    # ------------------------------------------------------------ the system

    @precondition(lambda self: self._in(*LIVING))
    @rule(data=st.data())
    def process_dies(self, data):
        run_id = self._pick(data, *LIVING)
        self.trainers.die(run_id)
        self.expected[run_id] = "crashed"

    @rule()
    def page_server_starts_anew(self):
        self.desk.close()
        self.desk = self._open()

    @rule()
    def queue_moves_on(self):
        started = self.desk.tick()
        for run_id in started:
            assert self.expected[run_id] == "waiting"
            self.expected[run_id] = "starting"
        busy = {device for run_id in self._in(*LIVING) for device in self.devices[run_id]}
        for row in self.desk.list():
            if row.state == "waiting":
                assert row.reason, "a run that waits says why"
        first = next((row for row in self.desk.list() if row.state == "waiting"), None)
        assert first is None or busy & set(first.devices), "the first that waits, waits for a device in use"

    @rule()
    def ended_runs_are_told_once(self):
        told = {row.id for row in self.desk.reconcile()}
        assert told <= set(self._in("finished", *RESUMABLE))
        assert self.desk.reconcile() == []

    # ------------------------------------------------------------ always

    @invariant()
    def every_run_is_in_its_true_state(self):
        assert {row.id: row.state for row in self.desk.list()} == self.expected

    @invariant()
    def who_is_said_to_run_runs(self):
        for run_id in self._in(*LIVING):
            entry = self.desk._queue.get(run_id)
            assert is_same_process(entry.pid, entry.process_started)
        taken = [device for run_id in self._in(*LIVING) for device in self.devices[run_id]]
        assert len(taken) == len(set(taken)), "no device has two runs"

    @invariant()
    def places_count_from_one(self):
        places = [row.place for row in self.desk.list() if row.place is not None]
        assert places == list(range(1, len(self._in("waiting", "held")) + 1))


TestRunsOfAllFates = RunsOfAllFates.TestCase
TestRunsOfAllFates.settings = settings(max_examples=15, stateful_step_count=30, deadline=None)
