"""Cells of published diseases: the same everywhere, in whole numbers, and never of own cases."""

import json
import random
import zlib
from fractions import Fraction

import numpy as np
import pytest
from blake3 import blake3
from hypothesis import given, strategies as st

import qis
from qis.errors import InputError, StorageError
from qis.fingerprint import Cells, LoadBudget, NearestCells, Ontology, build_cells

PARENTS = {f"T:{n}": [f"T:{n // 2}"] for n in range(2, 128)}
DISEASES = {
    f"OMIM:{number}": [f"T:{n}" for n in random.Random(number).sample(range(16, 128), 6)]
    for number in range(1, 61)
}
BARE = Ontology("toy/1", PARENTS, None)
ONTOLOGY = Ontology("toy/1", PARENTS, BARE.information_from(DISEASES))
CELLS = build_cells(ONTOLOGY, DISEASES, source="toy 1", count=8)
TERMS = st.lists(st.sampled_from(sorted(PARENTS)), min_size=1, max_size=12)


def test_the_cells_are_those_that_every_machine_makes():
    # Frozen: other whole numbers would lead sites to other keys.
    assert CELLS.digest.hex() == "631527f3eebe0264d16b6e32c4f47e3a"
    assert len(CELLS) == 8
    assert CELLS.digest.hex() in repr(CELLS)


def test_order_names_and_repetition_of_profiles_change_nothing():
    shuffled = list(DISEASES.values())
    random.Random(3).shuffle(shuffled)
    renamed = {f"MONDO:{n}": [*terms, terms[0]] for n, terms in enumerate(shuffled)}
    assert build_cells(ONTOLOGY, renamed, source="other words", count=8).digest == CELLS.digest
    fewer = dict(list(DISEASES.items())[1:])
    assert build_cells(ONTOLOGY, fewer, source="toy 1", count=8).digest != CELLS.digest


@given(TERMS)
def test_the_nearest_cells_are_those_of_the_greatest_cosine(terms):
    closure = ONTOLOGY.closure(terms)
    column = {term: row for row, term in enumerate(CELLS.terms)}
    # The table is weight times centre, so its sums order by the cosine with the profile.
    exact = [
        sum(Fraction(int(CELLS._table[column[t], cell])) for t in closure if t in column)
        for cell in range(len(CELLS))
    ]
    best = sorted(range(len(CELLS)), key=lambda cell: (-exact[cell], cell))
    assert CELLS.nearest(closure, 3) == tuple(cell for cell in best[:3] if exact[cell] > 0)


def test_profiles_of_one_cell_are_more_alike_than_those_of_two():
    scheme = qis.TermScheme(ONTOLOGY)
    prints = {name: scheme.fingerprint(terms) for name, terms in DISEASES.items()}
    cell = {n: CELLS.nearest(ONTOLOGY.closure(t), 1) for n, t in DISEASES.items()}
    within, between = [], []
    for one in DISEASES:
        for other in DISEASES:
            if one < other:
                alike = scheme.similarity(prints[one], prints[other])
                (within if cell[one] == cell[other] else between).append(alike)
    assert np.mean(within) > 1.5 * np.mean(between)


def test_sites_meet_under_equal_cells_whatever_the_release_and_under_no_others():
    newer = Ontology("toy/2", {**PARENTS, "T:900": ["T:64"]}, None)
    level = NearestCells(CELLS, keys=4)
    here, there = (qis.TermScheme(each, levels=[level]) for each in (ONTOLOGY, newer))
    terms = ["T:64", "T:90", "T:33"]
    assert here.id == there.id
    assert here.routing_keys(terms) == there.routing_keys(terms)
    assert len(here.routing_keys(terms)) == 4
    assert there.routing_keys(["T:900"]) == here.routing_keys(["T:64"])
    others = build_cells(ONTOLOGY, DISEASES, source="toy 1", count=9)
    apart = here.routing_keys(terms, levels=[NearestCells(others, keys=4)])
    assert set(apart).isdisjoint(here.routing_keys(terms))
    both = here.routing_keys(terms, levels=[level, LoadBudget()])
    assert set(here.routing_keys(terms)) < set(both)


def test_a_site_is_told_that_its_cells_are_not_the_ones_agreed_on():
    agreed = build_cells(ONTOLOGY, DISEASES, source="toy 1", count=8, digest=CELLS.digest)
    assert agreed.digest == CELLS.digest
    with pytest.raises(InputError, match=CELLS.digest.hex()) as caught:
        build_cells(BARE, DISEASES, source="toy 1", count=8, digest=CELLS.digest)
    assert caught.value.field == "digest"


@pytest.mark.parametrize(
    "name", ["patient 12", "case:7", "12", "", "OMIM", "OMIM:", "omim 154700", "HOSPITAL:OMIM:1"]
)
def test_own_cases_make_no_cells(name):
    with pytest.raises(InputError, match="centre of one case is that case"):
        build_cells(ONTOLOGY, {**DISEASES, name: ["T:5"]}, source="own", count=8)


def test_too_few_profiles_and_nothing_known_are_refused():
    with pytest.raises(InputError, match="take fewer cells") as caught:
        build_cells(ONTOLOGY, DISEASES, source="toy", count=31)
    assert caught.value.limit == 30
    with pytest.raises(InputError, match="0 distinct profiles"):
        build_cells(ONTOLOGY, {"OMIM:1": ["X:1"], "OMIM:2": ["T:1"]}, source="toy", count=1)
    with pytest.raises(InputError, match="source"):
        build_cells(ONTOLOGY, DISEASES, source=" ")
    for keys in (0, 25, 1.5):
        with pytest.raises(InputError, match="keys"):
            NearestCells(CELLS, keys=keys)
    with pytest.raises(InputError, match="build_cells"):
        NearestCells([1])


def test_terms_that_are_in_no_cell_are_an_error_unless_another_level_has_them():
    apart = Ontology("toy/1", {**PARENTS, "T:1000": [], "T:1001": ["T:1000"]}, None)
    scheme = qis.TermScheme(apart, levels=[NearestCells(CELLS)])
    with pytest.raises(InputError, match="nobody would be met"):
        scheme.routing_keys(["T:1001"])
    assert scheme.routing_keys(["T:1001"], levels=[NearestCells(CELLS), LoadBudget()])


def test_the_annotations_of_the_human_phenotype_ontology_are_read(tmp_path):
    path = tmp_path / "phenotype.hpoa"
    rows = [f"{disease}\t\t{term}\t\tP\n" for disease, terms in DISEASES.items() for term in terms]
    path.write_text("database_id\tqualifier\thpo_id\tfrequency\taspect\n" + "".join(rows))
    cells = build_cells(ONTOLOGY, path, source="toy 1", count=8)
    assert isinstance(cells, Cells)
    assert cells.digest == CELLS.digest


def test_saved_cells_are_loaded_with_the_digest_that_was_agreed_on(tmp_path):
    path = tmp_path / "cells"
    CELLS.save(path)
    loaded = Cells.load(path, digest=CELLS.digest)
    assert (loaded.digest, loaded.source, len(loaded)) == (CELLS.digest, CELLS.source, len(CELLS))
    assert loaded.nearest(["T:70", "T:35"], 8) == CELLS.nearest(["T:70", "T:35"], 8)
    others = build_cells(ONTOLOGY, DISEASES, source="toy 1", count=9)
    with pytest.raises(InputError, match="nobody would be met"):
        Cells.load(path, digest=others.digest)


def test_a_damaged_or_hostile_file_of_cells_is_an_error(tmp_path):
    path = tmp_path / "cells"
    CELLS.save(path)
    whole = path.read_bytes()
    for size in (0, 3, 8, 12, 40, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match="cells"):
            Cells.load(path)
    for place in random.Random(1).sample(range(len(whole)), 60):
        changed = bytearray(whole)
        changed[place] ^= 1
        path.write_bytes(changed)
        with pytest.raises(InputError, match="cells"):
            Cells.load(path)
    # With a checksum that fits: heads that lie, and a table that unpacks to more than it says.
    bomb = zlib.compress(bytes(1 << 20))
    for head in (
        {"source": "x", "cells": 2**40, "terms": ["a"]},
        {"source": "x", "cells": 1, "terms": ["a"]},
        {"source": "x", "cells": True, "terms": ["a"]},
        {"source": "x", "cells": -1, "terms": ["a"]},
        {"source": "x", "terms": ["a"]},
        {"source": "x", "cells": 1, "terms": 5},
        [],
    ):
        told = json.dumps(head).encode()
        body = b"qiscell1" + len(told).to_bytes(4, "little") + told + bomb
        path.write_bytes(body + blake3(body).digest())
        with pytest.raises(InputError, match="holds no cells"):
            Cells.load(path)


def test_one_level_needs_no_list():
    scheme = qis.TermScheme(ONTOLOGY, levels=LoadBudget())
    level = NearestCells(CELLS, keys=4)
    assert scheme.routing_keys(["T:70"], levels=level) == scheme.routing_keys(
        ["T:70"], levels=[level]
    )
    assert scheme.interest(["T:70"], levels=level).routing_keys == scheme.routing_keys(
        ["T:70"], levels=level
    )


def test_a_file_that_is_not_there_is_our_error(tmp_path):
    with pytest.raises(StorageError, match="nowhere"):
        Cells.load(tmp_path / "nowhere" / "cells")
