"""Every command and option that a page of the project names exists; every setting that it names is taken."""

from __future__ import annotations

import argparse
import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from training.cli import COMMANDS
from training.config import STAGES
from training.config_reading import load_config
from training.presets import PRESETS, get_preset
from workbench.settings import parse_settings

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "RESULTS.md", "CONTRIBUTING.md")),
    *sorted((ROOT / "assets").rglob("*.md")),
    *sorted((ROOT / "training").rglob("*.md")),
]
_BLOCK = re.compile(r"^```(?:bash|text|sh)?\n(.*?)^```", re.MULTILINE | re.DOTALL)
_BETWEEN = ("|", "&&", "||", ">", "2>", "&", ";", "do")


def code_lines(text: str) -> Iterator[str]:
    """The lines of a page's code blocks, those that end in a backslash joined with the next."""
    for block in _BLOCK.findall(text):
        yield from block.replace("\\\n", " ").splitlines()


def tracer1_calls(text: str) -> Iterator[list[str]]:
    """The argument lists of every `tracer1` call in the code of a page."""
    for line in code_lines(text):
        words = shlex.split(line.removeprefix("$ "), comments=True) if "tracer1" in line else []
        starts = [i for i, word in enumerate(words) if word == "tracer1" and (i == 0 or words[i - 1] in _BETWEEN)]
        for start in starts:
            call = words[start + 1 :]
            ends = [i for i, word in enumerate(call) if word in _BETWEEN]
            yield call[: min(ends, default=len(call))]


CALLS = [
    pytest.param(call, id=f"{page.name}: {' '.join(call)}"[:90])
    for page in PAGES
    for call in tracer1_calls(page.read_text(encoding="utf-8"))
    if call and not call[0].startswith("-") and "COMMAND" not in call
]


def test_the_pages_hold_commands() -> None:
    assert len(CALLS) > 40


@pytest.mark.parametrize("call", CALLS)
def test_a_command_of_a_page_is_taken(call: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    module = importlib.import_module(COMMANDS[call[0]])
    parser = argparse.ArgumentParser(prog=f"tracer1 {call[0]}")
    module.add_arguments(parser)
    try:
        args = parser.parse_args(call[1:])
    except SystemExit as error:
        assert error.code == 0, f"{' '.join(call)}: {capsys.readouterr().err}"
        return
    if call[0] == "train" and args.stage in STAGES:
        config = args.config and ROOT / args.config
        if config is None or config.is_file():  # a page may name a file that its reader writes
            load_config(STAGES[args.stage], config, ["model=runs/sft/final", *args.overrides])
    elif call[0] == "train" and args.preset:
        get_preset(args.preset, 0, args.overrides)
    assert getattr(args, "preset", None) in (None, *PRESETS)


def test_options_of_the_app_in_a_page_exist(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_settings(["--help"])
    known = set(re.findall(r"--[a-z][a-z-]*", capsys.readouterr().out))
    for page in PAGES:
        named = re.findall(r"python app\.py([^\n`|&]*)", page.read_text(encoding="utf-8"))
        assert {option for words in named for option in re.findall(r"--[a-z-]+", words)} <= known, page.name
