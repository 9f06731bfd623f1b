"""Command line, Space environment and port of the app."""

from __future__ import annotations

import socket
import tempfile
from pathlib import Path

import pytest

from executors.errors import CheckpointError, InputError, MissingFileError, OutputError
from tests.workbench.conftest import free_port
from workbench.settings import DEFAULT_RUNS, check_port, parse_settings


def test_defaults_are_loopback_and_the_shipped_planner() -> None:
    settings = parse_settings([], env={})
    assert (settings.host, settings.port, settings.is_space) == ("127.0.0.1", 7860, False)
    assert settings.url == "http://localhost:7860"
    assert settings.planner.endswith("assets/tiny_planner")


def test_a_space_is_bound_to_all_interfaces_and_knows_its_name() -> None:
    settings = parse_settings([], env={"SPACE_ID": "me/demo", "SPACE_HOST": "me-demo.hf.space"})
    assert (settings.host, settings.is_space) == ("0.0.0.0", True)
    assert settings.rules.admits("me-demo.hf.space")
    assert settings.rules.may_be_framed
    assert not settings.rules.admits("evil.example")


def test_a_space_answers_to_its_own_domain_too_and_knows_its_name_without_being_told() -> None:
    settings = parse_settings([], env={"SPACE_ID": "me/demo", "SPACE_HOST": "me-demo.hf.space, demo.example.org"})
    assert settings.rules.admits("me-demo.hf.space") and settings.rules.admits("demo.example.org")
    settings = parse_settings([], env={"SPACE_ID": "Me/my_Demo.2"})
    assert settings.is_space and settings.rules.admits("me-my-demo-2.hf.space")
    assert not parse_settings([], env={"SPACE_ID": "", "SPACE_HOST": "me-demo.hf.space"}).is_space


def test_a_space_that_cannot_write_to_its_folder_takes_the_temporary_one(monkeypatch: pytest.MonkeyPatch) -> None:
    space = {"SPACE_ID": "me/demo"}
    assert parse_settings([], env=space).runs_root == DEFAULT_RUNS
    monkeypatch.setattr("os.access", lambda path, mode: False)  # a read-only mount, which root alone could make
    settings = parse_settings([], env=space)
    assert settings.runs_root.is_relative_to(tempfile.gettempdir())
    assert settings.store_root.is_relative_to(tempfile.gettempdir())
    assert parse_settings([], env={}).runs_root == DEFAULT_RUNS


def test_real_devices_are_off_unless_asked_for_and_refused_in_a_space() -> None:
    assert not parse_settings([], env={}).allows_real_devices
    assert parse_settings(["--allow-real-devices"], env={}).allows_real_devices
    with pytest.raises(InputError, match="--allow-real-devices is refused on a Hugging Face Space"):
        parse_settings(["--allow-real-devices"], env={"SPACE_ID": "me/demo"})


@pytest.mark.parametrize("port", ["0", "65536", "-1", "x", "7860.0", ""])
def test_a_port_that_is_none_is_a_usage_error(port: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as ended:
        parse_settings([f"--port={port}"], env={})
    assert ended.value.code == 2
    assert "give a whole number 1..65535" in capsys.readouterr().err


def test_a_data_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="--data .*nowhere"):
        parse_settings(["--data", str(tmp_path / "nowhere")], env={})


def test_a_planner_that_was_named_is_looked_at_before_the_app_opens(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="holds no weights"):
        parse_settings(["--planner", str(tmp_path)], env={})
    with pytest.raises(MissingFileError, match="nowhere"):
        parse_settings(["--planner", str(tmp_path / "nowhere")], env={})
    with pytest.raises(InputError, match="planner is empty"):
        parse_settings(["--planner", ""], env={})


def test_a_free_port_passes_and_a_busy_one_is_named_with_the_next_step() -> None:
    port = free_port()
    check_port("127.0.0.1", port)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        with pytest.raises(OutputError, match=rf"port {port} .* already in use: .*--port {port + 1}"):
            check_port("127.0.0.1", port)


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(OutputError, match="choose an address of this machine"):
        check_port("192.0.2.1", free_port())


def test_the_app_on_a_busy_port_says_so_in_one_sentence_and_exits_with_2(run_python) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run_python("app.py", "--port", str(port))
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.strip().splitlines() == [
        f"app.py: port {port} on 127.0.0.1 is already in use: stop the program that uses it or choose another with "
        f"--port, for example --port {port + 1}"
    ]


def test_the_address_of_alerts_comes_from_the_environment_and_is_not_shown() -> None:
    settings = parse_settings([], env={"TRACER1_WEBHOOK": "https://example.org/secret"})
    assert settings.webhook_url == "https://example.org/secret" and "secret" not in repr(settings)
    assert parse_settings([], env={}).webhook_url == ""


def test_an_address_of_alerts_that_is_none_is_named_before_the_app_opens(tmp_path: Path) -> None:
    from workbench.ui import open_runs

    settings = parse_settings(["--runs", str(tmp_path)], env={"TRACER1_WEBHOOK": "example.org"})
    with pytest.raises(InputError, match="example.org.*https://"):
        open_runs(settings)
