"""The screen component in a real browser: layers, links between marks and rows, moving marks, labels, updates."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator

import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from executors.actions import Action
from executors.geometry import PointNorm
from tests.workbench.screen_page import Pages, screen_html, screen_page
from workbench.screen import Kind, Mark, Outcome, Place, png_data_uri
from workbench.theme import read_script

WHITE = PIL.Image.new("RGB", (800, 400), "white")
PHONE = PIL.Image.new("RGB", (1080, 2400), "white")


def mark(
    number: int, x: float | None = None, y: float = 0.5, *, kind: Kind = Kind.FORECAST, place: Place | None = None,
    type: str = "click", words: str = "", is_editable: bool = True, lookahead: int = 0,
    outcome: Outcome = Outcome.UNKNOWN, **arguments: object,
) -> Mark:  # fmt: skip
    action = Action(type=type, point=None if x is None else PointNorm(x, y), **arguments)
    where = place or (Place.LATER if x is None else Place.HERE)
    return Mark(number=number, kind=kind, action=action, instruction=words or f"tap number {number}", place=where,
                is_editable=is_editable, lookahead=lookahead, outcome=outcome)


MARKS = (
    mark(1, 0.25), mark(2, 0.75, place=Place.VISIBLE), mark(3),
    mark(4, type="drag", place=Place.PLACED, start_point=PointNorm(0.4, 0.8), end_point=PointNorm(0.6, 0.8)),
    mark(7, 0.5, 0.2, kind=Kind.EXECUTED, is_editable=False), mark(7, 0.5, 0.25, kind=Kind.RECORDED, is_editable=False),
    mark(6, 0.9, 0.2, kind=Kind.EXECUTED, place=Place.VISIBLE, is_editable=False),
    mark(7, 0.1, 0.2, kind=Kind.EARLIER, place=Place.VISIBLE, lookahead=2, is_editable=False),
)  # fmt: skip


@pytest.fixture
def pages(browser) -> Iterator[Pages]:
    opened = Pages(browser)
    yield opened
    opened.close()


@pytest.fixture
def page(pages: Pages):
    return pages.open(screen_page(MARKS, WHITE))


def pin(page, key: str, part: str = "point"):
    return page.locator(f'.tw-mark[data-mark="{key}"] .tw-pin[data-part="{part}"] .tw-grip')


def drawn(page) -> set[str]:
    shown = page.locator(".tw-mark:visible, .tw-chip:visible")
    return {item.get_attribute("data-mark") for item in shown.all()}


def centre(page, key: str, part: str = "point") -> tuple[float, float]:
    """Where the mark lies, in shares of the image."""
    frame, grip = page.locator(".tw-frame img").bounding_box(), pin(page, key, part).bounding_box()
    return (
        (grip["x"] + grip["width"] / 2 - frame["x"]) / frame["width"],
        (grip["y"] + grip["height"] / 2 - frame["y"]) / frame["height"],
    )


def moves(page) -> list[dict]:
    return [data for name, data in page.evaluate("window.events") if name == "input" and data["what"] == "move"]


def drag(page, start: tuple[float, float], by: tuple[float, float]) -> None:
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(start[0] + by[0] / 2, start[1] + by[1] / 2)
    page.mouse.move(start[0] + by[0], start[1] + by[1])
    page.mouse.up()


def middle(locator) -> tuple[float, float]:
    box = locator.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def update(page, html: str) -> None:
    page.evaluate("html => { document.getElementById('screen').innerHTML = html; }", html)


# ---- what is drawn


@pytest.mark.parametrize("layer, keys", [
    ("forecast", {"forecast-1", "forecast-2", "forecast-3", "forecast-4"}), ("now", {"executed-7"}),
    ("past", {"executed-6"}), ("reference", {"recorded-7"}), ("earlier", {"earlier-7-2"}),
])  # fmt: skip
def test_a_layer_is_switched_off_and_on_again(page, layer: str, keys: set[str]) -> None:
    everything = drawn(page)
    switch = page.locator(f'.tw-switch:has([data-layer-switch="{layer}"])')
    switch.click()
    assert everything - drawn(page) == keys
    row = page.locator(f'#rows [data-mark="{min(keys)}"] .tw-where')
    assert "not drawn" in row.evaluate("row => getComputedStyle(row, '::after').content")
    switch.click()
    assert drawn(page) == everything


def test_the_horizon_hides_the_steps_beyond_it(page) -> None:
    horizon = page.locator("[data-horizon]")
    horizon.fill("2")
    assert {key for key in drawn(page) if key.startswith("forecast")} == {"forecast-1", "forecast-2"}
    assert page.locator(".tw-horizon output").inner_text() == "2 of 4"
    horizon.fill("4")
    assert "forecast-4" in drawn(page)


def test_text_only_shows_every_step_in_words_and_no_image(page) -> None:
    page.locator(".tw-switch:has([data-text-only])").click()
    assert not page.locator(".tw-frame").is_visible()
    assert page.locator(".tw-words .tw-row:visible").count() == len(MARKS)
    assert page.locator(".tw-words .tw-alt").inner_text() == "a screen"


def test_the_choice_is_kept_over_updates_and_reloads_and_by_a_second_screen(page) -> None:
    page.locator('.tw-switch:has([data-layer-switch="forecast"])').click()
    update(page, screen_html((*MARKS, mark(5, 0.6, 0.6)), WHITE))
    assert not any(key.startswith("forecast") for key in drawn(page))
    assert not page.locator('[data-layer-switch="forecast"]').is_checked()
    page.reload()
    assert not any(key.startswith("forecast") for key in drawn(page))
    page.evaluate("localStorage.setItem('tracer1.screen', '[broken')")
    page.reload()
    assert "forecast-1" in drawn(page)
    page.evaluate("""localStorage.setItem('tracer1.screen', '{"hidden": 5, "horizon": "x", "isTextOnly": "no"}')""")
    page.reload()
    assert "forecast-1" in drawn(page)


def test_the_switches_work_by_keyboard(page) -> None:
    page.locator('[data-layer-switch="now"]').focus()
    page.keyboard.press("Space")
    assert "executed-7" not in drawn(page)


# ---- the frame


@pytest.mark.parametrize("width", [1920, 1280, 820, 400])
@pytest.mark.parametrize("image", [WHITE, PHONE, PIL.Image.new("RGB", (48, 32)), PIL.Image.new("RGB", (3840, 2160)),
                                   PIL.Image.new("RGB", (1, 1))], ids=["desktop", "phone", "small", "large", "dot"])
def test_marks_lie_on_their_points_and_look_equally_large_at_every_size(pages, image, width: int) -> None:
    page = pages.open(screen_page(MARKS, image), width=width)
    frame = page.locator(".tw-frame img").bounding_box()
    assert frame["width"] / frame["height"] == pytest.approx(image.width / image.height, rel=0.02)
    for key, x in (("forecast-1", 0.25), ("forecast-2", 0.75)):
        found = centre(page, key)
        assert math.hypot((found[0] - x) * frame["width"], (found[1] - 0.5) * frame["height"]) < 0.6
        assert pin(page, key).bounding_box()["width"] == pytest.approx(28, abs=0.5)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_window_that_changes_its_size_keeps_the_marks_in_place(page) -> None:
    for width in (700, 1100):
        page.set_viewport_size({"width": width, "height": 700})
        page.wait_for_function(f"innerWidth === {width}")
        page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        assert centre(page, "forecast-1") == pytest.approx((0.25, 0.5), abs=0.002)
        assert pin(page, "forecast-1").bounding_box()["width"] == pytest.approx(28, abs=0.5)


@pytest.mark.parametrize("size", [(1280, 6000), (4000, 60)])
def test_a_very_long_or_flat_screen_is_scrolled_and_not_shrunk_to_nothing(pages, size: tuple[int, int]) -> None:
    page = pages.open(screen_page(MARKS, PIL.Image.new("RGB", size)))
    frame = page.locator(".tw-frame").bounding_box()
    assert min(frame["width"], frame["height"]) >= 150
    assert centre(page, "forecast-1") == pytest.approx((0.25, 0.5), abs=0.01)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_every_target_takes_clicks_over_24_css_pixels(page) -> None:
    for key in ("forecast-1", "forecast-2", "executed-6", "earlier-7-2"):
        x, y = middle(pin(page, key))
        for dx, dy in ((-11.5, 0), (11.5, 0), (0, -11.5), (0, 11.5), (8, 8)):
            hit = page.evaluate("([x, y]) => document.elementFromPoint(x, y).closest('[data-mark]')?.dataset.mark",
                                [x + dx, y + dy])
            assert hit == key
    controls = page.locator(".tw-switch, [data-horizon], .tw-nudge button, .tw-pill, .tw-chip, .tw-row:visible")
    assert controls.count() > 15
    for control in controls.all():
        box = control.bounding_box()
        assert min(box["width"], box["height"]) >= 23.9


def test_the_image_stays_the_untouched_screenshot(pages) -> None:
    image = PIL.Image.effect_noise((320, 200), 80).convert("RGB")
    page = pages.open(screen_page(MARKS, image))
    pin(page, "forecast-1").click()
    shown = page.locator(".tw-frame img").get_attribute("src")
    assert shown == png_data_uri(image)
    pixels = page.evaluate("""() => {
        const image = document.querySelector(".tw-frame img");
        const canvas = Object.assign(document.createElement("canvas"), { width: 320, height: 200 });
        const context = canvas.getContext("2d");
        context.drawImage(image, 0, 0);
        const data = context.getImageData(0, 0, 320, 200).data;
        return Array.from(data.filter((_, i) => i % 4 !== 3));
    }""")
    assert hashlib.sha256(bytes(pixels)).digest() == hashlib.sha256(image.tobytes()).digest()


# ---- marks and rows


def active(page) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for where, selector in (("screen", "#screen .tw-mark, #screen .tw-chip"), ("rows", "#rows .tw-row")):
        for item in page.locator(selector).all():
            if "tw-active" in item.get_attribute("class").split():
                found.setdefault(where, []).append(item.get_attribute("data-mark"))
    return found


@pytest.mark.parametrize("key", ["forecast-1", "forecast-4", "recorded-7", "earlier-7-2"])
def test_pointing_at_a_mark_lights_its_row_and_the_other_way_round(page, key: str) -> None:
    part = "start" if key == "forecast-4" else "point"
    both = {"screen": [key], "rows": [key]}
    page.mouse.move(*middle(pin(page, key, part)))
    assert active(page) == both
    assert page.locator(".tw-caption-text").inner_text().startswith("step ")
    page.mouse.move(0, 0)
    assert active(page) == {}
    page.locator(f'#rows [data-mark="{key}"]').hover()
    assert active(page) == both


def test_focus_and_the_tray_are_linked_too(page) -> None:
    page.locator('#screen .tw-chip[data-mark="forecast-3"]').hover()
    assert active(page) == {"screen": ["forecast-3"], "rows": ["forecast-3"]}
    page.mouse.move(0, 0)
    page.locator("#rows .tw-row").first.focus()
    page.keyboard.press("Tab")
    assert active(page)["screen"] == ["forecast-2"]


def test_a_click_or_enter_selects_until_the_next_one_or_escape(page) -> None:
    pin(page, "forecast-2").click()
    page.mouse.move(0, 0)
    assert active(page) == {"screen": ["forecast-2"], "rows": ["forecast-2"]}
    assert page.locator("#rows [aria-current=true]").get_attribute("data-mark") == "forecast-2"
    page.locator('#rows [data-mark="forecast-1"]').focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    page.locator('#rows [data-mark="executed-7"]').click()
    page.locator(".tw-frame").click(position={"x": 5, "y": 5})
    told = [data["mark"] for _, data in page.evaluate("window.events")]
    assert told == ["forecast-2", "forecast-1", "", "executed-7", ""]


def test_the_selection_and_the_light_outlive_an_update(page) -> None:
    pin(page, "forecast-2").click()
    page.mouse.move(0, 0)
    update(page, screen_html(MARKS[1:], WHITE))
    page.evaluate("html => { document.getElementById('rows').innerHTML += ''; }")
    assert active(page) == {"screen": ["forecast-2"], "rows": ["forecast-2"]}


def test_the_server_moves_the_selection_only_when_it_names_another_step(page) -> None:
    update(page, screen_html(MARKS, WHITE, selected="forecast-2"))
    assert active(page)["screen"] == ["forecast-2"]
    page.keyboard.press("Escape")
    page.locator("body").press("Escape")
    pin(page, "forecast-1").click()
    update(page, screen_html(MARKS, WHITE, selected="forecast-2"))
    page.mouse.move(0, 0)
    assert active(page)["screen"] == ["forecast-1"]
    update(page, screen_html(MARKS, WHITE, selected="forecast-4"))
    assert active(page)["screen"] == ["forecast-4"]


@pytest.mark.parametrize("theme", ["", "dark"])
def test_text_of_a_model_stays_text_in_the_browser(pages, theme: str) -> None:
    attack = '<img src="x" onerror="window.hacked = 1"><script>window.hacked = 1</script>'
    marks = (mark(1, 0.5, words=attack), mark(2, 0.2, type="type", content=attack), mark(3, words=attack))
    page = pages.open(screen_page(marks, WHITE, note=attack, theme=theme))
    page.locator("#rows .tw-row").first.hover()
    pin(page, "forecast-1").click()
    assert page.evaluate("window.hacked") is None
    assert page.locator("img").count() == 1
    assert "onerror" in page.locator(".tw-caption-text").inner_text()


def test_nothing_moves_by_itself_where_motion_is_not_wanted(pages) -> None:
    page = pages.open(screen_page(MARKS, WHITE), reduced_motion="reduce")
    page.locator('.tw-switch:has([data-layer-switch="now"])').click()
    pin(page, "forecast-1").click()
    assert page.evaluate("document.getAnimations().length") == 0


# ---- moving marks


@pytest.mark.parametrize("key, part", [("forecast-1", "point"), ("forecast-4", "start"), ("forecast-4", "end")])
def test_a_dragged_mark_follows_and_is_told_once(page, key: str, part: str) -> None:
    frame = page.locator(".tw-frame").bounding_box()
    x, y = centre(page, key, part)
    drag(page, middle(pin(page, key, part)), (frame["width"] * 0.1, -frame["height"] * 0.2))
    assert centre(page, key, part) == pytest.approx((x + 0.1, y - 0.2), abs=0.003)
    (told,) = moves(page)
    assert (told["mark"], told["part"]) == (key, part)
    assert (told["x"], told["y"]) == pytest.approx((x + 0.1, y - 0.2), abs=0.003)


def test_a_mark_cannot_leave_the_image(page) -> None:
    drag(page, middle(pin(page, "forecast-1")), (-5000, 5000))
    assert (moves(page)[0]["x"], moves(page)[0]["y"]) == (0, 1)


def test_a_mark_that_is_not_editable_stays(page) -> None:
    drag(page, middle(pin(page, "executed-6")), (60, 60))
    page.locator('#rows [data-mark="executed-6"]').click()
    page.keyboard.press("ArrowLeft")
    page.wait_for_timeout(400)
    assert moves(page) == []
    assert centre(page, "executed-6") == pytest.approx((0.9, 0.2), abs=0.002)


def test_escape_gives_a_drag_up(page) -> None:
    page.mouse.move(*middle(pin(page, "forecast-1")))
    page.mouse.down()
    page.mouse.move(500, 300)
    page.locator("#rows .tw-row").first.press("Escape")
    page.mouse.up()
    assert moves(page) == []
    assert centre(page, "forecast-1") == pytest.approx((0.25, 0.5), abs=0.002)


@pytest.mark.parametrize("keys, dx, dy", [(["ArrowRight"], 1, 0), (["ArrowUp"], 0, -1), (["Shift+ArrowLeft"], -10, 0),
                                          (["ArrowDown"] * 3 + ["Shift+ArrowDown"], 0, 13)])  # fmt: skip
def test_arrow_keys_move_the_selected_mark_by_image_pixels(page, keys: list[str], dx: int, dy: int) -> None:
    page.locator('#rows [data-mark="forecast-1"]').click()
    for key in keys:
        page.keyboard.press(key)
    page.wait_for_function("window.events.some(([, data]) => data.what === 'move')")
    (told,) = moves(page)
    assert (told["x"] * 800, told["y"] * 400) == pytest.approx((200 + dx, 200 + dy))
    assert page.locator(".tw-spoken").inner_text() == f"{200 + dx}, {200 + dy} px"


def test_arrow_keys_are_left_to_the_page_where_no_mark_is_in_hand(page) -> None:
    page.evaluate("window.taken = []; addEventListener('keydown', e => window.taken.push(e.defaultPrevented))")
    row = page.locator('#rows [data-mark="forecast-1"]')
    row.focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("window.taken") == [False]
    row.click()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("window.taken") == [False]  # it was taken: the page never hears of it


def test_enter_goes_through_the_ends_of_a_drag(page) -> None:
    page.locator('#rows [data-mark="forecast-4"]').focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowUp")
    page.wait_for_function("window.events.some(([, data]) => data.what === 'move')")
    assert moves(page)[0]["part"] == "end"
    page.keyboard.press("Enter")
    assert page.evaluate("window.events").pop() == ["input", {"what": "select", "mark": ""}]


def test_buttons_move_the_selected_mark_without_dragging(page) -> None:
    button = page.get_by_label("right", exact=True)
    assert not button.is_visible()
    pin(page, "forecast-1").click()
    button.click()
    button.click()
    page.wait_for_function("window.events.some(([, data]) => data.what === 'move')")
    assert moves(page)[0]["x"] * 800 == pytest.approx(202)


def test_two_marks_that_are_moved_one_after_the_other_are_both_told(page) -> None:
    for key in ("forecast-1", "forecast-2"):
        page.locator(f'#rows [data-mark="{key}"]').click()
        page.keyboard.press("ArrowUp")
    page.wait_for_function("window.events.filter(([, data]) => data.what === 'move').length === 2")
    assert [told["mark"] for told in moves(page)] == ["forecast-1", "forecast-2"]


def test_a_step_of_the_tray_gets_its_place_by_being_put_on_the_image(page) -> None:
    frame, card = page.locator(".tw-frame").bounding_box(), middle(page.locator('.tw-chip[data-mark="forecast-3"]'))
    target = (frame["x"] + frame["width"] * 0.5, frame["y"] + frame["height"] * 0.4)
    drag(page, card, (30, 60))  # beside the image: nothing happens
    assert moves(page) == []
    drag(page, card, (target[0] - card[0], target[1] - card[1]))
    (told,) = moves(page)
    assert (told["mark"], told["part"]) == ("forecast-3", "point")
    assert (told["x"], told["y"]) == pytest.approx((0.5, 0.4), abs=0.003)
    assert page.locator(".tw-ghost").count() == 1
    update(page, screen_html((*MARKS[:2], mark(3, 0.5, 0.4), *MARKS[3:]), WHITE))
    assert page.locator(".tw-ghost").count() == 0


def test_a_moved_mark_stays_until_the_server_draws_it_and_goes_back_if_it_never_does(page) -> None:
    drag(page, middle(pin(page, "forecast-1")), (80, 0))
    told = moves(page)[0]["x"]
    update(page, screen_html(MARKS, WHITE))  # an update that does not know of the move yet
    assert centre(page, "forecast-1")[0] == pytest.approx(told, abs=0.002)
    update(page, screen_html((mark(1, 0.5), *MARKS[1:]), WHITE))  # the server's answer counts
    assert centre(page, "forecast-1")[0] == pytest.approx(0.5, abs=0.002)
    drag(page, middle(pin(page, "forecast-1")), (80, 0))
    page.wait_for_timeout(2200)
    assert centre(page, "forecast-1")[0] == pytest.approx(0.5, abs=0.002)


def test_a_drag_goes_on_over_updates_and_ends_with_another_screen(page) -> None:
    start = middle(pin(page, "forecast-1"))
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(start[0] + 40, start[1])
    update(page, screen_html(MARKS, WHITE))
    page.mouse.move(start[0] + 80, start[1])
    page.mouse.up()
    frame = page.locator(".tw-frame").bounding_box()
    assert moves(page)[0]["x"] == pytest.approx(0.25 + 80 / frame["width"], abs=0.003)
    start = middle(pin(page, "forecast-2"))
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(start[0] - 40, start[1])
    update(page, screen_html(MARKS, PIL.Image.new("RGB", (800, 400), "grey")))
    page.mouse.move(start[0] - 80, start[1])
    page.mouse.up()
    assert len(moves(page)) == 1


# ---- labels


@pytest.fixture(scope="module")
def place_labels(browser) -> Iterator[object]:
    page = browser.new_page()
    page.evaluate("code => { window.placeLabels = Function(code + '; return placeLabels')(); }",
                  read_script("screen_labels.js"))
    yield lambda items, frame: page.evaluate("([items, frame]) => placeLabels(items, frame)", [items, frame])
    page.close()


frames = st.builds(lambda w, h: {"width": w, "height": h}, st.integers(60, 1400), st.integers(40, 900))
shares = st.floats(0, 1)
ends = st.tuples(shares, shares) | st.none()
labels = st.tuples(shares, shares, st.floats(24, 180), st.sampled_from([11.2, 20, 28]), ends)


def boxes(items: list[dict], spots: list[dict]) -> list[tuple[float, float, float, float]]:
    return [(s["x"] - i["width"] / 2, s["y"] - i["height"] / 2, s["x"] + i["width"] / 2, s["y"] + i["height"] / 2)
            for i, s in zip(items, spots, strict=True)]


def overlap(a: tuple[float, ...], b: tuple[float, ...], margin: float = 0) -> bool:
    return (a[0] < b[2] + margin and b[0] < a[2] + margin) and (a[1] < b[3] + margin and b[1] < a[3] + margin)


def is_clear(box: tuple[float, ...], taken: list[tuple[float, ...]], targets: list[dict], margin: float = 0) -> bool:
    points = [(t["x"], t["y"], t["x"], t["y"]) for t in targets]
    return not any(overlap(box, other, margin) for other in [*taken, *points])


@settings(max_examples=100, deadline=None)
@given(frames, st.lists(labels, min_size=1, max_size=12))
def test_no_label_covers_another_label_or_a_target_where_there_is_room(place_labels, frame: dict, drawn: list) -> None:
    items = []
    for x, y, width, r, end in drawn:
        points = [(x, y), end] if end else [(x, y)]
        targets = [{"x": a * frame["width"], "y": b * frame["height"], "r": r} for a, b in points]
        items.append({"x": targets[0]["x"], "y": targets[0]["y"], "r": r, "width": width, "height": 24,
                      "targets": targets})
    placed = boxes(items, place_labels(items, frame))
    targets = [t for item in items for t in item["targets"]]
    for number, (item, box) in enumerate(zip(items, placed, strict=True)):
        if is_clear(box, placed[:number], targets):
            if item["width"] < frame["width"] - 2:
                assert box[0] >= 0 and box[1] >= 0 and box[2] <= frame["width"] and box[3] <= frame["height"]
            continue
        # covered: then there must have been no room anywhere, tried on a grid of this test's own
        width, height = item["width"], item["height"]
        for left in range(1, int(frame["width"] - width), 7):
            for top in range(1, int(frame["height"] - height), 7):
                spot = (left, top, left + width, top + height)
                assert not is_clear(spot, placed[:number], targets, margin=10), f"there was room at {spot}"


def test_labels_of_twelve_marks_on_one_target_do_not_cover_each_other(pages) -> None:
    marks = [mark(n, 0.5, place=Place.VISIBLE, type="type", content=f"text {n}") for n in range(1, 13)]
    page = pages.open(screen_page(marks, WHITE))
    pills = [pill.bounding_box() for pill in page.locator(".tw-pill").all()]
    assert len(pills) == 12
    found = [(p["x"], p["y"], p["x"] + p["width"], p["y"] + p["height"]) for p in pills]
    assert not any(overlap(a, b) for i, a in enumerate(found) for b in found[:i])
    x, y = middle(pin(page, "forecast-1"))
    assert not any(overlap(box, (x, y, x, y)) for box in found)


@pytest.mark.parametrize("text", ["iiii", "WWWWWWWWWWWWWWWWWWWW", "日本語のテキスト", "مرحبا بالعالم", "🙂🙂🙂🙂"])
def test_typed_text_fits_its_label_in_every_script(pages, text: str) -> None:
    page = pages.open(screen_page([mark(1, 0.5, type="type", content=text)], WHITE))
    pill, words = page.locator(".tw-pill").bounding_box(), page.locator(".tw-label text").bounding_box()
    assert pill["x"] <= words["x"] and words["x"] + words["width"] <= pill["x"] + pill["width"]
    assert re.search(r"\S", page.locator(".tw-typed").text_content())


def test_outcomes_are_told_by_a_sign_and_not_by_colour(pages) -> None:
    signs = {Outcome.HIT: "✓", Outcome.MISS: "≠", Outcome.FAILED: "✕"}
    marks = [mark(n, n / 5, kind=Kind.EXECUTED, outcome=outcome) for n, outcome in enumerate(signs, start=1)]
    page = pages.open(screen_page(marks, WHITE))
    told = [page.locator(f'.tw-mark[data-mark="executed-{n}"] text').text_content() for n in (1, 2, 3)]
    assert told == ["1✓", "2≠", "3✕"]
