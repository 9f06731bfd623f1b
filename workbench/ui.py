"""The whole page: header, tabs, and how it is launched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr
from gradio.utils import get_upload_folder
from starlette.middleware import Middleware

from workbench import demo
from workbench.annotate.store import AnnotationStore
from workbench.annotate_desk import AnnotateDesk
from workbench.annotate_files import EXPORTS, AnnotateFiles
from workbench.annotate_views import ListViews
from workbench.annotate_work import WorkViews
from workbench.annotation_queue import AnnotationQueue
from workbench.compare_desk import CompareDesk
from workbench.compare_saved import SavedComparisons
from workbench.compare_shelf import EvaluationShelf
from workbench.compare_views import CompareViews
from workbench.episode_desk import EpisodeDesk
from workbench.episode_handlers import EpisodeHandlers
from workbench.episode_store import EpisodeStore
from workbench.guard import GuardMiddleware
from workbench.help import render_help
from workbench.people import Role
from workbench.planner_shelf import PlannerShelf
from workbench.runs.configs import ConfigShelf
from workbench.runs.desk import RunDesk
from workbench.runs.webhook import webhook
from workbench.screens import SCREENS
from workbench.settings import AppSettings
from workbench.store import Store
from workbench.tabs import annotate, compare, episode, train
from workbench.theme import make_theme, read_css, read_script
from workbench.visitors import Sandboxes, VisitorMiddleware, visitor_of
from workbench.zero_gpu import load_on_lent_gpu

TITLE = "TraceR1 Workbench"

MAX_QUEUE = 1000
"""Events that may wait at once; on ZeroGPU hardware Gradio would else allow one, and every page asks all the time."""

VISITORS = "visitors"
"""Folder of the store with the sandboxes of a hosted demo's visitors."""


_FETCHED = {False: (SCREENS, EXPORTS), True: (SCREENS, EXPORTS, VISITORS)}


def _header(settings: AppSettings) -> str:
    duplicate = ""
    if settings.is_space:
        href = f"https://huggingface.co/spaces/{quote(settings.space_id)}?duplicate=true"
        duplicate = f'<a class="tr-button" href="{href}" target="_blank" rel="noopener">Duplicate this Space</a>'
    return (
        f'<header class="tw-header"><h1>{TITLE}</h1>'
        "<p>Anticipatory planning: forecast several steps, act on the first, look again.</p>"
        f"{render_help()}{duplicate}</header>"
    )



def open_runs(settings: AppSettings) -> RunDesk:
    """The desk of training runs, which starts waiting runs when it is their turn, from now until it is closed.

    Args:
        settings: what the app was started with; a hosted Space trains nothing.

    Raises:
        OutputError: the folder of runs cannot be written.
        InputError: the webhook's address is none.
    """
    runs = _make_runs(settings)
    runs.reconcile()
    runs.watch()
    return runs


def _make_runs(settings: AppSettings) -> RunDesk:
    root = settings.runs_root
    return RunDesk(
        root,
        root / "queue.sqlite",
        refusal=demo.REFUSAL if settings.is_space else "",
        on_alert=webhook(settings.webhook_url) if settings.webhook_url else None,
    )


def build_app(
    settings: AppSettings, load: Callable[[str], Any] = load_on_lent_gpu, runs: RunDesk | None = None
) -> gr.Blocks:
    """The app; its planner starts loading in the background at once.

    Args:
        settings: what the app was started with.
        load: makes a planner of a path.
        runs: the desk of training runs; None for one that starts nothing.
    """
    runs = runs or _make_runs(settings)
    allowed = (settings.planner, demo.EXAMPLE_PLANNER) if settings.is_space else None
    shelf = PlannerShelf(load, settings.planner, only=allowed)
    episodes = EpisodeStore(settings.store_root)
    desk = EpisodeDesk(episodes, settings.data_root, shelf.get)
    example = demo.make_example(episodes, settings.data_root) if settings.is_space else ""
    store = Store(settings.store_root)
    comparisons = CompareDesk(
        EvaluationShelf(settings.evaluations_root), SavedComparisons(store), AnnotationQueue(store)
    )
    files = None if settings.is_space else _annotation_files(settings, comparisons, episodes)
    annotating = _annotating(settings, comparisons, files, shelf)
    configs = ConfigShelf(runs.root / ".configs")  # no run can have this name

    def check_operator(name: str | None, what: str) -> None:
        settings.people.check(name, Role.OPERATOR, what)

    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(3600, 3600), fill_width=True) as app:
        app.space_id = None  # with a Space's id Gradio's page asks huggingface.co for a card and Google for its fonts
        gr.HTML(_header(settings), js_on_load=read_script("page_link.js") + read_script("help.js"))
        with gr.Tabs():
            with gr.Tab("Episode", elem_classes="tw-tab"):
                episode.build_tab(
                    EpisodeHandlers(
                        shelf, desk, settings, runs_root=settings.runs_root, example=example, files=files
                    )
                )
            with gr.Tab("Train", elem_classes="tw-tab"):
                train.build_tab(train.TrainHandlers(runs, configs, check_operator), train.TrainViews(runs))
            with gr.Tab("Annotate", elem_classes="tw-tab"):
                annotate.build_tab(annotating)
            with gr.Tab("Compare", elem_classes="tw-tab"):
                compare.build_tab(
                    compare.CompareHandlers(comparisons, runs, settings.people),
                    CompareViews(comparisons, runs, settings.data_root),
                )
    app.queue(default_concurrency_limit=4, api_open=False, max_size=MAX_QUEUE)
    shelf.warm()
    return app


def _annotation_files(settings: AppSettings, comparisons: CompareDesk, episodes: EpisodeStore) -> AnnotateFiles:
    """What goes into the team's annotation store and out of it."""
    return AnnotateFiles(
        AnnotationStore(settings.store_root, settings.people), comparisons.queue, comparisons.shelf, episodes,
        data_root=settings.data_root, uploads=Path(get_upload_folder()),
    )


def _annotating(
    settings: AppSettings, comparisons: CompareDesk, files: AnnotateFiles | None, shelf: PlannerShelf
) -> Callable[[gr.Request], tuple[ListViews, WorkViews]]:
    """Who asks -> the views of the Annotate tab: the team's, or without its files, as on a hosted Space, those of the
    visitor's sandbox.
    """
    if files is None:
        sandboxes = Sandboxes(
            settings.store_root / VISITORS, demo.trajectories, shelf.get, uploads=Path(get_upload_folder()),
            evaluations=comparisons.shelf,
        )
        return lambda request: sandboxes.views(visitor_of(request))
    desk = AnnotateDesk(files.store)
    views = ListViews(desk, files), WorkViews(desk, shelf.get)
    return lambda request: views


def launch_options(settings: AppSettings) -> dict[str, Any]:
    """The arguments of `Blocks.launch`: everything local, nothing remembered, nothing offered as an API."""
    return {
        "server_name": settings.host,
        "server_port": settings.port,
        "share": False,
        "quiet": True,
        "show_error": False,
        "ssr_mode": False,
        "run_history": False,
        "enable_monitoring": False,
        "mcp_server": False,
        "pwa": False,
        "footer_links": [],
        "auth": settings.people.admits if settings.people.must_log_in else None,
        "auth_message": f"Log in to {TITLE}.",
        # what the browser may fetch: stored screenshots and exports, by names that cannot be guessed
        "allowed_paths": [str(settings.store_root / name) for name in _FETCHED[settings.is_space]],
        "max_file_size": "64mb",
        "theme": make_theme(),
        "css": read_css(),
        "app_kwargs": {
            "middleware": [
                Middleware(GuardMiddleware, rules=settings.rules),
                *([Middleware(VisitorMiddleware)] if settings.is_space else []),
            ],
            "docs_url": None,
            "redoc_url": None,
            "openapi_url": None,
        },
    }
