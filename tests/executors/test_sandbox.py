"""Model-written code in the sandbox: what works there, and what an attack gets.

Where bubblewrap cannot run the tests of isolation are skipped with its reason (in CI they fail), and that code is then
refused is tested everywhere.
"""

from __future__ import annotations

import ast
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from executors import sandbox as sandbox_module
from executors.errors import ExecutorError, InputError
from executors.sandbox import Sandbox, SandboxLimits, bubblewrap_problem
from tests.support import require_sandbox

SMALL = SandboxLimits(wall_seconds=6.0, cpu_seconds=20, memory_mib=512, max_processes=24, max_file_mib=4,
                      max_scratch_mib=8, max_output_chars=2000)


@pytest.fixture
def box() -> Iterator[Sandbox]:
    """A sandbox with small limits."""
    require_sandbox()
    with Sandbox(limits=SMALL) as sandbox:
        yield sandbox


def quickly(box: Sandbox, wall_seconds: float) -> None:
    """Gives the next process a shorter time."""
    box.limits = SandboxLimits(**{name: getattr(SMALL, name) for name in SMALL.__slots__} | {
        "wall_seconds": wall_seconds})


def test_state_output_errors_and_answers(box: Sandbox) -> None:
    assert box.run("x = 20\nprint('é', x)").output == "é 20\n"
    assert box.run("import sys; print(x + 1, file=sys.stderr)").output == "21\n"
    failed = box.run("def f():\n    return 1 / 0\nprint('before')\nf()")
    assert (failed.output, failed.is_lost) == ("before\n", False)
    assert failed.error.endswith("ZeroDivisionError: division by zero")
    assert 'line 2, in f\n    return 1 / 0' in failed.error and "sandbox_worker" not in failed.error
    assert "SyntaxError" in box.run("x = (").error
    assert "SystemExit" in box.run("exit(3)").error
    answered = box.run("print('so')\ntry:\n    final_answer(x * 2)\nexcept Exception:\n    pass\nprint('not')")
    assert (answered.answer, answered.output) == ("40", "so\n")


@pytest.mark.parametrize("code", ["print('\ud800')", "x = '\0'", "(" * 90_000, "\ud800", "raise BaseException",
                                  "class E(Exception):\n    def __str__(self): return 1 / 0\nraise E",
                                  "import os; os._exit(3)", "import os; os.close(1); os.close(2)\nprint(1)",
                                  "import sys; sys.stdout = None; 1 / 0", "def f(): f()\nf()",
                                  "final_answer('x' * (5 << 20))", "import ctypes; ctypes.string_at(0)"])  # fmt: skip
def test_code_that_breaks_its_own_process_is_told_and_the_next_runs(box: Sandbox, code: str) -> None:
    assert box.run(code).error
    box.run("pass")
    assert box.run("import os; os.write(1, b'5')").error is None or "os.close" in code


def test_code_calls_tools_by_position_and_name(box: Sandbox) -> None:
    asked = []

    def answer(name: str, arguments: dict) -> dict:
        asked.append((name, arguments))
        return {"value": {"n": [1, 2]}} if name == "good" else {"error": "it is not here"}

    tools = {"good": ["a", "b"], "bad": []}
    assert box.run("print(good(1, b='x')['n'][1])", tools, answer).output == "2\n"
    assert asked == [("good", {"a": 1, "b": "x"})]
    assert box.run("bad()", tools, answer).error.endswith("RuntimeError: it is not here")
    assert "at most 2 arguments" in box.run("good(1, 2, 3)", tools, answer).error
    assert "'a' twice" in box.run("good(1, a=2)", tools, answer).error
    assert "text, numbers, lists and dicts only" in box.run("good(object())", tools, answer).error
    assert len(asked) == 2


def test_time_that_a_tool_takes_is_not_the_code_s(box: Sandbox) -> None:
    quickly(box, 0.8)
    outcome = box.run("print(slow())", {"slow": []}, lambda *_: time.sleep(1.2) or {"value": "late"})
    assert (outcome.output, outcome.error) == ("late\n", None)


def test_a_tool_that_fails_in_our_own_code_ends_the_process(box: Sandbox) -> None:
    with pytest.raises(ZeroDivisionError):
        box.run("x = 1\nbad()", {"bad": []}, lambda *_: 1 / 0)
    assert "NameError" in box.run("print(x)").error


def test_a_hang_is_killed_and_the_next_run_starts_anew(box: Sandbox) -> None:
    quickly(box, 0.8)
    hung = box.run("x = 1\nprint('begun')\nimport time\ntime.sleep(60)")
    assert (hung.output, hung.is_lost) == ("begun\n", True)
    assert "time limit of 0.8 s" in hung.error and hung.seconds < 6
    assert "NameError" in box.run("print(x)").error


def test_a_loop_that_catches_everything_is_killed(box: Sandbox) -> None:
    quickly(box, 0.8)
    code = ("import signal\nfor n in range(1, 32):\n    try: signal.signal(n, 1)\n    except Exception: pass\n"
            "while True:\n    try:\n        while True: pass\n    except BaseException: pass")
    assert "time limit" in box.run(code).error


def test_processor_time_is_limited(box: Sandbox) -> None:
    box.limits = SandboxLimits(cpu_seconds=1, wall_seconds=20)
    outcome = box.run("while True: pass")
    assert "1 s of processor time" in outcome.error and outcome.is_lost


def test_a_fork_bomb_ends_at_the_limit_of_processes(box: Sandbox) -> None:
    before = len(os.listdir("/proc"))
    outcome = box.run("import os\nwhile True:\n    if os.fork() == 0:\n        while True: os.fork()")
    assert "BlockingIOError" in outcome.error or outcome.is_lost
    assert box.run("print(1)").output == "1\n"  # all that was forked is gone, so there is room again
    assert len(os.listdir("/proc")) < before + 200


def test_threads_count_as_processes(box: Sandbox) -> None:
    code = ("import threading, time\n"
            "for _ in range(100): threading.Thread(target=time.sleep, args=(9,), daemon=True).start()")
    assert "can't start new thread" in box.run(code).error


@pytest.mark.parametrize("code", [
    "b = bytearray(4 << 30)",
    "b = []\nwhile True: b.append(bytearray(1 << 24))",
    "open('/dev/shm/x', 'wb').write(b'0' * (3 << 20)) and [open(f'/dev/shm/{i}', 'wb').write(b'0' * (3 << 20)) "
    "for i in range(100)]",
])  # fmt: skip
def test_a_memory_bomb_gets_an_error(box: Sandbox, code: str) -> None:
    outcome = box.run(code)
    assert any(word in outcome.error for word in ("MemoryError", "memory limit", "No space left", "killed"))


def test_memory_of_many_processes_is_counted_together(box: Sandbox) -> None:
    code = ("import os, time\nfor _ in range(12):\n    if os.fork() == 0:\n        b = bytearray(b'x') * (100 << 20)\n"
            "        time.sleep(60)\ntime.sleep(60)")
    assert "memory limit of 512 MiB" in box.run(code).error


def test_endless_output_is_cut_and_ended(box: Sandbox) -> None:
    outcome = box.run("while True: print('x' * 10000)")
    assert len(outcome.output) == 2000 and outcome.num_dropped_bytes > 1_000_000
    assert outcome.is_lost
    much = box.run("print('y' * 100_000)")
    assert (len(much.output), much.num_dropped_bytes, much.error) == (2000, 98_001, None)


@pytest.mark.parametrize("code", [
    "open('a', 'wb').write(b'0' * (9 << 20))",  # one file
    "for i in range(9): open(str(i), 'wb').write(b'0' * (2 << 20))",  # all together
    "for i in range(6000): open(str(i), 'w').close()",  # number
])  # fmt: skip
def test_files_are_limited(box: Sandbox, code: str) -> None:
    outcome = box.run(code)
    assert "File too large" in outcome.error or "scratch folder holds more" in outcome.error


def test_there_is_no_network(box: Sandbox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert "Error" in box.run(f"import socket\nsocket.create_connection(('127.0.0.1', {port}), 2)").error
    assert "gaierror" in box.run("import socket\nsocket.getaddrinfo('example.org', 80)").error


def test_home_environment_and_other_files_are_not_there(box: Sandbox, monkeypatch: pytest.MonkeyPatch,
                                                        tmp_path: Path) -> None:
    monkeypatch.setenv("SECRET_KEY", "hunter2")
    secret = tmp_path / "secret"
    secret.write_text("hunter2")
    secret.chmod(0o644)
    code = (f"import os, glob\nprint(dict(os.environ))\nprint(os.path.exists({str(secret)!r}))\n"
            f"print(glob.glob({str(Path.home() / '.*')!r}) + glob.glob({str(Path.home() / '*')!r}))\n"
            "print(os.path.exists('/etc/passwd'), os.listdir('/home') if os.path.exists('/home') else [])\n"
            "print([open(f'/proc/{p}/environ', 'rb').read() for p in os.listdir('/proc') if p.isdigit() "
            "and os.access(f'/proc/{p}/environ', os.R_OK)])")
    outcome = box.run(code)
    assert outcome.error is None and "hunter2" not in outcome.output
    lines = outcome.output.splitlines()
    assert lines[1] == "False" and lines[3] == "False []"
    needed = [Path(sys.prefix), Path(sys.base_prefix), Path(sandbox_module.__file__)]  # Python itself may lie at home
    assert all(any(one.is_relative_to(path) for one in needed) for path in ast.literal_eval(lines[2]))


def test_nothing_outside_the_scratch_folder_can_be_written(box: Sandbox) -> None:
    ours = sandbox_module.__file__
    for path in ("/x", "/usr/x", "/etc/x", "/dev/x", "/root/x", "/proc/sys/kernel/core_pattern", ours):
        outcome = box.run(f"open({path!r}, 'a').write('1')")
        assert "Error" in (outcome.error or ""), path
    assert "Error" in box.run("import os; os.setuid(0)").error
    name = f"/tmp/{box.scratch.parent.name}-inside"
    assert box.run(f"open({name!r}, 'w').write('1'); open('mine', 'w').write('1')").error is None
    assert box.read("mine") == b"1" and not Path(name).exists()


def test_signals_do_not_reach_the_parent(box: Sandbox) -> None:
    code = (f"import os, signal\nfor pid in (1, os.getppid(), {os.getpid()}, {threading.get_native_id()}):\n"
            "    for n in (0, 15, 9):\n        try:\n            os.kill(pid, n)\n"
            "        except OSError as e: print(pid, n, type(e).__name__)\n"
            "print([p for p in os.listdir('/proc') if p.isdigit()])")
    outcome = box.run(code)
    assert f"{os.getpid()} 9 ProcessLookupError" in outcome.output
    assert outcome.output.splitlines()[-1] == "['1', '2']"  # bubblewrap's own and the code's


@pytest.mark.parametrize(
    ("code", "match"),
    [
        ("import os; os.symlink('/etc/hostname', 'x')", "cannot be read"),
        ("import os; os.mkdir('d'); os.symlink('/etc', 'd/e'); os.symlink('d/e', 'x')", "cannot be read"),
        ("import os; os.mkfifo('x')", "no plain file"),
        ("import os; os.mkdir('x')", "no plain file"),
        ("pass", "No such file"),
    ],
)
def test_a_link_or_a_pipe_in_the_scratch_folder_is_not_read(box: Sandbox, code: str, match: str) -> None:
    assert box.run(code).error is None
    with pytest.raises(InputError, match=match):
        box.read("x")
    with pytest.raises(InputError, match="cannot be made"):
        box.add("x" if code != "pass" else "n" * 300, b"1")


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x", "/scratch/../etc/passwd", "", "/scratch", "a\0b"])
def test_a_path_that_leaves_the_scratch_folder_is_refused(path: str) -> None:
    with Sandbox() as sandbox, pytest.raises(InputError, match="scratch folder"):
        sandbox.read(path)


def test_paths_of_both_sides_are_read() -> None:
    with Sandbox() as sandbox:
        assert sandbox.add("a.txt", b"1") == "a.txt"
        for path in ("a.txt", "./a.txt", "/scratch/a.txt", str(sandbox.scratch / "a.txt")):
            assert sandbox.read(path) == b"1"
        with pytest.raises(InputError, match="plain name"):
            sandbox.add("a/b", b"")


@pytest.mark.parametrize(
    "data",
    ['b"no json\\n"', 'b"[1]\\n"', 'b"x" * (9 << 20)', 'b\'{"done": 1}\\n\'', 'b"[" * 90000 + b"\\n"'],
)
def test_garbage_on_the_channel_ends_the_process(box: Sandbox, data: str) -> None:
    code = ("import os, socket, stat\nfor fd in range(3, 64):\n    try:\n"
            "        if stat.S_ISSOCK(os.fstat(fd).st_mode):\n"
            f"            socket.socket(fileno=os.dup(fd)).sendall({data})\n    except OSError: pass\nprint('sent')")
    outcome = box.run(code)
    assert outcome.is_lost
    assert box.run("print(5)").output.endswith("5\n")


def test_functions_of_the_project_run_beside_the_code(box: Sandbox) -> None:
    box.run("import json\njson.dumps = lambda *a, **k: 'mine'")
    assert box.call("json:dumps", {"obj": [1]}).value == "[1]"
    assert "TypeError" in box.call("json:dumps", {}).error
    assert "cannot be sent" in box.call("decimal:Decimal", {"value": "1"}).error
    assert "more than 4 MiB" in box.call("textwrap:indent", {"text": "x\n" * 3_000_000, "prefix": " "}).error


def test_without_bubblewrap_code_is_refused_and_our_own_functions_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox_module, "bubblewrap_problem", lambda: "bwrap is not installed")
    with Sandbox(limits=SMALL) as sandbox:
        assert sandbox.refusal.startswith("model-written code is refused: bwrap is not installed")
        with pytest.raises(ExecutorError, match="unsafe-local"):
            sandbox.run("print(1)")
        assert sandbox.call("json:dumps", {"obj": 1}).value == "1"
    with Sandbox(mode="unsafe-local", limits=SMALL) as sandbox:
        assert sandbox.refusal is None
        assert sandbox.run("import os; print(os.getcwd())").output.strip() == str(sandbox.scratch)
        assert "time limit" in _short(sandbox).error
    with pytest.raises(InputError, match="unsafe-local"):
        Sandbox(mode="none")
    monkeypatch.setenv("SPACE_ID", "a/space")
    with pytest.raises(InputError, match="Space"):
        Sandbox(mode="unsafe-local")


def _short(sandbox: Sandbox):
    sandbox.close()
    with Sandbox(mode="unsafe-local", limits=SandboxLimits(wall_seconds=0.5)) as other:
        return other.run("import time; time.sleep(30)")


def test_a_missing_program_is_the_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "apt-get install bubblewrap" in bubblewrap_problem.__wrapped__()
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho 'No permissions to create new namespace' >&2\nexit 1\n")
    fake.chmod(0o755)
    assert "No permissions to create new namespace" in bubblewrap_problem.__wrapped__()


def has_process(words: str) -> bool:
    """Whether a process of this machine was started with these words."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if words.encode() in path.read_bytes():
                return True
        except OSError:
            continue
    return False


def is_gone(words: str) -> bool:
    """Whether no such process is left; a killed one takes a moment, on a busy machine."""
    ended = time.monotonic() + 5
    while has_process(words) and time.monotonic() < ended:
        time.sleep(0.05)
    return not has_process(words)


def test_all_that_the_code_started_ends_with_it(box: Sandbox) -> None:
    number = f"7{os.getpid()}.25"
    start = f"import subprocess, time; subprocess.Popen(['setsid', 'sleep', '{number}'], start_new_session=True)\n"
    assert box.run(start + "time.sleep(0.3)").error is None
    assert is_gone(number)  # what a step leaves running ends with the step
    quickly(box, 1.0)
    box.close_processes()
    seen = []
    box.run(start + "time.sleep(0.3); look(); time.sleep(60)", {"look": []},
            lambda *_: seen.append(has_process(number)) or {"value": None})
    assert seen == [True]
    assert is_gone(number)


def test_closing_removes_the_folder_and_the_process(box: Sandbox) -> None:
    box.run("import os; os.makedirs('a/b'); open('a/b/c', 'w').close(); os.chmod('a', 0)")
    process = box._code
    box.close()
    box.close()
    assert not box.scratch.exists() and not process.is_alive


@pytest.mark.parametrize("name", SandboxLimits.__slots__)
def test_limits_are_positive(name: str) -> None:
    with pytest.raises(InputError, match=name):
        SandboxLimits(**{name: 0})
