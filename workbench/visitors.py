"""A hosted demo's visitors: each annotates in a sandbox of their own, which nobody else sees and which is not kept.

A visitor is known by a random cookie. A sandbox is a folder with a store of its own, where its visitor may do all that
a reviewer may.
"""

from __future__ import annotations

import re
import secrets
import shutil
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from starlette.requests import HTTPConnection

from executors.errors import OutputError
from executors.trajectory import Trajectory
from workbench.annotate.store import AnnotationStore
from workbench.annotate_desk import AnnotateDesk
from workbench.annotate_files import AnnotateFiles
from workbench.annotate_views import ListViews
from workbench.annotate_work import WorkViews
from workbench.annotation_queue import AnnotationQueue
from workbench.compare_shelf import EvaluationShelf
from workbench.episode_store import EpisodeStore
from workbench.people import People, Role

COOKIE = "tracer1_visitor"
MAX_SANDBOXES = 64
REST_SECONDS = 3600.0
"""A sandbox that nobody has used for so long may give way to another visitor's."""
PROJECT = "Your sandbox"
GUIDE = (
    "Try everything: correct steps, draw boxes, submit, review. Only this browser sees what you do here, and it is "
    "deleted after an hour without use: Export keeps a copy."
)
_TOKEN = re.compile(r"[0-9a-f]{32}")


class VisitorMiddleware:
    """ASGI middleware that gives every browser without one a visitor's cookie."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(
        self, scope: MutableMapping[str, Any], receive: Callable, send: Callable[[Any], Awaitable[None]]
    ) -> None:
        """Passes the request on; its answer sets the cookie where the request had none."""
        if scope["type"] != "http" or visitor_of(HTTPConnection(scope)):
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        is_https = headers.get(b"x-forwarded-proto", b"").startswith(b"https") or scope.get("scheme") == "https"
        # a Space is shown in a frame of another site, where only such a cookie is sent back
        attributes = "SameSite=None; Secure; Partitioned" if is_https else "SameSite=Lax"
        cookie = f"{COOKIE}={secrets.token_hex(16)}; Path=/; HttpOnly; {attributes}"

        async def send_with_cookie(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), (b"set-cookie", cookie.encode())]}
            await send(message)

        await self.app(scope, receive, send_with_cookie)


def visitor_of(request: Any) -> str:
    """The visitor behind a request with cookies, "" where it has none of ours."""
    token = request.cookies.get(COOKIE, "")
    return token if _TOKEN.fullmatch(token) else ""


@dataclass(slots=True)
class _Sandbox:
    root: Path
    views: tuple[ListViews, WorkViews]
    used: float


class Sandboxes:
    """The visitors' sandboxes below a folder, made when they are first asked for; safe to use from several threads."""

    def __init__(
        self, root: Path, examples: Callable[[], Iterable[Trajectory]], get_planner: Callable[[], Any], *,
        uploads: Path, evaluations: EvaluationShelf, clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Deletes what an earlier server left below `root`: its visitors' cookies mean nothing to this one.

        Args:
            root: folder of the sandboxes alone.
            examples: the trajectories that each one begins with.
            get_planner: the planner that proposes steps.
            uploads: folder of what browsers upload.
            evaluations: the evaluations that the app shows.
            clock: seconds that only rise.
        """
        shutil.rmtree(root, ignore_errors=True)
        self.root, self._examples, self._get_planner = root, examples, get_planner
        self._uploads, self._evaluations, self._clock = uploads, evaluations, clock
        self._sandboxes: dict[str, _Sandbox] = {}
        self._lock = Lock()

    def views(self, visitor: str) -> tuple[ListViews, WorkViews]:
        """What the Annotate tab asks, for this visitor.

        Raises:
            OutputError: the request had no cookie, or there are too many visitors now.
        """
        if not visitor:
            raise OutputError("this browser keeps no cookies, so the demo cannot tell its sandbox from others': allow "
                              "them for this page, or run the workbench on your own machine")
        with self._lock:
            now = self._clock()
            if visitor not in self._sandboxes:
                self._make_room(now)
                self._sandboxes[visitor] = self._make(now)
            sandbox = self._sandboxes[visitor]
            sandbox.used = now
            return sandbox.views

    def _make_room(self, now: float) -> None:
        for visitor, sandbox in list(self._sandboxes.items()):
            if now - sandbox.used > REST_SECONDS:
                del self._sandboxes[visitor]
                sandbox.views[0].files.episodes.close()
                sandbox.views[0].desk.store.close()
                shutil.rmtree(sandbox.root, ignore_errors=True)
        if len(self._sandboxes) >= MAX_SANDBOXES:
            raise OutputError("too many people annotate in this demo just now: come back later, or run the workbench "
                              "on your own machine")

    def _make(self, now: float) -> _Sandbox:
        root = self.root / secrets.token_hex(16)  # part of its screenshots' addresses, so not to be guessed
        store = AnnotationStore(root, People(open_role=Role.REVIEWER))
        project = store.add_project(PROJECT, guide=GUIDE)
        for trajectory in self._examples():
            store.add(project, trajectory, why="recorded by an oracle of the embedded world")
        desk = AnnotateDesk(store)
        files = AnnotateFiles(
            store, AnnotationQueue(store.file), self._evaluations, EpisodeStore(root), data_root=root / "data",
            uploads=self._uploads,
        )
        return _Sandbox(root, (ListViews(desk, files), WorkViews(desk, self._get_planner)), now)
