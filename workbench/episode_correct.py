"""From the Episode tab to the Annotate tab: the episode shown goes into a project's queue and is opened there."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import gradio as gr

from executors.errors import InputError, WorkbenchError
from workbench.annotate_files import AnnotateFiles
from workbench.episode_page import Page
from workbench.episode_view import Message, Tone, sentence
from workbench.people import name_of


class CorrectHandlers:
    """The event of "Correct in Annotate"; holds only what all pages share."""

    def __init__(self, files: AnnotateFiles, show: Callable[[Page, gr.Request | None], list[Any]]) -> None:
        """`show` gives a page's updates, as `EpisodeHandlers.show` does."""
        self.files, self._show = files, show

    def correct(self, page: Page, project: str, request: gr.Request | None = None) -> list[Any]:
        """What the Annotate tab opens, as JSON, and the page's updates; "" where it is refused, which the page is told.

        Args:
            page: whose episode.
            project: the id of the project that the browser's Annotate tab shows; the first one where it is none.
            request: who asks.
        """
        opened = ""
        try:
            if not page.id:
                raise InputError("no episode is open: start one, or open a past one")
            target, id, is_new = self.files.correct_episode(name_of(request), project or "", page.id)
            mode = "annotate" if self.files.store.row(id).state in ("waiting", "returned") else "look"
            opened = json.dumps({"project": target.id, "trajectory": id, "mode": mode})
            told = "is in the queue of" if is_new else "was already in"
            page.notice = Message(f"The episode {told} project {target.name}: Annotate opens it.", Tone.SUCCESS)
        except WorkbenchError as error:
            page.notice = Message(sentence(error), Tone.ERROR)
        return [opened, *self._show(page, request)]
