"""Android's accessibility forest -> elements: what is visible and can be named or acted on.

    kept            visible nodes inside the screen that can be tapped, held, written in or ticked, or that have a text
    label           text, else content description, else tooltip; a field's is its hint, with its text as the value
    label of a row  a tappable node without words takes those of the texts inside it, which are then no elements
                    themselves, so that one thing on the screen is one element
    value           "on" or "off" for what can be ticked, the text for a field (never a password's)

Source: android_env/proto/a11y/*.proto of google-deepmind/android_env at 0be7d50; AndroidControl stores one serialised
AndroidAccessibilityForest a screenshot.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from google.protobuf.message import DecodeError

from executors.geometry import BoxNorm, ImageSize
from executors.trajectory import Element
from training.datasets.protos import build_messages

_MESSAGES = build_messages(
    "android_env",
    {
        "Rect": "left=1:int32 top=2:int32 right=3:int32 bottom=4:int32",
        "Node": "unique_id=1:int32 bounds_in_screen=2:Rect class_name=3:string content_description=4:string "
                "hint_text=5:string text=7:string is_checkable=12:bool is_checked=13:bool is_clickable=14:bool "
                "is_editable=15:bool is_focused=18:bool is_long_clickable=19:bool is_password=20:bool "
                "is_visible_to_user=23:bool child_ids=25:int32* tooltip_text=31:string",
        "Tree": "nodes=1:Node*",
        "Window": "layer=4:int32 tree=11:Tree",
        "Forest": "windows=1:Window*",
    },
)

_ROLES = {
    "Button": "button", "ImageButton": "button", "FloatingActionButton": "button", "EditText": "field",
    "AutoCompleteTextView": "field", "MultiAutoCompleteTextView": "field", "SearchView": "field", "Switch": "switch",
    "SwitchCompat": "switch", "ToggleButton": "switch", "CheckBox": "checkbox", "CheckedTextView": "checkbox",
    "RadioButton": "radio", "SeekBar": "slider", "Spinner": "dropdown", "ImageView": "image", "Image": "image",
    "TextView": "text", "Tab": "tab", "TabView": "tab", "ProgressBar": "progress", "WebView": "page",
}


def elements_of(forest: bytes, size: ImageSize) -> tuple[Element, ...]:
    """The elements of one screen, those of the front window first, each window's in the tree's order.

    Args:
        forest: a serialised AndroidAccessibilityForest; its boxes are in pixels of the screen.
        size: the screen's size; what lies outside is cut off.

    Raises:
        ValueError: the bytes are no such message.
    """
    try:
        windows = _MESSAGES["Forest"].FromString(forest).windows
    except DecodeError as error:
        raise ValueError(str(error)) from None
    found: list[Element] = []
    for window in sorted(windows, key=lambda window: -window.layer):
        found.extend(_elements_of_tree(window.tree.nodes, size))
    return tuple(found)


def _elements_of_tree(nodes: Sequence[Any], size: ImageSize) -> Iterable[Element]:
    visible = {node.unique_id: node for node in nodes if node.is_visible_to_user}
    parents = {child: node.unique_id for node in visible.values() for child in node.child_ids}
    words: dict[int, list[str]] = {}  # of the texts inside a tappable node without words of its own
    inside: set[int] = set()
    for number, node in visible.items():
        if not _is_actionable(node) and (label := _label(node)):
            owner = _owner(number, visible, parents)
            if owner is not None and not _label(visible[owner]):
                words.setdefault(owner, []).append(label)
                inside.add(number)
    for number, node in visible.items():
        label = _label(node) or " ".join(dict.fromkeys(words.get(number, ())))
        is_actionable = _is_actionable(node)
        box = _box(node.bounds_in_screen, size)
        if box is None or number in inside or not (label or is_actionable):
            continue
        yield Element(
            role=_role(node, is_actionable), text=label, box=box, value=_value(node), id=str(number),
            is_clickable=is_actionable, is_focused=node.is_focused,
        )


def _owner(number: int, visible: dict[int, Any], parents: dict[int, int]) -> int | None:
    """The nearest actionable node above; None when there is none, or when the tree goes in a circle."""
    for _ in range(len(visible)):
        number = parents.get(number, -1)
        if number not in visible:
            return None
        if _is_actionable(visible[number]):
            return number
    return None


def _is_actionable(node: Any) -> bool:
    return node.is_clickable or node.is_long_clickable or node.is_editable or node.is_checkable


def _label(node: Any) -> str:
    told = (node.hint_text, node.content_description) if node.is_editable else (
        node.text, node.content_description, node.tooltip_text)
    return next((words for text in told if (words := " ".join(text.split()))), "")


def _value(node: Any) -> str | None:
    if node.is_checkable:
        return "on" if node.is_checked else "off"
    if node.is_editable:
        return "" if node.is_password else " ".join(node.text.split())
    return None


def _role(node: Any, is_actionable: bool) -> str:
    name = node.class_name.rpartition(".")[2]
    return _ROLES.get(name) or ("field" if node.is_editable else "item" if is_actionable else "text")


def _box(rect: Any, size: ImageSize) -> BoxNorm | None:
    left, right = max(0, rect.left), min(size.width_px, rect.right)
    top, bottom = max(0, rect.top), min(size.height_px, rect.bottom)
    return BoxNorm.from_px(left, top, right, bottom, size) if left < right and top < bottom else None

