"""Help in the app: a tour of the tabs for who is here for the first time, and a page of help for each tab.

The texts are Markdown in assets/help; the tour's sections are called as the tabs that they show.
"""

from __future__ import annotations

from functools import cache

from markdown_it import MarkdownIt

from workbench.settings import ROOT

TEXTS = ROOT / "assets" / "help"
TABS = ("Episode", "Train", "Annotate", "Compare")


@cache
def _html(name: str) -> str:
    text = (TEXTS / f"{name}.md").read_text(encoding="utf-8")
    return MarkdownIt("commonmark", {"html": False}).enable("table").render(text)


def tour_steps() -> list[tuple[str, str]]:
    """(tab, HTML) of each step of the tour, in order.

    >>> [tab for tab, _ in tour_steps()][::2]
    ['Episode', 'Train', 'Compare']
    """
    parts = _html("tour").split("<h2>")[1:]
    return [tuple(part.split("</h2>", 1)) for part in parts]


def render_help() -> str:
    """Buttons for the header, the dialog with each tab's help, and the tour's card; assets/js/help.js moves them."""
    pages = "".join(f'<template data-help="{tab}">{_html(tab.lower())}</template>' for tab in TABS)
    steps = "".join(f'<template data-tour="{tab}">{html}</template>' for tab, html in tour_steps())
    return (
        '<div class="tw-help">'
        '<button type="button" class="tr-button" data-help-act="tour">Take the tour</button>'
        '<button type="button" class="tr-button" data-help-act="open" aria-haspopup="dialog">Help</button></div>'
        '<dialog class="tw-dialog tw-help-dialog" aria-label="Help">'
        f'{pages}<div class="tw-help-text"></div>'
        '<form method="dialog" class="tw-help-foot"><button class="tr-button tr-primary">Close</button></form></dialog>'
        '<aside class="tw-tour" role="dialog" aria-label="Tour of the workbench" tabindex="-1" hidden>'
        f'<p class="tw-tour-place" role="status"></p>{steps}<div class="tw-help-text"></div>'
        '<div class="tw-help-foot"><button type="button" class="tr-button" data-help-act="end">End the tour</button>'
        '<button type="button" class="tr-button" data-help-act="back">Back</button>'
        '<button type="button" class="tr-button tr-primary" data-help-act="next">Next</button></div></aside>'
    )
