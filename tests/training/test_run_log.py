"""The log of a run rotates at the ends of lines and tells nothing twice."""

import subprocess
import sys

import pytest

from training.run_log import RotatingLog, logged


def test_the_log_rotates_and_keeps_three(tmp_path):
    log = RotatingLog(tmp_path / "log.txt", max_bytes=20)
    for number in range(12):
        log.write(f"line number {number:02}")
        log.write("\n")
    log.close()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["log.1.txt", "log.2.txt", "log.3.txt", "log.txt"]
    kept = "".join((tmp_path / name).read_text() for name in ("log.3.txt", "log.2.txt", "log.1.txt", "log.txt"))
    assert kept.splitlines() == [f"line number {number:02}" for number in range(6, 12)]


def test_a_log_that_is_opened_again_goes_on(tmp_path):
    for text in ("one\n", "two\n"):
        log = RotatingLog(tmp_path / "log.txt", max_bytes=100)
        log.write(text)
        log.close()
    assert (tmp_path / "log.txt").read_text() == "one\ntwo\n"


def test_an_error_leaves_its_traceback(tmp_path, capsys):
    with pytest.raises(ZeroDivisionError), logged(tmp_path / "log.txt", tmp_path / "none"):
        print("a line")
        1 / 0  # noqa: B018
    text = (tmp_path / "log.txt").read_text()
    assert text.startswith("a line\n") and "ZeroDivisionError" in text
    assert capsys.readouterr().out == "a line\n"


def test_output_that_goes_to_the_launchers_file_is_only_logged(tmp_path):
    code = (
        "import sys; from pathlib import Path; from training.run_log import logged; print('before')\n"
        "with logged(Path(sys.argv[1]), Path(sys.argv[2])): print('inside')\nprint('after')"
    )
    with (tmp_path / "output.txt").open("w") as out:
        command = [sys.executable, "-c", code, str(tmp_path / "log.txt"), str(tmp_path / "output.txt")]
        subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, check=True)
    assert (tmp_path / "output.txt").read_text() == "before\nafter\n"
    assert (tmp_path / "log.txt").read_text() == "inside\n"
