"""Any packets in any order, under any history of rosters: one evidence, that of the last roster.

Compared with a model of a few lines: take what the roster accepts of the set of all packets seen,
and of that the newest under each key, and of a site's keys the one valid from a later time.
"""

import tempfile
from pathlib import Path

from hypothesis import given, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

import qis
from qis.evidence import MemoryStore, Roster, Site, SiteKey, SQLiteStore
from qis.testing.stores import state_of

NOW = 1_800_000_000
KEYS = [qis.Identity.from_seed(bytes([n]) * 32) for n in (1, 2, 3)]
STUDIES = ("q", "r")
SECONDS = range(4)


def packet(key, second, number, content, *, cohort="", study="q"):
    """A packet issued in one second and numbered by another, which need not agree."""
    if content == "retraction":
        outcome = qis.Retraction(question=study, cohort=cohort)
    else:
        outcome = qis.Effect(
            question=study, cohort=cohort, measure="OR", estimate=content, standard_error=1.0
        )
    return qis.Packet.sign(
        KEYS[key],
        outcome=outcome,
        fingerprint=qis.Fingerprint(bytes(32), bytes(8)),
        issued_at=NOW + second,
        lifetime_s=3600,
        sequence=(NOW + number) * 1_000_000,
    )


POOL = [
    packet(key, second, number, content)
    for key in range(3)
    for second in SECONDS
    for number in SECONDS
    for content in (0.1, "retraction")
] + [
    packet(key, 1, number, 0.2, cohort=cohort, study=study)
    for key in range(3)
    for number in SECONDS
    for cohort, study in (("", "r"), ("north", "q"))
]

moments = st.one_of(st.none(), st.sampled_from([NOW + s for s in SECONDS]))


@st.composite
def site_keys(draw, number):
    start, end = draw(moments), draw(moments)
    if start is not None and end is not None and start >= end:
        start, end = None, start
    return SiteKey(
        issuer=KEYS[number].issuer,
        valid_from=start,
        valid_until=end,
        revoked=draw(st.sampled_from([False, False, False, True])),
    )


@st.composite
def rosters(draw):
    """Three keys of one to three sites, each of which may be missing, ended or not enrolled."""
    if draw(st.sampled_from([False] * 5 + [True])):
        return Roster.open()
    owners = {}
    for number in range(3):
        owner = draw(st.sampled_from(["north", "north", "south", None]))
        if owner is not None:
            owners.setdefault(owner, []).append(draw(site_keys(number)))
    studies = [None, None, frozenset({qis.Study(question="q").id}), frozenset()]
    return Roster(
        tuple(
            Site(name=name, keys=tuple(keys), studies=draw(st.sampled_from(studies)))
            for name, keys in owners.items()
        )
    )


def accepts(roster, one):
    if roster.is_open:
        return True
    for site in roster.sites:
        for key in site.keys:
            if key.issuer == one.issuer:
                return (
                    not key.revoked
                    and (key.valid_from is None or key.valid_from <= one.issued_at)
                    and (key.valid_until is None or one.issued_at < key.valid_until)
                    and (site.studies is None or one.outcome.study_id in site.studies)
                )
    return False


def owner_of(roster, issuer):
    """The site of a key, and from when the key is valid."""
    for site in roster.sites:
        for key in site.keys:
            if key.issuer == issuer:
                return site.name, key.valid_from or 0
    return issuer, 0


def model(seen, roster, study):
    """What counts, from the set of all packets seen."""
    accepted = [one for one in seen if accepts(roster, one)]
    decide = {}
    for one in accepted:
        if one.outcome.question == study:
            name, valid_from = owner_of(roster, one.issuer)
            keys = decide.setdefault((name, one.outcome.cohort), {})
            keys.setdefault((valid_from, one.issuer), []).append(one)
    counting = set()
    for keys in decide.values():
        tops = []
        for (valid_from, _), ones in keys.items():
            top = max(one.sequence for one in ones)
            first = min((one for one in ones if one.sequence == top), key=lambda one: one.id)
            tops.append((valid_from, top, first.id, first))
        *_, head = max(tops)
        twins = [
            one for one in accepted if (one.issuer, one.sequence) == (head.issuer, head.sequence)
        ]
        if len(twins) == 1 and isinstance(head.outcome, qis.Effect):
            counting.add(head)
    return counting


def evidence(store, study):
    return set(store.evidence(study, now=NOW))


class Histories(RuleBasedStateMachine):
    capacity = 10_000

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "evidence.db"
        self.roster = Roster.open()
        self.memory = MemoryStore(roster=self.roster, capacity=self.capacity)
        self.disk = self.opened()
        self.seen = set()

    def opened(self):
        return SQLiteStore(self.path, roster=self.roster, capacity=self.capacity)

    @rule(packets=st.lists(st.sampled_from(POOL), min_size=1, max_size=6))
    def add(self, packets):
        before = [evidence(self.memory, study) for study in STUDIES]
        foreseen = self.disk.foreseen(packets[0], now=NOW)
        verdicts = [store.add_many(packets, now=NOW) for store in (self.memory, self.disk)]
        assert verdicts[0] == verdicts[1]
        if len(packets) == 1 and self.memory.statistics.evicted == 0:
            assert verdicts[0] == [foreseen]
        self.seen.update(packets)
        # A loop synthesises again only if a verdict says so. What a full store drops has none.
        is_complete = self.memory.statistics.evicted == 0
        if is_complete and before != [evidence(self.memory, study) for study in STUDIES]:
            assert any(verdict.changes_evidence for verdict in verdicts[0])

    @rule(roster=rosters())
    def believe(self, roster):
        self.roster = self.memory.roster = self.disk.roster = roster

    @rule()
    def restart(self):
        self.disk.close()
        self.disk = self.opened()

    @invariant()
    def agree(self):
        assert state_of(self.memory) == state_of(self.disk)

    def teardown(self):
        self.disk.verify()
        self.disk.close()
        self.folder.cleanup()


class Complete(Histories):
    @rule(random=st.randoms(), others=st.lists(rosters(), max_size=3))
    def tell_another_node(self, random, others):
        packets = sorted(self.seen, key=lambda one: one.id)
        random.shuffle(packets)
        other = MemoryStore(roster=Roster.open())
        for number, one in enumerate(packets):
            if number < len(others):
                other.roster = others[number]
            other.add(one, now=NOW)
        other.roster = self.roster
        assert state_of(other) == state_of(self.memory)

    @invariant()
    def is_as_the_model_says(self):
        assert set(self.memory.packets()) == self.seen
        for study in STUDIES:
            assert evidence(self.memory, study) == model(self.seen, self.roster, study)


class Small(Histories):
    """Eviction is one behaviour in memory and on disk, under any roster."""

    capacity = 6

    @invariant()
    def is_bounded(self):
        assert len(self.disk) == len(self.disk.packets()) <= 6


Complete.TestCase.settings = settings(max_examples=50, stateful_step_count=12)
TestComplete = Complete.TestCase
Small.TestCase.settings = settings(max_examples=40, stateful_step_count=12)
TestSmall = Small.TestCase


@settings(max_examples=60)
@given(st.lists(st.sampled_from(POOL), max_size=12), rosters(), st.lists(rosters(), max_size=4))
def test_a_roster_to_and_fro_gives_the_same_evidence(packets, roster, others):
    store = MemoryStore(roster=roster)
    store.add_many(packets, now=NOW)
    before = [store.review(study, now=NOW) for study in STUDIES]
    for other in (*others, roster):
        store.roster = other
        store.review("q", now=NOW)
    assert [store.review(study, now=NOW) for study in STUDIES] == before
