"""The whole page: header, tabs, and how it is launched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr
from starlette.middleware import Middleware

from training.planner import load_planner
from workbench.episode_desk import EpisodeDesk
from workbench.episode_handlers import EpisodeHandlers
from workbench.episode_store import EpisodeStore
from workbench.guard import GuardMiddleware
from workbench.planner_shelf import PlannerShelf
from workbench.settings import AppSettings
from workbench.tabs.episode import build_tab
from workbench.theme import make_theme, read_css

TITLE = "TraceR1 Workbench"

_HEADER = (
    f'<header class="tw-header"><h1>{TITLE}</h1>'
    "<p>Anticipatory planning: forecast several steps, act on the first, look again.</p></header>"
)


def build_app(settings: AppSettings, load: Callable[[str], Any] = load_planner) -> gr.Blocks:
    """The app; its planner starts loading in the background at once.

    Args:
        settings: what the app was started with.
        load: makes a planner of a path.
    """
    shelf = PlannerShelf(load, settings.planner, only_default=settings.is_space)
    desk = EpisodeDesk(EpisodeStore(settings.store_root), settings.data_root, shelf.get)
    handlers = EpisodeHandlers(shelf, desk, settings)
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(3600, 3600), fill_width=True) as demo:
        gr.HTML(_HEADER)
        with gr.Tabs(), gr.Tab("Episode", elem_classes="tw-tab"):
            build_tab(handlers)
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
        "auth": settings.people.admits if settings.people.must_log_in else None,
        "auth_message": f"Log in to {TITLE}.",
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
