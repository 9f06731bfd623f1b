"""What happens when a person decides the step that waits before a real device: the five decisions, as handlers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from executors.actions import Action
from executors.safety import Decision
from workbench.episode_edit import read_action
from workbench.episode_page import Page
from workbench.live_episode import LiveEpisode
from workbench.people import Role, person_of

Check = Callable[[gr.Request | None, Role, str], None]
GiveOrder = Callable[[Page, gr.Request | None, str, Callable[[LiveEpisode], None]], list[Any]]


class DecisionHandlers:
    """The decisions, each of operators only; each returns one update for each of the tab's outputs."""

    def __init__(self, give_order: GiveOrder, check: Check) -> None:
        """`give_order` has an order reach the page's episode; `check` raises where a role does not allow it."""
        self._give_order, self._check = give_order, check

    def approve(self, page: Page, request: gr.Request | None = None) -> list[Any]:
        """It is done as it is."""
        return self._decide(page, request, Decision.APPROVE)

    def modify(
        self, page: Page, type: str, arguments: str, words: str, request: gr.Request | None = None
    ) -> list[Any]:
        """The action that the step's fields say is done instead."""
        return self._decide(page, request, Decision.MODIFY, lambda: read_action(type or "", arguments or ""))

    def reject(self, page: Page, request: gr.Request | None = None) -> list[Any]:
        """It is not done."""
        return self._decide(page, request, Decision.REJECT)

    def terminate(self, page: Page, request: gr.Request | None = None) -> list[Any]:
        """It is not done, and nothing more is."""
        return self._decide(page, request, Decision.TERMINATE)

    def escalate(self, page: Page, request: gr.Request | None = None) -> list[Any]:
        """Another person decides."""
        return self._decide(page, request, Decision.ESCALATE)

    def _decide(
        self, page: Page, request: gr.Request | None, decision: Decision, read: Callable[[], Action] | None = None
    ) -> list[Any]:
        def order(episode: LiveEpisode) -> None:
            self._check(request, Role.OPERATOR, "decide what is done on a real device")
            episode.answer(decision, person_of(request), read() if read is not None else None)

        return self._give_order(page, request, "decide steps", order)
