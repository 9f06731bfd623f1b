"""The Annotate tab in a real browser, from an imported real sample to an export that is imported identically."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from executors.trajectory import read_trajectories
from tests.workbench.annotate.makers import way
from tests.workbench.conftest import PATIENCE_MS, start_app
from workbench.annotate.store import AnnotationStore
from workbench.people import add_person


@pytest.fixture
def server(tmp_path: Path, data_root: Path) -> Iterator[str]:
    """The address of an app over an empty store."""
    planner = f"replay:{data_root / 'oracle.jsonl'}"
    process, url, _ = start_app("--data", str(data_root), "--planner", planner, store=tmp_path / "store")
    yield url
    process.terminate()
    process.wait(timeout=60)


# The work list comes two seconds late, as it may from a busy server.
_SLOW_LOOK = """
const askNow = window.fetch;
window.fetch = async (url, options) => {
  const { body } = options ?? {};
  const asked = body instanceof FormData ? [...body.values()].join() : String(body);
  const isLook = String(url).includes("component_server") && /\\blook\\b/.test(asked);
  if (isLook) await new Promise((resolve) => setTimeout(resolve, 2000));
  return askNow(url, options);
};
"""


def zipped(folder: Path, archive: Path) -> Path:
    with zipfile.ZipFile(archive, "w") as out:
        for path in folder.rglob("*"):
            if path.is_file():
                out.write(path, path.relative_to(folder))
    return archive


class Editor:
    """The page with a trajectory open."""

    def __init__(self, page) -> None:
        self.page = page

    def saved(self) -> None:
        """Waits until nothing is on its way to the server."""
        self.page.locator("#an-saved", has_text="Saved").wait_for()

    def field(self, name: str) -> str:
        return self.page.locator(f"[data-field={name}]").input_value()

    def num_steps(self) -> int:
        return self.page.locator("#an-strip li").count()

    def wait_for_steps(self, count: int) -> None:
        self.page.wait_for_function("n => document.querySelectorAll('#an-strip li').length === n", arg=count)

    def click(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).click()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "num_kept", "sample", "num_steps"),
    [("agentnet", 1, "task_example_0", 15), ("agentnetbench", 3, "s_a96285eb665bef92", 10)],
)
def test_a_sample_is_imported_corrected_reviewed_exported_and_imported_identically(
    server: str, open_page, samples: Path, tmp_path: Path, form: str, num_kept: int, sample: str, num_steps: int
) -> None:
    page = open_page.open(server)
    page.set_default_timeout(PATIENCE_MS)
    page.get_by_role("tab", name="Annotate", exact=True).click()
    page.get_by_text("Reference trajectories of a team").wait_for()
    page.locator("[data-form=add_project] [name=name]").fill("desk")
    page.get_by_role("button", name="Make project").click()
    page.get_by_text("This project is empty").wait_for()
    page.locator("#an-import-form").select_option(form)
    page.set_input_files("#an-upload", zipped(samples / form, tmp_path / f"{form}.zip"))
    page.locator(".an-report", has_text=re.compile(rf"\b{num_kept} kept.*, 0 refused")).wait_for()
    page.locator("#an-list tr", has_text=sample).get_by_role("button", name="Annotate").click()
    editor = Editor(page)
    mark = page.locator("#an-screen g.tw-mark")
    mark.wait_for()
    assert editor.num_steps() == num_steps
    page.wait_for_function(  # the strip's pictures are small ones, the screen is the whole
        "() => [...document.querySelectorAll('#an-strip img')].slice(0, 3).every((i) => i.naturalWidth == 264 || "
        "i.naturalHeight == 144)")
    assert page.locator("#an-screen img").evaluate("image => image.naturalWidth") > 1000

    arguments = editor.field("arguments")  # a point is dragged
    page.locator("#an-screen .an-rows").scroll_into_view_if_needed()  # they lie below the screen, which is in view then
    grip = mark.locator(".tw-grip").bounding_box()
    x, y = grip["x"] + grip["width"] / 2, grip["y"] + grip["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 200, y - 150, steps=4)
    page.mouse.up()
    page.wait_for_function("before => document.querySelector('[data-field=arguments]').value !== before", arg=arguments)
    editor.saved()
    dragged = editor.field("arguments")

    page.locator("[data-field=type]").select_option("left_double")  # a type is changed, and its point stays
    page.locator("#an-strip [aria-current=true] code", has_text="left_double").wait_for()
    editor.saved()
    assert editor.field("arguments") == dragged

    editor.click("Insert after")  # a step without words is an error at once, with a link to it
    page.locator("#an-checks", has_text="no instruction").wait_for()
    assert editor.num_steps() == num_steps + 1 and page.get_by_role("button", name="Submit for review").is_disabled()
    page.locator("[data-field=instruction]").fill("wait for the window")
    page.locator("#an-checks li", has_text="no instruction").wait_for(state="detached")
    editor.saved()

    page.keyboard.press("Escape")
    page.keyboard.press("Control+z")  # the words, then the step
    page.locator("#an-checks", has_text="no instruction").wait_for()
    page.keyboard.press("Control+z")
    editor.wait_for_steps(num_steps)
    editor.saved()
    page.reload()
    page.get_by_role("tab", name="Annotate", exact=True).click()
    editor.wait_for_steps(num_steps)
    editor.click("Redo")
    editor.wait_for_steps(num_steps + 1)
    editor.click("Redo")
    page.locator("#an-checks li", has_text="no instruction").wait_for(state="detached")
    editor.saved()

    page.locator("#an-why").fill("the point, the type, a pause")
    page.keyboard.press("Control+Enter")
    page.get_by_text("Revision 2 waits for review.").wait_for()
    page.get_by_role("button", name="Next review").click()
    page.locator("#an-head", has_text="Reviewing revision 2").wait_for()
    editor.click("History")
    page.locator(".an-history", has_text="the point, the type, a pause").wait_for()
    editor.click("Show the difference")
    page.locator("#an-difference", has_text="Revision 1 compared with revision 2").wait_for()
    page.locator("#an-difference", has_text="step 2 added: wait for the window").wait_for()
    editor.click("Accept")
    page.get_by_text("Accepted.").wait_for()

    with page.expect_download() as download:
        page.get_by_role("button", name="Export", exact=True).click()
    archive = tmp_path / "out.zip"
    download.value.save_as(archive)
    page.locator("[data-form=add_project]").evaluate("form => form.closest('details').open = true")
    page.locator("[data-form=add_project] [name=name]").fill("back")
    page.get_by_role("button", name="Make project").click()
    page.get_by_text("This project is empty").wait_for()
    page.locator("#an-import-form").select_option("trajectories")
    page.set_input_files("#an-upload", archive)
    page.locator(".an-report", has_text="1 kept, 0 refused").wait_for()
    page.locator("#an-export-state").select_option("")
    with page.expect_download() as download:
        page.get_by_role("button", name="Export", exact=True).click()
    download.value.save_as(tmp_path / "again.zip")
    for name in ("out", "again"):
        zipfile.ZipFile(tmp_path / f"{name}.zip").extractall(tmp_path / name)
    files = [next((tmp_path / name).glob("*.jsonl")) for name in ("out", "again")]
    (first,), (second,) = (list(read_trajectories(file)) for file in files)
    pixels = [[step.observation.load_image().tobytes() for step in one.steps] for one in (first, second)]
    assert pixels[0] == pixels[1]
    lines = [file.read_text().replace("back_images", "desk_images") for file in files]
    assert lines[0] == lines[1]
    assert first.steps[0].action.type == "left_double" and first.steps[1].instruction == "wait for the window"
    assert len(first.steps) == num_steps + 1 and first.id == sample


@pytest.mark.slow
def test_everything_by_keyboard_two_windows_a_stale_save_and_on_to_training(
    server: str, open_page, data_root: Path
) -> None:
    page = open_page.open(server)
    page.set_default_timeout(PATIENCE_MS)
    page.on("dialog", lambda dialog: dialog.accept("tried out"))
    page.get_by_role("tab", name="Annotate", exact=True).click()
    page.locator("[data-form=add_project] [name=name]").fill("phones")
    page.get_by_role("button", name="Make project").click()
    page.get_by_text("This project is empty").wait_for()
    page.locator("#an-path").fill("oracle.jsonl")
    page.get_by_role("button", name="Import", exact=True).click()
    page.locator(".an-report", has_text="3 kept, 0 refused").wait_for()
    page.get_by_role("button", name="Next task").click()
    page.locator("#an-screen g.tw-mark").wait_for()
    editor = Editor(page)

    page.keyboard.press("ArrowRight")  # steps, marks, points and boxes without a pointer
    page.locator("#an-fields h2", has_text="Step 2").wait_for()
    page.keyboard.press("1")
    page.locator("#an-strip [title='marked correct']").wait_for()
    before = editor.field("arguments")
    page.keyboard.press("m")
    page.keyboard.press("Shift+ArrowRight")
    page.wait_for_function("before => document.querySelector('[data-field=arguments]').value !== before", arg=before)
    editor.saved()
    page.keyboard.press("a")
    page.keyboard.type("nonsense(")
    page.locator(".an-field-error", has_text="expected , or )").wait_for()
    page.locator("#an-saved", has_text="Not saved").wait_for()
    page.locator("[data-field=arguments]").fill("point=[0.25, 0.5]")
    editor.saved()
    page.locator("[data-field=target]").fill("0.2, 0.4, 0.4, 0.6")
    page.locator(".tw-box.an-target").wait_for()
    page.keyboard.press("Escape")
    page.keyboard.press("f")  # the planner's forecast, beside the step
    page.locator("[data-act=accept_forecast]").first.click()
    page.wait_for_function("document.querySelector('[data-field=arguments]').value !== 'point=[0.25, 0.5]'")
    page.keyboard.press("x")  # a private box, drawn
    frame = page.locator("#an-screen .tw-frame")
    frame.scroll_into_view_if_needed()
    box = frame.bounding_box()
    page.mouse.move(box["x"] + 30, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 130, box["y"] + 120, steps=3)
    page.mouse.up()
    page.locator(".an-private-list li").wait_for()
    editor.saved()

    page.keyboard.press("Escape")  # a key is changed, and stays changed
    page.keyboard.press("?")
    page.locator("[data-rebind=duplicate]").click()
    page.keyboard.press("k")
    page.get_by_role("button", name="Close", exact=True).click()
    page.keyboard.press("k")
    page.wait_for_function("document.querySelectorAll('#an-strip li').length === 4")
    page.keyboard.press("Control+z")
    page.wait_for_function("document.querySelectorAll('#an-strip li').length === 3")
    editor.saved()

    other = open_page.open(server)  # a second window of the same person
    other.set_default_timeout(PATIENCE_MS)
    other.add_init_script(_SLOW_LOOK)
    other.reload()
    other.get_by_role("tab", name="Annotate", exact=True).click()
    other.get_by_role("button", name="Next task").click()  # before the page knows which project it shows
    other.locator("#an-screen g.tw-mark").wait_for()
    other.locator("[data-field=thought]").fill("from the other window")
    Editor(other).saved()
    page.locator("[data-field=goal]").fill("Turn the alarm on, from the first window")
    page.get_by_text("both changes are in it now").wait_for()
    page.keyboard.press("Escape")
    page.locator("#an-strip li").first.click()
    page.wait_for_function("document.querySelector('[data-field=thought]').value === 'from the other window'")

    other.reload()  # a revision that came in between: three versions, joined
    other.get_by_role("tab", name="Annotate", exact=True).click()
    other.on("dialog", lambda dialog: dialog.accept("as it was imported"))
    other.get_by_role("button", name="History", exact=True).click()
    other.locator(".an-history").get_by_role("button", name="Look").click()
    other.locator("#an-head", has_text="Looking at revision 1").wait_for()
    other.get_by_role("button", name="History", exact=True).click()
    other.locator(".an-history").wait_for()
    page.locator("#an-why").fill("tried out")
    page.get_by_role("button", name="Submit for review").click()
    page.get_by_text("Revision 2 waits for review.").wait_for()
    page.get_by_role("button", name="Next review").click()
    page.get_by_role("button", name="Mend it myself").click()
    page.locator("#an-head", has_text="Mending as reviewer").wait_for()
    page.locator("[data-field=goal]").fill("Turn the alarm on")
    editor.saved()
    other.get_by_role("button", name="History", exact=True).click()
    other.locator(".an-history").wait_for(state="detached")
    other.get_by_role("button", name="History", exact=True).click()
    other.locator("[data-act=restore][data-number='1']").click()
    other.get_by_text("Restored as revision 3.").wait_for()
    page.locator("#an-why").fill("goal")
    page.get_by_role("button", name="Accept with these changes").click()
    page.get_by_text("while you worked").wait_for()
    for choice in page.locator("[data-conflict][value=mine]").all():
        choice.check()
    page.get_by_role("button", name="Join and go on").click()
    page.get_by_text("The versions are joined").wait_for()
    page.locator("#an-why").fill("goal")
    page.get_by_role("button", name="Accept with these changes").click()
    page.get_by_text("as revision 4.").wait_for()

    page.get_by_role("tab", name="Progress").click()
    page.locator("#an-progress", has_text="Type kappa").or_(page.get_by_text("annotated twice yet")).first.wait_for()
    page.get_by_role("tab", name="Dataset revisions").click()
    page.locator("[data-form=name_revision] [name=name]").fill("first")
    page.locator("[data-form=name_revision] [name=why]").fill("to train on")
    page.get_by_role("button", name="Name it").click()
    page.get_by_text("Dataset revision first names 1 trajectories.").wait_for()
    page.get_by_role("button", name="Train on this").click()
    page.locator("[name='data.path']").wait_for(state="attached")
    assert page.locator("[name='data.path']").input_value().endswith("first.jsonl")


@pytest.fixture
def team_server(tmp_path: Path, data_root: Path) -> Iterator[str]:
    """The address of an app that two people log in to, over a store with one trajectory."""
    store = AnnotationStore(tmp_path / "store")
    store.add(store.add_project("desk"), way(), why="made")
    people = tmp_path / "people.json"
    for name in ("ann", "bob"):
        add_person(people, f"{name}:reviewer", "long enough")
    planner = f"replay:{data_root / 'oracle.jsonl'}"
    process, url, _ = start_app("--data", str(data_root), "--planner", planner, "--people", str(people),
                                store=tmp_path / "store")
    yield url
    process.terminate()
    process.wait(timeout=60)


@pytest.mark.slow
def test_two_people_at_one_browser_keep_their_own_keys(team_server: str, open_page) -> None:
    page = open_page.open("about:blank")
    page.set_default_timeout(PATIENCE_MS)

    def key_of_duplicate(person: str, new: str = "") -> str:
        """The person's key, after they have opened the editor in this browser and changed it to a new one."""
        page.request.post(f"{team_server}/login", form={"username": person, "password": "long enough"})
        page.goto(team_server)
        page.get_by_role("tab", name="Annotate", exact=True).click()
        page.locator("#an-list [data-act=open][data-mode=look]").click()
        page.locator("#an-screen g.tw-mark").wait_for()
        page.keyboard.press("?")
        button = page.locator("[data-rebind=duplicate]")
        if new:
            button.click()
            page.keyboard.press(new)
        shown = button.inner_text()
        page.get_by_role("button", name="Close", exact=True).click()
        page.keyboard.press("l")
        page.locator("#an-list [data-act=open][data-mode=look]").wait_for()
        return shown

    assert key_of_duplicate("ann", "k") == "k"
    assert key_of_duplicate("bob") == "d"
    assert key_of_duplicate("bob", "q") == "q"
    assert key_of_duplicate("ann") == "k"
