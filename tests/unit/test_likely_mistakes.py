"""Mistakes that people make in their first hour, each by its name: refused in our words, or right.

They are those of a list that was measured once, when 39 of 234 raised foreign exceptions and 45
were accepted; `benchmarks/wrong_inputs.py` tries what nobody thought of.
"""

import asyncio
import math
from datetime import UTC, datetime

import numpy as np
import pytest

import qis
from qis.errors import ConfigurationError, InputError, KeyFileError, QISError, StorageError

NOW = 1_800_000_000
QUESTION = {"question": "a vs b | c"}
IDENTITY = qis.Identity.from_seed(bytes(32))
SCHEME = qis.VectorScheme(dimensions=3)
FINGERPRINT = SCHEME.fingerprint([0.2, -1.0, 0.7])
EFFECT = qis.Effect(measure="OR", estimate=-0.3, standard_error=0.2, **QUESTION)
OTHER = qis.Effect(measure="OR", estimate=-0.1, standard_error=0.3, **QUESTION)
PARTS = {
    "outcome": EFFECT, "fingerprint": FINGERPRINT, "issued_at": NOW, "lifetime_s": 86_400,
}  # fmt: skip
PACKET = qis.Packet.sign(IDENTITY, **PARTS)
ROSTER = qis.Roster((qis.Site.of("Ulm", IDENTITY.issuer),))
SURVIVAL = {"times": [1, 2, 3, 4], "events": [1, 1, 0, 1], "treated": [1, 0, 1, 0], **QUESTION}
VALUES = {"values": [1.0, 2.0, 4.0], "control": [1.0, 3.0, 3.5], **QUESTION}


def sign(**others):
    return lambda: qis.Packet.sign(IDENTITY, **{**PARTS, **others})


def survival(**others):
    return lambda: qis.LikelihoodProfile.from_survival(**{**SURVIVAL, **others})


def moments(**others):
    given = {**VALUES, **others}
    return lambda: qis.Moments.from_values(given.pop("values"), given.pop("control"), **given)


def loop(**others):
    given = {
        "identity": IDENTITY,
        "transport": qis.MemoryTransport(qis.MemoryNetwork(), IDENTITY),
        "scheme": SCHEME,
        "interest": SCHEME.interest([0.2, -1.0, 0.7]),
        **others,
    }
    return lambda: qis.SynthesisLoop(**given)


MASKED = np.ma.array([1.0, 2.0, 3.0, 4.0], mask=[False, True, False, False])
REFUSED = {
    "a fingerprint that is a list": (sign(fingerprint=[0.2, -1.0, 0.7]), "fingerprint is a list"),
    "an outcome that is a dict": (sign(outcome={"estimate": -0.3}), "outcome is a dict"),
    "a sequence that is a float": (sign(sequence=float(NOW * 10**6)), "sequence is 18000"),
    "milliseconds": (sign(issued_at=NOW * 1000), "milliseconds"),
    "milliseconds, of the store": (
        lambda: qis.MemoryStore(roster=ROSTER).add(PACKET, now=NOW * 1000), "milliseconds",
    ),
    "milliseconds, of a key's validity": (
        lambda: qis.SiteKey(issuer=IDENTITY.issuer, valid_from=NOW * 1000), "milliseconds",
    ),
    "milliseconds, of a study": (
        lambda: qis.Study(question="q", valid_from=NOW * 1000), "valid_from",
    ),
    "sixty routing keys": (sign(routing_keys=[bytes([i]) * 8 for i in range(60)]), "routing"),
    "a hundred keys of an interest": (
        lambda: qis.Interest(FINGERPRINT, tuple(bytes([i]) * 8 for i in range(99)), 0.5), "routing",
    ),
    "no packet": (lambda: qis.Packet.parse(None), "data is None"),
    "a packet in hexadecimal digits": (
        lambda: qis.Packet.parse(bytes(PACKET).hex()), r"bytes\.fromhex",
    ),
    "a packet in hexadecimal digits, as bytes": (
        lambda: qis.Packet.parse(bytes(PACKET).hex().encode()), "hexadecimal",
    ),
    "a roster of issuers": (lambda: qis.Roster([IDENTITY.issuer]), r"Site"),
    "a site's keys as text": (lambda: qis.Site(name="Ulm", keys="abcd"), "keys is 'abcd'"),
    "a site's key as bytes": (lambda: qis.Site.of("Ulm", bytes(32)), "Issuer"),
    "studies as texts": (loop(studies=["beta blocker"]), "studies"),
    "a transport as a URL": (loop(transport="udp://0.0.0.0:7400"), "transport is 'udp:"),
    "a loop's store as a path": (loop(store="evidence.db"), "store is 'evidence.db'"),
    "a loop's interest as features": (loop(interest=[0.2, -1.0, 0.7]), "interest"),
    "a loop's roster as a path": (loop(roster="roster.toml"), "roster is 'roster.toml'"),
    "a loop's disclosure as a name": (loop(disclosure="cms"), "disclosure is 'cms'"),
    "bind as a text": (
        lambda: qis.UDPTransport(IDENTITY, roster=ROSTER, bind="127.0.0.1:0"), "bind",
    ),
    "a similarity of features": (lambda: SCHEME.similarity([0.2], [0.1]), r"^a is a list"),
    "one fingerprint where several go": (
        lambda: qis.FingerprintIndex(SCHEME).add(FINGERPRINT), "fingerprints is a Fingerprint",
    ),
    "features to search for": (
        lambda: qis.FingerprintIndex(SCHEME).search([0.2, -1.0, 0.7]), "fingerprint is a list",
    ),
    "a threshold as text": (
        lambda: qis.FingerprintIndex(SCHEME).within(FINGERPRINT, "0.5"), "min_similarity is '0.5'",
    ),
    "negative survival times": (survival(times=[1, -2, 3, 4]), r"times\[1\] is -2"),
    "survival times as dates": (
        survival(times=np.array(["2024-01-0" + d for d in "1234"], "M8[ns]")), r"times\[0\].*dates",
    ),
    "survival times as durations": (
        survival(times=np.array([1, 2, 3, 4], "m8[ns]")), r"times\[0\].*durations",
    ),
    "a masked survival time": (survival(times=MASKED), r"times\[1\].*masked"),
    "a masked value": (moments(values=MASKED), r"values\[1\].*missing"),
    "a masked estimate": (
        lambda: qis.inverse_variance(MASKED, [1.0] * 4), r"estimates\[1\].*masked",
    ),
    "numbers as texts": (moments(values=["1", "2", "4"]), r"values\[0\] is '1'"),
    "estimates as texts": (lambda: qis.bayes(["1", "2"], [1, 2]), r"estimates\[0\] is '1'"),
    "truth values pooled as numbers": (moments(values=[True, False, True]), r"values\[0\] is True"),
    "truth values as estimates": (
        lambda: qis.inverse_variance([True, False], [1, 1]), r"estimates\[0\] is True",
    ),
    "a likelihood for its logarithm": (
        lambda: qis.LikelihoodProfile.from_function(
            measure="OR", log_likelihood=lambda b: math.exp(-b * b), **QUESTION
        ),
        "give its logarithm",
    ),
    "a log-likelihood as an array": (
        lambda: qis.LikelihoodProfile.from_function(
            measure="OR", log_likelihood=np.zeros(9), **QUESTION
        ),
        "log_likelihood is a ndarray",
    ),
    "a preset that is none": (lambda: qis.Disclosure.preset(3), "name is 3"),
    "rules as a name": (lambda: qis.Disclosure("cms"), "rules is 'cms'"),
    "an outcome to check that is a dict": (
        lambda: qis.Disclosure.preset("cms").check({"events": 3}), "outcome is a dict",
    ),
    "a study as a name": (
        lambda: qis.Effect(measure="OR", estimate=0.0, standard_error=1.0, study="q"), "study is",
    ),
    "a memory store by sqlite's name": (
        lambda: qis.SQLiteStore(":memory:", roster=ROSTER), "MemoryStore",
    ),
    "packets and outcomes mixed": (
        lambda: qis.synthesise([PACKET, EFFECT], model="fixed"), r"packets.*Packet",
    ),
    "bytes to synthesise": (
        lambda: qis.synthesise([bytes(PACKET)], model="fixed"), r"Packet\.parse",
    ),
    "a time without a zone": (
        lambda: qis.synthesise([PACKET], model="fixed", now=datetime(2027, 1, 1)),  # noqa: DTZ001
        "without a zone",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", REFUSED)
def test_it_is_refused_in_our_words(mistake):
    attempt, words = REFUSED[mistake]
    with pytest.raises(QISError, match=words):
        attempt()


@pytest.mark.parametrize(
    ("load", "kind"),
    [
        (qis.Study.load, ConfigurationError), (qis.Roster.load, ConfigurationError),
        (qis.Identity.load, KeyFileError), (qis.read_packets, StorageError),
        (lambda path: qis.FingerprintIndex.load(path, SCHEME), StorageError),
        (qis.open_site, ConfigurationError), (qis.Ontology.from_obographs, QISError),
        (qis.Ontology.from_obo, QISError),
    ],
)  # fmt: skip
def test_a_file_that_is_missing_or_none_is_named(load, kind, tmp_path):
    with pytest.raises(kind, match="nowhere"):
        load(tmp_path / "nowhere.toml")
    with pytest.raises(QISError):
        load(tmp_path)  # a folder
    for wrong in (None, 3, b"x", [], "", "a\0b"):
        with pytest.raises(QISError):
            load(wrong)


def test_the_first_things_anyone_tries_are_right():
    both = qis.synthesise([EFFECT, OTHER], model="fixed")
    assert both.estimate == pytest.approx((-0.3 / 0.04 - 0.1 / 0.09) / (1 / 0.04 + 1 / 0.09))
    assert qis.synthesise(PACKET, model="fixed").estimate == pytest.approx(-0.3)
    store = qis.MemoryStore(roster=ROSTER)
    assert store.add(PACKET, now=datetime.fromtimestamp(NOW, UTC)).kept
    now = datetime.fromtimestamp(NOW, UTC)
    assert qis.synthesise(store.evidence("a vs b | c", now=now), model="fixed").sites


def test_a_loop_opens_with_two_equal_interests():
    async def scenario():
        pair = [SCHEME.interest([0.2, -1.0, 0.7]) for _ in range(2)]
        async with loop(interest=pair)() as opened:
            return opened.health.state

    assert asyncio.run(scenario()) is qis.HealthState.OK


def test_a_millisecond_time_is_refused_where_a_packet_would_carry_it():
    with pytest.raises(InputError, match="milliseconds"):
        qis.Packet.parse(bytes(PACKET), now=NOW * 1000)
    with pytest.raises(InputError, match="milliseconds"):
        qis.Packet.verify_many([bytes(PACKET)], now=NOW * 1000)
