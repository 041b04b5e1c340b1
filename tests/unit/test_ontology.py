"""Ontologies: read from their files, merged ids followed, and nothing dropped silently."""

import gzip
import json
import math

import pytest
from hypothesis import given, strategies as st

from qis.errors import InputError, StorageError
from qis.fingerprint import Ontology

#      all
#     /   \
#  heart  brain
#   |  \  /  \
#  beat  both  fit
PARENTS = {
    "T:1": [],
    "T:2": ["T:1"],
    "T:3": ["T:1"],
    "T:4": ["T:2"],
    "T:5": ["T:2", "T:3"],
    "T:6": ["T:3"],
}
NAMES = {"T:1": "All", "T:2": "Heart", "T:3": "Brain", "T:4": "Beat", "T:5": "Both", "T:6": "Fit"}

OBO = """format-version: 1.2
data-version: t/releases/2026-01-01/t.obo

[Term]
id: T:1
name: All

[Term]
id: T:2
name: Heart
is_a: T:1 ! All

[Term]
id: T:3
name: Brain
is_a: T:1 ! All

[Term]
id: T:4
name: Beat
alt_id: T:44
is_a: T:2 {source="x"} ! Heart

[Term]
id: T:5
name: Both
is_a: T:2 ! Heart
is_a: T:3 ! Brain

[Term]
id: T:6
name: Fit
is_a: T:3 ! Brain

[Term]
id: T:9
name: obsolete Old
is_obsolete: true
replaced_by: T:44

[Term]
id: T:10
name: obsolete Gone
is_obsolete: true

[Typedef]
id: part_of
name: part of
"""


def obographs():
    def node(number, name, **meta):
        return {
            "id": f"http://purl.obolibrary.org/obo/T_{number}",
            "lbl": name,
            "type": "CLASS",
            "meta": meta,
        }

    def value(predicate, val):
        return {"basicPropertyValues": [{"pred": predicate, "val": val}]}

    alternative = "http://www.geneontology.org/formats/oboInOwl#hasAlternativeId"
    replaced = "http://purl.obolibrary.org/obo/IAO_0100001"
    nodes = [
        *(
            node(n, NAMES[f"T:{n}"], **(value(alternative, "T:44") if n == 4 else {}))
            for n in range(1, 7)
        ),
        node(9, "obsolete Old", deprecated=True, **value(replaced, "T:44")),
        node(10, "obsolete Gone", deprecated=True),
        {"id": "http://purl.obolibrary.org/obo/t#part_of", "type": "PROPERTY", "lbl": "part of"},
    ]
    edges = [
        {
            "sub": f"http://purl.obolibrary.org/obo/{child.replace(':', '_')}",
            "pred": "is_a",
            "obj": f"http://purl.obolibrary.org/obo/{parent.replace(':', '_')}",
        }
        for child, above in PARENTS.items()
        for parent in above
    ]
    edges.append({"sub": "x", "pred": "part_of", "obj": "y"})
    version = "http://purl.obolibrary.org/obo/t/releases/2026-01-01/t.json"
    return {"graphs": [{"nodes": nodes, "edges": edges, "meta": {"version": version}}]}


HPOA = """#description: "HPO annotations"
database_id\tdisease_name\tqualifier\thpo_id\treference\tevidence\tonset\tfrequency\tsex\tmodifier\taspect\tbiocuration
D:1\tone\t\tT:4\tr\tPCS\t\t1/2\t\t\tP\tx
D:1\tone\t\tT:44\tr\tPCS\t\t\t\t\tP\tx
D:2\ttwo\t\tT:5\tr\tPCS\t\t\t\t\tP\tx
D:2\ttwo\tNOT\tT:6\tr\tPCS\t\t\t\t\tP\tx
D:3\tthree\t\tT:99\tr\tPCS\t\t\t\t\tP\tx
D:3\tthree\t\tT:6\tr\tPCS\t\t\t\t\tI\tx
"""


@pytest.fixture(params=["obo", "json", "json.gz"])
def from_file(request, tmp_path):
    path = tmp_path / f"t.{request.param}"
    annotations = tmp_path / "t.hpoa"
    annotations.write_text(HPOA, encoding="utf-8")
    if request.param == "obo":
        path.write_text(OBO, encoding="utf-8")
        return Ontology.from_obo(path, annotations)
    content = json.dumps(obographs()).encode()
    path.write_bytes(gzip.compress(content) if request.param.endswith("gz") else content)
    return Ontology.from_obographs(path, annotations)


def test_both_forms_of_file_give_the_same_ontology(from_file):
    assert from_file.release == "t/2026-01-01"
    assert from_file.terms == tuple(sorted(PARENTS))
    assert from_file.closure(["T:5"]) == {"T:1", "T:2", "T:3", "T:5"}
    assert [from_file.name(term) for term in ("T:4", "T:99")] == ["Beat", "T:99"]
    # Three profiles: T:4 in one, T:5 in one; T:2 has both below it, T:6 is negated or no finding.
    expected = {"T:1": 2, "T:2": 2, "T:3": 1, "T:4": 1, "T:5": 1, "T:6": 0}
    for term, count in expected.items():
        assert from_file.information(term) == pytest.approx(math.log(4 / (count + 1)), abs=1e-4)


def test_merged_and_obsolete_ids_are_followed_or_said(from_file):
    found = from_file.resolve(["T:44", "T:9", "T:10", "T:77", "T:6", "T:6"])
    assert found.terms == ("T:4", "T:6")
    assert found.replaced == {"T:44": "T:4", "T:9": "T:4"}
    assert (found.obsolete, found.unknown) == (("T:10",), ("T:77",))
    assert len(found.warnings) == 4
    assert "T:10 is obsolete" in " ".join(found.warnings)


def test_what_a_file_says_is_the_same_whatever_its_form(tmp_path):
    obo, graphs = tmp_path / "t.obo", tmp_path / "t.json"
    obo.write_text(OBO, encoding="utf-8")
    graphs.write_text(json.dumps(obographs()), encoding="utf-8")
    profiles = {"a": ["T:4"], "b": ["T:5", "T:6"]}
    one, other = Ontology.from_obo(obo, profiles), Ontology.from_obographs(graphs, profiles)
    assert one.digest == other.digest
    assert one.digest != Ontology.from_obo(obo).digest


@given(st.randoms())
def test_the_order_of_the_input_changes_nothing(random):
    information = {term: number / 7 for number, term in enumerate(sorted(PARENTS))}
    items = [(term, random.sample(above, len(above))) for term, above in PARENTS.items()]
    random.shuffle(items)
    shuffled = Ontology("t", dict(items), information)
    assert shuffled.digest == Ontology("t", PARENTS, information).digest
    assert shuffled.terms == tuple(sorted(PARENTS))


def test_the_digest_covers_what_decides_and_nothing_else():
    information = dict.fromkeys(PARENTS, 1.0)
    plain = Ontology("t", PARENTS, information)
    assert plain.digest == Ontology("other", PARENTS, information, names=NAMES).digest
    changed = [
        Ontology("t", {**PARENTS, "T:6": ["T:2"]}, information),
        Ontology("t", PARENTS, {**information, "T:6": 1.0001}),
        Ontology("t", {**PARENTS, "T:7": []}, {**information, "T:7": 1.0}),
        Ontology("t", PARENTS, information, replacements={"T:8": "T:6"}),
    ]
    assert len({plain.digest, *(one.digest for one in changed)}) == 5


def test_any_hierarchy_by_plain_mappings():
    # ICD-10: chapters and blocks are terms that only appear as parents.
    icd = Ontology("icd-10/2019", {"G40.3": ["G40"], "G40": ["VI"], "I10": ["IX"]}, None)
    assert icd.closure(["G40.3"]) == {"G40.3", "G40", "VI"}
    assert icd.information("G40.3") > icd.information("VI") > 0.0
    # OMOP: the rows of CONCEPT_ANCESTOR with one level between.
    rows = [(1, 1, 0), (1, 2, 1), (1, 3, 2), (2, 3, 1)]
    parents = {}
    for ancestor, descendant, levels in rows:
        if levels == 1:
            parents.setdefault(str(descendant), []).append(str(ancestor))
    omop = Ontology("omop/v5", parents, None)
    assert omop.closure(["3"]) == {"1", "2", "3"}


def test_the_most_specific_terms_say_what_the_rest_say():
    ontology = Ontology("t", PARENTS, None)
    assert ontology.most_specific(["T:1", "T:2", "T:5", "T:6"]) == {"T:5", "T:6"}
    assert ontology.most_specific([]) == frozenset()


@pytest.mark.parametrize(
    ("parents", "information", "words"),
    [
        ({}, None, "needs terms"),
        ({"a": ["a"]}, None, "circle: a is a a"),
        ({"a": ["b"], "b": ["c"], "c": ["a"]}, None, "circle"),
        ({"a": [], "b": []}, {"a": 1.0}, "1 terms have no information, such as b"),
        ({"a": []}, {"a": -0.1}, "from 0"),
        ({"a": []}, {"a": math.nan}, "must be finite"),
        ({"a": [1.5]}, None, r"parents\['a'\]\[0\] is 1.5; it must be a text"),
        ({"a": "b"}, None, "must be a list of texts"),
    ],
)
def test_what_is_no_ontology_says_why(parents, information, words):
    with pytest.raises(InputError, match=words):
        Ontology("t", parents, information)


def test_a_replacement_leads_to_a_term():
    with pytest.raises(InputError, match="no term"):
        Ontology("t", {"a": []}, None, replacements={"b": "c"})


@pytest.mark.parametrize(
    ("read", "text", "words"),
    [
        (Ontology.from_obographs, "{}", "no OBO Graphs"),
        (Ontology.from_obographs, "not json", "no OBO Graphs"),
        (Ontology.from_obographs, '{"graphs": [{"nodes": [1]}]}', "no OBO Graphs"),
        (Ontology.from_obo, "hello\n", "no OBO file"),
    ],
)
def test_another_file_is_refused(tmp_path, read, text, words):
    path = tmp_path / "file"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=words):
        read(path)
    path.write_bytes(b"\x1f\x8b broken")
    with pytest.raises(InputError, match="UTF-8"):
        read(path)
    with pytest.raises(StorageError, match="No such file"):
        read(tmp_path / "missing")


def test_another_annotation_table_is_refused(tmp_path):
    obo, table = tmp_path / "t.obo", tmp_path / "t.tsv"
    obo.write_text(OBO, encoding="utf-8")
    table.write_text("a\tb\n1\t2\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"no phenotype\.hpoa"):
        Ontology.from_obo(obo, table)


def test_what_is_no_term_is_named_and_not_a_key_error():
    toy = Ontology("toy/1", {"a": ["b"]}, None)
    for ask in (toy.information, toy.steps, lambda term: toy.closure([term])):
        with pytest.raises(InputError, match="'c' is none of the terms of toy/1"):
            ask("c")
    with pytest.raises(InputError, match="'c' is none"):
        toy.most_specific(["a", "c"])
