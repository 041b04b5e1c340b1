"""The routing table against sorted lists; the lookup against brute force and against liars."""

import random

from hypothesis import given, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from qis.overlay.choice import chosen_keys
from qis.overlay.lookup import ALPHA, REQUESTS_LIMIT, Lookup
from qis.overlay.record import Contact, NodeRecord
from qis.overlay.table import BUCKET_SIZE, RESERVE_SIZE, RoutingTable

# Few bits of room above, so that buckets fill; every prefix length can occur.
ids = st.integers(0, 63).map(lambda i: i << 250) | st.integers(0, 2**256 - 1)


def contact(node, sequence=1):
    record = NodeRecord(key=node.to_bytes(32), sequence=sequence, address=b"a" * 18, signature=b"")
    return Contact(node, record)


class Model:
    """The same with lists: per shared prefix whom one has, oldest first, and the reserve."""

    def __init__(self, own):
        self.own = own
        self.has = {}
        self.reserve = {}
        self.sequence = {}

    def lists(self, node):
        prefix = (node ^ self.own).bit_length()
        return self.has.setdefault(prefix, []), self.reserve.setdefault(prefix, [])

    def add(self, node, sequence):
        has, reserve = self.lists(node)
        if node == self.own:
            return
        if node in has:
            self.sequence[node] = max(sequence, self.sequence[node])
            return
        if node in reserve:
            reserve.remove(node)
        self.sequence[node] = sequence
        if len(has) < BUCKET_SIZE:
            has.append(node)
        else:
            reserve.append(node)
            del reserve[:-RESERVE_SIZE]

    def remove(self, node):
        has, reserve = self.lists(node)
        if node in reserve:
            reserve.remove(node)
        if node in has:
            has.remove(node)
            if reserve:
                has.append(reserve.pop())

    def closest(self, target):
        return sorted((node for has in self.has.values() for node in has), key=lambda n: n ^ target)


class TableAgainstLists(RuleBasedStateMachine):
    """Whatever is added and removed, the table has whom the lists have."""

    def __init__(self):
        super().__init__()
        self.own = 5 << 250
        self.table = RoutingTable(self.own)
        self.model = Model(self.own)

    @rule(node=ids, sequence=st.integers(1, 3))
    def add(self, node, sequence):
        self.model.add(node, sequence)
        assert self.table.add(contact(node, sequence)) == (node in self.model.lists(node)[0])

    @rule(nodes=st.lists(st.integers(1, 40), min_size=9, max_size=20))
    def add_many_far_away(self, nodes):  # so that a bucket and its reserve are full
        for node in nodes:
            self.add(node, 1)

    @rule(node=ids | st.integers(1, 40))
    def remove(self, node):
        self.table.remove(node)
        self.model.remove(node)
        assert node not in self.table

    @rule(wanted=ids, count=st.integers(1, 30))
    def closest(self, wanted, count):
        found = [c.id for c in self.table.closest(wanted, count)]
        assert found == self.model.closest(wanted)[:count]

    @invariant()
    def the_same(self):
        sequences = {c.id: c.record.sequence for c in self.table}
        assert sequences == {node: self.model.sequence[node] for node in self.model.closest(0)}
        assert len(self.table) == len(sequences)


TestTable = TableAgainstLists.TestCase
TestTable.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def network(seed, size):
    rng = random.Random(seed)
    nodes = [rng.getrandbits(256) for _ in range(size)]
    tables = {node: RoutingTable(node) for node in nodes}
    for table in tables.values():
        for node in rng.sample(nodes, size):
            table.add(contact(node))
    return rng, nodes, tables


def drive(lookup, answer):
    """Answers everything at once; returns who was asked."""
    asked = []
    while not lookup.is_done:
        batch = lookup.to_ask()
        assert batch
        assert len(batch) <= ALPHA
        for node in batch:
            asked.append(node.id)
            found = answer(node.id)
            if found is None:
                lookup.failed(node.id)
            else:
                lookup.answered(node.id, found)
    return asked


@given(seed=st.integers(0, 2**32), size=st.integers(2, 120), width=st.integers(1, 6))
@settings(max_examples=25)
def test_a_lookup_equals_brute_force_when_all_answer(seed, size, width):
    rng, nodes, tables = network(seed, size)
    target = rng.getrandbits(256)
    own = nodes[0]
    lookup = Lookup(target, tables[own].closest(target, 8), width=width, own_id=own)
    asked = drive(lookup, lambda node: tables[node].closest(target, 8))
    assert len(asked) == len(set(asked)) == lookup.requests
    model = sorted(set(nodes) - {own}, key=lambda node: node ^ target)[:width]
    assert [c.id for c in lookup.result()[:width]] == model


@given(seed=st.integers(0, 2**32), silent=st.floats(0, 1), width=st.integers(1, 6))
@settings(max_examples=50)
def test_a_lookup_ends_whatever_is_answered_and_asks_nobody_twice(seed, silent, width):
    rng = random.Random(seed)
    target = rng.getrandbits(256)

    def lie(_):
        if rng.random() < silent:
            return None
        return [contact(target ^ rng.getrandbits(rng.randint(1, 256))) for _ in range(8)]

    lookup = Lookup(target, lie(0) or [], width=width, own_id=0)
    asked = drive(lookup, lie)
    assert len(asked) == len(set(asked)) <= REQUESTS_LIMIT


keys = st.lists(st.integers(0, 30).map(lambda i: i.to_bytes(8)), max_size=24, unique=True)


@given(
    packet=keys,
    subscription=keys,
    attempt=st.integers(0, 255),
    q=st.integers(1, 4),
    order=st.randoms(),
)
def test_every_node_chooses_the_same_min_q_shared_keys(packet, subscription, attempt, q, order):
    shared = set(packet) & set(subscription)
    chosen = chosen_keys(b"p" * 32, attempt, b"s" * 32, shared, count=q)
    assert len(chosen) == len(set(chosen)) == min(q, len(shared))
    assert set(chosen) <= shared
    again = sorted(shared)
    order.shuffle(again)
    assert set(chosen_keys(b"p" * 32, attempt, b"s" * 32, again, count=q)) == set(chosen)


def test_the_choice_is_uniform_over_the_shared_keys():
    shared = [bytes([i]) * 8 for i in range(8)]
    counts = dict.fromkeys(shared, 0)
    for i in range(4_000):
        for key in chosen_keys(i.to_bytes(32), 0, b"s" * 32, shared):
            counts[key] += 1
    # 1,000 expected of each; chi-square with 7 degrees of freedom, 99.9 % quantile 24.3, and the
    # variance of drawing 2 of 8 without replacement is smaller still.
    assert sum((n - 1_000) ** 2 / 1_000 for n in counts.values()) < 24.3
