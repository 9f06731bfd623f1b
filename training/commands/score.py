"""`tracer1 score PROTOCOL`: predictions that exist already, scored against references by a named protocol."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from training.benchmarks.protocols import PROTOCOLS, get_protocol

HELP = "score a file of predictions by a named protocol"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.description = "\n".join([
        "Protocols:",
        *(f"  {p.name:<22}{p.title}" for p in PROTOCOLS.values()),
        "",
        'Predictions are JSON Lines: {"id": "EPISODE/STEP", "action": {"type": "click", "point": [0.5, 0.2]}},',
        'with "frame": "1000" or "px" for other coordinates, or "reply" and "family" for a model\'s own text.',
        "References are a trajectory file, UI-S1's AndroidControl JSON Lines, UGround's Mind2Web blocks or a folder of",
        "AgentNetBench tasks.",
    ])  # fmt: skip
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("protocol", choices=sorted(PROTOCOLS), metavar="PROTOCOL", help="which protocol")
    parser.add_argument("--predictions", type=Path, required=True, metavar="FILE", help="what was predicted")
    parser.add_argument("--references", type=Path, required=True, metavar="FILE", help="what is right")
    parser.add_argument("--json", action="store_true", help="print the whole result as JSON")


def run(args: argparse.Namespace) -> int:
    """Scores and prints; 0 whatever the score."""
    from training.benchmarks.metrics import score_all, summarise
    from training.benchmarks.predictions import read_predictions
    from training.benchmarks.published import published_table
    from training.benchmarks.references import by_id, read_references
    from training.benchmarks.reports import summary_text

    protocol = get_protocol(args.protocol)
    references = by_id(read_references(args.references))
    predictions = read_predictions(args.predictions, references)
    summary = summarise(protocol, score_all(protocol, references.values(), predictions))
    if args.json:
        print(json.dumps(summary, ensure_ascii=False))
        return 0
    published = published_table(protocol.name, summary["datasets"])
    print(summary_text(summary), *([published] if published else []), sep="\n\n")
    return 0
