"""Wrong inputs: a zoo of values is given to every parameter of the public callables, one at a time.

    python benchmarks/wrong_inputs.py --json

A call has to raise one of our errors, or take what its annotation says, or keep it in the form
that its annotation says. Everything else is counted: foreign exceptions, and nonsense that was
accepted. First each callable is called with nothing wrong, since a call that fails anyway would
refuse every wrong input too.

Coroutines and context managers are run. Whatever writes, writes into a folder that is deleted, and
standard input is closed. `_wrong_subjects.py` lists what is not called, and the contract of each
callback and of each parameter that takes anything.
"""

import argparse
import asyncio
import inspect
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[1])]

import qis  # noqa: E402
import qis.blocking  # noqa: E402
from benchmarks._wrong_live import Live  # noqa: E402  found by the line above
from benchmarks._wrong_subjects import (  # noqa: E402
    ALWAYS_REFUSED,
    ANYTHING,
    CALLBACKS,
    USUAL,
    Made,
    Subject,
    subjects,
)
from benchmarks._wrong_zoo import fits, foreign, plain  # noqa: E402

_PROCESSES = 2
_WAIT_S = 0.02
"""A coroutine that waits longer has accepted what it was given."""
_TOO_LONG_S = 10.0
"""A call that computes longer on one wrong value is counted as nonsense: nobody bounded it."""


class TooLong(BaseException):
    """A call has used all its time on the processor."""


def _give_up(*_: object) -> None:
    raise TooLong


class Trials:
    """Calls with one wrong input each, in one event loop."""

    def __init__(self, live: Live) -> None:
        self._live = live

    def usual(self, subject: Subject) -> str:
        """Call with nothing wrong; return what happened, "" if all is well."""
        try:
            what, error = self._called(subject, *self._arguments(subject, "", None))[:2]
        except KeyError as missing:
            return f"nothing is usual for {missing}"
        is_well = what == "accepted" or (what == "refused" and subject.name in ALWAYS_REFUSED)
        return "" if is_well else f"{what}: {error!r:.200}"

    def one(self, subject: Subject, name: str, value: Any) -> tuple[str, str]:
        """Call with one wrong input; return what happened and which error it was."""
        positional, keywords = self._arguments(subject, name, value)
        what, error, result = self._called(subject, positional, keywords)
        kind = subject.parameters[name].annotation
        kind = float | datetime if (name, kind) == ("now", float) else kind
        if isinstance(error, TooLong):
            return "nonsense", f"{value!r:.40} keeps it computing"
        if what == "foreign" and name in CALLBACKS and callable(value):
            return "callback", type(error).__name__
        if what == "foreign":
            return what, type(error).__name__
        if what == "refused":
            is_named = name in ANYTHING or subject.name in ALWAYS_REFUSED
            is_named = is_named or _names(error, name) or isinstance(error, qis.PeerError)
            is_named = is_named or (name in CALLBACKS and callable(value))
            is_named = is_named or ("PathLike" in str(kind) and str(value) in str(error))
            return (what if is_named else "unnamed"), f"{error!s:.60}"
        kept = getattr(result, name, value) if inspect.isclass(subject.call) else value
        is_right = name in ANYTHING or (name in CALLBACKS and callable(value))
        is_right = is_right or fits(value, kind) or (kept is not value and fits(kept, kind))
        return ("accepted" if is_right else "nonsense"), f"{value!r:.40}"

    def _arguments(
        self, subject: Subject, name: str, value: Any
    ) -> tuple[list[Any], dict[str, Any]]:
        positional: list[Any] = []
        keywords: dict[str, Any] = {}
        starred = any(each.kind is each.VAR_POSITIONAL for each in subject.parameters.values())
        for other, parameter in subject.parameters.items():
            if other == name:
                argument = value
            elif other in subject.usual:
                argument = subject.usual[other]
            elif other == "question" and name != "study" and parameter.default == "":
                argument = USUAL["question"]
            elif parameter.default is not parameter.empty:
                continue
            else:
                argument = USUAL[other]
            argument = argument() if isinstance(argument, Made) else argument
            if parameter.kind in {parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL} or starred:
                positional.append(argument)
            else:
                keywords[other] = argument
        others = {k: v for k, v in subject.usual.items() if k not in subject.parameters}
        return positional, keywords | others

    def _called(
        self, subject: Subject, positional: list[Any], keywords: dict[str, Any]
    ) -> tuple[str, BaseException | None, Any]:
        former = signal.signal(signal.SIGPROF, _give_up)
        signal.setitimer(signal.ITIMER_PROF, _TOO_LONG_S)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                result = subject.call(*positional, **keywords)
                if inspect.isawaitable(result) or hasattr(result, "__aenter__"):
                    result = self._live.run(_finished(result))
                elif isinstance(result, qis.blocking.SynthesisLoop):
                    with result:
                        pass
        except qis.QISError as error:
            return "refused", error, None
        except (Exception, TooLong) as error:  # noqa: BLE001  to be counted
            return "foreign", error, None
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0.0)
            signal.signal(signal.SIGPROF, former)
        if hasattr(result, "close") and inspect.isclass(subject.call):
            result.close()
        return "accepted", None, result


async def _finished(thing: Any) -> Any:
    """Wait for a coroutine, or enter and leave a context manager."""
    try:
        async with asyncio.timeout(_WAIT_S):
            if not hasattr(thing, "__aenter__"):
                return await thing
            async with thing:
                return None
    except TimeoutError:
        return None


def _names(error: BaseException | None, name: str) -> bool:
    """True if an error says which parameter it is about.

    A `PeerError` is about the bytes of a packet, an error of a file names the file, one of a
    function of the application's says what that has done.
    """
    field = str(getattr(error, "field", "") or "")
    said = str(error).casefold()
    of_several = name.removesuffix("s")  # "fingerprint is 3" is about one of the fingerprints
    return (
        field.partition("[")[0] in {name, of_several}
        or name in said
        or name.replace("_", " ") in said
    )


def run(
    only: Callable[[str], bool] = lambda _: True,
    zoo: Callable[[], Iterator[Any]] = lambda: iter([*plain(), *foreign()]),
    *,
    numbers: Iterable[int] | None = None,
) -> tuple[Counter[str], Counter[str]]:
    """Try the zoo; return the counts, and how often which parameter failed in which way.

    `numbers` says which of the callables are tried, in order; without it, all are.
    """
    counts: Counter[str] = Counter()
    failures: Counter[str] = Counter()
    former = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            with Live() as live:
                trials = Trials(live)
                found = list(subjects(live.owners, live.special, live.new_owner))
                wanted = [subject for subject in found if only(subject.name)]
                for number in range(len(wanted)) if numbers is None else numbers:
                    if number >= len(wanted):
                        break
                    subject = wanted[number]
                    counts["callables"] += 1
                    if wrong := trials.usual(subject):
                        counts["unusable"] += 1
                        failures[f"unusable: {subject.name}: {wrong}"] += 1
                        continue
                    for parameter in subject.parameters:
                        counts["parameters"] += 1
                        for value in zoo():
                            counts["inputs"] += 1
                            what, error = trials.one(subject, parameter, value)
                            counts[what] += 1
                            if what in {"foreign", "nonsense", "unnamed"}:
                                failures[f"{what}: {subject.name}({parameter}=) {error}"] += 1
        finally:
            os.chdir(former)
    return counts, failures


_NEXT: list[Any] = []
"""The number of the callable that is tried next, shared by the processes."""


def _share(number: Any) -> None:
    _NEXT.append(number)
    with Path(os.devnull).open() as nothing:
        os.dup2(nothing.fileno(), 0)


def _numbers() -> Iterator[int]:
    """Yield the next number that no other process has: they end at about the same time."""
    while True:
        with _NEXT[0].get_lock():
            number = _NEXT[0].value
            _NEXT[0].value += 1
        yield number


def _part(only: str) -> tuple[Counter[str], Counter[str]]:
    return run(lambda name: only in name, numbers=_numbers())


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
    parser.add_argument("--only", default="", help="callables whose names contain this")
    arguments = parser.parse_args()
    counts: Counter[str] = Counter()
    failures: Counter[str] = Counter()
    context = multiprocessing.get_context("spawn")
    shared = {"initializer": _share, "initargs": (context.Value("i", 0),)}
    with ProcessPoolExecutor(_PROCESSES, mp_context=context, **shared) as pool:
        for part in [pool.submit(_part, arguments.only) for _ in range(_PROCESSES)]:
            some_counts, some_failures = part.result()
            counts += some_counts
            failures += some_failures
    figures = {
        "callables": counts["callables"],
        "parameters": counts["parameters"],
        "inputs": counts["inputs"],
        "refused": counts["refused"] + counts["unnamed"],
        "accepted": counts["accepted"],
        "raised_by_callbacks": counts["callback"],
        "unusable": counts["unusable"],
        "refusals_without_the_name": counts["unnamed"],
        "foreign_exceptions": counts["foreign"],
        "nonsense_accepted": counts["nonsense"],
        "import_modules": _import_modules(),
    }
    for failure, times in failures.most_common():
        print(f"{times:4} {failure}")
    print(json.dumps(figures) if arguments.json else figures)


if __name__ == "__main__":
    main()
