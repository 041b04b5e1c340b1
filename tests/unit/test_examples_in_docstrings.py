"""Every public name has an example in its docstring, and all examples are right."""

import doctest
import importlib
import inspect
import pkgutil
import warnings

import pytest

import qis

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def modules():
    yield qis
    for found in pkgutil.walk_packages(qis.__path__, "qis."):
        yield importlib.import_module(found.name)


def examples():
    """The docstrings with examples, by where they are."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    for module in modules():
        for test in finder.find(module, module.__name__):
            if test.examples:
                yield test


EXAMPLES = {test.name: test for test in examples()}


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_are_right(name):
    said = []
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = runner.run(EXAMPLES[name], out=said.append)
    assert result.attempted > 0
    assert result.failed == 0, "".join(said)


def test_no_example_is_skipped():
    told = {
        name
        for name, test in EXAMPLES.items()
        for example in test.examples
        if example.options.get(doctest.OPTIONFLAGS_BY_NAME["SKIP"])
    }
    assert told == set()


FACES = [
    "", ".synthesis", ".outcomes", ".fingerprint", ".evidence", ".disclosure", ".site", ".loop",
    ".testing", ".transport",
]  # fmt: skip
ELSEWHERE = {
    "check_transport": "runs for seconds; every transport's own tests call it",
    "NATSServer": "starts a server",
    "Reception": "what transports are built on; qis/transport/memory.py is the shortest",
    "Inbox": "as Reception",
}


@pytest.mark.parametrize("face", FACES)
def test_every_public_name_has_an_example(face):
    module = importlib.import_module(f"qis{face}")
    without = {
        name
        for name in module.__all__
        if (inspect.isclass(thing := getattr(module, name)) or inspect.isroutine(thing))
        and ">>>" not in (inspect.getdoc(thing) or "")
    }
    assert without - ELSEWHERE.keys() == set()


def test_a_wrong_example_is_noticed():
    text = ">>> 1 + 1\n3\n"
    test = doctest.DocTestParser().get_doctest(text, {}, "wrong", None, None)
    assert doctest.DocTestRunner(optionflags=FLAGS).run(test, out=lambda _: None).failed == 1
