"""Seeded sites against the gate: what passes and can be read, and what is refused for nothing.

The preset's gate sees every form of every site. What passes is attacked; a form fails if the
attacker proves a small cell, or names its value more often than the commonest guess would (95 %
interval). Beside it: what the attacker reads with the gate off, and after the former gate.
"""

import math
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from _disclosure_attacker import Read, read as read_one
from _disclosure_joint import read_several
from _disclosure_several import of_nested, of_overlaps, of_the_same
from _disclosure_sites import KINDS as OF_ONE_ANSWER, Made, Site

from qis.disclosure import PRESETS, Disclosure, subject_hashes
from qis.errors import DisclosureError
from qis.outcomes import Effect, Outcome

NOW = 1_800_000_000.0
OF_MEANS = ("MD", "ROM", "SMD", "COR", "ZCOR")
FORMER = "3a3dd33"
"""The gate before inversion."""
NAMES = tuple(name for name in PRESETS if name != "none")
_KEY = bytes(range(32))
_GATE = """
import sys
from qis import _canonical
from qis.disclosure import Disclosure
from qis.errors import QISError
from qis.outcomes import outcome_from_body
for line in sys.stdin:
    preset, kind, body = line.split()
    try:
        outcome = outcome_from_body(int(kind), _canonical.decode(bytes.fromhex(body)))
        Disclosure.preset(preset).check(outcome)
        print("passed")
    except QISError:
        print("refused")
"""


KINDS = {
    **OF_ONE_ANSWER,
    "nested": of_nested,
    "the_same": of_the_same,
    "overlaps": of_overlaps,
}


def read(made: Made, limit: int) -> Read:
    """Attack one outcome, together with the former answers."""
    return read_several(made, limit) if made.who else read_one(made, limit)


def passes(made: Made, preset: str) -> bool:
    """Whether the gate lets an outcome out, after the former answers about the same people."""
    gate = Disclosure.preset(preset)
    *formers, last = (
        [subject_hashes(map(str, people), key=_KEY) for people in made.who]
        if made.who
        else [_everybody(made.outcome) if made.others else None] * (len(made.others) + 1)
    )
    try:
        for (other, _), subjects in zip(made.others, formers, strict=True):
            gate.release(other, now=NOW, subjects=subjects)
        gate.check(made.outcome, subjects=last)
    except DisclosureError:
        return False
    return True


def _everybody(outcome: Outcome) -> dict[bytes, bytes]:
    return subject_hashes(map(str, range(getattr(outcome, "n", None) or 0)), key=_KEY)


def is_told(made: Made, preset: str) -> bool:
    """Whether the preview says that what the form shows is not searched: means of few decimals."""
    outcome = made.outcome
    if not isinstance(outcome, Effect) or outcome.measure not in (
        "MD",
        "ROM",
        "SMD",
        "COR",
        "ZCOR",
    ):
        return False
    learns = Disclosure.preset(preset).preview(outcome).learns
    return any(line.startswith("not searched") for line in learns)


def made_by(preset: str, seeds: range, *, is_small: bool) -> Iterator[Made]:
    """All forms of the data of seeded sites, one kind of data a site, in turn."""
    rules = PRESETS[preset]
    kinds = tuple(KINDS.values())
    for seed in seeds:
        site = Site(seed, rules.minimum_cell, is_small=is_small, base=rules.rounding)
        yield from kinds[seed % len(kinds)](site)


def is_above(hits: int, trials: int, share: float) -> bool:
    """Whether hits are more than a share by chance gives, by the exact 95 % interval."""
    tail = sum(
        math.comb(trials, k) * share**k * (1.0 - share) ** (trials - k)
        for k in range(hits, trials + 1)
    )
    return trials > 0 and tail < 0.025


class Tally:
    """What was found for one preset, by form.

    Parameters
    ----------
    preset
        Name of the preset.
    seeds
        Seeds of the sites with a small cell.
    attacked_without_gate
        Packets of each form that are attacked whether they pass or not.
    most_attacked
        Of each form, so many that pass are attacked; trying every table takes its time.

    """

    def __init__(
        self,
        preset: str,
        seeds: range,
        *,
        attacked_without_gate: int = 0,
        most_attacked: int = 1_000_000,
    ) -> None:
        self.preset = preset
        self.kind_of: dict[str, str] = {}
        self.made: Counter[str] = Counter()
        self.passed: Counter[str] = Counter()
        self.proved: Counter[str] = Counter()
        self.gate_off = self.gate_off_read = self.told_read = 0
        self.read_off: Counter[str] = Counter()
        self.kept: list[Made] = []
        named: defaultdict[str, list[tuple[int | None, int]]] = defaultdict(list)
        limit = PRESETS[preset].minimum_cell
        for made in made_by(preset, seeds, is_small=True):
            form = made.form
            self.kind_of[form] = type(made.outcome).__name__
            self.made[form] += 1
            passed = passes(made, preset)
            self.passed[form] += passed
            is_watched = self.made[form] <= attacked_without_gate
            if is_watched:
                self.kept.append(made)
            passed = passed and self.passed[form] <= most_attacked
            if passed or is_watched:
                said = read(made, limit)
                self.gate_off += is_watched
                self.gate_off_read += is_watched and said.guess == made.truth
                self.read_off[self.kind_of[form]] += is_watched and said.guess == made.truth
                if passed and is_told(made, preset):
                    self.told_read += said.proved
                elif passed:
                    self.proved[form] += said.proved
                    named[form].append((said.guess, made.truth))
        for form, pairs in named.items():
            truths = Counter(truth for _, truth in pairs)
            commonest = max(max(truths.values()) / len(pairs), 1.0 / max(limit - 1, 1))
            hits = sum(guess == truth for guess, truth in pairs)
            if is_above(hits, len(pairs), commonest):
                self.proved[form] = max(self.proved[form], hits)

    @property
    def recovered(self) -> int:
        """Cells that were proved, or named more often than by the commonest guess."""
        return sum(self.proved.values())

    def by_kind(self) -> Counter[str]:
        """Recovered cells by kind of outcome."""
        found: Counter[str] = Counter(dict.fromkeys(self.kind_of.values(), 0))
        for form, count in self.proved.items():
            found[self.kind_of[form]] += count
        return found


def harmless_refused(preset: str, seeds: range) -> dict[str, tuple[int, int]]:
    """For each kind of outcome (and measure): refused and made, of sites without a small cell."""
    found: dict[str, tuple[int, int]] = {}
    for made in made_by(preset, seeds, is_small=False):
        outcome = made.outcome
        kind = type(outcome).__name__
        if isinstance(outcome, Effect):
            kind += f"_{outcome.measure}"
        refused, count = found.get(kind, (0, 0))
        found[kind] = refused + (not passes(made, preset)), count + 1
    return found


def read_after_former_gate(tally: Tally) -> tuple[int, int]:
    """Of the packets that were attacked with the gate off: passed the former gate, and were read.

    The former gate is taken from the repository's history and runs in a process of its own.
    """
    root = Path(__file__).parent.parent
    archive = subprocess.run(  # noqa: S603  our own history
        ["git", "archive", FORMER, "qis"],  # noqa: S607
        cwd=root, capture_output=True, check=False,
    )  # fmt: skip
    if archive.returncode:
        raise RuntimeError(f"the history has no {FORMER}: run this in a full clone")
    lines = [
        f"{tally.preset} {made.outcome.kind} {made.outcome.encoded().hex()}"
        for made in tally.kept
        if not made.others
    ]
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=BytesIO(archive.stdout)) as tar:
            tar.extractall(folder, filter="data")
        answer = subprocess.run(  # noqa: S603  our own lines
            [sys.executable, "-c", _GATE],
            cwd=folder, input="\n".join(lines), capture_output=True, text=True, check=True,
            env={"PYTHONPATH": folder},
        )  # fmt: skip
    alone = [made for made in tally.kept if not made.others]
    passed = [
        made for made, said in zip(alone, answer.stdout.split(), strict=True) if said == "passed"
    ]
    limit = PRESETS[tally.preset].minimum_cell
    return len(passed), sum(read(made, limit).guess == made.truth for made in passed)


class OfPreset(NamedTuple):
    """What was found for one preset.

    Parameters
    ----------
    recovered
        Cells that were read from what passed, by kind of outcome.
    attacked, was_read
        With the gate off.
    read_off
        What was read with the gate off, by kind of outcome.
    told
        Cells that were read where the preview says that this is not searched.
    harmless
        Refused and made of harmless outcomes, by kind.
    former
        Packets that passed the former gate, and that were read then; `None` if not asked.
    lines
        What was read, in words.

    """

    recovered: Counter[str]
    attacked: int
    was_read: int
    read_off: Counter[str]
    told: int
    harmless: dict[str, tuple[int, int]]
    former: tuple[int, int] | None
    lines: list[str]


def of_preset(preset: str, sites: int, most_attacked: int, *, former: bool) -> OfPreset:
    """Everything about one preset, in a process of its own."""
    is_watched = preset == "cms"
    tally = Tally(
        preset,
        range(sites),
        attacked_without_gate=3 if is_watched else 0,
        most_attacked=most_attacked,
    )
    return OfPreset(
        tally.by_kind(),
        tally.gate_off,
        tally.gate_off_read,
        tally.read_off,
        tally.told_read,
        harmless_refused(preset, range(sites)),
        read_after_former_gate(tally) if former and is_watched else None,
        [
            f"{preset}: {form}: {count} read of {tally.passed[form]} that passed"
            for form, count in tally.proved.items()
            if count
        ],
    )


def figures(sites: int, most_attacked: int, *, former: bool = True) -> dict[str, float]:
    """All figures of the fuzzer, flat; `sites` of each sort a preset, a process for each preset."""
    found: dict[str, float] = {}
    kinds: Counter[str] = Counter()
    harmless: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
    with ProcessPoolExecutor() as processes:
        work = partial(of_preset, sites=sites, most_attacked=most_attacked, former=former)
        each = list(processes.map(work, NAMES))
    for one in each:
        for line in one.lines:
            print(line, file=sys.stderr)
        for kind, count in one.recovered.items():
            kinds[kind] += count
        for kind, count in one.read_off.items():
            name = f"read_with_the_gate_off_{kind}"
            found[name] = found.get(name, 0.0) + count
        for kind, (refused, made) in one.harmless.items():
            harmless[kind][0] += refused
            harmless[kind][1] += made
        if one.former is not None:
            passed, was_read = one.former
            found |= {"former_gate_passed": passed, "former_gate_passed_and_read": was_read}
    worst = {kind: refused / made for kind, (refused, made) in harmless.items()}
    found |= {f"recovered_{kind}": float(count) for kind, count in kinds.items()}
    found |= {f"harmless_refused_{kind}": round(share, 4) for kind, share in worst.items()}
    found |= {
        "attacked_with_the_gate_off": sum(one.attacked for one in each),
        "read_with_the_gate_off": sum(one.was_read for one in each),
        "read_where_told_not_searched": sum(one.told for one in each),
        "cells_recovered_after_passing": kinds.total(),
        "harmless_refused_max": round(max(worst.values()), 4),
    }
    return found
