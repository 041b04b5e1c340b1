"""The gate of public functions: what their annotations say is what they take."""

import asyncio
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

import qis
from qis._gate import check_of, checked
from qis.errors import InputError


@pytest.mark.parametrize(
    ("kind", "given", "found"),
    [
        (int, np.int16(3), 3), (int, np.array(3), 3), (int, Decimal(3), 3), (float, 3, 3),
        (float, np.float32(0.5), 0.5), (float, Decimal("0.5"), 0.5), (bytes, bytearray(b"x"), b"x"),
        (str, "a", "a"), (bool, False, False), (str | None, None, None), (Literal["a"], "a", "a"),
        (float | datetime, datetime(1970, 1, 2, tzinfo=UTC), 86400.0), (float | datetime, 5, 5),
        (str | PathLike[str], Path("a"), Path("a")), (Iterable[int], iter([np.int8(1)]), [1]),
        (tuple[int, ...], [np.int8(1)], (1,)), (tuple[float, float], [1.5, 2.5], [1.5, 2.5]),
        (Sequence[str], ["a"], ["a"]), (frozenset[str], {"a"}, {"a"}), (int, -(2**63), -(2**63)),
        (str, np.str_("a"), "a"),
        (Mapping[str, int], {"a": 1}, {"a": 1}), (Iterable[Iterable[str]], [["a"]], [["a"]]),
    ],
)  # fmt: skip
def test_what_an_annotation_allows_comes_out_as_pythons_own(kind, given, found):
    taken = check_of(kind)(given, "x")
    assert taken == found
    assert isinstance(taken, type(found))


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (int, 3.0), (int, "3"), (int, True), (int, None), (int, 2**64), (float, "3"), (float, True),
        (float, float("nan")), (float, 3j), (bytes, "x"), (bytes, 3), (str, b"x"), (str, None),
        (bool, 1), (bool, None), (str | None, 3), (Literal["a"], "b"), (Literal["a"], ["a"]),
        (Literal["a"], np.zeros(3)), (float | datetime, datetime(1970, 1, 2)),  # noqa: DTZ001
        (float | datetime, 1e12), (str | PathLike[str], 3), (Iterable[int], 3),
        (Iterable[int], "a"), (Iterable[int], [1, "a"]), (Iterable[int], {1: 2}),
        (tuple[float, float], [1.0]), (tuple[float, float], ()), (tuple[float, float], []),
        (tuple[float, float], set()), (tuple[float, float], [1.0, 2.0, 3.0]),
        (Iterable[str], "ab"), (Mapping[str, int], [("a", 1)]), (Mapping[str, int], {"a": "b"}),
        (Mapping[str, int], {1: 1}), (Callable[[], int], 3), (qis.Study, "a"), (qis.Study, None),
        (int, type), (Iterable[str], str), (Iterable[qis.Packet], np.zeros(3)),
    ],
)  # fmt: skip
def test_what_it_does_not_allow_is_refused_by_its_name(kind, given):
    with pytest.raises(InputError, match="x"):
        check_of(kind)(given, "x")


@pytest.mark.parametrize("kind", [Any, object, int | Any])
def test_what_allows_anything_has_no_check(kind):
    assert check_of(kind) is None


@checked
def sample(self, a: int, *rest: str, b: bytes = b"", **others: int) -> tuple[Any, ...]:
    """Say what came in."""
    return (self, a, rest, b, others)


def test_arguments_are_checked_however_they_are_given():
    assert sample("me", np.int8(1), "r", b=bytearray(b"b"), c="any") == (
        "me", 1, ("r",), b"b", {"c": "any"},
    )  # fmt: skip
    for args, named in ((("me", "1"), {}), (("me", 1, 2), {}), (("me",), {"a": "1"})):
        with pytest.raises(InputError) as refused:
            sample(*args, **named)
        assert refused.value.field in {"a", "rest"}
    with pytest.raises(TypeError, match="missing"):  # a call that cannot be is Python's own error
        sample()
    assert inspect.signature(sample).parameters["a"].annotation is int


def test_an_item_is_named_by_its_index_and_its_parameter():
    scheme = qis.VectorScheme(dimensions=1)
    with pytest.raises(InputError, match=r"^fingerprints\[1\] is 3; it must be a qis\.Fing") as no:
        qis.FingerprintIndex(scheme).add([scheme.fingerprint([1.0]), 3])
    assert no.value.field == "fingerprints"


class Later:
    @checked
    def of(self, others: "Iterable[Later]", *, now: float = 0.0) -> float:
        return now


def test_annotations_that_are_texts_inside_are_read_too():
    assert Later().of([Later()]) == 0.0
    with pytest.raises(InputError, match="others is 3; it must be a list of Laters"):
        Later().of(3)


def test_now_is_a_time_of_any_make():
    assert Later().of([], now=datetime(1970, 1, 2, tzinfo=UTC)) == 86_400.0
    for wrong in (float("inf"), float("nan"), -1.0, 1_800_000_000_000, datetime(2027, 1, 1)):  # noqa: DTZ001
        with pytest.raises(InputError, match="now is"):
            Later().of([], now=wrong)


def test_iterators_in_a_mapping_are_not_used_up_by_the_check():
    @checked
    def names(above: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
        return {key: list(each) for key, each in above.items()}

    assert names({"a": iter(["b", "c"])}) == {"a": ["b", "c"]}
    assert qis.Ontology("toy", {"a": iter(["b"])}, None).closure(["a"]) == {"a", "b"}


def test_an_empty_path_is_named_by_its_parameter():
    for wrong in ("", " ", "a\0b"):
        with pytest.raises(InputError, match="ledger is "):
            qis.Disclosure.preset("cms", ledger=wrong)


def test_a_coroutine_stays_one():
    @checked
    async def double(x: int) -> int:
        return 2 * x

    assert inspect.iscoroutinefunction(double)
    assert asyncio.run(double(2)) == 4
    with pytest.raises(InputError):
        asyncio.run(double("2"))


@pytest.mark.parametrize(
    "likelihood",
    [
        lambda b: np.exp(-b * b), lambda b: 1 / (1 + np.exp(-b)), lambda b: 1 / (1 + np.exp(b)),
        lambda b: 1e9 * np.exp(-((b - 2) ** 2)),
    ],
)  # fmt: skip
def test_a_likelihood_is_not_taken_for_its_logarithm(likelihood):
    def build(function):
        return qis.LikelihoodProfile.from_function(
            measure="OR", log_likelihood=function, question="q"
        )

    with pytest.raises(InputError, match="give its logarithm"):
        build(likelihood)
    build(lambda b: float(np.log(likelihood(b))) if likelihood(b) > 0 else -50.0 * (b - 2) ** 2)
    assert build(lambda b: 100.0 - b * b).maximum is not None  # any constant may be added
    assert build(lambda _: 7.0).is_informative is False
    for wrong, words in ((len, r"raised TypeError"), (lambda _: "1", "it must give a number")):
        with pytest.raises(InputError, match=words) as refused:
            build(wrong)
        assert refused.value.field == "log_likelihood"
