"""Android's UI hierarchy (`uiautomator dump`) as elements."""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree import ElementTree

from executors.geometry import BoxNorm, ImageSize
from executors.trajectory import Element

_BOUNDS = re.compile(r"\[(-?\d+),(-?\d+)\]\[(-?\d+),(-?\d+)\]")

_ROLES = {
    "button": "button", "checkbox": "checkbox", "checkedtextview": "option", "edittext": "field",
    "imagebutton": "button", "imageview": "image", "progressbar": "bar", "radiobutton": "radio", "ratingbar": "slider",
    "seekbar": "slider", "spinner": "field", "switch": "switch", "switchcompat": "switch", "tabview": "tab",
    "textview": "text", "togglebutton": "switch",
}  # fmt: skip
"""Last word of an Android class, without library prefixes, in lower case -> role; a clickable container is a row."""


def read_hierarchy(xml: str, size: ImageSize) -> tuple[tuple[Element, ...], str]:
    """The elements of a dump, in its order, and the package that is in front; none of both from text that is no dump.

    Elements are nodes that can be clicked or have a text, as far as they are on the screen. A clickable node without a
    text of its own takes those of the nodes in it. The text of a field that is filled is its value; a password is left
    out.

    Args:
        xml: what `uiautomator dump` wrote, with or without its messages.
        size: of the screenshot, which the dump's pixels count.

    >>> node = '<node class="a.Button" text="OK" clickable="true" bounds="[0,0][50,20]" package="p"/>'
    >>> elements, package = read_hierarchy(f"<hierarchy>{node}</hierarchy>", ImageSize(100, 100))
    >>> elements[0].role, elements[0].text, elements[0].box.right, package
    ('button', 'OK', 0.5, 'p')
    """
    start, end = xml.find("<hierarchy"), xml.rfind(">")
    try:
        root = ElementTree.fromstring(xml[start : end + 1]) if start >= 0 else None
    except ElementTree.ParseError:
        root = None
    if root is None:
        return (), ""
    elements = tuple(element for node in root.iter("node") if (element := _element(node, size)) is not None)
    first = next(root.iter("node"), None)
    return elements, "" if first is None else first.get("package", "")


def role_of(class_name: str) -> str | None:
    """The role that an Android class means; None when it is none of its own.

    >>> role_of("androidx.appcompat.widget.AppCompatButton"), role_of("android.widget.FrameLayout")
    ('button', None)
    """
    kind = class_name.rpartition(".")[2].lower()
    return _ROLES.get(kind.removeprefix("appcompat").removeprefix("material"))


def _element(node: ElementTree.Element, size: ImageSize) -> Element | None:
    match = _BOUNDS.fullmatch(node.get("bounds", ""))
    if match is None:
        return None
    left, top, right, bottom = map(int, match.groups())
    left, top = max(left, 0), max(top, 0)
    right, bottom = min(right, size.width_px), min(bottom, size.height_px)
    if left >= right or top >= bottom:
        return None
    is_clickable = _is(node, "clickable") or _is(node, "long-clickable") or _is(node, "checkable")
    text, description = node.get("text", "").strip(), node.get("content-desc", "").strip()
    role = role_of(node.get("class", ""))
    value = None
    if role == "field":
        hint = node.get("hint", "").strip() or description
        is_secret = _is(node, "password")
        value = None if is_secret or text == hint else text
        text = hint or ("" if is_secret else text)
    elif _is(node, "checkable"):
        value = "on" if _is(node, "checked") else "off"
    if is_clickable and role != "field":
        text = text or description or " ".join(_texts_in(node))
    elif not is_clickable:
        text = text or description
    if not (is_clickable or text):
        return None
    return Element(
        role=role or ("row" if is_clickable else "text"), text=text, value=value, id=node.get("resource-id", ""),
        box=BoxNorm.from_px(left, top, right, bottom, size), is_clickable=is_clickable, is_focused=_is(node, "focused"),
    )  # fmt: skip


def _texts_in(node: ElementTree.Element) -> Iterator[str]:
    """Texts of the nodes below that are no targets of their own."""
    for child in node:
        if _is(child, "clickable"):
            continue
        text = child.get("text", "").strip() or child.get("content-desc", "").strip()
        if text:
            yield text
        yield from _texts_in(child)


def _is(node: ElementTree.Element, name: str) -> bool:
    return node.get(name) == "true"
