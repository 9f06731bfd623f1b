"""A page's elements as oracles read them: what stands in the DOM, and where each can be pointed at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One element; `index` is its place in document order, `parent` its parent's (-1 for the body).

    Boxes (left, top, right, bottom) and points (x, y) are CSS pixels of the viewport. `point` is None where the page
    does not find the element at any point. `text` holds all text inside, `own_text` only what is in no child; `value`
    is a form field's. `shift` is how far the element was moved from its own place (right, down), `scroll` is (pixels
    scrolled down, most that can be).
    """

    index: int
    parent: int
    tag: str
    id: str = ""
    classes: tuple[str, ...] = ()
    kind: str = ""
    text: str = ""
    own_text: str = ""
    title: str = ""
    value: str | None = None
    options: tuple[str, ...] = ()
    is_checked: bool = False
    is_focused: bool = False
    color: str = ""
    box: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    point: tuple[float, float] | None = None
    shift: tuple[float, float] = (0.0, 0.0)
    scroll: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class PageTree:
    """The task in words, and all elements of its page in document order."""

    goal: str
    nodes: tuple[Node, ...]

    @classmethod
    def of_records(cls, goal: str, records: Sequence[Mapping[str, Any]]) -> PageTree:
        """The tree of what assets/js/page_tree.js returns."""
        nodes = (
            Node(index=index, **{key: tuple(v) if isinstance(v, list) else v for key, v in record.items()})
            for index, record in enumerate(records)
        )
        return cls(goal=goal, nodes=tuple(nodes))

    def all(
        self, *, tag: str = "", cls: str = "", kind: str = "", text: str | None = None, inside: Node | None = None
    ) -> list[Node]:
        """The elements that fit everything said, in document order; tags may be several, separated by spaces.

        >>> tree = PageTree.of_records("", [{"parent": -1, "tag": "body"}, {"parent": 0, "tag": "p", "text": "Hi"}])
        >>> [node.text for node in tree.all(tag="p a", text="Hi")]
        ['Hi']
        """
        return [
            node for node in self.nodes
            if (not tag or node.tag in tag.split()) and (not cls or cls in node.classes)
            and (not kind or node.kind == kind) and (text is None or node.text == text)
            and (inside is None or self.is_inside(node, inside))
        ]  # fmt: skip

    def first(self, **fits: Any) -> Node | None:
        """The first of `all`, None when there is none."""
        return next(iter(self.all(**fits)), None)

    def by_id(self, id: str) -> Node | None:
        """The element with this id, None when it is not there."""
        return next((node for node in self.nodes if node.id == id), None)

    def ancestors(self, node: Node) -> Iterator[Node]:
        """The element's parent, its parent, and so on to the body."""
        while node.parent >= 0:
            node = self.nodes[node.parent]
            yield node

    def is_inside(self, node: Node, outer: Node) -> bool:
        """Whether the element lies below another in the document."""
        return any(above is outer for above in self.ancestors(node))
