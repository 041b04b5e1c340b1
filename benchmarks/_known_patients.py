"""The attack of who has some patients' terms and packets, not the secret: it reads the others.

Codes in sketches, and routing keys, are opaque to the attacker. But what stands for a term is in
the packets of all known patients who have it and in none of the others; where that leaves one term,
the attacker has read it, wherever else it stands. Known are the attacker's own cases.
"""

import random
from collections.abc import Hashable, Iterable, Sequence
from statistics import fmean

from qis.fingerprint import Cells, Everything, Level, LoadBudget, NearestCells, Ontology, TermScheme

SECRET = bytes(range(32))
CELLS_EACH = 8
"""Keys of the level of cells that is measured."""
_ISSUER = bytes(32)
_FIRST_SEQUENCE = 1_800_000_000_000_000
LEVELS: dict[str, Level] = {
    "budget": LoadBudget(),
    "small_budget": LoadBudget(0.5, 5.5),
    "everything": Everything(sites=100),
}
Terms = frozenset[str]


def read_of_others(
    marks: Sequence[frozenset[Hashable]],
    contents: Sequence[Terms],
    told: Sequence[Terms],
    known: Iterable[int],
) -> float:
    """Mean share of the other patients' terms that are read.

    Parameters
    ----------
    marks
        What the attacker sees of each patient: codes or keys.
    contents
        What the marks of each patient stand for, as the attacker works out for the known ones.
    told
        Each patient's most specific terms, of which the share is taken.
    known
        Rows of the known patients.

    """
    known = set(known)
    having: dict[Hashable, set[int]] = {}
    for row in known:
        for mark in marks[row]:
            having.setdefault(mark, set()).add(row)
    holders: dict[str, set[int]] = {}
    for row in known:
        for term in contents[row]:
            holders.setdefault(term, set()).add(row)
    by_rows: dict[frozenset[int], list[str]] = {}
    for term, rows in holders.items():
        by_rows.setdefault(frozenset(rows), []).append(term)
    meaning = {
        mark: candidates[0]
        for mark, rows in having.items()
        if len(candidates := by_rows.get(frozenset(rows), [])) == 1
    }
    return fmean(
        len({meaning[mark] for mark in marks[row] if mark in meaning} & told[row]) / len(told[row])
        for row in range(len(marks))
        if row not in known
    )


def known_figures(
    ontology: Ontology,
    patients: Sequence[Terms],
    cells: Cells | None = None,
    counts: Sequence[int] = (50, 200),
) -> dict[str, float]:
    """Share of others' terms that is read, from sealed sketches, unsealed ones, and keys by level.

    A key of cells stands for a group of diseases, not for a term: its figure is the share of the
    other patients' cells that are read.
    """
    scheme = TermScheme(ontology, secret=SECRET)
    used = [frozenset(scheme.resolve(terms).terms) for terms in patients]
    told = [ontology.most_specific(terms) for terms in used]
    opened = scheme.fingerprints(used)
    sealed = [scheme.seal(each, _ISSUER, _FIRST_SEQUENCE + row) for row, each in enumerate(opened)]
    seen: dict[str, tuple[list[frozenset[Hashable]], list[Terms]]] = {
        "sketch": ([_codes(scheme, each.sketch) for each in sealed], told),
        "unsealed_sketch": ([_codes(scheme, each.sketch) for each in opened], told),
    }
    for name, level in LEVELS.items():
        keys = [frozenset(scheme.base_keys(terms, levels=[level])) for terms in used]
        contents = [
            frozenset(each.removeprefix(b"term ").decode() for each in level.contents(t, ontology))
            for t in used
        ]
        seen[f"keys_{name}"] = ([frozenset[Hashable](each) for each in keys], contents)
    read_as = dict.fromkeys(seen, told)
    if cells is not None:
        level = NearestCells(cells, CELLS_EACH)
        keys = [frozenset(scheme.base_keys(terms, levels=[level])) for terms in used]
        numbers = [frozenset(map(bytes.hex, level.contents(terms, ontology))) for terms in used]
        seen["keys_cells"] = ([frozenset[Hashable](each) for each in keys], numbers)
        read_as["keys_cells"] = numbers
    order = random.Random(1).sample(range(len(used)), max(counts))
    found = {
        f"known_{count}_read_{name}": read_of_others(marks, contents, read_as[name], order[:count])
        for name, (marks, contents) in seen.items()
        for count in counts
    }
    # What is known of one epoch, and what it reads of the next.
    base = [scheme.base_keys(terms) for terms in used]
    for count in counts:
        epochs = dict.fromkeys(order[:count], 200)
        dated = [
            frozenset[Hashable](scheme.keys_of_epoch(keys, epochs.get(row, 201)))
            for row, keys in enumerate(base)
        ]
        contents = seen["keys_budget"][1]
        found[f"known_{count}_read_keys_budget_next_epoch"] = read_of_others(
            dated, contents, told, order[:count]
        )
    return found


def _codes(scheme: TermScheme, sketch: bytes) -> frozenset[Hashable]:
    """All codes of a sketch as the attacker reads them, whatever they mean."""
    return frozenset(scheme.written(sketch))
