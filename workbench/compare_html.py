"""The Compare tab's panels as HTML: what is stored, what is better, the flips, and the leaderboard.

Pure functions of what training.benchmarks worked out; every text is escaped on the way, and no figure is made here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import groupby
from typing import Any

from training.benchmarks.comparison import (
    LEAST_EPISODES,
    NO_DIFFERENCE,
    BenchmarkComparison,
    Comparison,
    Flip,
    PairResult,
    Score,
)
from training.benchmarks.evaluation import Sample
from training.benchmarks.markdown import percent
from training.benchmarks.published import NOT_DOCUMENTED, PublishedScore, published_for
from training.benchmarks.reports import p_text
from workbench.annotation_queue import QueuedSample
from workbench.compare_saved import SavedComparison
from workbench.compare_shelf import StoredEvaluation
from workbench.screen import call_text, render_empty, safe_text

FLIPS_PER_PAGE = 40
EVALUATE_COMMAND = "tracer1 evaluate grounded --planner random --out evaluations/random"


def table(head: Sequence[str], rows: Sequence[str], *, caption: str = "", label: str = "") -> str:
    """A table that scrolls sideways on its own; head and rows are HTML."""
    titles = "".join(f'<th scope="col">{title}</th>' for title in head)
    told = f"<caption>{caption}</caption>" if caption else ""
    named = f' aria-label="{safe_text(label, 160)}"' if label else ""
    return (
        f'<div class="tr-wide" tabindex="0"><table class="tr-table cmp-table"{named}>{told}<thead><tr>{titles}</tr>'
        f'</thead><tbody>{"".join(rows)}</tbody></table></div>'
    )


def name_html(name: str, limit: int = 80) -> str:
    """A name on its way into HTML, kept apart from the direction of the text around it."""
    return f"<bdi>{safe_text(name, limit)}</bdi>"


# ---------------------------------------------------------------- what is stored


def render_stored(rows: Sequence[StoredEvaluation], chosen: Collection[str], root: str) -> str:
    """The stored evaluations by benchmark, each to be ticked; `chosen` are ids."""
    if not rows:
        return render_empty(
            "No evaluations yet", [f"They are read from {root}. Make one in the tab “New evaluation”, or run:"],
            code=EVALUATE_COMMAND,
        )
    groups = []
    for benchmark, group in groupby(rows, key=lambda row: row.benchmark):
        items = "".join(_stored_item(row, row.id in chosen) for row in group)
        groups.append(
            f'<section data-id="{safe_text(benchmark, 300)}"><h3 class="cmp-benchmark">{name_html(benchmark, 160)}</h3>'
            f'<ul class="cmp-stored">{items}</ul></section>'
        )
    return "".join(groups)


def _stored_item(row: StoredEvaluation, is_chosen: bool) -> str:
    id, checked = safe_text(row.id, 600), " checked" if is_chosen else ""
    return (
        f'<li data-id="{id}"><label><input type="checkbox" data-choose="{id}"{checked}>'
        f'<span class="cmp-name">{name_html(row.name)}</span><span class="cmp-rate">{_stored_rate(row)}</span>'
        f"</label>{bar(row.rate, *row.interval) if row.is_scored else ''}</li>"
    )


def _stored_rate(row: StoredEvaluation) -> str:
    return f"{percent(row.rate)} %" if row.is_scored else "not scored"


def bar(rate: float, low: float, high: float) -> str:
    """A rate and its 95 % interval on a line from 0 to 100 %, as a picture; the figures stand beside it."""
    left, width = 100 * low, max(0.6, 100 * (high - low))
    return (
        f'<span class="cmp-bar" aria-hidden="true"><i style="left:{left:.1f}%;width:{width:.1f}%"></i>'
        f'<b style="left:{100 * rate:.1f}%"></b></span>'
    )


def render_saved(saved: Sequence[SavedComparison], shown: str) -> str:
    """The saved comparisons, each a link."""
    if not saved:
        return '<p class="tr-soft">None yet. Choose evaluations, then “Save as …”.</p>'
    items = "".join(
        f'<li><a href="?comparison={safe_text(one.name)}" data-open="{safe_text(one.name)}"'
        f'{" aria-current=true" if one.name == shown else ""}>{name_html(one.name)}</a>'
        f'<span class="tr-soft">{len(one.digests)} evaluations · {safe_text(one.created[:10])}'
        f"{' · ' + name_html(one.person, 40) if one.person else ''}</span>"
        f'<button type="button" class="tr-small" data-act="delete" data-name="{safe_text(one.name)}" '
        f'aria-label="Delete comparison {safe_text(one.name)}" title="Delete">✕</button></li>'
        for one in saved
    )
    return f'<ul class="cmp-saved">{items}</ul>'


# ---------------------------------------------------------------- the comparison


def render_start(num_chosen: int) -> str:
    """What to do before there is anything to compare."""
    words = "one more evaluation" if num_chosen else "two or more evaluations"
    return render_empty("Nothing is compared yet", [f"Tick {words} of one benchmark in the list."])


def render_refusal(sentence: str) -> str:
    """Why the chosen evaluations are not compared."""
    return (
        '<div class="tw-card tw-status tw-error" role="alert"><span class="tw-sentence"><strong>Not compared.</strong> '
        f"{safe_text(sentence, 1200)}</span></div>"
    )


def render_comparison(comparison: Comparison, notes: Sequence[str] = ()) -> str:
    """The whole report: for each benchmark who is better, the scores, the pairs, lookahead, slices, published scores.

    Args:
        comparison: of `training.benchmarks.comparison.compare`.
        notes: more that a reader must know, such as results that have changed.
    """
    num_tests = sum(len(result.pairs) for result in comparison.benchmarks)
    told = "".join(f'<p class="tr-note" role="note">{safe_text(note)}</p>' for note in (*comparison.notes, *notes))
    parts = "".join(_render_benchmark(result, number) for number, result in enumerate(comparison.benchmarks))
    return f"{told}{parts}{_render_method(num_tests)}"


def _render_method(num_tests: int) -> str:
    tests = f"all {num_tests} pairs" if num_tests > 1 else "the one pair"
    return (
        '<details class="cmp-method"><summary>How this is tested</summary><ul>'
        "<li>Samples are paired by id. Only evaluations with equal protocol, version, tool agent, ids, recorded steps "
        "and prompts are compared.</li>"
        "<li>Intervals are 95 % and draw whole episodes, since steps of one episode are not independent.</li>"
        "<li>p is McNemar's exact test on the samples that only one got fully right, corrected over "
        f"{tests} of this comparison by Holm's method.</li>"
        f"<li>A better one is named only where the interval of the gap leaves zero out, the corrected p is below 0.05 "
        f"and there are at least {LEAST_EPISODES} episodes.</li>"
        "<li>The smallest gap is the true one that a comparison of this size would show with 80 % power.</li>"
        "<li>Slices are not tested: with so many of them some differ by chance.</li></ul></details>"
    )


def _render_benchmark(result: BenchmarkComparison, number: int) -> str:
    version = f"Protocol {safe_text(result.protocol)}, version {result.version}"
    return (
        f'<section class="tw-card cmp-result" data-id="{safe_text(result.benchmark, 300)}">'
        f'<h2 class="cmp-title">{name_html(result.benchmark, 200)}</h2><p class="tr-soft">{version}</p>'
        f"{_verdicts(result.pairs)}{_scores(result.scores, is_live=result.is_live)}{_pairs(result.pairs)}"
        f'<figure class="cmp-figure" data-figure="{number}" hidden><figcaption>Step success by lookahead, with 95 % '
        "intervals over whole episodes</figcaption><div></div></figure>"
        f"{_slices(result)}{render_published(published_for(result.protocol, result.datasets))}</section>"
    )


def _verdicts(pairs: Sequence[PairResult]) -> str:
    items = []
    for pair in pairs:
        names = f"{name_html(pair.a)} and {name_html(pair.b)}"
        if pair.better == NO_DIFFERENCE:
            words = f"{names}: {NO_DIFFERENCE}"
            if pair.num_episodes < LEAST_EPISODES:
                episodes = "1 episode" if pair.num_episodes == 1 else f"{pair.num_episodes} episodes"
                words += f", with {episodes} too few to tell"
            items.append(f'<li class="cmp-none"><span aria-hidden="true">=</span> {words}</li>')
        else:
            other = pair.a if pair.better == pair.b else pair.b
            items.append(
                f'<li class="cmp-better"><span aria-hidden="true">▲</span> <strong>{name_html(pair.better)}</strong> '
                f"is better than {name_html(other)} by {100 * abs(pair.gap):.1f} points</li>"
            )
    return f'<ul class="cmp-verdicts">{"".join(items)}</ul>'


def _scores(scores: Sequence[Score], *, is_live: bool) -> str:
    has_stability = any(score.stability is not None for score in scores)
    kind = "Task" if is_live else "Step"
    head = ["Evaluation", f"{kind} success, %", "95 % interval", "Steps", "Episodes", "Unreadable, %", "Errors"]
    if has_stability:
        head.insert(5, '<span title="Share of a forecast’s later steps that the next state’s forecast keeps">'
                       "Plan stability, %</span>")
    if is_live:  # a task is one sample
        head.remove("Steps")
    rows = []
    for score in scores:
        cells = [
            f"{percent(score.rate)}{bar(score.rate, score.low, score.high)}",
            f"{percent(score.low)} to {percent(score.high)}", str(score.num_samples), str(score.num_episodes),
            percent(score.parse_failure_rate), str(score.num_errors),
        ]  # fmt: skip
        if has_stability:
            cells.insert(4, percent(score.stability) or "none")
        if is_live:
            del cells[2]
        rows.append(_row(name_html(score.name), cells))
    return table(head, rows, label="Scores")


def _row(head: str, cells: Sequence[str]) -> str:
    return f'<tr><th scope="row">{head}</th>' + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _pairs(pairs: Sequence[PairResult]) -> str:
    head = ("Second − first", "Gap, points", "95 % interval", "Only first right", "Only second right", "p", "p (Holm)",
            '<span title="The true gap that such a comparison shows with 80 % power">Smallest gap</span>')  # fmt: skip
    rows = [
        _row(
            f"{name_html(pair.b)} − {name_html(pair.a)}",
            (
                f"{100 * pair.gap:+.1f}{_gap_bar(pair)}", f"{100 * pair.low:+.1f} to {100 * pair.high:+.1f}",
                _flip_button(pair, pair.a, pair.num_only_a), _flip_button(pair, pair.b, pair.num_only_b),
                safe_text(p_text(pair.p_value)), safe_text(p_text(pair.p_holm)), percent(pair.smallest_gap),
            ),
        )
        for pair in pairs
    ]  # fmt: skip
    return table(head, rows, label="Paired tests")


def _gap_bar(pair: PairResult) -> str:
    """The gap and its interval on a line from -100 to 100 points, zero in the middle."""
    left, width = 50 + 50 * pair.low, max(0.6, 50 * (pair.high - pair.low))
    return (
        f'<span class="cmp-bar cmp-gap" aria-hidden="true"><i style="left:{left:.1f}%;width:{width:.1f}%"></i>'
        f'<b style="left:{50 + 50 * pair.gap:.1f}%"></b></span>'
    )


def _flip_button(pair: PairResult, right: str, count: int) -> str:
    if not count:
        return "0"
    data = {"benchmark": pair.benchmark, "a": pair.a, "b": pair.b, "right": right}
    words = " ".join(f'data-{name}="{safe_text(value, 600)}"' for name, value in data.items())
    return (
        f'<button type="button" class="tr-small" data-flips {words} '
        f'aria-label="Show the {count} samples that only {safe_text(right)} got right">{count}</button>'
    )


def _slices(result: BenchmarkComparison) -> str:
    names = [score.name for score in result.scores]
    parts = []
    for name, groups in result.slices.items():
        if len(groups) < 2:
            continue
        words = name.replace("_", " ")
        rows = [_row(name_html(group, 60), [_rate(rates.get(n)) for n in names]) for group, rates in groups.items()]
        shown = table((words.capitalize(), *map(name_html, names)), rows, label=f"By {words}")
        parts.append(f"<details><summary>By {safe_text(words)} ({len(groups)} groups)</summary>{shown}</details>")
    horizons = sorted({int(t) for curve in result.lookahead.values() for t in curve})
    if len(horizons) > 1:
        rows = [_row(name_html(n), [_rate(result.lookahead[n].get(str(t))) for t in horizons]) for n in names]
        shown = table(("Evaluation", *(f"t = {t}" for t in horizons)), rows, label="By lookahead")
        parts.insert(0, f"<details><summary>By lookahead ({len(horizons)} steps)</summary>{shown}</details>")
    return f'<div class="cmp-slices">{"".join(parts)}</div>'


def _rate(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return '<span class="tr-soft">none</span>'
    return f'{percent(found["rate"])} <span class="tr-soft">of {found["num"]}</span>'


def render_published(rows: Sequence[PublishedScore]) -> str:
    """What others published under the same protocol, in a table of its own; nothing when there is nothing."""
    if not rows:
        return ""
    lines = [
        _row(
            name_html(row.model),
            (
                safe_text(" ".join(filter(None, (row.dataset, row.level)))), safe_text(row.protocol or NOT_DOCUMENTED),
                *("" if value is None else f"{value:.1f}" for value in (row.type, row.grounding, row.step_success)),
                safe_text(row.source), safe_text(row.note),
            ),
        )
        for row in rows
    ]  # fmt: skip
    head = ("Model", "Data set", "Protocol", "Type", "Grounding", "Step success", "Source", "Note")
    return (
        f"<details><summary>Published by others, not run here ({len(rows)} rows)</summary>"
        f"{table(head, lines, label='Published by others')}</details>"
    )


# ---------------------------------------------------------------- flips


def render_flips(
    found: Sequence[Flip], *, names: tuple[str, str], right: str, offset: int, chosen: str, queued: Collection[str]
) -> str:
    """One page of a flip list: both directions to choose from, then a row for each sample.

    Args:
        found: all flips of the pair.
        names: of the first and the second evaluation.
        right: whose right ones are listed.
        offset: of the first row that is shown.
        chosen: id of the sample that is shown beside the list.
        queued: ids of the samples that wait for an annotator.
    """
    sides = "".join(
        f'<button type="button" role="radio" aria-checked="{str(name == right).lower()}" data-side="{safe_text(name)}">'
        f"<span>Only {name_html(name)} right</span> <b>{sum(flip.right == name for flip in found)}</b></button>"
        for name in names
    )
    rows = [flip for flip in found if flip.right == right]
    shown = rows[offset : offset + FLIPS_PER_PAGE]
    items = "".join(_flip_row(flip, is_chosen=flip.id == chosen, is_queued=flip.id in queued) for flip in shown)
    body = f'<ul class="cmp-flips">{items}</ul>' if shown else '<p class="tr-soft">There is none.</p>'
    label = "Which of the two is right"
    return (
        f'<div class="cmp-sides" role="radiogroup" aria-label="{label}">{sides}</div>{body}'
        f"{_pager(offset, len(shown), len(rows))}"
    )


def _flip_row(flip: Flip, *, is_chosen: bool, is_queued: bool) -> str:
    current = ' aria-current="true"' if is_chosen else ""
    queued = ' <span class="cmp-queued" title="In the annotation queue">✓ queued</span>' if is_queued else ""
    groups = " · ".join(flip.a.slices[name] for name in ("app", "category") if name in flip.a.slices)
    return (
        f'<li><button type="button" class="cmp-flip-row" data-flip="{safe_text(flip.id, 400)}"{current}>'
        f"<span>{name_html(flip.id, 90)}{queued}</span>"
        f'<span class="tr-soft">{safe_text(groups, 80)}</span>'
        f"<span><code>{safe_text(call_text(flip.a.steps[0].reference), 60)}</code> but "
        f"<code>{_said(flip.b if flip.a.is_right else flip.a)}</code></span></button></li>"
    )


def _said(sample: Sample) -> str:
    prediction = sample.steps[0].prediction
    if prediction.action is None:
        return safe_text(str(prediction.outcome).replace("_", " "))
    return safe_text(call_text(prediction.action), 60)


def _pager(offset: int, num_shown: int, total: int) -> str:
    if total <= FLIPS_PER_PAGE:
        return ""
    back = f'<button type="button" class="tr-small" data-offset="{max(0, offset - FLIPS_PER_PAGE)}"' \
           f'{" disabled" if offset == 0 else ""}>Earlier</button>'
    more = f'<button type="button" class="tr-small" data-offset="{offset + FLIPS_PER_PAGE}"' \
           f'{" disabled" if offset + num_shown >= total else ""}>More</button>'
    return f'<p class="cmp-pager">{back} {offset + 1} to {offset + num_shown} of {total} {more}</p>'


# ---------------------------------------------------------------- leaderboard and annotation queue


def render_leaderboard(rows: Sequence[StoredEvaluation]) -> str:
    """All stored evaluations, best first within each benchmark; what others published stands apart."""
    if not rows:
        return render_empty("The leaderboard is empty", ["It shows every stored evaluation."])
    parts = []
    head = ("#", "Evaluation", "Planner", "T", "Success, % (95 %)", "Type, %", "Grounding, %", "Episodes, %",
            "Steps", "Unreadable, %", "Errors")  # fmt: skip
    for benchmark, group in groupby(rows, key=lambda row: row.benchmark):
        group = list(group)
        lines = [_leader_row(place, row) for place, row in enumerate(group, start=1)]
        summary = group[0].summary
        published = published_for(summary["protocol"], summary.get("datasets") or ())
        parts.append(
            f'<section class="tw-card cmp-result"><h2 class="cmp-title">{name_html(benchmark, 200)}</h2>'
            f"{table(head, lines, label=benchmark)}{render_published(published)}</section>"
        )
    note = (
        '<p class="tr-soft">Ranked by success alone: of recorded steps, or of whole tasks where the planner acts. A '
        "higher rank is no proof: compare two to see whether their difference is shown.</p>"
    )
    return note + "".join(parts)


def _leader_row(place: int, row: StoredEvaluation) -> str:
    summary, (low, high) = row.summary, row.interval
    cells = [
        name_html(row.name), _short_path(str(summary.get("planner", ""))), safe_text(summary.get("horizon", "")),
        f'{percent(row.rate)} <span class="tr-soft">({percent(low)} to {percent(high)})</span>'
        f"{bar(row.rate, low, high)}" if row.is_scored else "not scored",
        *(percent((summary[name] or {}).get("rate")) for name in ("type", "grounding", "episode_success")),
        safe_text(summary.get("num_steps", "")), percent(summary["parse_failure_rate"]),
        safe_text(summary.get("num_errors", "")),
    ]  # fmt: skip
    return _row(str(place), cells)


def _short_path(planner: str) -> str:
    """A planner's name, of a long path its end, the whole in its title."""
    shown = planner if len(planner) <= 28 else f"…{planner[-27:]}"
    return f'<bdi title="{safe_text(planner, 400)}">{safe_text(shown)}</bdi>'


def render_queue(rows: Sequence[QueuedSample], total: int) -> str:
    """The samples that wait for an annotator."""
    if not rows:
        return render_empty(
            "The annotation queue is empty", ["Open a flip and press “To annotation queue”: the sample waits here."]
        )
    lines = [
        _row(
            name_html(row.sample_id, 120),
            (
                name_html(row.benchmark, 120), name_html(row.evaluation, 120), safe_text(row.reason, 300),
                name_html(row.person or "–", 60), safe_text(row.created[:16].replace("T", " ")),
                f'<button type="button" class="tr-small" data-act="unqueue" data-number="{row.number}" '
                f'aria-label="Take {safe_text(row.sample_id, 120)} out of the queue">Take out</button>',
            ),
        )
        for row in rows
    ]  # fmt: skip
    head = ("Sample", "Benchmark", "Found in", "Reason", "By", "Since (UTC)", '<span class="tw-sr">Action</span>')
    more = f'<p class="tr-soft">The first {len(rows)} of {total} are listed.</p>' if total > len(rows) else ""
    return f"{more}{table(head, lines, label='Annotation queue')}"
