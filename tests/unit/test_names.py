"""One word for one thing: names that are taken by nothing, and names that are taken once."""

import ast
import io
import tokenize
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "qis").rglob("*.py"))
SHARED_CLASS_NAMES = {"SiteLoop", "SynthesisLoop"}
"""`qis.blocking.SynthesisLoop` is the same loop without async, and is meant to be recognised."""


def identifiers(source):
    """Names that are identifiers: not words in strings or comments, nor str.replace."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.NAME:
            yield token.string, token.start[0]


def say_place(source):
    return [
        line
        for name, line in identifiers(source)
        if {"place", "places"} & {*name.strip("_").split("_")}
    ]


def classes(source):
    return [node.name for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef)]


@pytest.mark.parametrize("name", ["place", "_place", "place_at", "first_place", "places"])
def test_the_word_place_is_seen_where_it_is_an_identifier(name):
    assert say_place(f"x = 1\n{name} = x  # in its place\n") == [2]
    assert say_place(f'x = "{name}"  # {name}\ny = x.replace("a", "b")\n') == []


def test_no_identifier_is_called_place():
    # It once named nine things in 301 identifiers: offset, row, rank, address, bucket …
    assert len(FILES) > 200
    found = {str(path.relative_to(ROOT)): say_place(path.read_text("utf-8")) for path in FILES}
    assert {path: lines for path, lines in found.items() if lines} == {}


def test_two_classes_never_share_a_name():
    assert classes("class A:\n    class B: ...\ndef f():\n    class A: ...\n").count("A") == 2
    counted = Counter(name for path in FILES for name in classes(path.read_text("utf-8")))
    assert counted["Packet"] == 1
    assert {name for name, times in counted.items() if times > 1} == SHARED_CLASS_NAMES
