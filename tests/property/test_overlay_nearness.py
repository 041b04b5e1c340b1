"""Holders that compare sketches send whatever the receiver would take, and little else."""

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from qis.about import Fingerprint, Interest, Near
from qis.fingerprint import SetScheme, VectorScheme
from qis.identity import Identity
from qis.overlay.addresses import pack_address
from qis.overlay.record import Credentials
from qis.overlay.subscription import NEAR_LIMIT, Subscription, wanted_of
from qis.simulation import Simulation

SITE = Credentials.of(Identity.from_seed(bytes(32)))
RECORD = SITE.record(pack_address("192.0.2.1", 4_000), 1).encode()
VECTORS = VectorScheme(dimensions=4)
SETS = SetScheme()
STUDY = b"a study!"


def subscription(*interests):
    return Subscription.signed(
        SITE, record=RECORD, sequence=1, lifetime_s=1_500, wanted=wanted_of(interests)
    )


def flipped(fingerprint, bits):
    changed = int.from_bytes(fingerprint.sketch) ^ sum(1 << bit for bit in bits)
    return Fingerprint(changed.to_bytes(32), fingerprint.scheme_id)


bits = st.sets(st.integers(0, 255), max_size=256)
similarities = st.one_of(st.floats(0.0, 1.0), st.integers(0, 256).map(lambda n: n / 256))


@pytest.mark.parametrize(
    ("scheme", "features"),
    [(VECTORS, (0.3, -1.0, 0.2, 2.0)), (SETS, {"a", "b", "c", "d"})],
    ids=["vectors", "sets"],
)
@given(bits=bits, minimum=similarities)
def test_a_holder_finds_near_exactly_what_the_receiver_would_take(scheme, features, bits, minimum):
    interest = scheme.interest(features, min_similarity=minimum)
    assert interest.share_sketch
    packet = flipped(interest.fingerprint, bits)
    keys = interest.routing_keys
    wanted = subscription(interest).wants_under(keys, packet.scheme_id, packet.sketch)
    assert bool(wanted) == interest.matches(packet, STUDY, keys)
    assert wanted == (sorted(keys) if wanted else [])


@given(bits=bits, minimum=similarities)
def test_so_it_does_for_bits_that_agree(bits, minimum):
    own = Fingerprint(bytes(32), b"a scheme")
    interest = Interest(own, (b"key-----",), minimum, share_sketch=True)
    near = interest.near
    packet = flipped(own, bits)
    is_near = near is None or near.covers(packet.scheme_id, packet.sketch)
    assert is_near == interest.matches(packet, STUDY, interest.routing_keys)


def test_a_study_is_wanted_whatever_it_is_about():
    interest = VECTORS.interest((1.0, 0.0, 0.0, 0.0), studies=[STUDY])
    far = flipped(interest.fingerprint, range(256))
    held = subscription(interest)
    keys = (*interest.routing_keys, STUDY)
    assert held.wants_under(keys, far.scheme_id, far.sketch) == [STUDY]
    assert held.wants_under(keys, b"another!", far.sketch) == [STUDY]


def test_a_key_without_a_sketch_is_open_though_another_interest_has_one():
    shared = VECTORS.interest((1.0, 0.0, 0.0, 0.0))
    silent = VECTORS.interest((1.0, 0.0, 0.0, 0.0), share_sketch=False)
    far = flipped(shared.fingerprint, range(200))
    keys = shared.routing_keys
    assert subscription(shared).wants_under(keys, far.scheme_id, far.sketch) == []
    for both in ((shared, silent), (silent, shared)):
        assert subscription(*both).wants_under(keys, far.scheme_id, far.sketch) == sorted(keys)


@pytest.mark.parametrize("count", [1, NEAR_LIMIT, NEAR_LIMIT + 1, 40])
def test_however_many_sketches_a_key_has_nothing_is_missed(count):
    rng = np.random.default_rng(3)
    key = b"one key-"
    sketches = [Fingerprint(rng.bytes(32), VECTORS.id) for _ in range(count)]
    interests = [Interest(each, (key,), 0.9, share_sketch=True) for each in sketches]
    held = subscription(*interests)
    assert Subscription.decode(held.encode()) == held
    for each in sketches:
        assert held.wants_under((key,), each.scheme_id, each.sketch) == [key]


@given(
    spoilt=st.sampled_from(["twice", "order", "open too", "of no key", "uncovered", "bits"]),
    seed=st.integers(0, 9),
)
def test_what_has_two_readings_is_no_subscription(spoilt, seed):
    rng = random.Random(seed)
    nears = [Near(b"a scheme", rng.randbytes(32), 1, 9) for _ in range(3)]
    right = Subscription.signed(
        SITE,
        record=RECORD,
        sequence=1,
        lifetime_s=9,
        wanted={b"one key-": frozenset(nears), b"two keys": frozenset()},
    )
    assert Subscription.decode(right.encode()) == right
    first, second, third = right.nears
    wrong = {
        "twice": replace(right, nears=(first, first, second)),
        "order": replace(right, nears=(second, first, third)),
        "open too": replace(right, is_open=right.is_open | first[1]),
        "of no key": replace(right, nears=((first[0], 0),)),
        "uncovered": replace(right, nears=()),
        "bits": replace(right, nears=((Near(b"a scheme", bytes(32), 3, 9), first[1]),)),
    }[spoilt]
    assert Subscription.decode(wrong.encode()) is None


def agents(count, seed, minimum, **options):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(4, 4))
    features = centres[rng.integers(4, size=count)] + 0.35 * rng.normal(size=(count, 4))
    return [VECTORS.interest(each, min_similarity=minimum, **options) for each in features]


@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 10_000), minimum=st.sampled_from([0.6, 0.7, 0.8]))
def test_comparing_sketches_loses_no_delivery_and_spares_the_others(seed, minimum):
    outcomes = []
    for share_sketch in (False, True):
        network = Simulation.build(agents(16, seed, minimum, share_sketch=share_sketch), seed=seed)
        packets = [network.publish(node) for node in range(16)]
        network.run(20.0)
        taken = [network.delivered(each) - {i} for i, each in enumerate(packets)]
        came = sum(len(network.receivers(each)) for each in packets)
        outcomes.append((taken, came, network.report().precision))
    (all_taken, all_came, _), (taken, came, precision) = outcomes
    assert taken == all_taken
    assert came <= all_came
    assert precision == 1.0 or not any(taken)


@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 10_000), first=st.sampled_from([0.9, 0.8]))
def test_a_wider_radius_loses_no_delivery(seed, first):
    found = []
    for minimum in (first, first - 0.15):
        network = Simulation.build(agents(16, seed, minimum), seed=seed)
        packets = [network.publish(node) for node in range(16)]
        network.run(20.0)
        found.append([network.delivered(each) for each in packets])
    assert all(narrow <= wide for narrow, wide in zip(*found, strict=True))


def test_a_wish_that_becomes_wider_brings_what_was_kept():
    narrow, wide = (
        VECTORS.interest((1.0, 0.5, 0.0, 0.0), min_similarity=minimum) for minimum in (1.0, 0.5)
    )
    other = VECTORS.interest((1.0, 0.5, 0.4, 0.1))
    assert set(other.routing_keys) & set(narrow.routing_keys)
    assert not narrow.matches(other.fingerprint, STUDY, other.routing_keys)
    network = Simulation.build([narrow, other, [], []], seed=2)
    packet = network.publish(1)
    network.run(20.0)
    assert 0 not in network.receivers(packet)
    network.subscribe(0, wide)
    network.run(20.0)
    assert 0 in network.delivered(packet)
