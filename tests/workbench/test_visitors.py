"""A hosted demo's visitors and their sandboxes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from executors.errors import OutputError
from tests.workbench.conftest import oracle_trajectories
from workbench import visitors
from workbench.compare_shelf import EvaluationShelf
from workbench.visitors import COOKIE, PROJECT, Sandboxes, VisitorMiddleware, visitor_of

ANN, BEN = "a" * 32, "b" * 32


@pytest.fixture
def client() -> TestClient:
    app = Starlette(
        routes=[Route("/", lambda request: PlainTextResponse(visitor_of(request)))],
        middleware=[Middleware(VisitorMiddleware)],
    )
    return TestClient(app)


def make(tmp_path: Path, **options) -> Sandboxes:
    return Sandboxes(
        tmp_path / "visitors", lambda: oracle_trajectories(0, 1), lambda: None, uploads=tmp_path / "uploads",
        evaluations=EvaluationShelf(tmp_path), **options,
    )


def look(sandboxes: Sandboxes, visitor: str) -> dict:
    return sandboxes.views(visitor)[0].look({}, "")


def goals(sandboxes: Sandboxes, visitor: str) -> list[str]:
    desk = sandboxes.views(visitor)[0].desk
    (project,) = desk.projects("")
    return [row.goal for row in desk.search("", project.id).rows]


def test_a_browser_gets_one_cookie_and_keeps_it(client: TestClient) -> None:
    first = client.get("/")
    assert first.text == ""  # the request had none yet
    assert "HttpOnly" in first.headers["set-cookie"] and "SameSite=Lax" in first.headers["set-cookie"]
    second = client.get("/")
    assert len(second.text) == 32 and "set-cookie" not in second.headers


def test_behind_https_the_cookie_also_works_in_another_sites_frame(client: TestClient) -> None:
    cookie = client.get("/", headers={"x-forwarded-proto": "https"}).headers["set-cookie"]
    assert "SameSite=None; Secure; Partitioned" in cookie


@pytest.mark.parametrize("value", ["", "../../etc", "A" * 32, "a" * 31, "a" * 33])
def test_a_cookie_that_is_not_ours_is_no_visitor(value: str) -> None:
    assert visitor_of(SimpleNamespace(cookies={COOKIE: value})) == ""


def test_what_one_visitor_does_another_does_not_see(tmp_path: Path) -> None:
    sandboxes = make(tmp_path)
    assert PROJECT in look(sandboxes, ANN)["parts"]["projects"]["html"]
    assert len(goals(sandboxes, ANN)) == 2
    lists, _ = sandboxes.views(ANN)
    lists.act({"act": "add_project", "name": "mine alone"}, "")
    assert "mine alone" in look(sandboxes, ANN)["parts"]["projects"]["html"]
    assert "mine alone" not in look(sandboxes, BEN)["parts"]["projects"]["html"]
    assert lists.desk.store.root != sandboxes.views(BEN)[0].desk.store.root


def test_a_visitor_may_annotate_and_accept(tmp_path: Path) -> None:
    lists, work = make(tmp_path).views(ANN)
    project = look_project(lists)
    lease = lists.act({"act": "next", "project": project, "kind": "annotate"}, "")
    opened = work.open({"trajectory": lease["trajectory"], "mode": "annotate", "seen": {}}, "")
    assert "error" not in opened


def look_project(lists) -> str:
    return lists.look({}, "")["project"]


def test_who_has_no_cookie_is_told(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cookies"):
        make(tmp_path).views("")


def test_a_full_demo_refuses_until_a_sandbox_has_rested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visitors, "MAX_SANDBOXES", 1)
    now = [0.0]
    sandboxes = make(tmp_path, clock=lambda: now[0])
    root = sandboxes.views(ANN)[0].desk.store.root
    with pytest.raises(OutputError, match="too many"):
        sandboxes.views(BEN)
    now[0] = visitors.REST_SECONDS + 1
    sandboxes.views(BEN)
    assert not root.exists()


def test_a_new_server_deletes_what_an_earlier_one_left(tmp_path: Path) -> None:
    left = make(tmp_path).views(ANN)[0].desk.store.root
    assert left.is_dir()
    make(tmp_path)
    assert not left.exists()
