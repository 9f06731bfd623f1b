"""What the app is started with: command line, environment of a Space, and the check of the port."""

from __future__ import annotations

import argparse
import errno
import os
import re
import socket
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from executors.errors import InputError, MissingFileError, OutputError
from executors.ports import port_problem
from training.checkpoint import check_checkpoint
from training.planner import load_planner
from workbench.guard import LOOPBACK_NAMES, AccessRules, rules_for
from workbench.people import COMMAND as PEOPLE_COMMAND
from workbench.people import People, Role, read_people

ROOT = Path(__file__).resolve().parent.parent
SHIPPED_PLANNER = ROOT / "assets" / "tiny_planner"
DEFAULT_STORE = Path("outputs/workbench")
DEFAULT_RUNS = Path("runs")
EVALUATIONS = "evaluations"
"""Folder of evaluations beside that of the runs, unless another is named."""


def _shown(path: Path) -> str:
    """The path from the working folder where it lies below it, else in full."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


@dataclass(frozen=True, kw_only=True, slots=True)
class AppSettings:
    """The app's settings, checked."""

    host: str = "127.0.0.1"
    """Address to listen on; loopback unless asked otherwise."""
    port: int = 7860
    """TCP port, 1..65535."""
    planner: str = str(SHIPPED_PLANNER)
    """Checkpoint folder of the planner that is loaded at start."""
    data_root: Path = Path("data")
    """Folder below which recorded trajectories may be opened."""
    store_root: Path = DEFAULT_STORE
    """Folder of what the workbench keeps: the database and the screenshots of episodes."""
    runs_root: Path = DEFAULT_RUNS
    """Folder of training runs and their queue; `tracer1 train` puts its runs there too."""
    evaluations: Path | None = None
    """Folder of stored evaluations that is named; None for `EVALUATIONS` beside the runs."""
    people: People = field(default_factory=People)
    """Who may log in, and as what; on loopback nobody needs to."""
    webhook_url: str = field(default="", repr=False)
    """Address that alerts of training runs are posted to; empty for none. It may hold a secret."""
    allows_real_devices: bool = False
    """Whether the Episode tab offers this machine's desktop; never on a hosted Space."""
    space_host: str = ""
    """Public host names on a hosted Space, separated by commas where it has several; empty elsewhere."""
    space_id: str = ""
    """OWNER/NAME of the hosted Space; empty elsewhere."""

    @property
    def is_space(self) -> bool:
        """Whether the app runs as a hosted Space, where visitors may not name paths."""
        return bool(self.space_host)

    @property
    def evaluations_root(self) -> Path:
        """Folder of what `tracer1 evaluate --out` wrote, which the Compare tab reads and launches into."""
        return self.evaluations or self.runs_root.absolute().parent / EVALUATIONS

    @property
    def rules(self) -> AccessRules:
        """Who may talk to the server."""
        names = (name.strip() for name in (*self.space_host.split(","), socket.gethostname()))
        return rules_for(self.host, extra_names=names, is_space=self.is_space)

    @property
    def url(self) -> str:
        """Where a browser on this machine finds the app."""
        is_local = self.host in ("0.0.0.0", "::", "127.0.0.1", "localhost", "::1")
        return f"http://{'localhost' if is_local else self.host}:{self.port}"


def parse_settings(argv: Sequence[str] | None = None, env: Mapping[str, str] = os.environ) -> AppSettings:
    """The settings of a command line; usage errors leave by SystemExit(2), as argparse does.

    Args:
        argv: the arguments after the program's name; the process's own when None.
        env: the environment; `SPACE_ID` and `SPACE_HOST` mark a Space, which is bound to all interfaces, and
            `TRACER1_WEBHOOK` is where alerts are posted to.

    Raises:
        MissingFileError: the data folder, the planner or the people file was named and does not exist.
        InputError: other machines could reach the server and nobody is named, the people file is damaged, or real
            devices are asked for on a Space.
        CheckpointError: the planner that was named is damaged.
    """
    space_id = env.get("SPACE_ID", "")
    is_space = bool(space_id)
    # a Space keeps nothing, so where its own folder cannot be written any other will do
    home = Path(tempfile.gettempdir(), "tracer1") if is_space and not os.access(".", os.W_OK) else Path()
    parser = argparse.ArgumentParser(
        prog="app.py", description="The workbench in a browser: watch a planner forecast and act, step by step."
    )
    parser.add_argument("--host", default="0.0.0.0" if is_space else "127.0.0.1",
                        help="address to listen on; loopback by default, so that only this machine can use the app")
    parser.add_argument("--port", type=_port, default=7860, help="port, 1..65535 (default 7860)")
    parser.add_argument("--planner", default=None, metavar="PATH",
                        help="checkpoint folder of the planner (default: the shipped tiny planner)")
    parser.add_argument("--data", type=Path, default=None, metavar="DIR",
                        help="folder with recorded trajectories, *.jsonl (default: data)")
    parser.add_argument("--store", type=Path, default=home / DEFAULT_STORE, metavar="DIR",
                        help=f"folder of the workbench's own database and screenshots (default: {DEFAULT_STORE})")
    parser.add_argument("--runs", type=Path, default=home / DEFAULT_RUNS, metavar="DIR",
                        help=f"folder of training runs and their queue (default: {DEFAULT_RUNS})")
    parser.add_argument("--evaluations", type=Path, default=None, metavar="DIR",
                        help=f"folder of stored evaluations (default: {EVALUATIONS} beside the folder of runs)")
    parser.add_argument("--people", type=Path, default=None, metavar="FILE",
                        help="who may log in, needed when other machines can reach the server; "
                        f"made by `{PEOPLE_COMMAND} FILE NAME:ROLE`")
    parser.add_argument("--allow-real-devices", action="store_true",
                        help="offer this machine's desktop in the Episode tab, to operators; each episode is armed by "
                        "a person and each step approved")
    args = parser.parse_args(argv)
    if args.allow_real_devices and is_space:
        raise InputError(
            "--allow-real-devices is refused on a Hugging Face Space: run the workbench on your own machine"
        )
    if args.data is not None and not args.data.is_dir():
        raise MissingFileError(f"--data {args.data} is not a folder: name the folder that holds your *.jsonl files")
    if args.planner is not None:  # the shipped one may be missing: the page then says how to make it
        check_planner(args.planner)
    people = People(open_role=Role.ANNOTATOR if is_space else Role.OPERATOR)
    if args.people is not None:
        people = read_people(args.people)
    elif not is_space and args.host.lower() not in LOOPBACK_NAMES:
        raise InputError(
            f"--host {args.host} lets other machines in: say who may log in with --people FILE, which "
            f"`{PEOPLE_COMMAND} FILE NAME:ROLE` makes"
        )
    return AppSettings(
        host=args.host,
        port=args.port,
        planner=args.planner or _shown(SHIPPED_PLANNER),
        data_root=(args.data or Path("data")).resolve(),
        store_root=args.store.resolve(),
        runs_root=args.runs,
        evaluations=None if args.evaluations is None else args.evaluations.absolute(),
        people=people,
        webhook_url=env.get("TRACER1_WEBHOOK", ""),
        allows_real_devices=args.allow_real_devices,
        space_host=(env.get("SPACE_HOST") or _public_host(space_id)) if is_space else "",
        space_id=space_id,
    )


def _public_host(space_id: str) -> str:
    """Where Hugging Face serves a Space that has no domain of its own."""
    return re.sub(r"[^a-z0-9]+", "-", space_id.lower()).strip("-") + ".hf.space"


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: give a whole number 1..65535")
    return int(text)


def check_planner(spec: str) -> None:
    """Does nothing when a planner can be what it is named; its weights are loaded later.

    Raises:
        InputError, MissingFileError, CheckpointError: see `training.planner.load_planner`.
    """
    if not spec.strip() or spec.startswith(("openai:", "replay:")):
        load_planner(spec)
    else:
        check_checkpoint(spec)


def check_port(host: str, port: int) -> None:
    """Does nothing when the port can be opened here.

    Raises:
        OutputError: the port is taken, or the address is not one of this machine.
    """
    error = port_problem(host, port)
    if error is not None:
        words = f"cannot be opened ({error.strerror or error})"
        hint = "choose an address of this machine with --host and a port above 1023 with --port"
        if error.errno == errno.EADDRINUSE:
            words = "is already in use"
            hint = "stop the program that uses it or choose another with --port"
        raise OutputError(f"port {port} on {host} {words}: {hint}, for example --port {_next_port(port)}")


def _next_port(port: int) -> int:
    return port + 1 if 1024 <= port < 65535 else 7861
