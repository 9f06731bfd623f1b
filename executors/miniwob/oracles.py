"""Oracles of MiniWoB++ tasks: pure functions from the page's elements to the next right action.

Each reads the goal and the present page alone, so it goes on from any state that can be mended. They know what the
page's program checks, and no more than the DOM shows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from executors.actions import Action
from executors.errors import InputError
from executors.miniwob.drags import drag_into_box, drag_item, drag_shape, sort_items
from executors.miniwob.moves import (
    Move,
    at_left_edge,
    click,
    click_found,
    enter,
    give_up,
    in_turn,
    quoted,
    select,
    submit,
)
from executors.miniwob.tree import Node, PageTree

Oracle = Callable[[PageTree], Move]

_FIELDS = {"", "text", "password", "date", "time", "number", "input"}


def _button(page: PageTree, text: str) -> Move:
    return click_found(page, page.first(tag="button", text=text))


def _fields(page: PageTree) -> list[Node]:
    return [node for node in page.all(tag="input") if node.kind in _FIELDS]


def _area(page: PageTree) -> Node:
    return page.by_id("area") or page.nodes[0]


# ---- one click


def click_one(page: PageTree) -> Move:
    """click-test, click-test-2: the button, ONE where there are two."""
    return click_found(page, page.first(tag="button", text="ONE") or page.first(tag="button"))


def click_button(page: PageTree) -> Move:
    """The button whose text is quoted."""
    return _button(page, quoted(page.goal)[0])


def click_link(page: PageTree) -> Move:
    """The link whose text is quoted."""
    return click_found(page, page.first(cls="alink", text=quoted(page.goal)[0]))


def close_dialog(page: PageTree) -> Move:
    """The dialog's "x"."""
    return click_found(page, page.first(cls="ui-dialog-titlebar-close"))


def click_in_dialog(page: PageTree) -> Move:
    """The dialog's button whose text is quoted, "x" among them."""
    text = quoted(page.goal)[0]
    return close_dialog(page) if text == "x" else _button(page, text)


def click_tab(page: PageTree) -> Move:
    """The tab of a number."""
    number = re.search(r"#(\d+)", page.goal)
    return click_found(page, page.first(tag="a", text=f"Tab #{number[1]}")) if number else give_up()


def focus_field(page: PageTree) -> Move:
    """The field of an ordinal number, or the only one."""
    number = re.search(r"(\d)(st|nd|rd|th)", page.goal)
    fields = _fields(page)
    return click_found(page, fields[int(number[1]) - 1 if number else 0]) if fields else give_up()


def click_widget(page: PageTree) -> Move:
    """A widget of a kind."""
    kind = quoted(page.goal)[0]
    tag, kinds = {
        "button": ("button", ""), "textarea": ("textarea", ""), "text": ("input", "input"),
        "radio": ("input", "radio"), "checkbox": ("input", "checkbox"),
    }[kind]  # fmt: skip
    return click_found(page, page.first(tag=tag, kind=kinds))


def click_coordinate(page: PageTree) -> Move:
    """The point of a grid that has the coordinates of the goal."""
    found = re.search(r"\((-?\d),(-?\d)\)", page.goal)
    return click_found(page, page.by_id(found[0])) if found else give_up()


def click_color(page: PageTree) -> Move:
    """The box of a colour, which the page's own utterance names."""
    name = re.search(r"on the (.+) colored box", page.goal)
    wanted = _COLORS.get(name[1], "") if name else ""
    return click_found(page, next((n for n in page.all(cls="color", inside=_area(page)) if n.color == wanted), None))


# The colours that click-color draws from, as computed styles tell them (CSS Color Module, named colours).
_COLORS = {
    "red": "rgb(255, 0, 0)", "blue": "rgb(0, 0, 255)", "olive": "rgb(128, 128, 0)", "lime": "rgb(0, 255, 0)",
    "black": "rgb(0, 0, 0)", "white": "rgb(255, 255, 255)", "grey": "rgb(128, 128, 128)",
    "purple": "rgb(128, 0, 128)", "orange": "rgb(255, 165, 0)", "yellow": "rgb(255, 255, 0)",
    "cyan": "rgb(0, 255, 255)", "pink": "rgb(255, 192, 203)", "magenta": "rgb(255, 0, 255)",
}  # fmt: skip


# ---- choosing, then submitting


def click_in_order(page: PageTree) -> Move:
    """click-button-sequence: ONE, then TWO; a button that was clicked has the focus."""
    one, two = page.first(tag="button", text="ONE"), page.first(tag="button", text="TWO")
    return click_found(page, two if one is not None and one.is_focused else one)


def click_numbers(page: PageTree) -> Move:
    """ascending-numbers: 1, then the covers, which stand in the document in their order."""
    covers = [node for node in page.all(tag="rect") if node.point]
    return click_found(page, covers[0] if covers else page.first(tag="text", text="1"))


def check_boxes(page: PageTree) -> Move:
    """Checks the boxes whose labels are listed, and submits."""
    listed = re.search(r"Select (.*) and click Submit", page.goal)
    wanted = set() if listed is None or listed[1] == "nothing" else set(listed[1].split(", "))

    def moves() -> Iterator[Move | None]:
        for box in page.all(tag="input", kind="checkbox"):
            if box.is_checked != (page.nodes[box.parent].text in wanted):
                yield click(page, box)
        yield submit(page)

    return in_turn(moves())


def choose_radio(page: PageTree) -> Move:
    """Chooses the option whose label is named, and submits."""
    listed = re.search(r"Select (.*) and click Submit", page.goal)
    for option in page.all(tag="input", kind="radio"):
        if listed and page.nodes[option.parent].text == listed[1]:
            return submit(page) if option.is_checked else click(page, option)
    return give_up()


def choose_from_list(page: PageTree) -> Move:
    """Selects the item of a drop-down, and submits."""
    wanted = re.search(r"Select (.*) from the list", page.goal)
    box = page.first(tag="select")
    if wanted is None or box is None:
        return give_up()
    return submit(page) if box.value == wanted[1] else select(box, wanted[1])


def expand_and_submit(page: PageTree) -> Move:
    """click-collapsible: the section is expanded, then submitted."""
    header = page.first(cls="ui-accordion-header")
    is_open = header is not None and "ui-accordion-header-active" in header.classes
    return submit(page) if is_open else click_found(page, header)


# ---- looking for a link


def find_link_in_sections(page: PageTree) -> Move:
    """click-collapsible-2: sections are expanded one after the other until the link is there."""
    link = page.first(cls="alink", text=quoted(page.goal)[0])
    return click(page, link) if link else _next_of(page, page.all(cls="ui-accordion-header"), "active")


def find_link_in_tabs(page: PageTree) -> Move:
    """click-tab-2 and its kin: tabs are opened one after the other until the link is there."""
    link = page.first(cls="alink", text=quoted(page.goal)[0])
    if link:
        return click(page, link)
    return _next_of(page, page.all(cls="ui-tabs-tab"), "active")


def _next_of(page: PageTree, parts: list[Node], mark: str) -> Move:
    """The part after the open one, the first when none is open."""
    is_open = [any(name.endswith(f"-{mark}") for name in part.classes) for part in parts]
    if not parts:
        return give_up()
    part = parts[(is_open.index(True) + 1) % len(parts) if True in is_open else 0]
    return click(page, page.first(tag="a", inside=part) or part)


def navigate_tree(page: PageTree) -> Move:
    """navigate-tree: what is named, else the first folder that is closed."""
    wanted = quoted(page.goal)[0]
    named = next((n for n in page.all(tag="span", text=wanted) if n.point), None)
    if named is not None:
        return click(page, named)
    closed = next((n for n in page.all(tag="li", cls="expandable") if page.first(cls="folder", inside=n)), None)
    return click_found(page, closed and page.first(cls="folder", inside=closed))


def find_in_phone_book(page: PageTree) -> Move:
    """phone-book: pages are turned until the name is shown, then its property is clicked."""
    found = re.search(r"Find (.+) in the contact book and click on their (\w+)", page.goal)
    name = page.first(tag="h2")
    if found is None or name is None:
        return give_up()
    if name.text == found[1]:
        return click_found(page, page.first(cls={"phone": "phone", "email": "email"}.get(found[2], "address")))
    return click_found(page, page.first(tag="a", text=">"))


def search_and_click(page: PageTree) -> Move:
    """search-engine: the word is searched for, its page of results opened, the n-th clicked."""
    text, place = quoted(page.goal)[0], re.search(r"(\d)(st|nd|rd|th)", page.goal)
    field, results = page.by_id("search-text"), page.all(cls="search-title")
    if field is None or place is None:
        return give_up()
    if (move := enter(page, field, text)) is not None:
        return move
    if not results:
        return _button(page, "Search")
    wanted = (int(place[1]) - 1) // 3 + 1
    active = next((page.nodes[n.parent] if n.tag == "a" else n for n in page.all(cls="active")), None)
    if active is None or active.text != str(wanted):
        return click_found(page, page.first(tag="a", text=str(wanted)))
    return click(page, results[(int(place[1]) - 1) % 3])


def act_on_post(page: PageTree) -> Move:
    """social-media: the button of a user's post, or of its menu."""
    user = re.search(r"@\S+?(?=,)", page.goal)
    posts = [n for n in page.all(cls="media") if user and page.first(cls="username", text=user[0], inside=n)]
    if not posts:
        return give_up()
    label = quoted(page.goal)[0]
    icon = {"Reply": "reply", "Retweet": "retweet", "Like": "like"}.get(label)
    if icon:
        return click_found(page, page.first(cls=icon, inside=posts[0]))
    entry = next((n for n in page.all(tag="li", inside=posts[0]) if n.text.startswith(label)), None)
    return click(page, entry) if entry else click_found(page, page.first(cls="more", inside=posts[0]))


def delete_email(page: PageTree) -> Move:
    """email-inbox-delete: the bin of the sender's e-mail."""
    sender = re.search(r"(?:by|from) (\w+)", page.goal)
    for thread in page.all(cls="email-thread"):
        if sender and page.first(cls="email-sender", text=sender[1], inside=thread):
            return click_found(page, page.first(cls="trash", inside=thread))
    return give_up()


# ---- typing


def _fill(page: PageTree, texts: list[str]) -> Move:
    """The texts into the page's fields, in their order, then submit."""
    fields = _fields(page)
    if len(fields) < len(texts):
        return give_up()
    return in_turn([*(enter(page, field, text) for field, text in zip(fields, texts, strict=False)), submit(page)])


def enter_quoted(page: PageTree) -> Move:
    """enter-text, login-user and their kin: what is quoted, each into its field."""
    cancel = page.by_id("popup-cancel")
    return click(page, cancel) if cancel else _fill(page, quoted(page.goal))


def enter_twice(page: PageTree) -> Move:
    """enter-password: the same into both fields."""
    return _fill(page, quoted(page.goal) * 2)


def enter_in_case(page: PageTree) -> Move:
    """enter-text-2: what is quoted, in upper or lower case."""
    text = quoted(page.goal)[0]
    return _fill(page, [text.upper() if "upper case" in page.goal else text.lower()])


def enter_date(page: PageTree) -> Move:
    """enter-date: typed from the month on, as a field for dates takes it in English."""
    found = re.search(r"(\d\d)/(\d\d)/(\d{4})", page.goal)
    return _enter_parts(page, f"{found[3]}-{found[1]}-{found[2]}", "".join(found.groups())) if found else give_up()


def enter_time(page: PageTree) -> Move:
    """enter-time: hour, minute and half of the day, as a field for times takes them in English."""
    found = re.search(r"(\d+):(\d\d)\s*([AP])M", page.goal)
    if found is None:
        return give_up()
    hour = int(found[1]) % 12 + (12 if found[3] == "P" else 0)
    return _enter_parts(page, f"{hour:02}:{found[2]}", f"{int(found[1]):02}{found[2]}{found[3]}M")


def _enter_parts(page: PageTree, value: str, keys: str) -> Move:
    field = _fields(page)[0]
    if field.value == value:
        return submit(page)
    if not field.is_focused:
        return click(page, at_left_edge(field))
    return Move(action=Action(type="type", content=keys), words=f'type "{keys}"')


def enter_from_table(page: PageTree) -> Move:
    """read-table: the value beside the key that the goal names."""
    key = re.search(r"the value of (.+) into the text field", page.goal)
    values = _table(page)
    return _fill(page, [values[key[1]]]) if key and key[1] in values else give_up()


def enter_from_table_by_labels(page: PageTree) -> Move:
    """read-table-2: the values beside the keys that the fields' labels name."""
    values = _table(page)
    return _fill(page, [values.get(label.text.rstrip(":"), "") for label in page.all(tag="label")])


def _table(page: PageTree) -> dict[str, str]:
    rows = (page.all(tag="td", inside=row) for row in page.all(tag="tr"))
    return {cells[0].text: cells[1].text for cells in rows if len(cells) == 2}


def enter_word(page: PageTree) -> Move:
    """find-word: the n-th word of the paragraph."""
    place, text = re.search(r"(\d+)(st|nd|rd|th) word", page.goal), page.first(tag="p", inside=_area(page))
    if place is None or text is None:
        return give_up()
    return _fill(page, [re.sub(r"[^A-Za-z]", "", text.text.split()[int(place[1]) - 1])])


def enter_sum(page: PageTree) -> Move:
    """simple-arithmetic: two numbers with one sign."""
    return _enter_result(page, r"(\d+) ([-+x]) (\d+) =", lambda a, sign, b: _apply(int(a), sign, int(b)))


def enter_unknown(page: PageTree) -> Move:
    """simple-algebra: x before or after the sign."""

    def solve(first: str, sign: str, second: str, result: str) -> int:
        if first == "x":
            return int(result) - int(second) if sign == "+" else int(result) + int(second)
        return int(result) - int(first) if sign == "+" else int(first) - int(result)

    return _enter_result(page, r"(x|-?\d+) ([-+]) (x|-?\d+) = (-?\d+)", solve)


def _enter_result(page: PageTree, pattern: str, compute: Callable[..., int]) -> Move:
    problem = page.by_id("math-problem")
    found = re.search(pattern, problem.text) if problem else None
    return _fill(page, [str(compute(*found.groups()))]) if found else give_up()


def _apply(a: int, sign: str, b: int) -> int:
    return {"+": a + b, "-": a - b, "x": a * b}[sign]


def enter_skewed(page: PageTree) -> Move:
    """text-transform: the letters drawn askew."""
    return _fill(page, ["".join(n.text for n in page.all(tag="span", inside=page.by_id("captcha")))])


def copy_text(page: PageTree) -> Move:
    """copy-paste: the text of the area, typed into the field."""
    area, field = page.first(tag="textarea"), page.by_id("answer-input")
    if area is None or field is None:
        return give_up()
    return in_turn([enter(page, field, area.value or ""), submit(page)])


def complete(page: PageTree) -> Move:
    """use-autocomplete: the beginning is typed, then the suggestion with the right ending is clicked."""
    parts, field = quoted(page.goal), page.by_id("tags")
    if not parts or field is None:
        return give_up()
    end = parts[1] if len(parts) > 1 else ""
    value = field.value or ""
    if value.startswith(parts[0]) and value.endswith(end) and len(value) > len(parts[0]):
        return submit(page)
    for entry in page.all(cls="ui-menu-item"):
        if entry.text.startswith(parts[0]) and entry.text.endswith(end):
            return click(page, entry)
    move = enter(page, field, parts[0])
    return move or Move(action=Action(type="wait"), words="wait")


def spin(page: PageTree) -> Move:
    """use-spinner: its arrows are clicked until the number is right."""
    wanted, field = re.search(r"Select (-?\d+) with", page.goal), page.by_id("spinner")
    if wanted is None or field is None:
        return give_up()
    missing = int(wanted[1]) - int(field.value or 0)
    if not missing:
        return submit(page)
    return click_found(page, page.first(cls="ui-spinner-up" if missing > 0 else "ui-spinner-down"))


def guess(page: PageTree) -> Move:
    """guess-number: 5, then one by one towards it, since the page tells no more than its last answer."""
    low, high = page.by_id("lower"), page.by_id("higher")
    field = _fields(page)[0]
    if low is not None:  # it is lower than the last guess
        number = int(re.search(r"-?\d+", low.text)[0]) - 1
    elif high is not None:
        number = int(re.search(r"-?\d+", high.text)[0]) + 1
    else:
        number = 5
    return in_turn([enter(page, field, str(number)), submit(page)])


ORACLES: dict[str, Oracle] = {
    "ascending-numbers": click_numbers,
    "choose-list": choose_from_list,
    "click-button": click_button,
    "click-button-sequence": click_in_order,
    "click-checkboxes": check_boxes,
    "click-checkboxes-large": check_boxes,
    "click-checkboxes-transfer": check_boxes,
    "click-collapsible": expand_and_submit,
    "click-collapsible-2": find_link_in_sections,
    "click-collapsible-2-nodelay": find_link_in_sections,
    "click-collapsible-nodelay": expand_and_submit,
    "click-color": click_color,
    "click-dialog": close_dialog,
    "click-dialog-2": click_in_dialog,
    "click-link": click_link,
    "click-option": choose_radio,
    "click-tab": click_tab,
    "click-tab-2": find_link_in_tabs,
    "click-tab-2-easy": find_link_in_tabs,
    "click-tab-2-hard": find_link_in_tabs,
    "click-tab-2-medium": find_link_in_tabs,
    "click-test": click_one,
    "click-test-2": click_one,
    "click-test-transfer": click_one,
    "click-widget": click_widget,
    "copy-paste": copy_text,
    "drag-box": drag_into_box,
    "drag-circle": drag_shape,
    "drag-items": drag_item,
    "drag-single-shape": drag_shape,
    "drag-sort-numbers": sort_items,
    "email-inbox-delete": delete_email,
    "enter-date": enter_date,
    "enter-password": enter_twice,
    "enter-text": enter_quoted,
    "enter-text-2": enter_in_case,
    "enter-text-dynamic": enter_quoted,
    "enter-time": enter_time,
    "find-word": enter_word,
    "focus-text": focus_field,
    "focus-text-2": focus_field,
    "grid-coordinate": click_coordinate,
    "guess-number": guess,
    "login-user": enter_quoted,
    "login-user-popup": enter_quoted,
    "navigate-tree": navigate_tree,
    "phone-book": find_in_phone_book,
    "read-table": enter_from_table,
    "read-table-2": enter_from_table_by_labels,
    "search-engine": search_and_click,
    "simple-algebra": enter_unknown,
    "simple-arithmetic": enter_sum,
    "social-media": act_on_post,
    "text-transform": enter_skewed,
    "unicode-test": click_button,
    "use-autocomplete": complete,
    "use-autocomplete-nodelay": complete,
    "use-spinner": spin,
}
"""Task -> its oracle."""


def oracle_move(task: str, page: PageTree) -> Move:
    """The next right action of a task; a page on which the oracle does not find its way gets `give_up`.

    Raises:
        InputError: the task has no oracle.
    """
    if task not in ORACLES:
        raise InputError(f"MiniWoB++ task {task!r} has no oracle: choose some of {', '.join(ORACLES)}")
    try:
        return ORACLES[task](page)
    except (IndexError, KeyError, TypeError, ValueError):  # a goal or page of another form than the task's
        return give_up()
