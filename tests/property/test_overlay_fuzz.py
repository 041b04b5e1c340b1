"""A short run of the datagram fuzzer; `python benchmarks/fuzz_datagrams.py` sends a million."""

import dataclasses

import pytest

from qis.overlay import messages, requests, tokens
from qis.overlay.record import Contact, NodeAdmission, NodeRecord
from qis.overlay.rendezvous import RendezvousNode
from qis.transport.reception import Reception, Verdict


@pytest.fixture(scope="module")
def fuzz(load_benchmark):
    return load_benchmark("fuzz_datagrams")


def test_every_field_of_a_message_is_driven_to_its_edges(load_benchmark):
    kinds = messages.Message.__subclasses__()
    fields = {field.name for kind in kinds for field in dataclasses.fields(kind)}
    assert len(kinds) == len(messages._READERS)
    assert {*load_benchmark("_mutations").EXTREMES, "subscription"} == fields


@pytest.mark.parametrize("encrypted", [False, True])
def test_a_live_node_stands_whatever_comes(fuzz, encrypted):
    found = fuzz.attack(1_200, 1, encrypted=encrypted, seconds=1_400.0)
    assert found["raised"] == {}
    assert found["faults"] == []
    # Inputs get deep enough to be answered, and nearly all are refused; over the channel all but
    # those that change nothing, once.
    assert 0.0 < found["worst_reply_ratio"] <= 1.0
    assert (0 if encrypted else 5) < sum(found["not_refused"].values()) < 400
    assert len(found["refused"]) > 8
    assert found["sizes"]["packets retained"][0] > 15


def test_the_same_seed_makes_the_same_attack(fuzz):
    one, other = (fuzz.attack(200, 2, encrypted=False, seconds=100.0) for _ in range(2))
    measured = "most_resident_bytes_by_thirds", "most_held_bytes_by_thirds"
    assert all(one[name] == other[name] for name in one if name not in measured)


def believe_all(self, data):
    record = NodeRecord.decode(data)
    return Contact(self.id_of(record.key), record)


BROKEN = {
    "proves whatever comes": (tokens.Tokens, "proves", lambda *_: True, "a stranger got", 600),
    "believes forged records": (NodeAdmission, "contact", believe_all, "in the table", 2_000),
    "believes forged subscriptions": (
        RendezvousNode,
        "_subscriber_of",
        lambda self, subscription: self._admission.contact(subscription.record),
        "a forged subscription is held",
        3_000,
    ),
    "forgets what it holds": (
        requests.Requests,
        "_on_leave",
        lambda self, message, address, now: self._rendezvous.subscription_table.__init__(),
        "are missing",
        300,
    ),
    "gives its application nothing": (
        Reception,
        "receive_many",
        lambda _, arrivals, **__: [Verdict.DUPLICATE] * len(arrivals),
        "does not come to the target",
        100,
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_the_fuzzer_finds_a_broken_node(fuzz, monkeypatch, name):
    owner, method, broken, words, count = BROKEN[name]
    monkeypatch.setattr(owner, method, broken)
    if owner is requests.Requests:
        handlers = {**requests._HANDLERS}
        kind = next(k for k, h in handlers.items() if h.__name__ == method)
        handlers[kind] = broken
        monkeypatch.setattr(requests, "_HANDLERS", handlers)
    found = fuzz.attack(count, 3, encrypted=False, seconds=100.0)
    assert any(words in fault for fault in found["faults"])


def test_the_fuzzer_finds_a_node_that_contains_a_fault(fuzz, monkeypatch, faults):
    faults.expect("overlay.message: IndexError")
    faults.allow("overlay.answer: IndexError")
    believe = NodeAdmission.contact

    def contact(self, data):
        if not any(data[32:40]):
            raise IndexError("as a careless handler would")
        return believe(self, data)

    monkeypatch.setattr(NodeAdmission, "contact", contact)
    found = fuzz.attack(300, 4, encrypted=False, seconds=100.0)
    assert found["raised"]["overlay.message: IndexError"] > 0
