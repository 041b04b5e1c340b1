"""Wrong inputs: a zoo of values is given to every parameter of the public callables, one at a time.

    python benchmarks/wrong_inputs.py --json

A call has to raise one of our errors, or take what its annotation says. Everything else is counted:
foreign exceptions, and nonsense that was accepted. Parameters annotated as `Any`, and callbacks,
take anything by contract: they count as inputs, and only foreign exceptions count against them.
Asynchronous methods, and what needs an open loop or network, are not called.
"""

import argparse
import inspect
import json
import os
import subprocess
import sys
import tempfile
import types
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import InitVar
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import IntEnum
from fractions import Fraction
from numbers import Rational, Real
from os import PathLike
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import numpy as np

import qis

NOW = 1_800_000_000
IDENTITY = qis.Identity.from_seed(bytes(range(32)))
SCHEME = qis.VectorScheme(dimensions=3)
FINGERPRINT = SCHEME.fingerprint([0.2, -1.0, 0.7])
EFFECT = qis.Effect(question="a vs b | c", measure="OR", estimate=-0.3, standard_error=0.1, n=90)
PACKET = qis.Packet.sign(
    IDENTITY, outcome=EFFECT, fingerprint=FINGERPRINT, issued_at=NOW, lifetime_s=86_400
)
STUDY = qis.Study(question="a vs b | c")
ROSTER = qis.Roster((qis.Site.of("Ulm", IDENTITY.issuer),))
COUNTS = qis.Counts(question="a vs b | c", events=3, total=40, control_events=5, control_total=41)


class Level(IntEnum):
    """An enumeration that is a number too."""

    LOW = 1


async def _coroutine() -> None:
    """Do nothing."""


def zoo() -> Iterator[Any]:
    """Yield fresh values: generators and iterators are used up by whoever takes them."""
    yield from (None, True, "", "text", "3", "ab" * 32, b"", b"bytes", bytes(8), bytearray(32))
    yield from (0, 1, -1, 2**64, 10**400, 0.5, -0.0, float("nan"), float("inf"), 3j)
    yield from (Decimal("0.5"), Decimal("NaN"), Decimal("sNaN"), Fraction(1, 3), Level.LOW)
    yield from ([], [1, 2], ["a", "b"], [None], [[1, 2], [3]], (), (1,), {}, {"a": 1}, {1, 2})
    for dtype in ("i8", "u1", "f4", "f8", "?", "c16", "U3", "S3", "O", "M8[s]", "m8[s]"):
        yield np.zeros(3, dtype=dtype)
    yield from (np.array(5), np.array(0.5), np.zeros((2, 2)), np.int64(3), np.float32(0.5))
    yield from (np.ma.masked, np.ma.array([1.0, 2.0], mask=[True, False]), np.True_)
    yield from (datetime(2027, 1, 1), datetime(2027, 1, 1, tzinfo=UTC), timedelta(1))  # noqa: DTZ001
    yield from (Path("nowhere/at.all"), int, qis.Packet, object(), len, lambda: None)
    yield from ((n for n in (1, 2)), iter(["a"]), _coroutine, range(3), slice(1), NotImplemented)
    yield from (IDENTITY, IDENTITY.issuer, FINGERPRINT, EFFECT, PACKET, STUDY, ROSTER, SCHEME)
    yield from ([EFFECT], [PACKET], [bytes(8)], [b"x"], np, Ellipsis)


# What a call is given where the parameter is not the one under test.
USUAL: dict[str, Any] = {
    "identity": IDENTITY, "outcome": EFFECT, "fingerprint": FINGERPRINT, "issued_at": NOW,
    "lifetime_s": 3600, "question": "a vs b | c", "measure": "OR", "estimate": 0.1,
    "standard_error": 0.2, "ratio": 0.73, "lower": 0.58, "upper": 0.92, "events": 3, "total": 40,
    "mean": 1.0, "ss": 2.0, "data": bytes(PACKET), "buffers": [bytes(PACKET)], "packet": PACKET,
    "packets": [PACKET], "now": NOW, "study": STUDY, "roster": ROSTER, "name": "Ulm",
    "key": bytes(32), "seed": bytes(32), "sketch": bytes(32), "scheme_id": bytes(8),
    "routing_keys": (bytes(8),), "min_similarity": 0.5, "model": "fixed", "sites": (),
    "estimates": [0.1, 0.2], "standard_errors": [0.1, 0.2], "features": [0.2, -1.0, 0.7],
    "a": FINGERPRINT, "b": FINGERPRINT, "k": 1, "fingerprints": [FINGERPRINT], "dimensions": 3,
    "scheme": SCHEME, "issuer": IDENTITY.issuer, "issuers": IDENTITY.issuer, "similarity": 0.5,
    "values": [1.0, 2.0, 3.0], "log_likelihood": lambda b: -b * b, "times": [1, 2, 3],
    "treated": [0, 1, 0], "coefficients": [0.1], "profiles": [COUNTS.profile()],
    "content": {"a": 1}, "batch": [[0.2, -1.0, 0.7]], "index": 0, "fraction": 0.1,
    "message": b"m", "keys": (qis.SiteKey(issuer=IDENTITY.issuer),), "study_id": bytes(8),
    "level": 0.95, "tag": bytes(8), "theta": [0.0],
}  # fmt: skip


def _subjects() -> dict[str, dict[str, Any]]:
    """Callables by group and name; of a class its constructor, class methods and methods."""
    own = {
        "Issuer": IDENTITY.issuer, "Packet": PACKET, "Study": STUDY, "Roster": ROSTER,
        "Site": ROSTER.sites[0], "SiteKey": ROSTER.sites[0].keys[0], "Effect": EFFECT,
        "Counts": COUNTS, "Fingerprint": FINGERPRINT, "VectorScheme": SCHEME,
        "Interest": SCHEME.interest([0.2, -1.0, 0.7]), "SetScheme": qis.SetScheme(),
        "LikelihoodProfile": COUNTS.profile(), "MemoryStore": qis.MemoryStore(roster=ROSTER),
        "Identity": IDENTITY, "FingerprintIndex": qis.FingerprintIndex(SCHEME),
        "Moments": qis.Moments.from_values([1.0, 2.0, 4.0], [1.0, 3.0], question="q"),
        "Disclosure": qis.Disclosure.preset("cms"),
    }  # fmt: skip
    special: dict[str, dict[str, Any]] = {
        "LikelihoodProfile.from_survival": {"events": [1, 1, 0]},
        "LikelihoodProfile": {
            "lower": -1.0, "upper": 1.0, "maximum": 0.0, "slope_below": -1.0, "slope_above": -1.0,
        },
        "Moments.effect": {"measure": "MD"},
        "SetScheme.fingerprint": {"features": {"a"}}, "SetScheme.routing_keys": {"features": {"a"}},
        "Interest.matches": {"study": bytes(8)}, "Packet.parse": {"now": NOW},
        "Derived": {"sites": 2}, "QuadraticLikelihood": {"model": "linear"},
    }  # fmt: skip
    plain = ("Derived", "Retraction", "Record", "Suppressed", "Anchor", "SQLiteStore")
    functions = (
        "synthesise", "inverse_variance", "bayes", "pool_profiles", "shrink", "read_packets",
        "write_packets",
    )  # fmt: skip
    found: dict[str, dict[str, Any]] = {}
    for name in functions:
        found[name] = {"call": getattr(qis, name), "usual": special.get(name, {})}
    for name in (*own, *plain):
        cls = getattr(qis, name)
        if name not in ("Packet", "Disclosure"):
            found[name] = {"call": cls, "usual": special.get(name, {})}
        for member in sorted(dir(cls)):
            static = inspect.getattr_static(cls, member)
            if member.startswith("_") or isinstance(static, (property, types.MemberDescriptorType)):
                continue
            is_class = isinstance(static, (classmethod, staticmethod))
            owner = cls if is_class else own.get(name)
            call = getattr(owner, member, None)
            if not callable(call) or inspect.iscoroutinefunction(call) or member == "from_body":
                continue
            key = f"{name}.{member}"
            found[key] = {"call": call, "usual": special.get(key, {})}
    return found


def fits(value: Any, kind: Any) -> bool:  # noqa: C901, PLR0911, PLR0912  one line a kind of annotation
    """True if an annotation allows a value, with numbers of any library for numbers."""
    if kind in {Any, object, inspect.Parameter.empty} or isinstance(kind, (str, TypeVar)):
        return True
    if isinstance(kind, InitVar):
        return fits(value, kind.type)
    if kind is None or kind is type(None):
        return value is None
    origin = get_origin(kind)
    if origin in {Union, types.UnionType}:
        return any(fits(value, each) for each in get_args(kind))
    if origin is Literal:
        return isinstance(value, str) and value in get_args(kind)
    if origin is not None and isinstance(origin, type):
        kind = origin
    if isinstance(value, np.ndarray) and value.shape == () and not np.ma.is_masked(value):
        value = value.item()
    if kind is int:
        whole = isinstance(value, (Rational, np.integer)) and not isinstance(
            value, (bool, np.bool_)
        )
        return whole and getattr(value, "denominator", 1) == 1
    if kind is float:
        return isinstance(value, (Real, Decimal)) and not isinstance(value, (bool, np.bool_))
    if kind is bytes:
        return isinstance(value, (bytes, bytearray))
    if kind is PathLike:
        return isinstance(value, (str, Path))
    if isinstance(kind, type) and issubclass(kind, Mapping):
        return isinstance(value, Mapping)
    if kind is Callable or "Callable" in str(kind):
        return callable(value)
    if isinstance(kind, type) and isinstance(value, kind):
        return not isinstance(value, (str, bytes)) or kind in {str, bytes}
    arrays = "_SupportsArray" in str(kind) or "NestedSequence" in str(kind)
    several = isinstance(kind, type) and issubclass(kind, Iterable) and kind is not str
    return (arrays or several) and isinstance(value, Iterable) and not isinstance(value, str)


def _parameters(call: Any) -> dict[str, inspect.Parameter]:
    try:
        found = inspect.signature(call, eval_str=True).parameters
    except (NameError, TypeError, ValueError):
        found = inspect.signature(call).parameters
    return {n: p for n, p in found.items() if p.kind is not p.VAR_KEYWORD}


def trial(subject: dict[str, Any], name: str, value: Any) -> tuple[str, str]:
    """Call with one wrong input; return what happened and of which class the error was."""
    parameters = _parameters(subject["call"])
    positional, keywords = [], {}
    starred = any(each.kind is each.VAR_POSITIONAL for each in parameters.values())
    for other, parameter in parameters.items():
        usual = subject["usual"].get(other, USUAL.get(other))
        if other == name:
            given = value
        elif parameter.default is not parameter.empty or parameter.kind is parameter.VAR_POSITIONAL:
            if other != "question" or ("study" in parameters and name == "study"):
                continue
            given = usual
        else:
            given = usual
        if parameter.kind in {parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL} or starred:
            positional.append(given)
        else:
            keywords[other] = given
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            subject["call"](*positional, **keywords)
    except qis.QISError:
        return "refused", ""
    except Exception as error:  # noqa: BLE001  to be counted
        return "foreign", type(error).__name__
    return ("accepted" if fits(value, parameters[name].annotation) else "nonsense"), ""


def run(only: Callable[[str], bool] = lambda _: True) -> tuple[dict[str, int], Counter[str]]:
    """Try the zoo; return the counts, and how often which parameter failed in which way."""
    counts: Counter[str] = Counter()
    failures: Counter[str] = Counter()
    former = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            for name, subject in _subjects().items():
                if not only(name):
                    continue
                counts["callables"] += 1
                for parameter in _parameters(subject["call"]):
                    counts["parameters"] += 1
                    for value in zoo():
                        counts["inputs"] += 1
                        what, error = trial(subject, parameter, value)
                        counts[what] += 1
                        if what in {"foreign", "nonsense"}:
                            failures[f"{what}: {name}({parameter}=) {error}".strip()] += 1
        finally:
            os.chdir(former)
    return counts, failures


def _import_modules() -> int:
    code = "import sys; old = set(sys.modules); import qis; print(len(set(sys.modules) - old))"
    done = subprocess.run(  # noqa: S603  our own interpreter
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


def main() -> None:
    """Run all, list what failed, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--json", action="store_true", help="print figures as one line of JSON")
    arguments = parser.parse_args()
    counts, failures = run()
    figures = {
        "callables": counts["callables"],
        "parameters": counts["parameters"],
        "inputs": counts["inputs"],
        "refused": counts["refused"],
        "foreign_exceptions": counts["foreign"],
        "nonsense_accepted": counts["nonsense"],
        "import_modules": _import_modules(),
    }
    for failure, times in failures.most_common():
        print(f"{times:4} {failure}")
    print(json.dumps(figures) if arguments.json else figures)


if __name__ == "__main__":
    main()
