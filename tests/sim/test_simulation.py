"""The simulation as its users see it: one call builds, the report says what happened."""

import random
import sys
from math import comb, isnan

import numpy as np
import pytest

from qis import Fingerprint, InputError, Interest, VectorScheme
from qis.errors import MissingExtraError
from qis.overlay.subscriber import REFRESH_S
from qis.overlay.table import BUCKET_SIZE
from qis.simulation import Report, Simulation, progress_bar

HEARTS, LUNGS, BONES = b"hearts--", b"lungs---", b"bones---"


@pytest.fixture(scope="module")
def small():
    """Four agents, one publication that concerns two."""
    network = Simulation.build([[HEARTS], [HEARTS], [LUNGS], [HEARTS, LUNGS]], seed=1)
    network.publish(0)
    network.look_up(2)
    network.run(10.0)
    return network


def test_the_report_counts_what_happened(small):
    report = small.report()
    assert (report.nodes, report.alive, report.publications) == (4, 4, 1)
    assert (report.recall, report.precision, report.arrivals_wanted) == (1.0, 1.0, 1.0)
    assert (report.pairs_reached, report.pairs_possible) == (2, 6)
    # The key's three holders have known it for less than ten minutes, so all of them forward.
    assert (report.copies, report.duplicates) == (3.0, 4)
    assert sum(small.load_per_node()) <= 6  # none where the holder is the receiver
    assert report.hops_p50 == 1
    assert 1 <= report.requests_p50 <= 3
    # Each key has three holders of four nodes, so 4 subscriptions of hearts and lungs at 3 each.
    held = small.state_per_node()
    assert sum(held) == 3 * 5
    assert report.state_per_node_p99 == max(held)
    assert 0 < report.bytes < 1_200 * report.datagrams


def test_the_report_as_text_html_and_dict_says_the_same(small):
    report = small.report()
    figures = report.to_dict()
    assert Report(**figures) == report
    lines = str(report).splitlines()
    assert [line.split()[0] for line in lines] == list(figures)
    assert report._repr_html_().count("<tr>") == len(lines)


def test_a_report_of_nothing_has_no_numbers_instead_of_wrong_ones():
    report = Simulation([[HEARTS]], seed=1).report()
    assert report.publications == 0
    assert isnan(report.recall)
    assert isnan(report.precision)
    assert isnan(report.hops_p99)


def test_what_was_before_a_reset_does_not_count():
    network = Simulation.build([[HEARTS]] * 5, seed=2)
    network.publish(0)
    network.run(10.0)
    network.reset()
    assert network.report().datagrams == 0
    assert network.report().pairs_reached == 0
    network.publish(1)
    network.run(5.0)
    assert network.report().pairs_reached == 4


def interest(sketch, *keys, within_bits):
    fingerprint = Fingerprint(sketch.to_bytes(32), b"a scheme")
    return Interest(fingerprint, keys, 1.0 - within_bits / 256)


def test_the_receivers_end_decides_and_recall_counts_whom_no_key_leads_to():
    wanted = [
        interest(0b0000, HEARTS, within_bits=2),
        interest(0b0011, HEARTS, within_bits=2),  # shares a key, and is near
        interest(0b1111, HEARTS, within_bits=2),  # shares a key, but is far
        interest(0b0001, LUNGS, within_bits=2),  # is near, but shares no key
    ]
    network = Simulation.build(wanted, seed=3)
    packet = network.publish(0)
    network.run(10.0)
    assert network.concerned(packet) == {1, 3}
    assert network.receivers(packet) == {1, 2}
    assert network.delivered(packet) == {1}
    report = network.report()
    assert (report.recall, report.precision, report.arrivals_wanted) == (0.5, 1.0, 0.5)


def test_a_delivery_that_concerns_nobody_is_no_precision():
    network = Simulation.build([[HEARTS]] * 4, seed=3)
    packet = network.publish(0)
    network.run(10.0)
    network.publications[packet].arrived(2, hops=1, is_taken=True)  # was right anyway
    assert network.report().precision == 1.0
    network.members[2] = network.members[2].__class__((BONES,))
    assert network.report().precision == pytest.approx(2 / 3)


def test_features_and_a_scheme_make_the_interests():
    scheme = VectorScheme(3)
    rng = np.random.default_rng(0)
    features = rng.normal(size=(12, 3))
    features[6:] = features[:6] + 0.01
    network = Simulation.build(features, scheme=scheme, seed=4)
    packet = network.publish(0)
    network.run(10.0)
    near = {
        i
        for i in range(1, 12)
        if scheme.similarity(*scheme.fingerprints(features[[0, i]]))
        >= scheme.default_min_similarity
    }
    assert 6 in near
    assert network.concerned(packet) == near
    assert network.delivered(packet) == near


def test_a_study_is_delivered_whatever_the_similarity():
    study = b"study 1-"
    wanted = [
        interest(0, HEARTS, within_bits=0),
        Interest(Fingerprint(bytes(32), b"a scheme"), (LUNGS,), 1.0, studies=(study,)),
    ]
    network = Simulation.build(wanted, seed=5)
    about = Fingerprint(b"\xff" * 32, b"a scheme")
    packet = network.publish(0, [HEARTS, study], fingerprint=about, study=study)
    network.run(10.0)
    assert network.delivered(packet) == {1}


def test_filled_tables_serve_as_those_of_joins_do():
    wanted = [[bytes([i % 10]) * 8] for i in range(80)]
    network = Simulation.build(wanted, joins="tables", seed=6)
    packet = network.publish(3)
    for node in range(40):
        network.look_up(node)
    network.run(10.0)
    assert network.delivered(packet) == {i for i in range(80) if i % 10 == 3} - {3}
    assert network.report().hops_p99 <= 3
    for node in network.nodes:  # whole, as far as there are nodes: brute force
        for other in network.nodes:
            bits = (node.contact.id ^ other.contact.id).bit_length()
            like_it = [
                n for n in network.nodes if (n.contact.id ^ node.contact.id).bit_length() == bits
            ]
            in_bucket = [n for n in like_it if n.contact.id in node.table]
            assert other is node or len(in_bucket) == min(BUCKET_SIZE, len(like_it))


def held(network):
    """By node: who is held under which key, and whether for long."""
    now = network.now
    for subscription_table in (node.rendezvous.subscription_table for node in network.nodes):
        keys = sorted(subscription_table.keys())
        ages_s = [subscription_table.age_s(key, now) for key in keys]
        slot_ids = [{each.slot_id for each in subscription_table.under(key, now)} for key in keys]
        yield keys, slot_ids, [age_s >= REFRESH_S for age_s in ages_s]


def three_of_ten(seed):
    rng = random.Random(seed)
    return [[bytes([key]) * 8 for key in rng.sample(range(10), 3)] for _ in range(60)]


def test_placed_subscriptions_are_those_that_messages_bring():
    sent = Simulation.build(three_of_ten(1), seed=11)
    sent.run(720.0)
    placed = Simulation.build(three_of_ten(1), joins="placed", seed=11)
    assert placed.datagrams == 0
    assert placed.state_per_node() == sent.state_per_node()
    for node in range(60):
        placed._ready(node)
    assert placed.state_per_node() == sent.state_per_node()
    assert list(held(placed)) == list(held(sent))
    for one, other in zip(placed.nodes, sent.nodes, strict=True):
        assert one.interests.wanted == other.interests.wanted
        for holder in sent.nodes:
            address = holder.contact.record.address
            assert one.interests.hears_from(address) == other.interests.hears_from(address)


def test_a_placed_network_is_refreshed_as_others_are():
    network = Simulation.build(three_of_ten(2), joins="placed", seed=12)
    network.run(3_600.0)  # longer than any subscription lasts
    packet = network.publish(0)
    network.run(5.0)
    assert network.delivered(packet) == network.concerned(packet)


def test_placed_or_by_messages_the_figures_are_the_same(load_benchmark):
    """200 nodes, 20 % dead, 5 % loss: two networks of the same nodes, but with other chance."""
    routing = load_benchmark("routing")
    common = ["--nodes", "200", "--publications", "40", "--lookups", "40"]
    common += ["--dead", ".2", "--loss", ".05", "--json"]
    sent, placed = (
        routing.measure(routing.parser().parse_args([*common, "--joins", joins]), 3)
        for joins in ("messages", "placed")
    )
    assert placed["state_per_node_p99"] == sent["state_per_node_p99"]
    assert placed["messages_per_publish"] == pytest.approx(sent["messages_per_publish"], abs=3)
    assert placed["requests_p50"] == pytest.approx(sent["requests_p50"], abs=1)
    assert placed["recall"] == pytest.approx(sent["recall"], abs=0.01)
    assert placed["copies"] == pytest.approx(sent["copies"], rel=0.03)
    assert placed["load_max_over_mean"] == pytest.approx(sent["load_max_over_mean"], rel=0.1)


def test_an_audience_is_all_whom_the_publications_concern(load_benchmark):
    routing, interests = load_benchmark("routing"), load_benchmark("_interests")
    args = ["--nodes", "150", "--publications", "5", "--joins", "placed", "--churn", ".1"]
    options = routing.parser().parse_args([*args, "--audience", "--json"])
    network, *_ = world = routing.settled(options, 3)
    wanted = interests.vector_interests(150, random.Random(3))
    kept = [each.interest for each in network.members]
    assert len(options.authors) == 5
    assert set(options.authors) < set(kept)
    near = [
        sum(each.matches(a.fingerprint, bytes(8), each.routing_keys) for a in options.authors)
        for each in wanted
    ]
    assert [each is not None for each in kept] == [bool(count) for count in near]
    figures = routing.measure(options, 3, world)
    due = sum(row["pairs"] for row in figures["recall_by_distance"].values())
    assert due == sum(near) - 5  # nobody is concerned by its own
    assert figures["recall"] > 0.9


def test_newcomers_take_the_place_of_those_who_leave():
    network = Simulation.build([[HEARTS]] * 20, seed=7)
    newcomers = network.churn(0.25, over_s=30.0)
    assert len(newcomers) == 5
    assert len(network.alive()) == 20
    packet = network.publish(network.alive()[0])
    network.run(60.0)
    assert network.delivered(packet) == set(network.alive()[1:])


def test_droppers_answer_and_pass_nothing_on():
    network = Simulation.build([[HEARTS]] * 10, seed=8)
    network.drop_at(range(10))
    packet = network.publish(0)
    network.run(25.0)
    assert network.report().messages_per_publish > 0
    assert network.receivers(packet) == set()


def test_progress_counts_up_to_the_whole_of_each_stage():
    seen = []
    network = Simulation.build([[HEARTS]] * 6, seed=9, progress=lambda *step: seen.append(step))
    assert seen == [(i, 6, "nodes join") for i in range(2, 7)] + [
        (i, 6, "nodes subscribe") for i in range(1, 7)
    ]
    seen.clear()
    now = network.now
    network.run(150.0)
    assert network.now == now + 150.0
    assert seen == [(i, 3, "minutes pass") for i in range(1, 4)]


def test_the_progress_bar_shows_each_stage_once(capsys):
    pytest.importorskip("rich")
    with progress_bar() as progress:
        progress(1, 2, "one thing")
        progress(2, 2, "one thing")
        progress(3, 3, "another")
    shown = capsys.readouterr().out
    assert shown.count("one thing") == shown.count("another") == 1
    assert "100%" in shown


def test_the_progress_bar_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "rich.progress", None)
    with pytest.raises(MissingExtraError, match=r"qis-protocol\[progress\]"), progress_bar():
        pass


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"loss": 1.5}, "loss"),
        ({"duplicate": -0.1}, "duplicate"),
        ({"latency_s": (0.2, 0.1)}, "latency_s"),
        ({"latency_s": (-1.0, 0.1)}, "latency_s"),
    ],
)
def test_what_is_no_probability_or_range_is_refused(options, field):
    with pytest.raises(InputError) as caught:
        Simulation([[HEARTS]], **options)
    assert caught.value.field == field


def test_a_share_of_churn_is_a_share():
    with pytest.raises(InputError):
        Simulation([[HEARTS]]).churn(1.5)


@pytest.mark.parametrize(("bands", "bits"), [(24, 5), (42, 6)])
def test_the_closed_form_is_near_the_exact_probability(load_benchmark, bands, bits):
    """Exact for d of 256 bits that differ, by inclusion and exclusion over untouched bands.

    The closed form takes the bits as independent, which is a little too pessimistic.
    """
    closed_form = load_benchmark("_interests").closed_form
    for distance in (0, 1, 20, 40, 60, 70, 80):
        exact = sum(
            (-1) ** (j + 1) * comb(bands, j) * comb(256 - bits * j, distance)
            for j in range(1, bands + 1)
        ) / comb(256, distance)
        assert exact - 0.007 < closed_form(distance, bands, bits) < exact + 1e-9


def test_the_benchmark_gives_the_keys_of_the_issue_and_no_more(load_benchmark):
    routing = load_benchmark("routing")
    args = routing.parser().parse_args(["--nodes", "30", "--publications", "5", "--json"])
    figures = routing.measure(args, 0)
    assert tuple(figures) == routing.KEYS
    assert figures["nodes"] == 30
    assert figures["precision"] == 1.0
    assert figures["recall"] > 0.9
