"""What an oracle decides: one action, where, and in which words a planner would say it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from executors.actions import Action
from executors.errors import ExecutorError
from executors.geometry import PointNorm
from executors.miniwob.executor import SIZE_PX
from executors.miniwob.tree import Node, PageTree
from executors.tool_agents import ElementTreeAgent
from executors.trajectory import Observation


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One action; `target` is what it points at, `words` say it, with {what} in the place of the target."""

    action: Action
    words: str
    target: Node | None = None


def click(page: PageTree, node: Node) -> Move:
    """A click on an element; where it is out of sight, a scroll towards it."""
    if node.point is None:
        return _scroll_to(page, node)
    return Move(action=Action(type="click", point=_norm(node.point)), words="click {what}", target=node)


def click_found(page: PageTree, node: Node | None) -> Move:
    """A click on an element that was looked for; the oracle gives up where it is not there."""
    return give_up() if node is None else click(page, node)


def submit(page: PageTree) -> Move:
    """A click on the button that has the page judge."""
    return click_found(page, page.by_id("subbtn") or page.first(tag="button", text="Submit"))


def drag(node: Node, to: tuple[float, float], words: str) -> Move:
    """A drag from where an element can be pointed at to a place in CSS pixels."""
    start = node.point or (node.box[0], node.box[1])
    return Move(action=Action(type="drag", start_point=_norm(start), end_point=_norm(to)), words=words)


def select(node: Node, option: str) -> Move:
    """The option of a drop-down."""
    action = Action(type="select", point=_norm(node.point or (0.0, 0.0)), value=option)
    return Move(action=action, words=f'select "{option}" in {{what}}', target=node)


def enter(page: PageTree, field: Node, text: str) -> Move | None:
    """One step towards a field that holds the text; None when it does."""
    value = field.value or ""
    if value == text:
        return None
    if not field.is_focused:
        return click(page, at_left_edge(field))
    if not text.startswith(value):
        return press("backspace")
    rest = text[len(value) :]
    return Move(action=Action(type="type", content=rest), words=f'type "{rest}"')


def at_left_edge(field: Node) -> Node:
    """The field with its point at the left edge where its middle may lie on an arrow or on another part of a date."""
    if field.kind not in ("date", "time", "number"):
        return field
    left, top, _, bottom = field.box
    return replace(field, point=(left + 8.0, (top + bottom) / 2))


def press(key: str) -> Move:
    """Keys pressed together."""
    return Move(action=Action(type="hotkey", key=key), words=f"press {key}")


def in_turn(moves: Iterable[Move | None]) -> Move:
    """The first move that is one: what still has to be done, in order."""
    return next((move for move in moves if move is not None), give_up())


def give_up() -> Move:
    """For a page on which the oracle finds nothing to do."""
    return Move(action=Action(type="call_user"), words="not possible")


def quoted(goal: str) -> list[str]:
    """The texts between quotation marks.

    >>> quoted('Enter "a b" and "c".')
    ['a b', 'c']
    """
    return re.findall(r'"([^"]*)"', goal)


def put_in_words(move: Move, seen: Observation) -> str:
    """The move's instruction, by names that the element tree shows for its target.

    Of several ways to say it, the first is taken that the element tree's agent understands as meant.
    """
    if move.target is None or move.action.point is None:
        return move.words
    names = _names(move, seen)
    agent = ElementTreeAgent()
    bare = Action(type=move.action.type, value=move.action.value)
    for name in names:
        said = move.words.format(what=name)
        try:
            point = agent.ground(seen, bare, said).action
        except ExecutorError:  # no element tree: any words do
            break
        if point is not None and _contains(move.target.box, point.point):
            return said
    return move.words.format(what=names[0])


def _names(move: Move, seen: Observation) -> list[str]:
    under = [element for element in seen.elements if element.box.contains(move.action.point) and element.text]
    under.sort(key=lambda e: (e.is_clickable, -(e.box.right - e.box.left) * (e.box.bottom - e.box.top)), reverse=True)
    named = [f'the "{element.text}" {element.role}' for element in under]
    node = move.target
    own = node.text or node.title or node.id or " ".join(node.classes[:1]) or node.tag
    return [*named, *(f'"{element.text}"' for element in under), f'the "{own[:60]}" {node.tag}']


def _contains(box: tuple[float, float, float, float], point: PointNorm) -> bool:
    x, y = point.x * SIZE_PX.width_px, point.y * SIZE_PX.height_px
    return box[0] <= x <= box[2] and box[1] <= y <= box[3]


def _norm(point: tuple[float, float]) -> PointNorm:
    return PointNorm(point[0] / SIZE_PX.width_px, point[1] / SIZE_PX.height_px)


def _scroll_to(page: PageTree, node: Node) -> Move:
    """Scrolls the nearest part of the page that can be, else the page."""
    moving = next((above for above in page.ancestors(node) if above.scroll[1] > 8 and above.point), page.nodes[0])
    middle = (moving.box[1] + moving.box[3]) / 2
    direction = "down" if (node.box[1] + node.box[3]) / 2 > middle else "up"
    action = Action(type="scroll", point=_norm(moving.point or (80.0, 130.0)), direction=direction)
    return Move(action=action, words=f"scroll {direction}")
