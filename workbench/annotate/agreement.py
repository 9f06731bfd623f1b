"""How far two annotations of one task agree: of single steps after an alignment, and of the whole.

Two people may take different numbers of steps, so step n of one is not step n of the other. Steps are first aligned
(`align`), and everything that is said of steps is said of aligned pairs; a step without a partner counts in
`num_unmatched` and nowhere else. Figures of several trajectories are pooled over all their steps, except length and
stop, which are means over trajectories.

Sources: alignment, Wagner and Fischer, "The String-to-String Correction Problem", JACM 21 (1974); kappa, Cohen, "A
Coefficient of Agreement for Nominal Scales", EPM 20 (1960); alpha, Krippendorff, "Computing Krippendorff's
Alpha-Reliability" (2011). Words and arguments are compared as the rewards do it (`training.rewards`). Comparing whole
trajectories in this way is ours.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from executors.actions import Action, ArgKind
from executors.geometry import PointNorm
from executors.trajectory import Step
from training.rewards import argument_agreement, instruction_similarity
from workbench.annotate.document import Document

T = TypeVar("T")
TOLERANCE = 0.04
"""Greatest normalised distance of two points that mean the same where no box is known: UI-S1's threshold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """The figures of some pairs of annotations; None where nothing could be measured.

    `type_kappa` and `type_alpha` are about the action types of aligned steps, at most 1, 0 for chance. `hit_rate` is
    about points (`point_hit`), `argument_agreement` and `instruction_similarity` about steps of one type and about
    aligned steps, all 0..1. `length_agreement` is shorter length / longer length, `stop_agreement` the share that ends
    with the same of `finished`, `call_user` and neither.
    """

    num_trajectories: int
    num_aligned: int
    num_unmatched: int
    type_kappa: float | None
    type_alpha: float | None
    hit_rate: float | None
    argument_agreement: float | None
    instruction_similarity: float | None
    length_agreement: float | None
    stop_agreement: float | None


def agreement(pairs: Iterable[tuple[Document, Document]], tolerance: float = TOLERANCE) -> Agreement:
    """The agreement of pairs of annotations, each of one task; no pair gives only None.

    Args:
        pairs: the two annotations of each task.
        tolerance: see `point_hit`.
    """
    types: list[tuple[str, str]] = []
    hits: list[float] = []
    arguments: list[float] = []
    words: list[float] = []
    lengths: list[float] = []
    stops: list[bool] = []
    num_unmatched = 0
    for first, second in pairs:
        a, b = ([step.step for step in document.steps] for document in (first, second))
        for i, j in align(a, b, lambda x, y: 1.0 - step_similarity(x, y, tolerance)):
            if i is None or j is None:
                num_unmatched += 1
                continue
            types.append((a[i].action.type, b[j].action.type))
            words.append(instruction_similarity(a[i].instruction, b[j].instruction))
            if a[i].action.type == b[j].action.type:
                arguments.append(argument_agreement(a[i].action, b[j].action))
                hit = point_hit(a[i], b[j], tolerance)
                hits += [] if hit is None else [hit]
        lengths.append(min(len(a), len(b)) / max(len(a), len(b)))
        stops.append(_stop(a[-1].action) == _stop(b[-1].action))
    return Agreement(
        num_trajectories=len(lengths), num_aligned=len(types), num_unmatched=num_unmatched,
        type_kappa=cohens_kappa(types), type_alpha=krippendorffs_alpha(types), hit_rate=_mean(hits),
        argument_agreement=_mean(arguments), instruction_similarity=_mean(words), length_agreement=_mean(lengths),
        stop_agreement=_mean(stops),
    )


def agreement_by_person(
    passes: Iterable[tuple[str, str, Document, str, Document]], tolerance: float = TOLERANCE
) -> dict[str, Agreement]:
    """The agreement of each annotator with whoever annotated the same tasks, by name.

    Args:
        passes: (trajectory, first annotator, their document, second annotator, theirs), as `Queue.second_passes` gives.
        tolerance: see `point_hit`.
    """
    pairs: dict[str, list[tuple[Document, Document]]] = defaultdict(list)
    for _, first, one, second, two in passes:
        pairs[first].append((one, two))
        pairs[second].append((two, one))
    return {person: agreement(found, tolerance) for person, found in sorted(pairs.items())}


def align(a: Sequence[T], b: Sequence[T], cost: Callable[[T, T], float]) -> list[tuple[int | None, int | None]]:
    """The cheapest alignment of two sequences: pairs of indices in order, None opposite an item without a partner.

    Leaving an item out costs 1, pairing two costs `cost` (0..1), so two items that differ in all are still paired
    rather than both left out, and disagreement is seen. Of equally cheap alignments the one is taken that pairs the
    later items. An empty sequence leaves all items of the other without partners.

    Source: Wagner and Fischer 1974, with a weighted substitution.

    >>> align("click", "lick", lambda x, y: float(x != y))
    [(0, None), (1, 0), (2, 1), (3, 2), (4, 3)]
    """
    prices = [[cost(x, y) for y in b] for x in a]
    best = [[float(i + j) for j in range(len(b) + 1)] for i in range(len(a) + 1)]
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            best[i][j] = min(best[i - 1][j - 1] + prices[i - 1][j - 1], best[i - 1][j] + 1, best[i][j - 1] + 1)
    found: list[tuple[int | None, int | None]] = []
    i, j = len(a), len(b)
    while i or j:
        if i and j and best[i][j] == best[i - 1][j - 1] + prices[i - 1][j - 1]:
            i, j = i - 1, j - 1
            found.append((i, j))
        elif i and best[i][j] == best[i - 1][j] + 1:
            i -= 1
            found.append((i, None))
        else:
            j -= 1
            found.append((None, j))
    return found[::-1]


def step_similarity(a: Step, b: Step, tolerance: float = TOLERANCE) -> float:
    """How alike two steps are, 0..1: half for the type, a quarter each for the rest of the action and the words.

    The rest is the mean of `point_hit` (where both have points) and `argument_agreement`; it is 0 when types differ.
    The weights are ours; they only decide which steps are paired.
    """
    words = 0.25 * instruction_similarity(a.instruction, b.instruction)
    if a.action.type != b.action.type:
        return words
    rest = [argument_agreement(a.action, b.action)]
    hit = point_hit(a, b, tolerance)
    rest += [] if hit is None else [hit]
    return 0.5 + 0.25 * sum(rest) / len(rest) + words


def point_hit(a: Step, b: Step, tolerance: float = TOLERANCE) -> float | None:
    """Whether two steps of one type point at the same: 1, 0, or 0.5 when only one of them hits the other.

    A point hits the other step where it lies in that one's target box, or, where that has none, within `tolerance` of
    its point. A drag hits where both ends do; its end has no box. None when either lacks a point that the type needs,
    or the type needs none.

    >>> from executors.trajectory import Observation
    >>> def step(x, target=None):
    ...     action = Action(type="click", point=PointNorm(x, 0.5))
    ...     return Step(observation=Observation(), action=action, instruction="", target=target)
    >>> from executors.geometry import BoxNorm
    >>> point_hit(step(0.5), step(0.53)), point_hit(step(0.5, BoxNorm(0.45, 0.4, 0.55, 0.6)), step(0.6))
    (1.0, 0.0)
    """
    names = [arg.name for arg in a.action.spec.args if arg.kind is ArgKind.POINT and arg.required]
    points = [(getattr(a.action, name), getattr(b.action, name)) for name in names]
    if not points or any(None in pair for pair in points):
        return None
    forth = all(_hits(mine, b, theirs, name, tolerance) for name, (mine, theirs) in zip(names, points))
    back = all(_hits(theirs, a, mine, name, tolerance) for name, (mine, theirs) in zip(names, points))
    return (forth + back) / 2


def _hits(point: PointNorm, other: Step, wanted: PointNorm, name: str, tolerance: float) -> bool:
    if other.target is not None and name != "end_point":
        return other.target.contains(point)
    return point.distance(wanted) <= tolerance


def cohens_kappa(pairs: Sequence[tuple[Hashable, Hashable]]) -> float | None:
    """Cohen's kappa of two raters' labels: (p_o - p_e) / (1 - p_e), with each rater's own frequencies in p_e.

    None without pairs, and where both used one and the same label throughout, because chance then explains everything.

    >>> round(cohens_kappa([("a", "a"), ("a", "a"), ("b", "b"), ("a", "b")]), 3)
    0.5
    """
    total = len(pairs)
    if not total:
        return None
    observed = sum(a == b for a, b in pairs) / total
    first, second = (Counter(labels) for labels in zip(*pairs))
    expected = sum(first[label] * second[label] for label in first) / total**2
    return None if expected == 1 else (observed - expected) / (1 - expected)


def krippendorffs_alpha(units: Iterable[Sequence[Hashable]]) -> float | None:
    """Krippendorff's alpha for nominal labels: 1 - D_o / D_e, from the coincidences within units.

    Any number of raters, and different ones for each unit; a unit with fewer than two labels says nothing. None where
    nothing is left, or only one label occurs.

    Args:
        units: the labels that each unit was given.

    >>> round(krippendorffs_alpha([("a", "a"), ("a", "a"), ("b", "b"), ("a", "b")]), 3)
    0.533
    """
    totals: Counter[Hashable] = Counter()
    num_disagreeing = 0.0
    for labels in units:
        if len(labels) < 2:
            continue
        counts = Counter(labels)
        totals += counts
        num_disagreeing += sum(n * (len(labels) - n) for n in counts.values()) / (len(labels) - 1)
    total = sum(totals.values())
    expected = total**2 - sum(n**2 for n in totals.values())
    return None if expected == 0 else 1 - (total - 1) * num_disagreeing / expected


def _stop(last: Action) -> str:
    return last.type if last.is_terminal else ""


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
