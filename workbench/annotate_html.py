"""The Annotate tab's lists as HTML: projects, trajectories, reports, what waits elsewhere, progress, dataset revisions.

Every text of a person, a file or a model is escaped here. Buttons carry `data-act` and ids; assets/js/annotate_*.js
asks the server with them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from math import ceil

from training.datasets.report import ImportReport
from workbench.annotate.agreement import Agreement
from workbench.annotate.datasets import DatasetRevision
from workbench.annotate.files_out import FORMS as FORMS_OUT
from workbench.annotate.files_out import WriteReport
from workbench.annotate.progress import VERDICTS, Progress
from workbench.annotate.queue import Task
from workbench.annotate.store import STATES, Project, TrajectoryPage, TrajectoryRow
from workbench.annotate_desk import PAGE_SIZE
from workbench.annotation_queue import QueuedSample
from workbench.compare_html import name_html, table
from workbench.episode_archive import day_and_time, plural
from workbench.episode_store import EpisodeRow
from workbench.screen import render_empty, safe_text
from workbench.store import utc_now

STATE_WORDS = {"waiting": ("○", "waiting"), "submitted": ("◐", "to review"), "returned": ("↩", "returned"),
               "accepted": ("✓", "accepted")}
"""A state's sign and words, so that it is not told by colour alone."""
FORM_WORDS = {
    "trajectories": "our JSON Lines", "agentnet": "AgentNet", "datasets": "Hugging Face datasets",
    "parquet": "parquet", "easyr1": "EasyR1 parquet", "verl": "verl parquet",
}
MAX_PROBLEMS_SHOWN = 50


def state_badge(state: str) -> str:
    """How a task or a trajectory stands, as a sign and words."""
    sign, words = STATE_WORDS[state]
    return f'<span class="an-state an-state-{state}"><span aria-hidden="true">{sign}</span> {words}</span>'


def button(label: str, act: str, *, classes: str = "tr-small", title: str = "", **data: object) -> str:
    """A button that asks for `act`; `label` is HTML, `data` become its data attributes."""
    told = "".join(f' data-{name.replace("_", "-")}="{safe_text(value, 400)}"' for name, value in data.items())
    tip = f' title="{safe_text(title, 200)}"' if title else ""
    return f'<button type="button" class="{classes}" data-act="{act}"{told}{tip}>{label}</button>'


def select(id: str, options: Mapping[str, str], *, chosen: str = "", label: str) -> str:
    """A labelled list of choices; `options` are value -> words."""
    items = "".join(
        f'<option value="{safe_text(value, 200)}"{" selected" if value == chosen else ""}>{safe_text(words, 120)}'
        "</option>"
        for value, words in options.items()
    )
    return f'<label class="an-labelled">{label} <select id="{id}">{items}</select></label>'


# ---- projects


def render_projects(projects: Sequence[Project], shown: str, *, may_add: bool) -> str:
    """The projects to choose from, the guide of the one that is shown, and the form of a new one."""
    items = "".join(
        f'<li data-id="{project.id}"><button type="button" class="an-project" data-act="project" '
        f'data-project="{project.id}" aria-current="{str(project.id == shown).lower()}">{name_html(project.name)}'
        "</button></li>"
        for project in projects
    )
    chosen = next((project for project in projects if project.id == shown), None)
    guide = f'<p class="an-guide">{safe_text(chosen.guide, 2000)}</p>' if chosen and chosen.guide else ""
    listed = f'<ul class="an-projects">{items}</ul>{guide}' if projects else ""
    form = _NEW_PROJECT.replace("OPEN", "" if projects else " open") if may_add else ""
    return listed + form


_NEW_PROJECT = (
    '<details class="an-new-project" data-id="new-project"OPEN><summary>New project</summary>'
    '<form class="an-form" data-form="add_project"><label>Name <input name="name" maxlength="200" required></label>'
    '<label>Guide for annotators <textarea name="guide" rows="3"></textarea></label>'
    '<label>Share annotated twice, blindly <input name="second_share" inputmode="decimal" value="0" size="5"></label>'
    '<p class="tr-help">0 to 1, such as 0.1. The second person does not see the first annotation; how far both agree '
    'stands under Progress.</p><button class="tr-button">Make project</button></form></details>'
)


def render_no_project() -> str:
    """What to do first."""
    return render_empty("Reference trajectories of a team", [
        "Stage 1 is as good as the trajectories it learns from. Here they are imported, corrected, reviewed and named "
        "as dataset revisions that training runs lead back to.",
        "Make a project on the left (a reviewer does), then import trajectories into it.",
    ])


# ---- trajectories


def render_list(page: TrajectoryPage, tasks: Mapping[str, Sequence[Task]], *, offset: int, is_filtered: bool) -> str:
    """A page of trajectories with how each stands, who holds it, and what can be done with it.

    Args:
        page: the rows and how many fit in all.
        tasks: trajectory -> its tasks.
        offset: how many rows lie before this page.
        is_filtered: whether a filter is set; an empty page then says so.
    """
    if not page.rows:
        if is_filtered or offset:
            return render_empty("No trajectory fits", ["Take a filter away or search for other words."])
        return render_empty(
            "This project is empty",
            ["Import trajectories below: JSON Lines of ours, AgentNet's as a zip archive with its images, or any data "
             "set that `tracer1 import` knows. Failed benchmark samples and saved episodes come with one click."],
            code="tracer1 annotations import data/agentnet.jsonl --project NAME --form agentnet",
        )
    rows = [_list_row(row, tasks.get(row.id, ())) for row in page.rows]
    head = ("Goal", "State", "Steps", "Checks", "Platform", "Held by", "Changed (UTC)", "Open")
    last = offset + len(page.rows)
    return (
        f'<p class="tr-soft" role="status">Trajectories {offset + 1:,} to {last:,} of {page.total:,}, newest first</p>'
        f"{table(head, rows, label='Trajectories')}{_pager(offset, page.total)}"
    )


def _list_row(row: TrajectoryRow, tasks: Sequence[Task]) -> str:
    held = ", ".join(
        f"{name_html(task.holder or 'this server', 60)}{' (2nd)' if task.branch != 'main' else ''} "
        f"{button('Break', 'break', title='Take the task out of their hands; their draft stays', task=task.number)}"
        for task in tasks if task.lease_until > utc_now()  # one that ran out is free for the next who asks
    )
    reason = row.origin.get("reason")
    told = f'<span class="tr-soft an-origin">{safe_text(reason, 120)}</span>' if reason else ""
    mode = {"waiting": "annotate", "returned": "annotate", "submitted": "review"}.get(row.state)
    way = button(mode.capitalize(), "open", mode=mode, trajectory=row.id) if mode else ""
    goal = row.goal.strip() or "no goal"
    return (
        f'<tr data-id="{row.id}"><th scope="row"><button type="button" class="an-link" data-act="open" '
        f'data-mode="look" data-trajectory="{row.id}"><bdi>{safe_text(goal, 140)}</bdi></button>'
        f'<span class="tr-soft an-source">{name_html(row.source_id, 60)}</span>{told}</th>'
        f"<td>{state_badge(row.state)}</td><td>{row.num_steps}</td><td>{_checks(row)}</td>"
        f"<td>{safe_text(row.platform, 20)}</td><td>{held}</td>"
        f"<td>{safe_text(row.updated[:16].replace('T', ' '))}</td><td>{way}</td></tr>"
    )


def _checks(row: TrajectoryRow) -> str:
    parts = []
    if row.num_errors:
        parts.append(f'<span class="tr-bad">✕ {plural(row.num_errors, "error")}</span>')
    if row.num_warnings:
        parts.append(f'<span class="an-warn">⚠ {plural(row.num_warnings, "warning")}</span>')
    return " ".join(parts) or '<span class="an-ok">✓ clean</span>'


def _pager(offset: int, total: int) -> str:
    if total <= PAGE_SIZE:
        return ""
    back = f'data-offset="{max(0, offset - PAGE_SIZE)}"' + ("" if offset else " disabled")
    on = f'data-offset="{offset + PAGE_SIZE}"' + ("" if offset + PAGE_SIZE < total else " disabled")
    return (
        f'<p class="cmp-pager"><button type="button" class="tr-small" data-act="page" {back}>Newer</button>'
        f"<span>Page {offset // PAGE_SIZE + 1:,} of {ceil(total / PAGE_SIZE):,}</span>"
        f'<button type="button" class="tr-small" data-act="page" {on}>Older</button></p>'
    )


# ---- reports


def render_import_report(report: ImportReport) -> str:
    """What an import kept and refused, with the first places and reasons."""
    kept, skipped = report.num_records_kept, report.num_records_skipped
    tone = "success" if kept and not skipped else "error" if not kept else "info"
    counts = report.skipped_records.most_common()
    reasons = "".join(f"<li>{safe_text(what, 120)}: {count}</li>" for what, count in counts)
    places = [
        f"<tr><td>{safe_text(p.file.rpartition('/')[2], 80)}, {p.line}</td><td>{name_html(p.record, 60)}</td>"
        f"<td><code>{safe_text(p.field, 60)}</code></td><td>{safe_text(p.message, 300)}</td>"
        f"<td>{safe_text(p.outcome, 80)}</td></tr>"
        for p in report.problems[:MAX_PROBLEMS_SHOWN]
    ]
    more = report.num_problems - len(places)
    told = f'<p class="tr-soft">and {plural(more, "more place")}</p>' if more > 0 else ""
    listed = (
        f"<details{' open' if skipped else ''}><summary>{plural(report.num_problems, 'place')} to look at</summary>"
        f"{table(('Place', 'Record', 'Field', 'What is wrong', 'Outcome'), places)}{told}</details>"
    ) if places else ""
    repaired = f" ({report.num_records_repaired:,} of them repaired)" if report.num_records_repaired else ""
    return (
        f'<div class="tw-card an-report tw-{tone}" role="status"><p>'
        f"<b>{safe_text(report.path.rpartition('/')[2], 120)}</b> as {safe_text(report.dataset, 40)}: "
        f"{report.num_records_read:,} records read, {kept:,} kept{repaired}, {skipped:,} refused; "
        f"{report.num_trajectories:,} trajectories with {plural(report.num_steps_kept, 'step')} are in the queue.</p>"
        f'{f"<ul>{reasons}</ul>" if reasons else ""}{listed}</div>'
    )


def render_export_report(report: WriteReport, href: str) -> str:
    """The link to an exported file, and what its form could not hold."""
    losses = "".join(f"<li>{safe_text(what, 160)}: {count}</li>" for what, count in report.losses.most_common())
    places = "".join(f"<li>{safe_text(place, 200)}</li>" for place in report.places[:MAX_PROBLEMS_SHOWN])
    lost = (
        f"<p>The form does not hold:</p><ul>{losses}</ul><details><summary>Places</summary><ul>{places}</ul></details>"
        if losses else "<p>Nothing was lost.</p>"
    )
    return (
        f'<div class="tw-card an-report" role="status"><p><a class="an-download" href="{safe_text(href, 2000)}" '
        f'download="{safe_text(report.path, 200)}">{safe_text(report.path, 200)}</a>: {report.num_trajectories:,} '
        f"trajectories with {report.num_steps:,} steps; {report.num_left_out:,} left out, "
        f"{plural(report.num_private_screens, 'private screen')} blurred.</p>{lost}</div>"
    )


def render_elsewhere(samples: Sequence[QueuedSample], episodes: Sequence[EpisodeRow]) -> str:
    """Failed benchmark samples and saved episodes, each with the button that puts it into the project's queue."""
    if not samples and not episodes:
        return render_empty("Nothing waits elsewhere", [
            "A sample that you send from a flip of the Compare tab, and every episode with steps, waits here."])
    failed = [
        f"<tr><td>{name_html(row.sample_id, 100)}</td><td>{name_html(row.benchmark, 100)}</td>"
        f"<td>{safe_text(row.reason, 200)}</td><td>{button('To queue', 'bring_sample', number=row.number)}</td></tr>"
        for row in samples
    ]
    past = [
        f"<tr><td><bdi>{safe_text(row.goal or 'no goal', 120)}</bdi></td><td>{safe_text(row.outcome, 20)}</td>"
        f"<td>{row.num_steps}</td><td>{day_and_time(row.created)}</td>"
        f"<td>{button('To queue', 'bring_episode', episode=row.id)}</td></tr>"
        for row in episodes
    ]
    parts = []
    if failed:
        parts.append("<h3>Failed benchmark samples</h3>" + table(("Sample", "Benchmark", "Reason", ""), failed))
    if past:
        parts.append("<h3>Newest episodes</h3>" + table(("Goal", "Outcome", "Steps", "Begun", ""), past))
    return "".join(parts)


# ---- progress


def render_progress(found: Progress, whole: Agreement, people: Mapping[str, Agreement]) -> str:
    """Counts of tasks, what each person did, and how far second annotations agree."""
    branches = {"main": "Annotation", "second": "Blind second pass"}
    rows = [
        f'<tr><th scope="row">{words}</th>'
        + "".join(f"<td>{found.tasks.get((branch, state), 0):,}</td>" for state in STATES) + "</tr>"
        for branch, words in branches.items()
        if branch == "main" or any(key[0] == branch for key in found.tasks)
    ]
    tasks = table(("Tasks", *(STATE_WORDS[state][1] for state in STATES)), rows)
    names = [
        f'<tr><th scope="row">{name_html(one.person or "this server", 60)}</th>'
        + "".join(f"<td>{one.by_verdict.get(verdict, 0):,}</td>" for verdict in VERDICTS)
        + f"<td>{_seconds(one.seconds_between)}</td><td>{safe_text(_days(one.by_day), 300)}</td></tr>"
        for one in found.people
    ]
    head = ("Person", *VERDICTS, "Median between submissions", "Submitted by day (UTC)")
    people_table = table(head, names) if names else "<p>Nobody has submitted anything yet.</p>"
    return (
        f'<section class="tw-card"><h2>Tasks</h2>{tasks}</section><section class="tw-card"><h2>People</h2>'
        f'{people_table}</section><section class="tw-card"><h2>Agreement of second annotations</h2>'
        f"{_agreement(whole, people)}</section>"
    )


_AGREEMENT_WORDS = {
    "num_trajectories": ("Trajectories", "pairs of annotations of one trajectory"),
    "num_aligned": ("Steps aligned", "after an alignment by edit distance on steps"),
    "num_unmatched": ("Without partner", "steps that only one of the two took"),
    "type_kappa": ("Type kappa", "Cohen's kappa of the action types of aligned steps: 1 all agree, 0 as by chance"),
    "type_alpha": ("Type alpha", "Krippendorff's alpha of the same"),
    "hit_rate": ("Points hit", "in the other's target box, or within 0.04 of its point in normalised distance"),
    "argument_agreement": ("Arguments", "agreement of the other arguments of steps of one type, 0 to 1"),
    "instruction_similarity": ("Words", "similarity of the instructions of aligned steps, 0 to 1"),
    "length_agreement": ("Length", "shorter length divided by longer length"),
    "stop_agreement": ("Stop", "share of trajectories that end alike"),
}


def _agreement(whole: Agreement, people: Mapping[str, Agreement]) -> str:
    if not whole.num_trajectories:
        return (
            "<p>No trajectory has been annotated twice yet. A project's share of second annotations is set when it is "
            "made; a second annotation is given only to somebody who is logged in and has not worked on the first.</p>"
        )
    rows = [
        f'<tr><th scope="row">{name}</th>'
        + "".join(f"<td>{_figure(value)}</td>" for value in asdict(one).values()) + "</tr>"
        for name, one in [("All", whole), *((name_html(person, 60), one) for person, one in people.items())]
    ]
    head = ["", *(f'<span title="{meaning}">{word}</span>' for word, meaning in _AGREEMENT_WORDS.values())]
    meanings = "".join(f"<li>{word}: {meaning}.</li>" for word, meaning in _AGREEMENT_WORDS.values())
    return f"{table(head, rows)}<details><summary>What the figures mean</summary><ul>{meanings}</ul></details>"


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:.2f}"


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f} s" if value < 120 else f"{value / 60:.0f} min"


def _days(by_day: Mapping[str, int]) -> str:
    return ", ".join(f"{day}: {count}" for day, count in sorted(by_day.items())[-7:])


# ---- dataset revisions


def render_datasets(found: Iterable[DatasetRevision], *, may_train: bool) -> str:
    """The named dataset revisions of a project with their exports."""
    forms = "".join(f'<option value="{form}">{FORM_WORDS[form]}</option>' for form in FORMS_OUT)
    rows = [
        f'<tr data-id="{safe_text(one.name, 100)}"><th scope="row">{name_html(one.name, 100)}</th>'
        f"<td>{len(one.entries):,}</td>"
        f"<td>{safe_text(', '.join(f'{split} {count}' for split, count in sorted(one.num_by_split.items())), 120)}</td>"
        f"<td>{safe_text(one.why, 200)}</td><td>{name_html(one.author or '–', 60)}</td>"
        f"<td>{day_and_time(one.created)}</td>"
        f'<td><code title="{one.fingerprint}">{one.fingerprint[:12]}</code></td>'
        f'<td class="an-row-tools"><select aria-label="Form of the export">{forms}</select>'
        f"{button('Export', 'export_dataset', name=one.name)}"
        f"{button('Train on this', 'train', name=one.name) if may_train else ''}</td></tr>"
        for one in found
    ]
    if not rows:
        return render_empty("No dataset revision is named yet", [
            "Name the present state of the accepted trajectories below: it never changes again, and a run that is "
            "trained on it leads back to exactly these revisions."])
    head = ("Name", "Trajectories", "Splits", "What for", "By", "Named", "Fingerprint", "")
    return table(head, rows, label="Dataset revisions")
