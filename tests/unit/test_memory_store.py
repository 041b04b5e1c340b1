"""MemoryStore passes the suite that ships for all stores; a store that breaks it is caught."""

import pytest

import qis
from qis.evidence import Admission, MemoryStore
from qis.testing.stores import check_store


def test_memory_store_conforms():
    check_store(lambda roster, capacity: MemoryStore(roster=roster, capacity=capacity))


class Forgetful(MemoryStore):
    """Does not notice that a sequence was used before."""

    def ids_at(self, issuer, sequence):
        return frozenset()


class Unbounded(MemoryStore):
    def _evict(self):
        """Keep all."""


class Halves(MemoryStore):
    """Evicts half of a proof."""

    def _drop(self, going):
        super()._drop(going[::2])


class Credulous(MemoryStore):
    def _read_verdict(self, packet, admission, now):
        return Admission.ACCEPTED


class HeadFirst(MemoryStore):
    """Chooses the newest packet first, and judges it afterwards."""

    def newest_of(self, keys, accepts):
        return []


class RefusedStays(MemoryStore):
    """Drops what was superseded before what the roster refuses."""

    def refused(self):
        return []


class HalfDone(MemoryStore):
    """Keeps what came before the one that fails."""

    def add_many(self, packets, *, now):
        return [verdict for packet in packets for verdict in super_add_many(self, packet, now)]


def super_add_many(store, packet, now):
    return MemoryStore.add_many(store, [packet], now=now)


@pytest.mark.parametrize(
    "broken",
    [Forgetful, Unbounded, Halves, Credulous, HeadFirst, RefusedStays, HalfDone],
)
def test_the_suite_catches(broken):
    with pytest.raises(AssertionError):
        check_store(lambda roster, capacity: broken(roster=roster, capacity=capacity))


def test_open_roster_is_said_not_assumed():
    with pytest.raises(qis.InputError, match=r"Roster\.open"):
        MemoryStore(roster=None)
