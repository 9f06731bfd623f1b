"""The error model of the whole project on one page.

Three kinds of error are never mixed:

1. Bad input from a person or a file raises a `WorkbenchError` at the boundary. Its message is one sentence that
   names the value, the place, what is allowed and the next step; the command line prints it and exits with code 2.
2. A bad model reply is data: a `ParseResult` with a reason (executors.parsing). It never raises.
3. An executor, tool agent or judge that failed raises `ExecutorError`; the loop that called it records it and
   counts it in `num_errors`.
"""

from __future__ import annotations


class WorkbenchError(Exception):
    """Root of every error that a person can mend; `str(error)` is one sentence with the next step."""


class InputError(WorkbenchError, ValueError):
    """A value that a person or a file gave is not allowed."""


class MissingFileError(WorkbenchError, FileNotFoundError):
    """A file, folder or checkpoint that was named does not exist."""

    __str__ = Exception.__str__  # OSError formats errno pairs; our messages are sentences


class CheckpointError(WorkbenchError, ValueError):
    """A checkpoint folder exists but cannot be loaded."""


class OutputError(WorkbenchError, OSError):
    """A folder or file cannot be written, or a port cannot be opened."""

    __str__ = Exception.__str__


WRONG_FORM = (ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError, RecursionError)
"""What taking a record apart may raise where it has another form than expected; its reader names file and line."""


class ExecutorError(WorkbenchError, RuntimeError):
    """An executor or tool agent failed at a named boundary; recorded, never scored as a wrong answer in training."""

    def __init__(self, boundary: str, message: str) -> None:
        """`boundary` names where it failed: "plan", "reset", "observe", "execute", "ground" or "judge".

        A guarded device also has "approve" (an action was rejected), "stop" (a person or a limit ended acting) and
        "audit" (the log cannot be written); nothing was done then. "sandbox": model-written code was refused, or its
        process does not start; "tool": a model server that a tool asked gave no reply.
        """
        super().__init__(f"{boundary}: {message}")
        self.boundary = boundary
