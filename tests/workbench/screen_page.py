"""A plain page with one screen component and its rows, for tests in a real browser; no server is needed."""

from __future__ import annotations

from collections.abc import Sequence

import PIL.Image

from executors.geometry import ImageSize
from tests.workbench.conftest import PATIENCE_MS
from workbench.screen import Mark, png_data_uri, render_screen, render_steps, screen_script
from workbench.theme import read_css

ADDRESS = "http://localhost:9/"

_PAGE = """<!doctype html><html class="{theme}"><meta charset="utf-8"><title>screen</title>
<style>body {{ margin: 0; font-family: system-ui; }} .tw-link {{ padding: 10px; }} {css}</style>
<body class="gradio-container"><div class="tw-link"><div id="screen">{screen}</div><div id="rows">{rows}</div></div>
<script>window.events = [];
window.start = (element, trigger) => {{ {script} }};
window.start(document.getElementById("screen"), (name, data) => window.events.push([name, data]));</script></body>"""


def screen_page(marks: Sequence[Mark], image: PIL.Image.Image, *, theme: str = "", **options: object) -> str:
    """The whole page; what the component tells the server is listed in `window.events`."""
    return _PAGE.format(
        theme=theme, css=read_css(), script=screen_script(), rows=render_steps(marks),
        screen=screen_html(marks, image, **options),
    )


def screen_html(marks: Sequence[Mark], image: PIL.Image.Image, **options: object) -> str:
    """The component's HTML, as the server sends it with every update."""
    return render_screen(png_data_uri(image), ImageSize(*image.size), marks, alt="a screen", **options)


class Pages:
    """Opens pages of HTML in one browser; remembers everything that went wrong in them."""

    def __init__(self, browser: object) -> None:
        self.browser = browser
        self.contexts: list[object] = []
        self.problems: list[str] = []

    def open(self, html: str, *, width: int = 1280, height: int = 900, **options: object):
        """A page with this content; every other request than the page itself is a problem."""
        context = self.browser.new_context(viewport={"width": width, "height": height}, **options)
        context.set_default_timeout(PATIENCE_MS)
        self.contexts.append(context)
        context.route("**/*", lambda route: self._answer(route, html))
        page = context.new_page()
        page.on("console", lambda m: self.problems.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.goto(ADDRESS)
        return page

    def _answer(self, route: object, html: str) -> None:
        if route.request.url == ADDRESS:
            route.fulfill(body=html, content_type="text/html; charset=utf-8")
            return
        if not route.request.url.endswith("/favicon.ico"):
            self.problems.append(f"request: {route.request.url}")
        route.abort()

    def close(self) -> None:
        """Closes all pages; fails if anything went wrong in one of them."""
        for context in self.contexts:
            context.close()
        assert self.problems == []
