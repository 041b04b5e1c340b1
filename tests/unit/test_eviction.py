"""What a full store drops: of whom, and in which order."""

import pytest

import qis
from qis.evidence import Roster, Site
from qis.evidence.eviction import Kept, losses, shares

A, B, C = (bytes([n]) * 32 for n in (1, 2, 3))


class Candidates:
    """Packets as (sequence, issuer, name); the name is the handle."""

    def __init__(self, superseded=(), deciding=(), doubles=()):
        self._singles = {False: superseded, True: deciding}
        self._doubles = doubles
        self.read = 0

    def singles(self, *, decide):
        for packet in sorted(self._singles[decide]):
            self.read += 1
            yield Kept(*packet)

    def doubles(self):
        return [Kept(*packet) for packet in sorted(self._doubles, key=lambda p: (p[1], p[0], p[2]))]


FULL = Candidates(
    superseded=[(3, A, "old"), (1, A, "oldest"), (2, B, "of b")],
    deciding=[(4, A, "counts"), (9, A, "counts too"), (5, B, "of b")],
    doubles=[
        (7, A, "x"),
        (7, A, "y"),
        (7, A, "z"),
        (6, A, "p"),
        (6, A, "q"),
    ],
)


@pytest.mark.parametrize(
    ("number", "going", "floor"),
    [
        (1, "oldest", None),
        (2, "oldest, old", None),
        (3, "oldest, old, z", 7),
        (4, "oldest, old, z, counts", 7),
        (5, "oldest, old, z, counts, counts too", 9),
        (6, "oldest, old, z, counts, counts too, p, q", 9),
        (7, "oldest, old, z, counts, counts too, p, q", 9),
        (8, "oldest, old, z, counts, counts too, p, q, x, y", 9),
        (9, "oldest, old, z, counts, counts too, p, q, x, y", 9),
    ],
)
def test_what_costs_least_goes_first_and_a_proof_only_whole(number, going, floor):
    found = losses(FULL, {A: number})
    assert ", ".join(packet.handle for packet in found.going) == going
    assert found.floors == ({} if floor is None else {A: floor})


def test_each_issuer_loses_its_own_share():
    found = losses(FULL, {A: 1, B: 2})
    assert {packet.issuer: packet.handle for packet in found.going} == {A: "oldest", B: "of b"}
    assert len(found.going) == 3
    assert found.floors == {B: 5}


def test_no_more_is_read_than_goes():
    held = Candidates(
        superseded=[(n, A, n) for n in range(100)], deciding=[(n, B, n) for n in (1, 2)]
    )
    assert [packet.handle for packet in losses(held, {A: 7}).going] == list(range(7))
    assert held.read == 7


def test_strangers_lose_first_then_the_heaviest_down_to_a_level():
    roster = Roster(
        tuple(
            Site.of(name, qis.identity.Issuer(key)) for name, key in zip("ab", (A, B), strict=True)
        )
    )
    held = {A: 10, B: 4, C: 3}
    assert shares(held, roster, 2) == {C: 2}
    assert shares(held, roster, 5) == {C: 3, A: 2}
    assert shares(held, roster, 11) == {C: 3, A: 7, B: 1}
    assert shares(held, Roster.open(), 3) == {A: 3}
