"""The `tracer1` command: light, polite, and without tracebacks for what a person can mend."""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path

import pytest

from executors.errors import ExecutorError, InputError, MissingFileError
from training import cli

RunPython = Callable[..., subprocess.CompletedProcess[str]]
HEAVY = ("torch", "transformers", "gradio", "datasets", "trl", "PIL", "numpy", "pandas")


@pytest.fixture
def fake_command(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., int]], None]:
    """Puts a subcommand `fake` in the table that does what the given function does."""

    def install(run: Callable[..., int]) -> None:
        module = types.ModuleType("fake_command")
        module.HELP = "fakes"
        module.add_arguments = lambda parser: parser.add_argument("--number", type=int)
        module.run = run
        monkeypatch.setitem(sys.modules, "fake_command", module)
        monkeypatch.setitem(cli.COMMANDS, "fake", "fake_command")

    return install


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (InputError("no such colour"), "tracer1: no such colour\n"),
        (MissingFileError("x.jsonl is missing: give another"), "tracer1: x.jsonl is missing: give another\n"),
        (ExecutorError("reset", "no device"), "tracer1: reset: no device\n"),
    ],
)
def test_an_error_that_a_person_can_mend_is_one_sentence_and_exit_code_2(
    fake_command: Callable, capsys: pytest.CaptureFixture[str], error: Exception, told: str
) -> None:
    def fail(args: argparse.Namespace) -> int:
        raise error

    fake_command(fail)
    assert cli.main(["fake"]) == 2
    assert capsys.readouterr() == ("", told)


def test_an_error_of_ours_keeps_its_traceback(fake_command: Callable) -> None:
    def fail(args: argparse.Namespace) -> int:
        raise ZeroDivisionError

    fake_command(fail)
    with pytest.raises(ZeroDivisionError):
        cli.main(["fake"])


def test_an_interrupt_is_exit_code_130(fake_command: Callable) -> None:
    def interrupt(args: argparse.Namespace) -> int:
        raise KeyboardInterrupt

    fake_command(interrupt)
    assert cli.main(["fake"]) == 130


def test_the_exit_code_and_the_arguments_are_the_commands_own(fake_command: Callable) -> None:
    fake_command(lambda args: args.number)
    assert cli.main(["fake", "--number", "7"]) == 7


def test_wrong_usage_of_a_command_is_exit_code_2(fake_command: Callable, capsys: pytest.CaptureFixture[str]) -> None:
    fake_command(lambda args: 0)
    with pytest.raises(SystemExit) as caught:
        cli.main(["fake", "--number", "many"])
    assert caught.value.code == 2
    assert "tracer1 fake: error: argument --number" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "hint"), [("trian", "did you mean 'train'?"), ("zzz", "choose one of parse, ")])
def test_an_unknown_command_is_exit_code_2_with_a_hint(
    capsys: pytest.CaptureFixture[str], name: str, hint: str
) -> None:
    assert cli.main([name]) == 2
    assert hint in capsys.readouterr().err


def test_no_command_prints_the_help_to_stderr_with_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "commands:" in err


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_one_line_of_help_and_its_parts(name: str) -> None:
    module = importlib.import_module(cli.COMMANDS[name])
    assert module.HELP == cli.help_line(name)
    assert module.HELP and "\n" not in module.HELP and len(module.HELP) < 100
    module.add_arguments(argparse.ArgumentParser())
    assert callable(module.run)


def test_help_lists_every_command_with_its_line(run_python: RunPython) -> None:
    done = run_python("-m", "training.cli", "--help")
    assert done.returncode == 0
    for name in cli.COMMANDS:
        assert f"  {name} " in done.stdout
        assert cli.help_line(name) in done.stdout


@pytest.mark.parametrize("args", [["--help"], ["--version"], ["parse", "--help"], ["nonsense"]])
def test_the_command_line_imports_nothing_heavy(run_python: RunPython, args: list[str]) -> None:
    script = (
        "import sys, training.cli\n"
        "try: training.cli.main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        f"print('heavy:', [m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = run_python("-c", script, *args)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "heavy: []"


def test_parsing_a_reply_takes_well_under_a_second(run_python: RunPython) -> None:
    reply = "Action: click(point='<point>500 250</point>')"
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        done = run_python("-m", "training.cli", "parse", "--family", "doubao", input=reply)
        seconds.append(time.perf_counter() - started)
        assert done.returncode == 0
        assert "click(point=[0.5, 0.25])" in done.stdout
    assert min(seconds) < 0.8


def test_a_closed_pipe_is_no_traceback() -> None:
    root = Path(cli.__file__).resolve().parent.parent
    script = (
        "import sys, types, training.cli as c\n"
        "m = sys.modules['m'] = types.SimpleNamespace(HELP='', add_arguments=lambda p: None)\n"
        "m.run = lambda a: [print('line') for _ in range(10**6)] and 0\n"
        "c.COMMANDS['m'] = 'm'\n"
        "sys.exit(c.main(['m']))"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", script], cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert writer.stdout.readline() == b"line\n"
    writer.stdout.close()
    assert writer.wait(60) == 141
    assert writer.stderr.read() == b""
    writer.stderr.close()


def test_a_full_disk_is_one_sentence_and_exit_code_2(root: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "training.cli", "parse", "--family", "doubao"], cwd=root, input="wait()",
            stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == (
        "tracer1: cannot write (No space left on device): free some space, then run the command again\n"
    )


@pytest.mark.parametrize(("closed", "code"), [("<&-", 2), (">&-", 0), ("2>&-", 0)])
def test_a_closed_stream_is_no_traceback(root: Path, closed: str, code: int) -> None:
    command = f"echo 'wait()' | {sys.executable} -m training.cli parse --family doubao {closed}"
    done = subprocess.run(["sh", "-c", command], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert "Traceback" not in done.stderr


def test_text_that_the_terminal_cannot_show_is_escaped(run_python: RunPython) -> None:
    done = run_python("-m", "training.cli", "\udc80\u2028é", env={"PATH": "/usr/bin:/bin", "PYTHONIOENCODING": "ascii"})
    assert done.returncode == 2
    assert "is not a command" in done.stderr
