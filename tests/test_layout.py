"""The house keeps its shape: floors, top level, docstrings, one list of dependencies, commands as written down."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FLOORS = ("executors", "training", "workbench")  # bottom to top

# Everything the top level may hold; build and tool leftovers that git ignores are not looked at.
TOP_LEVEL = {
    ".ci", ".gitignore", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "README.md", "RESULTS.md", "app.py", "assets",
    "executors", "pyproject.toml", "requirements.txt", "tests", "training", "workbench", ".github", ".gitattributes",
    "configs", "docs", "packages.txt",
}
IGNORED = re.compile(
    r"\.git|\.venv|venv|\..*_cache|\.hypothesis|\.gradio|.*\.egg-info|__pycache__|build|dist|runs|data|outputs|htmlcov|"
    r"\.coverage|\.env|\.idea|\.vscode|\.DS_Store|.*\.(log|sqlite.*|db.*)"
)


def modules(*packages: str) -> list[Path]:
    """All Python files of these packages."""
    return sorted(path for package in packages for path in (ROOT / package).rglob("*.py"))


def relative(path: Path) -> str:
    """The path as tests name it."""
    return path.relative_to(ROOT).as_posix()


def imported(path: Path) -> set[str]:
    """Top names of all imports in a file, also those inside functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").partition(".")[0] if not node.level else "relative import")
    return names


@pytest.mark.parametrize("path", modules(*FLOORS), ids=relative)
def test_a_floor_imports_only_the_floors_below(path: Path) -> None:
    above = FLOORS[FLOORS.index(path.relative_to(ROOT).parts[0]) + 1 :]
    assert not imported(path) & {*above, "app", "tests", "relative import"}


def test_the_top_level_is_as_planned() -> None:
    found = {path.name for path in ROOT.iterdir() if not IGNORED.fullmatch(path.name)}
    assert found <= TOP_LEVEL


def test_assets_hold_no_python() -> None:
    assert [relative(path) for path in (ROOT / "assets").rglob("*.py")] == []


def test_every_package_folder_has_an_init() -> None:
    folders = {path.parent for path in modules(*FLOORS, "tests")}
    assert [relative(folder) for folder in folders if not (folder / "__init__.py").is_file()] == []


def _public_without_docstring(body: list[ast.stmt], prefix: str) -> list[str]:
    missing = []
    for node in body:
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) or node.name.startswith("_"):
            continue
        if ast.get_docstring(node) is None:
            missing.append(prefix + node.name)
        if isinstance(node, ast.ClassDef):
            missing += _public_without_docstring(node.body, f"{prefix}{node.name}.")
    return missing


@pytest.mark.parametrize("path", modules("executors", "training"), ids=relative)
def test_everything_public_has_a_docstring(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), "the module has none"
    assert _public_without_docstring(tree.body, "") == []


def _project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_requirements_repeat_the_dependencies_of_the_project() -> None:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not line.startswith("#")] == _project()["dependencies"]


def test_a_space_installs_system_packages_that_ci_knows() -> None:
    packages = (ROOT / "packages.txt").read_text(encoding="utf-8").split()
    known = re.findall(r"packages\+=\(([\w-]+)\)", (ROOT / ".ci" / "run").read_text(encoding="utf-8"))
    assert packages and set(packages) < set(known)


def test_the_space_card_names_the_gradio_that_is_required() -> None:
    import yaml

    card = yaml.safe_load((ROOT / "README.md").read_text(encoding="utf-8").split("---")[1])
    gradio = next(d for d in _project()["dependencies"] if d.startswith("gradio=="))
    assert card["sdk_version"].startswith(gradio.removeprefix("gradio==").removesuffix("*"))
    assert (card["sdk"], card["app_file"], card["license"]) == ("gradio", "app.py", "apache-2.0")
    assert card["python_version"] == "3.12"


def test_the_readmes_test_command_is_the_one_that_ci_runs() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    (line,) = re.findall(r"^python -m pip install .*\[test\].*$", readme, re.MULTILINE)
    install, test = line.split(" && ")
    assert test == "python -m pytest"
    assert re.search(rf"^{re.escape(test)} ", ci, re.MULTILINE)
    assert install.removeprefix("python -m pip install ") in ci
    assert "python -m pip install -e . && python app.py" in readme


def test_every_command_is_in_the_readme() -> None:
    from training.cli import COMMANDS

    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [name for name in COMMANDS if f"tracer1 {name} " not in readme] == []


def test_ci_run_is_executable_bash() -> None:
    path = ROOT / ".ci" / "run"
    assert path.read_text(encoding="utf-8").startswith("#!/usr/bin/env bash\n")
    assert path.stat().st_mode & 0o111
