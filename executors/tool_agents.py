"""Frozen tool agents: a step instruction in words becomes a grounded action.

The planner says what to do ('tap the "Save" button'); the tool agent finds where. It learns nothing and remembers
nothing. When it finds no target, or several, it says so and points at none of them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from executors.actions import Action, ArgKind
from executors.errors import ExecutorError, InputError
from executors.geometry import BoxNorm, PointNorm
from executors.trajectory import Element, Observation


@dataclass(frozen=True, slots=True, kw_only=True)
class Grounding:
    """What a tool agent made of one step.

    `action` is the action with its points set, or None with a `reason`. `target` is the box meant (of the thing
    dragged, for a drag), `num_candidates` how many elements fitted: 1 when found, 0 or several when not; 0 also for
    actions that point at nothing.
    """

    action: Action | None
    target: BoxNorm | None = None
    reason: str | None = None
    num_candidates: int = 0


class ToolAgent(Protocol):
    """Grounds one step on what is seen now; keeps no state between calls."""

    name: str

    def ground(self, observation: Observation, action: Action, instruction: str) -> Grounding:
        """The grounded action, or why there is none; raises ExecutorError("ground") when the agent itself fails."""
        ...


GroundRequest = tuple[Observation, Action, str]
"""What `ToolAgent.ground` is asked: what is seen, the action, its instruction."""


def ground_each(agent: ToolAgent, requests: Sequence[GroundRequest]) -> list[Grounding | ExecutorError]:
    """Grounds many steps, concurrently where the agent can; each failure stands in its own place."""
    own = getattr(agent, "ground_each", None)
    if own is not None:
        return own(requests)
    results: list[Grounding | ExecutorError] = []
    for request in requests:
        try:
            results.append(agent.ground(*request))
        except ExecutorError as error:
            results.append(error)
    return results


def get_tool_agent(name: str) -> ToolAgent:
    """The tool agent of a name ("elements"), or of a model at a server ("ui-tars-1.5@http://localhost:8000/v1").

    Raises:
        InputError: the name is unknown, or the server is not allowed (see `vision_agents.load_vision_agent`).
    """
    if "@" in name:
        from executors.vision_agents import load_vision_agent  # here, since it builds on this module

        return load_vision_agent(name)
    if name not in _AGENTS:
        choices = ", ".join(_AGENTS)
        raise InputError(f"tool agent {name!r} is unknown: choose one of {choices}, or a model at a server: NAME@URL")
    return _AGENTS[name]()


# Words for roles in instructions -> the roles they may mean in an element tree.
ROLE_WORDS: dict[str, frozenset[str]] = {
    word: frozenset(roles.split())
    for word, roles in {
        "app": "icon app",
        "bar": "slider bar",
        "box": "field checkbox",
        "button": "button",
        "card": "row card",
        "checkbox": "checkbox switch",
        "chip": "button tab chip",
        "entry": "row field",
        "field": "field",
        "file": "row icon file",
        "folder": "row icon folder",
        "icon": "icon image button",
        "image": "image",
        "input": "field",
        "item": "row item menuitem",
        "label": "text",
        "link": "link",
        "message": "row message",
        "option": "row option radio",
        "photo": "image",
        "picture": "image",
        "radio": "radio",
        "row": "row",
        "slider": "slider",
        "switch": "switch",
        "tab": "tab",
        "text": "text field",
        "textbox": "field",
        "tile": "icon tile",
        "toggle": "switch",
    }.items()
}

_STOP_WORDS = frozenset(
    "a an and at by click choose double drag find for from go hover in into it long move next now of on onto open "
    "over please press right select swipe tap that the then this to touch triple with middle left".split()
)
_PLACE_WORDS = frozenset("bottom center centre corner lower page screen side top upper".split())
_PREPOSITIONS = frozenset("above at below beside by from in inside into near next of on over to under with".split())
_WORD = re.compile(r"[^\W_]+(?:['-][^\W_]+)*")
_NUMBER = re.compile(r"[-+]?\d{1,6}(?:\.\d{1,6})?(?=\s*%?\s*$)")
_NOTE = re.compile(r'\s*(?:note|remember)\s+(?:"[^"]*"|“[^”]*”)\s+and\s+(?=\S)', re.IGNORECASE)
_TRAILING_NUMBER = re.compile(r"\bto\s+([-+]?\d{1,6}(?:\.\d{1,6})?)\s*%?\s*\.?\s*$")


@dataclass(frozen=True, slots=True)
class _Mention:
    """A label in quotes and the roles said with it; no roles when none were said."""

    label: str
    roles: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Match:
    """The element meant and its visible box, or why none; `num` elements fitted."""

    element: Element | None
    box: BoxNorm | None
    num: int
    reason: str | None = None


class ElementTreeAgent:
    """Grounds an instruction on the observation's element tree.

    A label in quotes is looked up in this order, and the first that fits any element decides: the exact label with
    the role said, the exact label, the same two without regard to case, spaces and typographic marks, then the same
    four on the elements' values (a field by its text). Parts of labels never match. Elements that cannot be clicked
    count only when no other fits; boxes inside one another count as one thing, the innermost. Of several that fit,
    the one inside the thing named by a later label is taken ('the "Delete" button of the "Milk" row'). Without
    quotes, the element that shares most words wins, if it alone does; where nothing but a role and a place is said
    ('the field at the bottom'), the only element of that role.

    A note to oneself at the start ('note "4821" and tap the "Home" button') names no target.

    Points that an action already has are kept. Actions that need no point pass unchanged; `scroll` gets one when its
    instruction names an element.
    """

    name = "elements"

    def ground(self, observation: Observation, action: Action, instruction: str) -> Grounding:
        """The action with its points set; see the class.

        Args:
            observation: what is seen now; its `elements` are searched.
            action: the forecast action; its points may be None.
            instruction: the step in words.

        Raises:
            ExecutorError: at "ground", when a target is needed and the observation holds no element tree.

        >>> from executors.geometry import BoxNorm
        >>> save = Element(role="button", text="Save", box=BoxNorm(0.2, 0.4, 0.4, 0.6))
        >>> seen = Observation(elements=(save,))
        >>> ElementTreeAgent().ground(seen, Action(type="click"), 'tap the "Save" button').action.point
        PointNorm(x=0.30000000000000004, y=0.5)
        >>> ElementTreeAgent().ground(seen, Action(type="click"), 'tap the "Send" button').reason
        'no element "Send" (button) on this screen'
        """
        instruction = _NOTE.sub("", instruction, count=1) if _NOTE.match(instruction) else instruction
        points = [arg for arg in action.spec.args if arg.kind is ArgKind.POINT]
        is_needed = any(arg.required and getattr(action, arg.name) is None for arg in points)
        given = [value for arg in points if (value := getattr(action, arg.name)) is not None]
        if not is_needed and given:
            return keep_points(action, given[0], observation.elements)
        if not is_needed and action.type != "scroll":
            return Grounding(action=action)
        visible = [(e, box) for e in observation.elements if (box := _visible_part(e.box)) is not None]
        if not is_needed:
            return _ground_scroll(action, visible, instruction)
        if not observation.elements:
            raise ExecutorError("ground", "the observation has no element tree, so no target can be found in it")
        if not instruction.strip():
            return Grounding(action=None, reason="the instruction is empty")
        if action.type == "drag":
            return _ground_drag(action, visible, instruction)
        match = _find_single(visible, instruction, ignore=action.value)
        if match.box is None:
            return Grounding(action=None, reason=match.reason, num_candidates=match.num)
        return Grounding(action=replace(action, point=match.box.center), target=match.box, num_candidates=1)


_AGENTS: dict[str, Callable[[], ToolAgent]] = {ElementTreeAgent.name: ElementTreeAgent}

_Visible = Sequence[tuple[Element, BoxNorm]]


def _visible_part(box: BoxNorm) -> BoxNorm | None:
    """The part of the box on the image; None when there is none (NaN edges included)."""
    left, top, right, bottom = max(box.left, 0.0), max(box.top, 0.0), min(box.right, 1.0), min(box.bottom, 1.0)
    return BoxNorm(left, top, right, bottom) if left < right and top < bottom else None


def _area(box: BoxNorm) -> float:
    return (box.right - box.left) * (box.bottom - box.top)


def keep_points(action: Action, point: PointNorm, elements: Iterable[Element]) -> Grounding:
    """The action as it is; its target is the smallest of the elements under the point, if there is one."""
    boxes = [box for e in elements if (box := _visible_part(e.box)) is not None and box.contains(point)]
    target = min(boxes, key=_area, default=None)
    return Grounding(action=action, target=target, num_candidates=0 if target is None else 1)


def _ground_scroll(action: Action, visible: _Visible, instruction: str) -> Grounding:
    mentions = _mentions(instruction, visible)
    if not mentions:
        return Grounding(action=action)
    match = _find_label(mentions[0], visible, mentions[1:])
    if match.box is None:
        return Grounding(action=None, reason=match.reason, num_candidates=match.num)
    return Grounding(action=replace(action, point=match.box.center), target=match.box, num_candidates=1)


def _find_single(visible: _Visible, instruction: str, ignore: str | None = None) -> _Match:
    """The one element of an instruction; `ignore` is a quoted value that is no target (an option to select)."""
    mentions = _mentions(instruction, visible)
    if len(mentions) > 1 and ignore is not None:
        mentions = [m for m in mentions if _normal(m.label) != _normal(ignore)] or mentions
    if mentions:
        return _find_label(mentions[0], visible, mentions[1:])
    return _find_words(instruction, visible)


def _ground_drag(action: Action, visible: _Visible, instruction: str) -> Grounding:
    """A slider is dragged from its knob to a value 0..100, anything else from one element's middle to another's."""
    mentions = _mentions(instruction, visible)
    start_words, _, end_words = instruction.rpartition(" to ")
    if mentions:
        start = _find_label(mentions[0], visible, ())
    else:
        start = _find_words(start_words or instruction, visible)
    if start.element is None:
        return Grounding(action=None, reason=start.reason, num_candidates=start.num)
    if start.element.role == "slider":
        number = _NUMBER.match(mentions[1].label.strip()) if len(mentions) > 1 else None
        text = number[0] if number else (m[1] if (m := _TRAILING_NUMBER.search(instruction)) else None)
        if text is not None:
            return _ground_slider(action, start, float(text))
    if len(mentions) > 1:
        end = _find_label(mentions[1], visible, ())
    elif not mentions and start_words:
        end = _find_words(end_words, visible)
    else:
        return Grounding(action=None, reason="a drag names two places: from where and to where", target=start.box)
    if end.box is None:
        return Grounding(action=None, reason=end.reason, num_candidates=end.num)
    if end.box == start.box:
        return Grounding(action=None, reason="a drag names two different places, not one twice", target=start.box)
    grounded = replace(
        action, start_point=action.start_point or start.box.center, end_point=action.end_point or end.box.center
    )
    return Grounding(action=grounded, target=start.box, num_candidates=1)


def _ground_slider(action: Action, slider: _Match, value: float) -> Grounding:
    """`value` and the slider's present value are 0..100 of its width, from the left."""
    now = _NUMBER.match((slider.element.value or "").strip())
    if not 0 <= value <= 100:
        return Grounding(action=None, reason=f"slider value {value:g} is outside 0..100", num_candidates=1)
    if action.start_point is None and (now is None or not 0 <= float(now[0]) <= 100):
        reason = f'slider "{slider.element.text}" does not say where its knob is'
        return Grounding(action=None, reason=reason, num_candidates=1)

    def point_at(percent: float) -> PointNorm:
        box = slider.box
        return PointNorm(box.left + percent / 100 * (box.right - box.left), box.center.y)

    start = action.start_point or point_at(min(99.0, max(1.0, float(now[0]))))  # just inside at either end
    grounded = replace(action, start_point=start, end_point=action.end_point or point_at(value))
    return Grounding(action=grounded, target=slider.box, num_candidates=1)


def _mentions(instruction: str, visible: _Visible) -> list[_Mention]:
    """The labels in quotes, in order, with the roles said right after them (or else right before)."""
    inner = sorted({e.text for e, _ in visible if '"' in e.text}, key=len, reverse=True)
    straight = "|".join([*map(re.escape, inner), '[^"]*'])
    quoted = list(re.finditer(f'"({straight})"|“([^”]*)”|«([^»]*)»', instruction))
    tree_roles = {e.role for e, _ in visible}
    mentions = []
    for number, match in enumerate(quoted):
        before = instruction[quoted[number - 1].end() if number else 0 : match.start()]
        after = instruction[match.end() : quoted[number + 1].start() if number + 1 < len(quoted) else None]
        label = next(group for group in match.groups() if group is not None)
        mentions.append(_Mention(label, _roles_after(after, tree_roles) or _roles_before(before, tree_roles)))
    return mentions


def _roles_of(word: str, tree_roles: set[str]) -> frozenset[str]:
    return ROLE_WORDS.get(word, frozenset()) | (frozenset({word}) & tree_roles)


def _roles_after(text: str, tree_roles: set[str]) -> frozenset[str]:
    for word in _WORD.findall(re.split(r"[,.;:]", text, maxsplit=1)[0].casefold())[:4]:
        if word in _PREPOSITIONS:
            break
        if roles := _roles_of(word, tree_roles):
            return roles
    return frozenset()


def _roles_before(text: str, tree_roles: set[str]) -> frozenset[str]:
    words = _WORD.findall(text.casefold())
    return _roles_of(words[-1], tree_roles) if words else frozenset()


_SAME_MARKS = str.maketrans("’‘ʼ‐‑‒–—−", "'''------")


def _normal(text: str) -> str:
    """The label without regard to case, spaces, invisible and typographic marks.

    >>> _normal(" Wi‑Fi… ") == _normal("wi-fi")
    True
    """
    text = unicodedata.normalize("NFKC", text.translate(_SAME_MARKS)).casefold()
    text = "".join(c for c in text if unicodedata.category(c) != "Cf")
    return " ".join(text.split()).rstrip(".:… ") or " ".join(text.split())


def _find_label(mention: _Mention, visible: _Visible, context: Sequence[_Mention]) -> _Match:
    said = f' ({" or ".join(sorted(mention.roles))})' if mention.roles else ""
    wanted = _normal(mention.label)
    if not wanted:
        return _Match(None, None, 0, f"the instruction names an empty label{said}")
    for text_of in (lambda e: e.text, lambda e: e.value or ""):
        for is_same in (lambda t: t == mention.label, lambda t: _normal(t) == wanted):
            found = [(e, b) for e, b in visible if is_same(text_of(e))]
            for some in ([(e, b) for e, b in found if e.role in mention.roles], found):
                if some:
                    return _choose(some, f'"{mention.label}"{said}', visible, context)
    return _Match(None, None, 0, f'no element "{mention.label}"{said} on this screen')


def _choose(found: _Visible, name: str, visible: _Visible, context: Sequence[_Mention]) -> _Match:
    """The one element meant by those that fit, if it is one."""
    found = [(e, b) for e, b in found if e.is_clickable] or found
    smallest = min(found, key=lambda pair: _area(pair[1]))
    if all(_is_inside(smallest[1], box) for _, box in found):
        return _Match(*smallest, 1)
    for other in context:
        place = _find_label(other, visible, ())
        if place.box is not None:
            inside = [(e, b) for e, b in found if place.box.contains(b.center)]
            if len(inside) == 1:
                return _Match(*inside[0], 1)
    return _Match(None, None, len(found), f"{len(found)} elements fit {name}: say which one is meant")


def _is_inside(inner: BoxNorm, outer: BoxNorm, slack: float = 1e-6) -> bool:
    return (
        outer.left - slack <= inner.left
        and outer.top - slack <= inner.top
        and inner.right <= outer.right + slack
        and inner.bottom <= outer.bottom + slack
    )


def _find_words(instruction: str, visible: _Visible) -> _Match:
    """The element that shares most words with an instruction without quotes, by label, else by role alone.

    A word such as "next" counts as a label's where it is written as a name ("tap Next") and is a whole label here.
    """
    names = {word.casefold() for word in _WORD.findall(instruction)[1:] if word[0].isupper()}
    words = set(_WORD.findall(_normal(instruction))) - (_STOP_WORDS - (names & {_normal(e.text) for e, _ in visible}))
    tree_roles = {e.role for e, _ in visible}
    roles = frozenset().union(*(_roles_of(word, tree_roles) for word in words))
    scored = []
    for element, box in visible:
        own = set(_WORD.findall(_normal(element.text or element.value or "")))
        overlap = 2 * len(words & own) / (len(words) + len(own)) if words and own else 0.0
        if overlap:
            scored.append(((round(overlap, 9), element.role in roles), element, box))
    if scored:
        best = max(score for score, _, _ in scored)
        return _choose([(e, b) for s, e, b in scored if s == best], repr(instruction[:60]), visible, ())
    of_role = [(e, b) for e, b in visible if e.role in roles]
    if of_role and all(_roles_of(word, tree_roles) for word in words - _PLACE_WORDS):
        return _choose(of_role, repr(instruction[:60]), visible, ())
    return _Match(None, None, 0, f"no element shares a word with {instruction[:60]!r}")
