"""Differencing: what releases show together and none of them shows alone, by subtraction.

Two releases show the people in whom they differ, and several can show more: a union published after
its parts, say. So all releases whose people are known are taken together. Groups of people that no
release tells apart ("atoms") are the columns of a matrix, releases are its rows, and whatever an
outsider gets by adding and subtracting is in the space of the rows. That space holds a sum over
small atoms alone exactly if its rank is larger than the rank of the large atoms' columns; a release
that enlarges this difference is refused.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from qis.disclosure.ledger import Emission, Subjects
from qis.disclosure.presets import Preset
from qis.disclosure.refusal import refuse

RULE = "difference"


def check_differences(rules: Preset, new: Emission, formers: Sequence[Emission]) -> None:
    """Raise `DisclosureError` if a new release, together with former ones, shows a few people.

    Where subjects are not known, numbers of people within one cohort are compared.
    """
    others = [
        former
        for former in formers
        if former.digest != new.digest
        # Of another study about the same question numbers alone say nothing.
        if former.study_id == new.study_id or new.difference(former) is not None
    ]
    for former in others:
        if new.difference(former) is not None:
            _check_pair(rules, new, former)
        elif former.cohort == new.cohort:
            _compare_numbers(rules, new, former)
    _check_together(rules, new, others)


def compared(new: Emission, formers: Sequence[Emission]) -> list[str]:
    """Tell in words how a release differs from each former one with people in common."""
    lines = []
    for former in formers:
        difference = new.difference(former)
        if difference is not None and (new.overlaps(former) or former.cohort == new.cohort):
            lines.append(
                f"by comparing with the release for cohort {former.cohort!r}, what "
                f"{difference.added} added, {difference.removed} removed and "
                f"{difference.changed} changed people have in sum"
            )
    return lines


def _check_pair(rules: Preset, new: Emission, former: Emission) -> None:
    difference = new.difference(former)
    if difference is None or (former.cohort != new.cohort and not new.overlaps(former)):
        return
    for name, count in difference._asdict().items():
        if 0 < count < rules.minimum_cell:
            refuse(
                rules,
                RULE,
                f"it differs by a few people {name} from what was released for cohort "
                f"{former.cohort!r}, so subtraction shows them",
                count,
            )


def _compare_numbers(rules: Preset, new: Emission, former: Emission) -> None:
    if new.n is None or former.n is None:
        refuse(rules, RULE, "by how many people it differs is unknown", None)
    apart = abs(new.n - former.n)
    if apart == 0 and new.kind != former.kind:
        return  # another summary of the same people, as far as can be told
    if apart < rules.minimum_cell:
        refuse(
            rules,
            RULE,
            "the number of people differs by too few from what was released for this cohort, and "
            "who they are was not told (subjects=)",
            apart,
        )


def _check_together(rules: Preset, new: Emission, formers: Sequence[Emission]) -> None:
    if new.subjects is None:
        return
    groups: list[Subjects] = []
    for former in formers:
        if former.subjects is not None and former.subjects not in groups:
            groups.append(former.subjects)
    if len(groups) < 2:
        return  # one former release: the comparison in pairs has covered it
    before, after, smallest = _shown(groups, new.subjects, rules.minimum_cell)
    if after > before:
        known = {former.cohort for former in formers if former.subjects is not None}
        cohorts = ", ".join(map(repr, sorted(known)))
        refuse(
            rules,
            RULE,
            f"added to and subtracted from the releases for cohorts {cohorts} it shows a group "
            "of few people",
            smallest,
        )


def _shown(groups: Sequence[Subjects], new: Subjects, limit: int) -> tuple[int, int, int]:
    """Number of independent sums over small atoms before and after; size of the smallest atom."""
    where: Counter[tuple[bytes, bytes]] = Counter()
    for release, group in enumerate((*groups, new)):
        for subject in group.items():
            where[subject] |= 1 << release
    atoms = Counter(where.values())
    former_atoms: Counter[int] = Counter()
    for mask, people in atoms.items():
        former_atoms[mask & ~(1 << len(groups))] += people
    former_atoms.pop(0, None)  # people who are in the new release only
    before = _sums_of_few(former_atoms, len(groups), limit)
    return before, _sums_of_few(atoms, len(groups) + 1, limit), min(atoms.values())


def _sums_of_few(atoms: Counter[int], releases: int, limit: int) -> int:
    """Dimension of the sums over small atoms alone; bit k of an atom's mask: it is in release k."""
    masks = sorted(atoms)
    rows = np.array([[mask >> k & 1 for mask in masks] for k in range(releases)], dtype=float)
    large = np.array([atoms[mask] >= limit for mask in masks])
    if large.all():
        return 0
    of_large = int(np.linalg.matrix_rank(rows[:, large])) if large.any() else 0
    return int(np.linalg.matrix_rank(rows)) - of_large
