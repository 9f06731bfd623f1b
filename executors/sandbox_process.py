"""One process of the sandbox from outside: started, asked, watched and, at a limit, killed with all it started."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from typing import Any

from executors.errors import ExecutorError, InputError

_WORKER = Path(__file__).with_name("sandbox_worker.py")
_PROJECT = Path(__file__).resolve().parent
_INSIDE = "/scratch"
_MIB = 1 << 20
_MAX_MESSAGE_BYTES = 4 * _MIB
_WATCH_SECONDS = 0.2
_MAX_ENTRIES = 5000
_MAX_PRINTED_BYTES = 64 * _MIB
FIRST_USER = 60_001
"""First user id that root becomes, of Debian's range for users made at need; each sandbox takes another."""
_PROBE = "import os, sys; user = int(sys.argv[1]); user and (os.setgroups([]), os.setgid(user), os.setuid(user))"


@dataclass(frozen=True, kw_only=True, slots=True)
class SandboxLimits:
    """What code in the sandbox may use; everything beyond ends the process or is dropped."""

    wall_seconds: float = 30.0
    """Longest time of one request; time that tools take does not count."""
    cpu_seconds: int = 120
    """Processor time of one process, over all requests it answers."""
    memory_mib: int = 2048
    """Address space of one process, and resident memory of all of them together."""
    max_processes: int = 64
    """Processes and threads alive at once."""
    max_file_mib: int = 64
    """Size of one file."""
    max_scratch_mib: int = 256
    """Size of all files in the scratch folder together; looked at a few times a second."""
    max_output_chars: int = 20_000
    """Printed text that is kept; the rest is dropped and counted, and after 64 MiB the process is ended."""

    def __post_init__(self) -> None:
        """Checks that every limit is positive."""
        for name in self.__slots__:
            if not getattr(self, name) > 0:
                raise InputError(f"limit {name}: {getattr(self, name)!r} is not above 0")


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What came of one request.

    `error` is None, or what the code raised or the limit it ran into. `is_lost` says that the process ended, and its
    variables with it. `answer` is the text given to `final_answer`.
    """

    output: str = ""
    num_dropped_bytes: int = 0
    error: str | None = None
    is_lost: bool = False
    value: Any = None
    answer: str | None = None
    seconds: float = 0.0


@functools.cache
def bubblewrap_problem() -> str | None:
    """None when bubblewrap can run here, else why not; it is tried once, by running it."""
    program = shutil.which("bwrap")
    if program is None:
        return "bwrap is not installed (Debian, Ubuntu: apt-get install bubblewrap)"
    try:
        command = [*_bubblewrap(None), sys.executable, "-I", "-c", _PROBE, str(0 if os.geteuid() else FIRST_USER)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"bwrap does not start ({error})"
    if done.returncode == 0:
        return None
    reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    return f"bwrap cannot isolate here ({reason}): it needs bubblewrap 0.8 and leave to make namespaces"


def _bubblewrap(scratch: Path | None) -> list[str]:
    """The command before the program: an empty read-only root with the system and this Python in it.

    Root keeps the host's user namespace, because only another user than root is held by the limit on processes; the
    worker becomes that user first of all, with the two capabilities left for it. Others get a user namespace of theirs.
    """
    command = ["bwrap", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try",
               "--die-with-parent", "--new-session", "--clearenv"]
    if os.geteuid() == 0:
        command += ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    else:
        command += ["--unshare-user", "--disable-userns", "--cap-drop", "ALL"]
    command += ["--ro-bind", "/usr", "/usr"]
    for name in ("bin", "sbin", "lib", "lib32", "lib64"):
        path = Path("/", name)
        if path.is_symlink():
            command += ["--symlink", os.readlink(path), str(path)]
        elif path.is_dir():
            command += ["--ro-bind", str(path), str(path)]
    command += ["--perms", "0755", "--dir", "/etc"]
    for path in ("/etc/ld.so.cache", "/etc/fonts", "/etc/alternatives"):
        command += ["--ro-bind-try", path, path]
    command += ["--proc", "/proc", "--dev", "/dev"]
    for path in ("/tmp", "/dev/shm"):
        command += ["--perms", "1777", "--size", str(64 * _MIB), "--tmpfs", path]
    for path in dict.fromkeys((sys.base_prefix, sys.prefix, str(_PROJECT))):
        if not Path(path).is_relative_to("/usr"):
            for parent in reversed(Path(path).parents[:-1]):  # else bubblewrap makes them for root only
                command += ["--perms", "0755", "--dir", str(parent)]
            command += ["--ro-bind", path, path]
    if scratch is not None:
        command += ["--bind", str(scratch), _INSIDE]
    for name, value in _environment(_INSIDE).items():
        command += ["--setenv", name, value]
    return [*command, "--remount-ro", "/dev", "--remount-ro", "/"]


def _environment(home: str) -> dict[str, str]:
    """All variables that the code sees; none of ours, which may hold keys."""
    return {"PATH": "/usr/bin:/bin", "HOME": home, "LANG": "C.UTF-8", "MPLBACKEND": "Agg", "MPLCONFIGDIR": "/tmp",
            "XDG_CACHE_HOME": "/tmp",
            "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}


class SandboxProcess:
    """A worker in a scratch folder, inside bubblewrap or, where that is switched off, under the same limits without."""

    def __init__(self, scratch: Path, limits: SandboxLimits, *, is_isolated: bool, user: int | None) -> None:
        """Starts the worker.

        Args:
            scratch: the only folder that it may write, seen as /scratch inside; `user` must be able to write there.
            limits: see there.
            is_isolated: inside bubblewrap.
            user: the user id that root becomes inside bubblewrap; None for other users and without it.

        Raises:
            ExecutorError: the process does not start.
        """
        self._scratch, self._limits = scratch, limits
        self._buffer = b""
        ours, theirs = socket.socketpair()
        settings = {
            "fd": theirs.fileno(), "user": user, "is_own_namespace": is_isolated, "paths": [str(_PROJECT.parent)],
            "folder": _INSIDE if is_isolated else str(scratch),
            "limits": {"AS": limits.memory_mib * _MIB, "CPU": limits.cpu_seconds, "NPROC": limits.max_processes,
                       "FSIZE": limits.max_file_mib * _MIB, "CORE": 0, "NOFILE": 256},
        }  # fmt: skip
        if not is_isolated:
            del settings["limits"]["NPROC"]  # it would count the user's other processes too
        command = _bubblewrap(scratch) if is_isolated else []
        command += [sys.executable, "-I", "-u", str(_WORKER), json.dumps(settings)]
        self._is_isolated = is_isolated
        started: Queue[subprocess.Popen | OSError] = Queue()
        # bubblewrap dies with the thread that started it, so that thread stays until the process has ended.
        threading.Thread(target=self._own, args=(command, theirs, started), daemon=True).start()
        process = started.get()
        theirs.close()
        if isinstance(process, OSError):
            ours.close()
            raise ExecutorError("sandbox", f"the sandbox does not start ({process})")
        self._process, self._socket = process, ours
        for stream in (process.stdout, ours):
            os.set_blocking(stream.fileno(), False)

    def _own(self, command: list[str], theirs: socket.socket, started: Queue) -> None:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                pass_fds=[theirs.fileno()], cwd=self._scratch, start_new_session=True,
                env=_environment(str(self._scratch)),
            )  # fmt: skip
        except OSError as error:
            started.put(error)
            return
        started.put(process)
        process.wait()

    @property
    def is_alive(self) -> bool:
        """Whether the process can take a request."""
        return self._process.poll() is None

    def request(
        self, message: Mapping[str, Any], on_call: Callable[[str, dict[str, Any]], dict[str, Any]] | None = None
    ) -> Outcome:
        """Sends one request and waits for its end, the time limit or the death of the process.

        Args:
            message: see sandbox_worker.
            on_call: answers a tool call of the code with {"value": ...} or {"error": ...}.
        """
        begun = time.monotonic()
        output, num_dropped, reply, problem = bytearray(), 0, None, None
        deadline, next_watch = begun + self._limits.wall_seconds, begun + _WATCH_SECONDS
        most = self._limits.max_output_chars * 4
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            selector.register(self._socket, selectors.EVENT_READ)
            try:
                self._send(message)
                while reply is None and problem is None:
                    ready = {key.fileobj for key, _ in selector.select(max(0.0, min(deadline, next_watch) - _now()))}
                    if self._process.stdout in ready:
                        num_dropped += self._read_output(output, most, selector)
                    if num_dropped > _MAX_PRINTED_BYTES:
                        problem = f"it printed more than {_MAX_PRINTED_BYTES // _MIB} MiB"
                    if self._socket in ready:
                        reply, called = self._receive()
                        if called is not None:
                            paused = _now()
                            self._send(self._answer(called, on_call))
                            deadline += _now() - paused
                    if reply is None and _now() >= next_watch:
                        problem = self._over_limit()
                        next_watch = _now() + _WATCH_SECONDS
                    if reply is None and problem is None and _now() >= deadline:
                        problem = f"the time limit of {self._limits.wall_seconds:g} s is over"
            except _ChannelError as error:
                problem = str(error)
            except BaseException:  # a fault of `on_call`: the process would wait for its answer for ever
                self.close()
                raise
            if reply is not None and (problem := self._over_limit()) is not None:
                reply = None
            if reply is None:
                self._kill()
            num_dropped += self._read_output(output, most, None)
        if reply is None:
            self.close()
        text = output.decode("utf-8", errors="replace")
        kept = text[: self._limits.max_output_chars]
        num_dropped += len(text[len(kept) :].encode("utf-8", errors="replace"))
        fields = reply or {"error": f"{problem}; the process and its variables are gone"}
        answer = fields.get("answer")
        return Outcome(
            output=kept, num_dropped_bytes=num_dropped, error=_text_or_none(fields.get("error")), is_lost=reply is None,
            value=fields.get("value"), answer=_text_or_none(answer), seconds=_now() - begun,
        )  # fmt: skip

    def _answer(self, called: dict[str, Any], on_call: Callable | None) -> dict[str, Any]:
        name, arguments = called.get("call"), called.get("arguments")
        if on_call is None or not isinstance(name, str) or not isinstance(arguments, dict):
            return {"error": "there is no such tool"}
        return on_call(name, arguments)

    def _send(self, message: Mapping[str, Any]) -> None:
        data = memoryview(json.dumps(message).encode("ascii") + b"\n")
        end = _now() + self._limits.wall_seconds
        while data:
            try:
                data = data[self._socket.send(data) :]
            except BlockingIOError:
                if _now() > end:
                    raise _ChannelError("it does not read its requests") from None
                time.sleep(0.005)
            except OSError:
                raise _ChannelError(self._why_ended()) from None

    def _receive(self) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
        """(the object that ends the request, None), (None, a tool call), or (None, None) while a line is not whole."""
        if b"\n" not in self._buffer:
            try:
                data = self._socket.recv(1 << 16)
            except BlockingIOError:
                return None, None
            except OSError:
                data = b""
            if not data:
                raise _ChannelError(self._why_ended())
            self._buffer += data
        if len(self._buffer) > _MAX_MESSAGE_BYTES:
            raise _ChannelError(f"its result has more than {_MAX_MESSAGE_BYTES // _MIB} MiB")
        line, is_whole, rest = self._buffer.partition(b"\n")
        if not is_whole:
            return None, None
        self._buffer = rest
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            message = None
        if not isinstance(message, dict) or (message.get("done") is not True and "call" not in message):
            raise _ChannelError("it sent something else than a reply over its channel")
        return (message, None) if message.get("done") is True else (None, message)

    def _read_output(self, output: bytearray, most: int, selector: selectors.BaseSelector | None) -> int:
        """Appends what was printed, up to `most` bytes in all; returns how many bytes were dropped."""
        num_dropped = 0
        for _ in range(64):  # then the limits are looked at again
            try:
                data = os.read(self._process.stdout.fileno(), 1 << 16)
            except (BlockingIOError, ValueError):
                return num_dropped
            if not data:
                if selector is not None:
                    selector.unregister(self._process.stdout)
                return num_dropped
            kept = data[: max(0, most - len(output))]
            output += kept
            num_dropped += len(data) - len(kept)
        return num_dropped

    def _over_limit(self) -> str | None:
        """Which limit on the whole group is passed: memory of all processes, or the scratch folder."""
        if self._resident_bytes() > self._limits.memory_mib * _MIB:
            return f"the memory limit of {self._limits.memory_mib} MiB is passed by its processes together"
        num_bytes, num_entries = folder_usage(self._scratch)
        if num_bytes > self._limits.max_scratch_mib * _MIB or num_entries > _MAX_ENTRIES:
            return f"the scratch folder holds more than {self._limits.max_scratch_mib} MiB or {_MAX_ENTRIES} entries"
        return None

    def _resident_bytes(self) -> int:
        import psutil

        total = 0
        with contextlib.suppress(psutil.Error):
            for child in psutil.Process(self._process.pid).children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    total += child.memory_info().rss
        return total

    def _why_ended(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self._process.wait(timeout=2)
            number = code - 128 if code > 128 else -code
            if number == signal.SIGXCPU:
                return f"the limit of {self._limits.cpu_seconds} s of processor time is over"
            if number == signal.SIGKILL:
                return "it was killed"
            return f"it ended by itself with code {code}"
        return "it closed its channel"

    def _kill(self) -> None:
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def close(self) -> None:
        """Kills the process and all it started; calling it again does nothing."""
        self._kill()
        self._socket.close()
        self._process.stdout.close()


class _ChannelError(Exception):
    """The conversation with the process is over; its text says why."""


_now = time.monotonic


def _text_or_none(value: Any) -> str | None:
    return None if value is None else str(value)


def folder_usage(folder: Path) -> tuple[int, int]:
    """(bytes, entries) of a folder and those below, links not followed; counting stops above the allowed entries."""
    num_bytes = num_entries = 0
    waiting = [folder]
    while waiting and num_entries <= _MAX_ENTRIES:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                num_entries += 1
                if num_entries > _MAX_ENTRIES:
                    break
                with contextlib.suppress(OSError):
                    num_bytes += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
    return num_bytes, num_entries
