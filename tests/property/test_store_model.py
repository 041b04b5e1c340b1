"""Both stores against a model of ten lines, through any history of additions and restarts."""

import tempfile
from pathlib import Path

from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

import qis
from qis.evidence import MemoryStore, Roster, SQLiteStore
from qis.testing.stores import state_of

NOW = 1_800_000_000
SITES = [qis.Identity.from_seed(bytes([n]) * 32) for n in (1, 2, 3)]


def packet(site, second, content, cohort):
    if content == "retraction":
        outcome = qis.Retraction(question="q", cohort=cohort)
    else:
        outcome = qis.Effect(
            question="q", cohort=cohort, measure="OR", estimate=content, standard_error=1.0
        )
    return qis.Packet.sign(
        SITES[site],
        outcome=outcome,
        fingerprint=qis.Fingerprint(bytes(32), bytes(8)),
        issued_at=NOW + second,
        lifetime_s=3600,
    )


POOL = [
    packet(site, second, content, cohort)
    for site in range(3)
    for second in range(3)
    for content in (0.1, 0.2, "retraction")
    for cohort in ("", "north")
]


def model(seen):
    """What counts, from the set of all packets seen."""
    counting = set()
    for issuer, cohort in {(p.issuer, p.outcome.cohort) for p in seen}:
        mine = [p for p in seen if p.issuer == issuer]
        top = max(p.sequence for p in mine if p.outcome.cohort == cohort)
        at_top = [p for p in mine if p.sequence == top]
        if len(at_top) == 1 and isinstance(at_top[0].outcome, qis.Effect):
            counting.update(at_top)
    return counting


class Stores(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "evidence.db"
        self.memory = MemoryStore(roster=Roster.open())
        self.disk = SQLiteStore(self.path, roster=Roster.open())
        self.seen = set()

    @rule(packets=st.lists(st.sampled_from(POOL), min_size=1, max_size=6))
    def add(self, packets):
        verdicts = [store.add_many(packets, now=NOW) for store in (self.memory, self.disk)]
        assert verdicts[0] == verdicts[1]
        self.seen.update(packets)

    @rule(packet=st.sampled_from(POOL))
    def come_too_late(self, packet):
        verdicts = [store.add(packet, now=NOW + 10_000) for store in (self.memory, self.disk)]
        assert verdicts[0] is verdicts[1]
        if isinstance(packet.outcome, qis.Retraction):
            self.seen.add(packet)

    @rule()
    def restart(self):
        self.disk.close()
        self.disk = SQLiteStore(self.path, roster=Roster.open())

    @rule(random=st.randoms())
    def tell_another_node(self, random):
        packets = sorted(self.seen, key=lambda p: p.id)
        random.shuffle(packets)
        other = MemoryStore(roster=Roster.open())
        other.add_many(packets, now=NOW)
        assert state_of(other) == state_of(self.disk)

    @invariant()
    def agree(self):
        assert state_of(self.memory) == state_of(self.disk)
        assert set(self.disk.packets()) == self.seen
        assert set(self.disk.evidence("q", now=NOW)) == model(self.seen)

    def teardown(self):
        self.disk.close()
        self.folder.cleanup()


Stores.TestCase.settings = settings(max_examples=60, stateful_step_count=20)
TestStores = Stores.TestCase


class SmallStores(RuleBasedStateMachine):
    """Eviction is one behaviour too: the same packets go, in memory and on disk."""

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name) / "evidence.db"
        self.stores = [
            MemoryStore(roster=Roster.open(), capacity=5),
            SQLiteStore(path, roster=Roster.open(), capacity=5),
        ]

    @rule(packets=st.lists(st.sampled_from(POOL), min_size=1, max_size=10))
    def add(self, packets):
        first, second = (store.add_many(packets, now=NOW) for store in self.stores)
        assert first == second

    @invariant()
    def agree(self):
        memory, disk = self.stores
        assert state_of(memory) == state_of(disk)
        assert len(disk) <= 5
        assert len(disk.packets()) == len(disk)

    def teardown(self):
        self.stores[1].close()
        self.folder.cleanup()


SmallStores.TestCase.settings = settings(max_examples=60, stateful_step_count=15)
TestSmallStores = SmallStores.TestCase
