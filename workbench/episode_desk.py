"""All episodes of the running server: the live ones by id, the stored ones opened when somebody asks for them.

An episode lives here and not in a page: a reload, a second window or a lost page does not end it. One that was left
waiting or running when the server ended is opened again by rebuilding its device from the recorded actions; where
that does not give the stored screen it is shown, and says why it cannot go on.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Lock, RLock

from executors.errors import ExecutorError, InputError, WorkbenchError
from training.episode_record import StopReason
from training.planner import Planner
from workbench.devices import REAL, open_device
from workbench.episode_store import EpisodeSetup, EpisodeStore, StoredEpisode
from workbench.episode_view import EpisodeView, Message, Tone, ending, sentence
from workbench.live_episode import LiveEpisode

MAX_LIVE = 64
"""Live episodes held in memory; the one that rested longest is put away first and opened again when asked for."""
MAX_HEAVY = 3
"""Of these, how many that hold a browser of their own; put away alike."""
MAX_STORED = 32
"""Stored episodes held in memory for looking at."""


class EpisodeDesk:
    """The server's episodes; safe to use from several threads."""

    def __init__(self, store: EpisodeStore, data_root: Path, get_planner: Callable[[str], Planner]) -> None:
        """Nothing is opened yet.

        Args:
            store: where episodes are kept.
            data_root: folder of the recorded trajectories.
            get_planner: makes the planner of a setup's specification; may wait until it is loaded.
        """
        self.store = store
        self._data_root, self._get_planner = data_root, get_planner
        self._guard_root = store.root / "guard"
        self._live: dict[str, LiveEpisode] = {}
        self._stored: OrderedDict[str, EpisodeView] = OrderedDict()
        self._lock = Lock()
        self._opening = RLock()

    def start(self, setup: EpisodeSetup, owner: str = "", *, armed_by: str = "") -> str:
        """Begins an episode and returns its id.

        Args:
            setup: what is asked for.
            owner: login name of the person who starts it.
            armed_by: who arms a real device; empty for nobody, so that none is begun.

        Raises:
            InputError, MissingFileError: the setup names something that is not there or not allowed.
            ExecutorError: the device gave no screen.
            OutputError: the store cannot be written.
        """
        if setup.executor in REAL and not armed_by:
            raise InputError("a real device is not armed: tick the box in the form, then start")
        device = open_device(setup, self._data_root, self._guard_root)
        setup = replace(setup, mode="reactive" if setup.horizon == 1 else "anticipatory")
        try:
            if device.guarding is not None:
                device.guarding.guard.arm(armed_by)
            goal = setup.goal.strip() or device.executor.goal
            id = self.store.create(setup, goal=goal, platform=device.platform, owner=owner)
        except WorkbenchError:
            device.executor.close()
            raise
        episode = LiveEpisode(id, setup, device, lambda: self._get_planner(setup.planner), self.store)
        try:
            episode.start()
        except WorkbenchError:
            self.store.save_state(id, state="done", stop_reason=StopReason.EXECUTOR_ERROR)
            episode.close()
            raise
        self._keep(episode)
        return id

    def restart(self, id: str, owner: str = "") -> str:
        """Begins an episode of the same setup; the old one stays as it is."""
        return self.start(self.view(id).setup, owner)

    def view(self, id: str) -> EpisodeView:
        """The episode as it is now.

        Raises:
            MissingFileError: there is no such episode.
            InputError: its record is damaged.
        """
        live = self._live.get(id)
        if live is not None:
            return live.view
        with self._lock:
            stored = self._stored.get(id)
        return stored if stored is not None else self._open(id)

    def live(self, id: str) -> LiveEpisode | None:
        """The live episode of this id, opened again where that is needed; None when it can only be looked at."""
        self.view(id)
        return self._live.get(id)

    def close(self) -> None:
        """Ends all live episodes; what they did is stored."""
        with self._lock:
            episodes, self._live = list(self._live.values()), {}
        for episode in episodes:
            episode.close()

    def _open(self, id: str) -> EpisodeView:
        with self._opening:
            if id in self._live:  # another page was first
                return self._live[id].view
            stored = self.store.load(id)
            if stored.state == "done":
                return self._remember(_view_of(stored))
            try:
                episode = self._rebuild(stored)
            except WorkbenchError as error:
                return self._remember(_view_of(stored, read_only=f"It cannot go on: {sentence(error)}"))
            self._keep(episode)
            return episode.view

    def _rebuild(self, stored: StoredEpisode) -> LiveEpisode:
        setup = stored.setup
        if setup.executor in REAL:
            raise ExecutorError("restore", "what was done on a real device is never repeated by itself")
        device = open_device(setup, self._data_root, self._guard_root)
        episode = LiveEpisode(stored.id, setup, device, lambda: self._get_planner(setup.planner), self.store)
        try:
            episode.restore(stored.frames, stored.planner_name)
        except WorkbenchError:
            episode.close()
            raise
        return episode

    def _remember(self, view: EpisodeView) -> EpisodeView:
        with self._lock:
            self._stored[view.id] = view
            while len(self._stored) > MAX_STORED:
                self._stored.popitem(last=False)
        return view

    def _keep(self, episode: LiveEpisode) -> None:
        with self._lock:
            self._live[episode.view.id] = episode
            resting = sorted((e for e in self._live.values() if not e.view.is_busy), key=lambda e: e.last_used)
            resting = [e for e in resting if e is not episode and not e.view.is_real]
            num_heavy = sum(e.is_heavy for e in self._live.values())
            old = resting[: max(0, len(self._live) - MAX_LIVE)]
            old += [e for e in resting if e.is_heavy and e not in old][: max(0, num_heavy - MAX_HEAVY)]
            for other in old:
                del self._live[other.view.id]
        for other in old:
            other.close()


def _view_of(stored: StoredEpisode, *, read_only: str = "") -> EpisodeView:
    message = ending(stored.outcome, stored.stop_reason)
    if read_only:
        message = Message(f"This episode can be looked at. {read_only}", Tone.ERROR)
    return EpisodeView(
        id=stored.id, setup=stored.setup, goal=stored.goal, message=message, frames=stored.frames, state=stored.state,
        outcome=stored.outcome, stop_reason=stored.stop_reason, planner_name=stored.planner_name,
        platform=stored.platform, read_only=read_only,
    )
