"""The whole page: header, tabs, and how it is launched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.middleware import Middleware

from training.planner import load_planner
from workbench.guard import GuardMiddleware
from workbench.planner_shelf import PlannerShelf
from workbench.runs.configs import ConfigShelf
from workbench.runs.desk import RunDesk
from workbench.settings import AppSettings
from workbench.tabs import train
from workbench.tabs.episode import EpisodeHandlers, build_tab
from workbench.theme import make_theme, read_css

TITLE = "TraceR1 Workbench"

_HEADER = (
    f'<header class="tw-header"><h1>{TITLE}</h1>'
    "<p>Anticipatory planning: forecast several steps, act on the first, look again.</p></header>"
)


RUNS_ROOT = Path("runs")
"""Where `tracer1 train` puts its runs too, so that both see the same ones."""
DEMO_REFUSAL = (
    "This is a demo: nothing is trained here. The command is the real one; install the project and run it yourself."
)


def open_desk(settings: AppSettings, root: Path = RUNS_ROOT) -> RunDesk:
    """The desk of training runs, which starts waiting runs when it is their turn, from now until it is closed.

    Args:
        settings: what the app was started with; a hosted Space trains nothing.
        root: folder of the run folders, the queue and the saved settings.

    Raises:
        OutputError: the folder cannot be written.
    """
    desk = _desk(settings, root)
    desk.reconcile()
    desk.watch()
    return desk


def _desk(settings: AppSettings, root: Path) -> RunDesk:
    return RunDesk(root, root / "queue.sqlite", refusal=DEMO_REFUSAL if settings.is_space else "")


def build_app(
    settings: AppSettings, load: Callable[[str], Any] = load_planner, desk: RunDesk | None = None
) -> gr.Blocks:
    """The app; its planner starts loading in the background at once.

    Args:
        settings: what the app was started with.
        load: makes a planner of a path.
        desk: of the training runs; None for one over `RUNS_ROOT` that starts nothing.
    """
    desk = desk or _desk(settings, RUNS_ROOT)
    shelf = PlannerShelf(load, settings.planner, only_default=settings.is_space)
    handlers = EpisodeHandlers(shelf, settings.data_root)
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(3600, 3600), fill_width=True) as demo:
        gr.HTML(_HEADER)
        with gr.Tabs():
            with gr.Tab("Episode", elem_classes="tw-tab"):
                build_tab(handlers, settings.planner, may_choose_planner=not settings.is_space)
            with gr.Tab("Train", elem_classes="tw-tab"):
                shelf_of_settings = ConfigShelf(desk.root / ".configs")  # no run can have this name
                train.build_tab(train.TrainHandlers(desk, shelf_of_settings), train.TrainViews(desk))
    demo.queue(default_concurrency_limit=4, api_open=False)
    shelf.warm()
    return demo


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
        "allowed_paths": [],
        "max_file_size": "64mb",
        "theme": make_theme(),
        "css": read_css(),
        "app_kwargs": {
            "middleware": [Middleware(GuardMiddleware, rules=settings.rules)],
            "docs_url": None,
            "redoc_url": None,
            "openapi_url": None,
        },
    }
