"""The list of past episodes as HTML: what a search found, how each episode stands, and the way to the other pages.

Every text is escaped on the way. Opening an episode is a plain link, `?episode=ID`; what else a person does comes back
as an event (assets/js/archive.js): {"what": "compare", "episode": ID, "is_on": bool} and {"what": "page", "offset": N}.
"""

from __future__ import annotations

from collections.abc import Collection
from math import ceil

from workbench.episode_store import EpisodeRow, SearchResult
from workbench.screen import render_empty
from workbench.screen_text import safe_text

PAGE_SIZE = 25

OUTCOME_WORDS = {
    "success": ("✓", "reached"),
    "failure": ("✕", "not reached"),
    "impossible": ("∅", "rightly called impossible"),
    "unknown": ("?", "not judged"),
}
"""A stored outcome's sign and words, so that it is not told by colour alone."""


def plural(count: int, noun: str) -> str:
    """The count and the noun.

    >>> plural(1, "step"), plural(0, "step")
    ('1 step', '0 steps')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def day_and_time(moment: str) -> str:
    """ISO text in UTC as it is shown.

    >>> day_and_time("2026-03-01T12:00:05.123+00:00")
    '2026-03-01 12:00 UTC'
    """
    return f"{moment[:10]} {moment[11:16]} UTC"


def outcome_badge(episode: EpisodeRow) -> str:
    """How the episode stands, as a sign and words; one that is not over shows its state."""
    sign, words = OUTCOME_WORDS[episode.outcome] if episode.state == "done" else ("…", episode.state)
    name = episode.outcome if episode.state == "done" else "open"
    return f'<span class="tw-badge tw-badge-{name}"><span aria-hidden="true">{sign}</span> {words}</span>'


def render_archive(result: SearchResult, *, offset: int = 0, compared: Collection[str] = ()) -> str:
    """The rows a search found, with how many there are and the way to the other pages.

    Args:
        result: one page of at most `PAGE_SIZE` rows.
        offset: how many rows lie before this page.
        compared: ids that are chosen for a comparison; at most two can be.
    """
    if not result.rows:
        if offset:
            return render_empty("No more episodes", ["This page is past the last one: go back to the first."])
        return render_empty(
            "No episode fits", ["Take a filter away or search for other words. Every episode you start is kept here."]
        )
    rows = "".join(_archive_row(row, row.id in compared, len(compared) >= 2) for row in result.rows)
    last = offset + len(result.rows)
    return (
        f'<div class="tw-archive"><p class="tw-sub" role="status">Episodes {offset + 1:,} to {last:,} of '
        f"{result.total:,}, newest first</p>"
        '<div class="tw-archive-scroll"><table><thead><tr><th scope="col">Goal</th><th scope="col">Task</th>'
        '<th scope="col">Outcome</th><th scope="col">Steps</th><th scope="col">Planner</th><th scope="col">Begun</th>'
        f'<th scope="col">Compare</th></tr></thead><tbody>{rows}</tbody></table></div>'
        f"{_pager(offset, result.total)}</div>"
    )


def _archive_row(row: EpisodeRow, is_compared: bool, is_full: bool) -> str:
    state = " checked" if is_compared else " disabled" if is_full else ""
    owner = f'<span class="tw-sub"> by {safe_text(row.owner, 40)}</span>' if row.owner else ""
    return (
        f'<tr data-episode="{row.id}"><td><a href="?episode={row.id}" title="Open this episode">'
        f"<bdi>{safe_text(row.goal or 'no goal', 160)}</bdi></a></td>"
        f"<td>{safe_text(row.task, 60)}</td><td>{outcome_badge(row)}</td><td>{row.num_steps}</td>"
        f"<td><bdi>{safe_text(row.planner_name or 'none yet', 60)}</bdi></td>"
        f"<td>{day_and_time(row.created)}{owner}</td>"
        f'<td><input type="checkbox" data-act="compare" data-episode="{row.id}"{state} '
        f'aria-label="Compare: {safe_text(row.goal, 80)}"></td></tr>'
    )


def _pager(offset: int, total: int) -> str:
    if total <= PAGE_SIZE:
        return ""
    page, pages = offset // PAGE_SIZE + 1, ceil(total / PAGE_SIZE)
    back = "" if offset else " disabled"
    on = "" if offset + PAGE_SIZE < total else " disabled"
    return (
        f'<p class="tw-pager"><button type="button" data-act="page" data-offset="{max(0, offset - PAGE_SIZE)}"{back}>'
        f"Newer</button><span>Page {page:,} of {pages:,}</span>"
        f'<button type="button" data-act="page" data-offset="{offset + PAGE_SIZE}"{on}>Older</button></p>'
    )
