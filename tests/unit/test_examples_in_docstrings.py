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


METHODS = {
    "Identity": "generate from_seed load save sign",
    "Study": "load",
    "Effect": "from_ratio from_columns from_fitted",
    "Counts": "from_frame profile effect",
    "Moments": "from_values from_frame effect",
    "LikelihoodProfile": "from_function from_frame from_survival",
    "QuadraticLikelihood": "from_logistic from_linear from_poisson from_cox",
    "Packet": "sign parse explain",
    "VectorScheme": "fit fingerprint routing_keys similarity interest",
    "FingerprintIndex": "add search within",
    "Transport": "publish subscribe",
    "MemoryStore": "add evidence",
    "Roster": "load open",
    "AuditLog": "verify",
    "Disclosure": "preset check preview",
    "Synthesis": "explain summary to_dict to_frame forest_plot",
    "SynthesisLoop": "publish observe retract flush latest undelivered",
}
"""What a user types, by class: each is called in an example of the class or of one of its bases."""


def uses_of(cls):
    """The code of all examples of a class, its methods and its bases' and subclasses' of ours."""
    kin = [each for each in (*cls.__mro__, *cls.__subclasses__()) if "qis" in each.__module__]
    names = {f"{each.__module__}.{each.__qualname__}" for each in kin}
    return "".join(
        example.source
        for name, test in EXAMPLES.items()
        if name in names or name.rpartition(".")[0] in names
        for example in test.examples
    )


@pytest.mark.parametrize("cls", METHODS)
def test_what_a_user_types_is_called_in_an_example(cls):
    used = uses_of(getattr(qis, cls))
    assert [name for name in METHODS[cls].split() if f".{name}(" not in used] == []


def test_a_wrong_example_is_noticed():
    text = ">>> 1 + 1\n3\n"
    test = doctest.DocTestParser().get_doctest(text, {}, "wrong", None, None)
    assert doctest.DocTestRunner(optionflags=FLAGS).run(test, out=lambda _: None).failed == 1
