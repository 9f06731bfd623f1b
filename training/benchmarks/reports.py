"""Results as text: a summary for a person, and a comparison as Markdown, CSV or one HTML page. Pure functions."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

from training.benchmarks.comparison import BenchmarkComparison, Comparison, PairResult
from training.benchmarks.markdown import percent, table
from training.benchmarks.published import published_for, published_table

_PAIR_HEAD = (
    "first", "second", "gap", "95 %", "only first right", "only second right", "p", "p (Holm)", "smallest gap shown",
    "better",
)  # fmt: skip
_SCORE_HEAD = ("name", "success", "95 %", "steps", "episodes", "plan stability", "unreadable", "errors")

_HOW = (
    "Intervals draw whole episodes; p-values are McNemar's exact ones, corrected over all pairs of this report by "
    "Holm's method. A better one is named where both say so."
)


def summary_text(summary: Mapping[str, Any]) -> str:
    """The figures of `metrics.summarise` in a few lines, with protocol, version and step counts first."""
    sizes = ", ".join(f"{name} {size}" for name, size in summary["set_sizes"].items()) or "not published"
    low, high = summary["ci95"]
    by_category = summary["by_category_mean"]
    categories = "" if by_category is None else f", {by_category:.1%} over categories"
    if summary["by_split_mean"] is not None:
        categories += f", {summary['by_split_mean']:.1%} over splits"
    ground, macro_parts = summary["grounding_by_episode_mean"], summary.get("parts_by_episode_mean", {})
    grounding = "" if ground is None else f" (grounding {ground:.1%})"
    foreign = sorted(set(summary["datasets"]) - set(summary["made_for"])) if summary["made_for"] else []
    lines = [
        f"{summary['protocol']} version {summary['version']} ({summary['source']})",
        *([f"caution        {summary['protocol']} was not made for {', '.join(foreign)}, but for "
           f"{', '.join(summary['made_for'])}: its rules may leave out what counts there"] if foreign else []),
        f"steps          {summary['num_steps']} of {summary['num_episodes']} episodes; the whole set: {sizes}",
        f"step success   {_rate(summary['step_success'])} (95 % interval {low:.1%} to {high:.1%}, over whole episodes)",
        f"type           {_rate(summary['type'])}",
        f"grounding      {_rate(summary['grounding'])}",
        f"episodes       {_rate(summary['episode_success'])} wholly right",
        f"macro          {_share(summary['step_success_by_episode_mean'])} mean over episodes{grounding}{categories}",
        f"unreadable     {summary['parse_failure_rate']:.1%}; without target {summary['not_grounded_rate']:.1%}; "
        f"errors {summary['num_errors']}; without prediction {summary['num_missing']}",
    ]
    if summary["first_error"]:
        lines.append(f"first error    {summary['first_error']}")
    for name, part in summary.get("parts", {}).items():
        lines.append(f"{name:<22} {_rate(part)}, {_share(macro_parts.get(name))} mean over episodes")
    lines.append("by action type:")
    for name, found in summary["by_action_type"].items():
        lines.append(f"  {name:<16} {_rate(found['step_success'])}, type {_rate(found['type'])}")
    if summary.get("by_lookahead"):
        ahead = "  ".join(f"{t}: {found['rate']:.1%}" for t, found in summary["by_lookahead"].items())
        lines.append(f"by lookahead   {ahead}")
    return "\n".join(lines)


def _rate(found: Mapping[str, Any] | None) -> str:
    return "none" if found is None else f"{found['rate']:.1%} of {found['num']}"


def _share(value: float | None) -> str:
    return "none" if value is None else f"{value:.1%}"


def to_markdown(comparison: Comparison) -> str:
    """The comparison as a Markdown document; published scores stand in tables of their own."""
    parts = ["# Comparison", *comparison.notes]
    for result in comparison.benchmarks:
        parts += [
            f"## {result.benchmark}",
            f"Protocol {result.protocol}, version {result.version}. {_HOW}",
        ]
        parts += [f"### {title}\n\n{table(head, rows)}" for title, head, rows in _tables(result)]
        published = published_table(result.protocol, result.datasets)
        if published:
            parts.append(f"### Published\n\n{published}")
    return "\n\n".join(parts) + "\n"


def _tables(result: BenchmarkComparison) -> list[tuple[str, Sequence[str], list[Sequence[str]]]]:
    """(title, head, rows) of each table of our own figures, in the order of the report."""
    names = [score.name for score in result.scores]
    tables: list[tuple[str, Sequence[str], list[Sequence[str]]]] = [
        ("Scores", _SCORE_HEAD, [_score_row(score) for score in result.scores]),
        ("Pairs", _PAIR_HEAD, [_pair_row(pair) for pair in result.pairs]),
    ]
    horizons = sorted({int(t) for curve in result.lookahead.values() for t in curve})
    if len(horizons) > 1:
        rows = [(n, *(_cell(result.lookahead[n].get(str(t))) for t in horizons)) for n in names]
        tables.append(("Accuracy by lookahead", ("name", *(f"t={t}" for t in horizons)), rows))
    for name, groups in result.slices.items():
        if len(groups) > 1:
            rows = [(group, *(_cell(groups[group].get(n)) for n in names)) for group in groups]
            tables.append((f"By {name.replace('_', ' ')}", (name.replace("_", " "), *names), rows))
    return tables


def _score_row(score: Any) -> Sequence[str]:
    return (
        score.name, percent(score.rate), f"{percent(score.low)} to {percent(score.high)}", str(score.num_samples),
        str(score.num_episodes), percent(score.stability), percent(score.parse_failure_rate), str(score.num_errors),
    )  # fmt: skip


def _pair_row(pair: PairResult) -> Sequence[str]:
    return (
        pair.a, pair.b, f"{100 * pair.gap:+.1f}", f"{100 * pair.low:+.1f} to {100 * pair.high:+.1f}",
        str(pair.num_only_a), str(pair.num_only_b), p_text(pair.p_value), p_text(pair.p_holm),
        percent(pair.smallest_gap), pair.better,
    )  # fmt: skip


def p_text(value: float) -> str:
    """A p-value for a table: four decimals, or that it is smaller than they can show."""
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}"


def _cell(found: Mapping[str, Any] | None) -> str:
    return "" if found is None else f"{100 * found['rate']:.1f} ({found['num']})"


def to_csv(comparison: Comparison) -> str:
    """The figures of a comparison as CSV, one figure to a row: benchmark, table, row, column, value.

    Published scores are rows of the table "published". Cells that a spreadsheet would run as a formula begin with an
    apostrophe.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("benchmark", "table", "row", "column", "value"))
    for result in comparison.benchmarks:
        for title, head, rows in _tables(result):
            for row in rows:
                is_pair = title == "Pairs"
                name = f"{row[0]} / {row[1]}" if is_pair else row[0]
                for column, value in list(zip(head, row, strict=True))[2 if is_pair else 1 :]:
                    writer.writerow(map(harmless, (result.benchmark, title, name, column, value)))
        for row in published_for(result.protocol, result.datasets):
            for column in ("type", "grounding", "step_success"):
                value = getattr(row, column)
                if value is not None:
                    name = f"{row.model} ({row.source})"
                    writer.writerow(map(harmless, (row.dataset, "published", name, column, str(value))))
    return out.getvalue()


def harmless(cell: str) -> str:
    """A CSV cell that no spreadsheet runs as a formula: an apostrophe stands before one that is no figure.

    >>> harmless("=1+1"), harmless("-3.5"), harmless("+1.0 to +2.0")
    ("'=1+1", '-3.5', '+1.0 to +2.0')
    """
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) and not _FIGURE.fullmatch(cell) else cell


_FIGURE = re.compile(r"[+-]\d+(\.\d+)?( to [+-]\d+(\.\d+)?)?")


_CSS = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a}"
    "table{border-collapse:collapse;margin:.5rem 0 1.5rem}"
    "th,td{border:1px solid #ccc;padding:.25rem .6rem;text-align:left}"
    "td{font-variant-numeric:tabular-nums}th{background:#f3f3f3}.wide{overflow-x:auto}"
    "@media(prefers-color-scheme:dark){body{color:#e8e8e8;background:#161616}th{background:#262626}"
    "th,td{border-color:#444}}"
)


def to_html(comparison: Comparison) -> str:
    """The comparison as one HTML page without scripts or anything from the network; all text is escaped."""
    body = ["<h1>Comparison</h1>", *(f"<p>{html.escape(note)}</p>" for note in comparison.notes)]
    for result in comparison.benchmarks:
        body.append(f"<h2>{html.escape(result.benchmark)}</h2>")
        body.append(
            f"<p>Protocol {html.escape(result.protocol)}, version {result.version}. {html.escape(_HOW)}</p>"
        )
        for title, head, rows in _tables(result):
            body += [f"<h3>{html.escape(title)}</h3>", _html_table(head, rows)]
        published = published_for(result.protocol, result.datasets)
        if published:
            head = ("model", "data set", "type", "grounding", "step success", "source", "note")
            rows = [
                (
                    row.model, f"{row.dataset} {row.level}".strip(),
                    *("" if v is None else f"{v:.1f}" for v in (row.type, row.grounding, row.step_success)),
                    row.source, row.note,
                )
                for row in published
            ]  # fmt: skip
            body += ["<h3>Published by others, not run here</h3>", _html_table(head, rows)]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Comparison</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_CSS}</style></head>\n<body>\n'
        + "\n".join(body)
        + "\n</body></html>\n"
    )


def _html_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["<tr>" + "".join(f'<th scope="col">{html.escape(cell)}</th>' for cell in head) + "</tr>"]
    lines += ["<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows]
    return '<div class="wide"><table>\n' + "\n".join(lines) + "\n</table></div>"
