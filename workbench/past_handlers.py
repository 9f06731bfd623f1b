"""What happens on each event of the list of past episodes: search, pages, and two episodes side by side.

Opening an episode is a plain link. Handlers need no browser.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

from executors.errors import WorkbenchError
from workbench.episode_archive import PAGE_SIZE, render_archive
from workbench.episode_compare import Comparison, compare_episodes, render_comparison
from workbench.episode_store import OUTCOMES, EpisodeStore
from workbench.episode_view import sentence
from workbench.people import People, Role
from workbench.screen import render_empty

ANY = ""
FILTERS = ("text", "outcome", "planner", "task", "since", "until")


class Browse:
    """One open page's place in the list; gradio keeps it for the page's session.

    `compared` are the ids that are chosen for a comparison, at most two, in the order they were chosen.
    """

    def __init__(self) -> None:
        self.offset = 0
        self.compared: list[str] = []
        self.step = 1
        self.comparison: Comparison | None = None

    def __deepcopy__(self, memo: dict) -> Browse:
        """A fresh one: gradio copies a state's first value for each page."""
        return Browse()


class PastHandlers:
    """The events of the list; holds only what all pages share."""

    def __init__(self, store: EpisodeStore, people: People) -> None:
        self.store, self.people = store, people

    def choices(self) -> tuple[Any, Any, Any]:
        """The filters' choices as the store has them now: outcomes, planners, tasks."""
        return (
            gr.Dropdown(choices=[("any", ANY), *((outcome, outcome) for outcome in OUTCOMES)]),
            gr.Dropdown(choices=[("any", ANY), *((name, name) for name in self.store.planners())]),
            gr.Dropdown(choices=[("any", ANY), *((name, name) for name in self.store.tasks())]),
        )

    def refresh(self, browse: Browse, *filters: str | None, request: gr.Request | None = None) -> tuple[Any, ...]:
        """The list anew, with the choices that there are now."""
        try:
            self._check(request)
            choices = self.choices()
        except WorkbenchError:
            choices = (gr.skip(),) * 3
        return *choices, *self._show(browse, filters, request)

    def search(self, browse: Browse, *filters: str | None, request: gr.Request | None = None) -> tuple[str, str]:
        """What fits the filters, from the newest."""
        browse.offset = 0
        return self._show(browse, filters, request)

    def on_event(
        self, browse: Browse, *filters: str | None, event: gr.EventData, request: gr.Request | None = None
    ) -> tuple[str, str]:
        """Another page of the list, an episode chosen for comparison or no longer, or another step of the two."""
        data = event._data if isinstance(event._data, dict) else {}
        offset, id, step = data.get("offset"), data.get("episode"), data.get("step")
        if data.get("what") == "page" and _is_count(offset):
            browse.offset = offset
        elif data.get("what") == "compare" and isinstance(id, str):
            browse.compared = [other for other in browse.compared if other != id]
            if data.get("is_on") is True and len(browse.compared) < 2:
                browse.compared.append(id)
            browse.step, browse.comparison = 1, None
        elif data.get("what") == "step" and _is_count(step):
            browse.step = step
        return self._show(browse, filters, request)

    def _show(self, browse: Browse, filters: tuple, request: gr.Request | None) -> tuple[str, str]:
        try:
            self._check(request)
            chosen = {name: (value or "").strip() for name, value in zip(FILTERS, filters, strict=True)}
            result = self.store.search(chosen.pop("text"), **chosen, limit=PAGE_SIZE, offset=browse.offset)
            rows = render_archive(result, offset=browse.offset, compared=browse.compared)
        except WorkbenchError as error:
            rows = render_empty("The list cannot be shown", [sentence(error)])
        return rows, self._compare(browse, request)

    def _compare(self, browse: Browse, request: gr.Request | None) -> str:
        if len(browse.compared) < 2:
            left = "one more episode" if browse.compared else "two episodes"
            return render_empty("Side by side", [f"Tick {left} in the last column to compare them step by step."])
        try:
            self._check(request)
            if browse.comparison is None:
                browse.comparison = compare_episodes(*(self.store.load(id) for id in browse.compared))
            return render_comparison(browse.comparison, browse.step)
        except WorkbenchError as error:
            return render_empty("These two cannot be compared", [sentence(error)])

    def _check(self, request: gr.Request | None) -> None:
        name = getattr(request, "username", None) if request is not None else None
        self.people.check(name, Role.VIEWER, "look at episodes")


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**9
