"""Roles, passwords, the people file, and a server that demands a login."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from executors.errors import InputError, MissingFileError, OutputError
from tests.workbench.conftest import start_app
from workbench.people import People, Role, RoleError, add_person, make_person, read_people, role_named
from workbench.settings import parse_settings

PASSWORD = "correct horse"


@pytest.fixture
def people_file(tmp_path: Path) -> Path:
    path = tmp_path / "people.json"
    add_person(path, "ada:operator", PASSWORD)
    add_person(path, "vera:viewer", PASSWORD + " 2")
    return path


def test_people_come_back_from_their_file_with_roles_and_passwords(people_file: Path) -> None:
    people = read_people(people_file)
    assert {name: person.role for name, person in people.by_name.items()} == {"ada": Role.OPERATOR, "vera": Role.VIEWER}
    assert people.admits("ada", PASSWORD) and people.admits(" ada ", PASSWORD)
    assert not people.admits("ada", PASSWORD + " ") and not people.admits("vera", PASSWORD)
    assert not people.admits("nobody", PASSWORD) and not people.admits("", "")


def test_the_file_holds_no_password_and_only_its_owner_may_read_it(people_file: Path) -> None:
    assert PASSWORD not in people_file.read_text()
    assert stat.S_IMODE(people_file.stat().st_mode) == 0o600


def test_equal_passwords_have_different_hashes() -> None:
    first, second = (make_person(name, Role.VIEWER, PASSWORD) for name in ("a", "b"))
    assert first.password_hash != second.password_hash


def test_adding_someone_again_changes_role_and_password(people_file: Path) -> None:
    add_person(people_file, "vera:annotator", "a new password")
    people = read_people(people_file)
    assert people.role_of("vera") is Role.ANNOTATOR
    assert people.admits("vera", "a new password") and not people.admits("vera", PASSWORD + " 2")


@pytest.mark.parametrize(
    ("spec", "password", "words"),
    [
        ("ada", PASSWORD, "not NAME:ROLE"),
        (":operator", PASSWORD, "name '' is not allowed"),
        ("a\nb:operator", PASSWORD, "is not allowed"),
        ("ada:root", PASSWORD, "role 'root' is unknown: give one of viewer, annotator, reviewer, operator"),
        ("ada:viewer", "short", "too short: give at least 10"),
    ],
)
def test_what_cannot_be_a_person_is_refused(tmp_path: Path, spec: str, password: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        add_person(tmp_path / "people.json", spec, password)
    assert not (tmp_path / "people.json").exists()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"people": 3}', '{"people": [{}]}', '{"people": []}'])
def test_a_damaged_people_file_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "people.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"people\.json"):
        read_people(path)


def test_a_missing_or_unwritable_people_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="cannot be read"):
        read_people(tmp_path / "nowhere.json")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        add_person(tmp_path / "file" / "people.json", "ada:viewer", PASSWORD)


def test_roles_follow_one_another_and_strangers_have_none(people_file: Path) -> None:
    people = read_people(people_file)
    people.check("ada", Role.ANNOTATOR, "make forecasts")
    with pytest.raises(RoleError, match="a viewer may not make forecasts: .* role annotator"):
        people.check("vera", Role.ANNOTATOR, "make forecasts")
    with pytest.raises(RoleError, match="only people who are logged in may look"):
        people.check(None, Role.VIEWER, "look")
    People().check(None, Role.OPERATOR, "launch a run")  # nobody else can reach a loopback server
    assert role_named("Viewer") is Role.VIEWER


def test_a_server_for_other_machines_needs_people(people_file: Path) -> None:
    with pytest.raises(InputError, match="--host 0.0.0.0 lets other machines in: .*--people FILE"):
        parse_settings(["--host", "0.0.0.0"], env={})
    settings = parse_settings(["--host", "0.0.0.0", "--people", str(people_file)], env={})
    assert settings.people.must_log_in
    assert not parse_settings(["--host", "127.0.0.1"], env={}).people.must_log_in
    visitor = parse_settings([], env={"SPACE_ID": "me/demo"}).people
    assert (visitor.must_log_in, visitor.role_of(None)) == (False, Role.ANNOTATOR)


def test_the_command_adds_people_and_tells_what_is_wrong(tmp_path: Path, run_python) -> None:
    path = tmp_path / "people.json"
    done = run_python("-m", "workbench.people", str(path), "ada:operator", input=PASSWORD + "\n")
    assert (done.returncode, done.stdout) == (0, f"ada is operator in {path}\n")
    assert [entry["name"] for entry in json.loads(path.read_text())["people"]] == ["ada"]
    done = run_python("-m", "workbench.people", str(path), "eve:operator", input="short\n")
    assert (done.returncode, done.stdout) == (2, "")
    assert "too short" in done.stderr


@pytest.fixture(scope="module")
def guarded_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("guarded")
    add_person(folder / "people.json", "ada:operator", PASSWORD)
    process, url, _ = start_app("--people", str(folder / "people.json"), store=folder / "store")
    yield url
    process.terminate()
    process.wait(timeout=20)


@pytest.mark.parametrize("path", ["/config", "/gradio_api/info", "/gradio_api/queue/data?session_hash=x"])
def test_without_a_login_the_server_tells_nothing(guarded_server: str, path: str) -> None:
    assert httpx.get(guarded_server + path).status_code == 401


def test_without_a_login_nothing_can_be_uploaded_or_run(guarded_server: str) -> None:
    files = {"files": ("a.jsonl", b"{}")}
    assert httpx.post(f"{guarded_server}/gradio_api/upload", files=files).status_code == 401
    call = {"data": [], "fn_index": 0, "session_hash": "x"}
    assert httpx.post(f"{guarded_server}/gradio_api/queue/join", json=call).status_code == 401


def test_the_right_password_opens_the_page_and_a_wrong_one_does_not(guarded_server: str) -> None:
    with httpx.Client(base_url=guarded_server) as client:
        assert client.post("/login", data={"username": "ada", "password": "wrong"}).status_code == 400
        assert client.get("/config").status_code == 401
        assert client.post("/login", data={"username": "ada", "password": PASSWORD}).status_code == 200
        assert client.get("/config").status_code == 200
