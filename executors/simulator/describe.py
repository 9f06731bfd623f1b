"""A screen in words: the thought that a planner is trained to write before its plan."""

from __future__ import annotations

from executors.trajectory import Element, Observation


def describe(observation: Observation) -> str:
    """The short, regular description of a simulator screen, a pure function of its title and elements.

    Elements follow in reading order with their state; a field says "empty" and "focus" where true; a list says
    "more above" and "more below" at its end. A screen without elements is its title alone.

    Args:
        observation: a simulator observation; `summary` is the screen's title.

    >>> from executors.geometry import BoxNorm
    >>> wifi = Element(role="switch", text="Wi-Fi", value="off", box=BoxNorm(0, 0, 1, 0.1))
    >>> hint = Element(role="hint", text="more below", box=BoxNorm(0, 0.9, 1, 1), is_clickable=False)
    >>> describe(Observation(summary="Network", elements=(wifi, hint)))
    'Network : Wi-Fi off . more below'
    """
    parts = [_words(e) for e in observation.elements if e.role != "hint"]
    hints = [e.text for e in observation.elements if e.role == "hint"]
    text = f"{observation.summary} : {' , '.join(parts)}" if parts else observation.summary
    return " . ".join([text, *hints])


def _words(element: Element) -> str:
    role, label, value = element.role, element.text, element.value
    if role == "field":
        return f"field {label} {value or 'empty'}" + (" focus" if element.is_focused else "")
    if role == "dialog":
        return f"dialog {label}".replace("?", " ?")
    prefix = f"{role} " if role in ("button", "tab", "option") else ""
    return f"{prefix}{label}" + (f" {value}" if value else "")
