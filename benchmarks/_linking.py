"""Attacks on what routing keys say that need no known patients: linking, and published statistics.

The attacker sees keys, or codes of sketches, and has no secret.
"""

import random
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from qis.fingerprint import Cells, Everything, Level, LoadBudget, NearestCells, Ontology, TermScheme

Terms = frozenset[str]
Marks = Sequence[frozenset[Hashable]]
Sees = Callable[[Terms, int], frozenset[Hashable]]
"""Terms of a patient and the number of the publication to what the attacker sees of it."""
SECRET = bytes(range(32))
_ISSUER = bytes(32)
_FIRST_SEQUENCE = 1_800_000_000_000_000
_REPUBLISHED = 300
_COMMONEST = 20


def unsecret_figures(
    ontology: Ontology, patients: Sequence[Terms], cells: Cells
) -> dict[str, float]:
    """By level: share of patients who are linked, and of common terms that are recognised."""
    scheme = TermScheme(ontology, secret=SECRET)
    used = [frozenset(scheme.resolve(terms).terms) for terms in patients]
    rows = random.Random(2).sample(range(len(used)), min(_REPUBLISHED, len(used)))
    again = [_seen_again(ontology, used[row], row) for row in rows]

    def sealed(terms: Terms, number: int) -> frozenset[Hashable]:
        fingerprint = scheme.seal(scheme.fingerprint(terms), _ISSUER, _FIRST_SEQUENCE + number)
        return frozenset(scheme.written(fingerprint.sketch))

    def opened(terms: Terms, _: int) -> frozenset[Hashable]:
        return frozenset(scheme.written(scheme.fingerprint(terms).sketch))

    levels: dict[str, Level] = {
        "keys_budget": LoadBudget(),
        "keys_small_budget": LoadBudget(0.5, 5.5),
        "keys_cells": NearestCells(cells, 8),
        "keys_everything": Everything(sites=100),
    }

    def keyed(level: Level) -> Sees:
        return lambda terms, _: frozenset(scheme.base_keys(terms, levels=[level]))

    def over_an_edge(terms: Terms, number: int) -> frozenset[Hashable]:
        """The default level; who is published again is so in the next epoch."""
        epoch = 200 + (number >= len(used))
        return frozenset(scheme.keys_of_epoch(scheme.base_keys(terms), epoch))

    views: dict[str, Sees] = {"sketch": sealed, "unsealed_sketch": opened}
    views |= {name: keyed(level) for name, level in levels.items()}
    views["keys_budget_next_epoch"] = over_an_edge
    told = [ontology.most_specific(terms) for terms in used]
    found = {}
    for name, view in views.items():
        first = [view(terms, row) for row, terms in enumerate(used)]
        second = [view(terms, len(used) + row) for row, terms in zip(rows, again, strict=True)]
        found[f"linked_{name}"] = linked(first, second, rows)
        level = levels.get(name)
        if view is over_an_edge:
            continue
        if level is None:
            found[f"recognised_{name}"] = recognised(first, told)
        elif isinstance(level, LoadBudget):
            meant = [frozenset(map(bytes.hex, level.contents(t, ontology))) for t in used]
            found[f"recognised_{name}"] = recognised(first, meant)
    return found


def linked(first: Marks, second: Marks, rows: Sequence[int]) -> float:
    """Share of patients, published anew, whose nearest first publication is their own, alone.

    Parameters
    ----------
    first
        What is seen of each patient.
    second
        What is seen of some of them again.
    rows
        Which these are.

    """
    holders: dict[Hashable, list[int]] = {}
    for row, marks in enumerate(first):
        for mark in marks:
            holders.setdefault(mark, []).append(row)
    right = 0
    for row, marks in zip(rows, second, strict=True):
        shared = Counter(other for mark in marks for other in holders.get(mark, ()))
        if not shared:
            continue
        alike = {other: count / len(first[other] | marks) for other, count in shared.items()}
        best = max(alike.values())
        right += [other for other, value in alike.items() if value == best] == [row]
    return right / len(rows)


def recognised(seen: Marks, meant: Sequence[Terms]) -> float:
    """Of the commonest terms the share that their frequency alone gives away.

    The attacker orders the marks of half of the patients by how often they are seen, and terms by
    how often the other half has them, as if that had been published.

    Parameters
    ----------
    seen
        Marks of each patient.
    meant
        The terms that each patient's marks stand for.

    """
    marks, terms = _rows(seen[::2]), _rows(meant[::2])
    order = sorted(marks, key=lambda mark: (-len(marks[mark]), str(mark)))[:_COMMONEST]
    published = Counter(term for each in meant[1::2] for term in each)
    guesses = [term for term, _ in published.most_common(_COMMONEST)]
    # A mark stands for the term that the same patients have, but for a few whose sketch is full.
    pairs = zip(order, guesses, strict=True)
    right = [len(marks[m] & terms[t]) > 0.9 * len(marks[m] | terms[t]) for m, t in pairs]
    return sum(right) / _COMMONEST


def _rows(held: Sequence[frozenset[Any]]) -> dict[Any, frozenset[int]]:
    """Who has what."""
    rows: dict[Any, set[int]] = {}
    for row, each in enumerate(held):
        for item in each:
            rows.setdefault(item, set()).add(row)
    return {item: frozenset(of) for item, of in rows.items()}


def _seen_again(ontology: Ontology, terms: Terms, seed: int) -> Terms:
    """The patient at another time: one of the most specific terms is gone, if there are several."""
    telling = sorted(ontology.most_specific(terms))
    if len(telling) > 1:
        telling.remove(random.Random(seed).choice(telling))
    return frozenset(telling)
