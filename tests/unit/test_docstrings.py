"""Docstrings name the parameters that there are, and say what they are in a sentence."""

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "qis"
PARAMETERS = re.compile(
    r"^( *)Parameters\n\1-{10}\n(.*?)(?=\n\1[A-Z][a-z]+\n\1-{3,}|\Z)", re.DOTALL | re.MULTILINE
)
CROSS_REFERENCE = re.compile(r"^ +As (for|of) (`[^`]*`|the class|the node)\.$", re.MULTILINE)


def documented(docstring):
    """The names that stand under "Parameters"."""
    found = PARAMETERS.search(docstring)
    if found is None:
        return set()
    indent, body = found.groups()
    heads = re.findall(rf"^{indent}(\S.*)$", body, re.MULTILINE)
    return {name.strip().lstrip("*") for head in heads for name in head.split(",")}


def accepted(node):
    """The names of the arguments of a function, or of a class: of its constructor or its fields."""
    if isinstance(node, ast.ClassDef):
        names = {"__init__", "__new__"}
        makers = [each for each in node.body if getattr(each, "name", "") in names]
        if not makers:
            fields = [each.target for each in node.body if isinstance(each, ast.AnnAssign)]
            return {field.id for field in fields}
        node = makers[0]
    given = node.args
    every = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
    return {each.arg for each in every if each is not None}


def faults(source):
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        docstring = ast.get_docstring(node) or ""
        names = accepted(node)
        if names:
            yield from (f"{node.name}: no parameter {n}" for n in documented(docstring) - names)
        if docstring.startswith("Of "):
            yield f"{node.name}: begins with Of"
        yield from (f"{node.name}: {m[0].strip()}" for m in CROSS_REFERENCE.finditer(docstring))


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.name)
def test_docstrings_name_the_parameters_that_there_are(path):
    assert list(faults(path.read_text(encoding="utf-8"))) == []


def test_a_former_name_and_a_riddle_are_noticed():
    source = '''
class Sender:
    """Of packets.

    Parameters
    ----------
    rpc, links
        As for `Node`.

    """

    def __init__(self, rpc, table): ...
'''
    assert set(faults(source)) == {
        "Sender: no parameter links",
        "Sender: begins with Of",
        "Sender: As for `Node`.",
    }
