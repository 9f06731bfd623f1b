"""Where model-written code runs: under bubblewrap, in a scratch folder, with limits; nowhere else unless asked by name.

    no network, no other processes      namespaces of its own (network, processes, IPC, host name)
    no files but its own                an empty root with /usr and this Python, read-only; /scratch may be written
    limits                              `SandboxLimits`, set by the kernel or watched a few times a second
    state                               one process for an episode; at a limit it is killed and its variables are lost

What it does not cover: faults of the kernel, use of the processor up to the limit, and what a program learns from
the machine's /usr. In the mode "unsafe-local" code runs as this user, with the limits and with nothing kept from it.

The project's own tools that open files or compute run in a second process of the same kind (`call`), so that code
cannot change them, and a hang or a bomb in a file ends that process only. They are our code, so they run also where
bubblewrap cannot.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from executors.errors import ExecutorError, InputError, OutputError
from executors.sandbox_process import FIRST_USER, Outcome, SandboxLimits, SandboxProcess, bubblewrap_problem

__all__ = ["MODES", "Outcome", "Sandbox", "SandboxLimits", "bubblewrap_problem"]

MODES = ("bubblewrap", "unsafe-local")
_INSIDE = PurePosixPath("/scratch")
_NUM_USERS = 4_900


class Sandbox:
    """One episode's scratch folder and the processes that work in it.

    It must be closed; as a context manager it closes itself. It is used by one thread at a time.
    """

    def __init__(self, *, mode: str = "bubblewrap", limits: SandboxLimits | None = None) -> None:
        """Makes the scratch folder; processes start when they are needed.

        Args:
            mode: "bubblewrap", or "unsafe-local" to run model-written code with nothing kept from it.
            limits: the default ones when None.

        Raises:
            InputError: an unknown mode, or "unsafe-local" in a Hugging Face Space.
            OutputError: no temporary folder can be made.
        """
        if mode not in MODES:
            raise InputError(f"sandbox mode {mode!r}: choose one of {', '.join(MODES)}")
        if mode == "unsafe-local" and os.environ.get("SPACE_ID"):
            raise InputError("sandbox mode 'unsafe-local': a Hugging Face Space never runs code without isolation")
        self.limits = limits or SandboxLimits()
        self._mode = mode
        self._is_isolated = mode == "bubblewrap" and bubblewrap_problem() is None
        self._user = FIRST_USER + secrets.randbelow(_NUM_USERS) if self._is_isolated and os.geteuid() == 0 else None
        self._code: SandboxProcess | None = None
        self._tools: SandboxProcess | None = None
        try:
            self._base = Path(tempfile.mkdtemp(prefix="tracer1-sandbox-")).resolve()
            self.scratch = self._base / "scratch"
            self.scratch.mkdir(mode=0o700)
            if self._user is not None:
                os.chown(self.scratch, self._user, self._user)
        except OSError as error:
            raise OutputError(f"no scratch folder can be made ({error.strerror}): set TMPDIR to a folder you may write"
                              ) from None

    def __enter__(self) -> Sandbox:
        """Returns itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes."""
        self.close()

    @property
    def refusal(self) -> str | None:
        """Why model-written code is refused here; None when it may run."""
        if self._is_isolated or self._mode == "unsafe-local":
            return None
        return (f"model-written code is refused: {bubblewrap_problem()}; "
                "the mode unsafe-local runs it with no isolation, if you ask for it by name")

    def run(
        self,
        code: str,
        tools: Mapping[str, Sequence[str]] | None = None,
        on_call: Callable[[str, dict[str, Any]], dict[str, Any]] | None = None,
    ) -> Outcome:
        """Runs model-written Python; variables of earlier runs are there unless their process was lost.

        Args:
            code: whole statements; what they print is the output. `final_answer(x)` ends them with an answer.
            tools: names of functions the code may call, with the names of their arguments in order.
            on_call: answers such a call, {"value": JSON} or {"error": text}; it runs outside the sandbox.

        Raises:
            ExecutorError: code is refused here (see `refusal`), or no process starts.
        """
        if self.refusal is not None:
            raise ExecutorError("sandbox", self.refusal)
        self._code = self._alive(self._code)
        names = {name: list(arguments) for name, arguments in (tools or {}).items()}
        return self._code.request({"code": code, "tools": names}, on_call)

    def run_once(self, code: str) -> Outcome:
        """Runs model-written Python in a process of its own, which ends with it; variables are neither seen nor kept.

        Raises:
            ExecutorError: code is refused here (see `refusal`), or no process starts.
        """
        if self.refusal is not None:
            raise ExecutorError("sandbox", self.refusal)
        process = self._alive(None)
        try:
            return process.request({"code": code, "tools": {}})
        finally:
            process.close()

    def call(self, function: str, arguments: Mapping[str, Any]) -> Outcome:
        """Calls a function of this project in a process of its own, with the scratch folder as its working folder.

        Args:
            function: "module:name".
            arguments: JSON values; the result's `value` is one too.

        Raises:
            ExecutorError: no process starts.
        """
        self._tools = self._alive(self._tools)
        return self._tools.request({"function": function, "arguments": dict(arguments)})

    def _alive(self, process: SandboxProcess | None) -> SandboxProcess:
        if process is not None and process.is_alive:
            return process
        if process is not None:
            process.close()
        return SandboxProcess(self.scratch, self.limits, is_isolated=self._is_isolated, user=self._user)

    def relative(self, path: str) -> str:
        """A path that a model wrote, relative to the scratch folder; purely by its text.

        Raises:
            InputError: it leaves the scratch folder.

        >>> with Sandbox() as sandbox: sandbox.relative("/scratch/a/b.png")
        'a/b.png'
        """
        pure = PurePosixPath(path)
        for root in (_INSIDE, PurePosixPath(self.scratch)):
            if pure.is_relative_to(root):
                pure = pure.relative_to(root)
                break
        if pure.is_absolute() or ".." in pure.parts or "\0" in path or not pure.parts:
            raise InputError(f"path {path!r} is not in the scratch folder: give a path relative to it")
        return str(pure)

    def read(self, path: str) -> bytes:
        """A file of the scratch folder; links are not followed, whatever the code does at the same time.

        Raises:
            InputError: it leaves the folder, is missing, a link or no plain file, or is larger than a file may be.
        """
        parts = PurePosixPath(self.relative(path)).parts
        fds = []
        try:
            fds.append(os.open(self.scratch, os.O_RDONLY | os.O_DIRECTORY))
            for index, part in enumerate(parts):
                kind = os.O_NONBLOCK if index == len(parts) - 1 else os.O_DIRECTORY
                fds.append(os.open(part, os.O_RDONLY | os.O_NOFOLLOW | kind, dir_fd=fds[-1]))
            status = os.fstat(fds[-1])
            if not stat.S_ISREG(status.st_mode):
                raise InputError(f"path {path!r} is no plain file")
            most = self.limits.max_file_mib << 20
            with os.fdopen(os.dup(fds[-1]), "rb") as file:
                data = file.read(most + 1)
            if len(data) > most:
                raise InputError(f"path {path!r} has more than {self.limits.max_file_mib} MiB")
            return data
        except InputError:
            raise
        except OSError as error:
            raise InputError(f"path {path!r} cannot be read ({error.strerror})") from None
        except ValueError:
            raise InputError(f"path {path!r} is not text that a file name can be") from None
        finally:
            for fd in fds:
                os.close(fd)

    def add(self, name: str, data: bytes) -> str:
        """Puts a new file into the scratch folder and returns its path there.

        Raises:
            InputError: the name is no file name, or the file exists.
        """
        if "/" in name or name in ("", ".", ".."):
            raise InputError(f"file name {name!r} is not a plain name")
        folder = os.open(self.scratch, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644, dir_fd=folder)
            with os.fdopen(fd, "wb") as file:
                file.write(data)
        except OSError as error:
            raise InputError(f"file {name!r} cannot be made in the scratch folder ({error.strerror})") from None
        finally:
            os.close(folder)
        return name

    def close(self) -> None:
        """Ends the processes and removes the scratch folder; calling it again does nothing."""
        self.close_processes()
        for folder, names, _ in os.walk(self._base):  # code may have locked folders; nothing runs any more
            for path in (Path(folder, name) for name in names):
                if not path.is_symlink():
                    with contextlib.suppress(OSError):
                        path.chmod(0o700)
        shutil.rmtree(self._base, ignore_errors=True)

    def close_processes(self) -> None:
        """Ends the processes, and with them the variables of the code; files stay."""
        for process in (self._code, self._tools):
            if process is not None:
                process.close()
        self._code = self._tools = None
