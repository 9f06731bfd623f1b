"""`tracer1 serve`: a planner's or a tool agent's model over an OpenAI-compatible address, by vLLM."""

from __future__ import annotations

import argparse
import os
import shlex
import sys

from executors.errors import InputError

HELP = "serve a planner or a tool agent's model with vLLM"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--planner", metavar="PATH", help="checkpoint folder or hub id of a planner")
    what.add_argument("--tool-agent", metavar="NAME", help="ui-tars-1.0, ui-tars-1.5, qwen3-vl, gta1 or jedi")
    parser.add_argument("--model", metavar="PATH", help="of a tool agent: another checkpoint folder or hub id")
    parser.add_argument("--port", type=_port, default=8000, help="port, 1..65535 (default: %(default)s)")
    parser.add_argument("--python", default=sys.executable, metavar="PROGRAM",
                        help="interpreter of the environment that has vLLM (default: this one)")
    parser.add_argument("--print", action="store_true", help="print the command and leave")
    parser.add_argument("more", nargs="*", metavar="-- ARGUMENT",
                        help="further arguments of vLLM, such as -- --tensor-parallel-size 2")


def run(args: argparse.Namespace) -> int:
    """Prints the command and how its model is named here, then becomes it; returns only after --print."""
    from training.checkpoint import read_planner_settings
    from training.config import ForecastConfig
    from training.serving import check_port, check_vllm, planner_command, planner_name, tool_agent_command

    where = f"http://localhost:{args.port}/v1"
    if args.planner is not None:
        if args.model is not None:
            raise InputError("--model is of a tool agent: name the planner's checkpoint with --planner")
        command = planner_command(args.planner, python=args.python, port=args.port, more=args.more)
        use = f"--planner openai:{planner_name(args.planner)}@{where}"
        if read_planner_settings(args.planner) not in (None, ForecastConfig()):
            use += " (asked in the default way, not as its tracer1.json says: name its folder for that)"
    else:
        command = tool_agent_command(
            args.tool_agent, python=args.python, port=args.port, model=args.model, more=args.more
        )
        use = f"--tool-agent {args.tool_agent}@{where}"
    print(shlex.join(command), flush=True)
    if not args.print:
        check_port(args.port)
        check_vllm(args.python)
    print(f"once it answers: {use}", file=sys.stderr, flush=True)
    if args.print:
        return 0
    os.execvp(command[0], command)  # signals and exit code are then vLLM's own, and no process is left behind


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 5 and 1 <= int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: give a whole number 1..65535")
    return int(text)
