"""The `tracer1` command: one module per subcommand, imported only when it is called.

A command module has `HELP` (one line), `add_arguments(parser)` and `run(args) -> int`. Exit codes: what `run` returns;
2 for bad input, a failed executor or wrong usage; 130 when interrupted; 141 when the reader of a pipe went away.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import errno
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from executors.errors import WorkbenchError

COMMANDS: dict[str, str] = {
    "parse": "training.commands.parse",
    "episode": "training.commands.episode",
    "train": "training.commands.train",
    "evaluate": "training.commands.evaluate",
    "score": "training.commands.score",
    "compare": "training.commands.compare",
    "sweep": "training.commands.sweep",
    "claims": "workbench.runs.claims_command",  # a name, not an import: no floor knows the one above it
    "import": "training.commands.import_",
    "record": "training.commands.record",
    "serve": "training.commands.serve",
    "export": "training.commands.export",
    "annotations": "workbench.annotate.command",
}

_DISK_IS_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit code; usage errors and --help leave by SystemExit, as argparse does.

    Args:
        argv: the arguments after the program's name; the process's own when None.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # started with the stream closed
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # model text may hold characters the terminal cannot show
    try:
        code = _dispatch(argv)
        sys.stdout.flush()
        return code
    except WorkbenchError as error:
        print(f"tracer1: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("tracer1: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        _drop_output()
        return 141
    except OSError as error:
        if error.errno not in _DISK_IS_FULL:
            raise
        print(f"tracer1: cannot write ({error.strerror}): free some space, then run the command again", file=sys.stderr)
        _drop_output()
        return 2


def _drop_output() -> None:
    """Leaves what is still buffered for standard output unwritten; else the flush at exit would fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _dispatch(argv: list[str]) -> int:
    if argv and not argv[0].startswith("-"):
        return _run_command(argv[0], argv[1:])
    parser = _top_parser()
    parser.parse_args(argv)  # leaves for --help, --version and unknown options
    parser.print_help(sys.stderr)
    return 2


def _run_command(name: str, argv: list[str]) -> int:
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(COMMANDS)}"
        print(f"tracer1: {name!r} is not a command: {hint}", file=sys.stderr)
        return 2
    module = importlib.import_module(COMMANDS[name])
    parser = argparse.ArgumentParser(prog=f"tracer1 {name}", description=module.HELP)
    module.add_arguments(parser)
    is_mixed = getattr(module, "PATH_MAY_FOLLOW_OPTIONS", False)
    return module.run(parser.parse_intermixed_args(argv) if is_mixed else parser.parse_args(argv))


def _top_parser() -> argparse.ArgumentParser:
    width = max(map(len, COMMANDS)) + 2
    lines = [f"  {name:<{width}}{help_line(name)}" for name in COMMANDS]
    parser = argparse.ArgumentParser(
        prog="tracer1",
        usage="tracer1 COMMAND ...",
        description="Forecast, act, train and judge with anticipatory planners.",
        epilog="\n".join(["commands:", *lines, "", "`tracer1 COMMAND --help` tells the options of a command."]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version)
    return parser


class _Version(argparse.Action):
    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help="print the version and leave")

    def __call__(self, *_: object) -> None:
        print(f"tracer1 {_version()}")
        sys.exit(0)


def help_line(name: str) -> str:
    """The `HELP` of a command, read from its source so that nothing is imported; empty when it has none.

    >>> help_line("import")
    'bring a public data set into the trajectory format'
    """
    path = Path(__file__).resolve().parents[1] / (COMMANDS[name].replace(".", "/") + ".py")
    for node in ast.parse(path.read_text(encoding="utf-8")).body if path.is_file() else []:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "HELP" for t in node.targets):
            return str(ast.literal_eval(node.value))
    return ""


def _version() -> str:
    import importlib.metadata

    try:
        return importlib.metadata.version("tracer1-workbench")
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"


if __name__ == "__main__":
    sys.exit(main())
