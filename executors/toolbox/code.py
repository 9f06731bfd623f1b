"""Tools that run model-written code, which happens inside the sandbox only."""

from __future__ import annotations

import itertools
import os
import re
from typing import Annotated

from executors.sandbox import Outcome, Sandbox
from executors.toolbox.registry import Need, Result, tool

_FENCE = re.compile(r"```(?:python|py)?[ \t]*\n?(.*?)(?:```|\Z)", re.DOTALL)
_SOLVE = "variables = {{}}\nexec('from sympy import symbols, Eq, solve', variables)\nexec({code!r}, variables)\n" \
         "print(variables['solution']())"
_PLOT = """\
import matplotlib.pyplot
from matplotlib.figure import Figure
variables = {{'plt': matplotlib.pyplot}}
exec({code!r}, variables)
figure = variables['solution']()
if not isinstance(figure, Figure):
    raise TypeError('solution() gave no matplotlib figure, but ' + type(figure).__name__)
figure.savefig({path!r})
"""


@tool("python", needs=Need.SANDBOX)
def python(code: Annotated[str, "statements; print what you want to see"]) -> str:
    """Runs Python code and gives what it prints. Variables stay for the next code; images may be saved in the working
    folder. There is no network."""
    raise NotImplementedError  # the toolbox runs it in the episode's own process


@tool("Solver", needs=Need.SANDBOX)
def solver(
    sandbox: Sandbox, /, command: Annotated[str, "Python code with a function solution() that returns text"]
) -> Outcome:
    """Solves equations by Python code with sympy: the code has a function named solution that returns its answer."""
    return sandbox.run_once(_SOLVE.format(code=code_of(command)))


@tool("Plot", returns=Result.IMAGE, needs=Need.SANDBOX)
def plot(
    sandbox: Sandbox, /, command: Annotated[str, "Python code with a function solution() that returns the figure"]
) -> tuple[Outcome, str]:
    """Draws a diagram by Python code with matplotlib: its function named solution returns the figure."""
    names = (f"image-{number}.png" for number in itertools.count(1))
    path = next(name for name in names if not os.path.lexists(sandbox.scratch / name))
    return sandbox.run_once(_PLOT.format(code=code_of(command), path=path)), path


def code_of(text: str) -> str:
    r"""The first fenced block of a text, or all of it.

    >>> code_of("Here:\n```python\nx = 1\n```")
    'x = 1\n'
    """
    found = _FENCE.search(text)
    return found[1] if found else text
