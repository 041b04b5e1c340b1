"""Loops that fit a model together: no rounds, any order, losses, late sites, retractions."""

import asyncio

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import qis
from qis.errors import DisclosureError, InputError
from qis.evidence import Roster
from qis.models.answering import TRUST, next_anchor, start_of
from qis.outcomes import Anchor, QuadraticLikelihood
from tests._builders import Watcher, loop_of, signed, site, until

SCHEME = qis.VectorScheme(dimensions=3)
ABOUT = [0.2, -1.0, 0.7]
NOW = 1_800_000_000.0
NAMES = {1: "Bern", 2: "Graz", 3: "Köln", 4: "Ulm"}
ROSTER = Roster(tuple(qis.Site.of(name, site(number).issuer) for number, name in NAMES.items()))
STUDY = qis.Study(
    question="age, sex | death",
    kind="model",
    family="logistic",
    coefficients=("intercept", "age", "sex"),
    purpose="effect",
)
RNG = np.random.default_rng(4)
SIZES = {1: 140, 2: 90, 3: 220, 4: 110}
X = {
    k: np.column_stack((RNG.normal(0, 1, n), RNG.random(n) < 0.4)).astype(float)
    for k, n in SIZES.items()
}
Y = {
    k: (RNG.random(len(x)) < 1 / (1 + np.exp(1.5 - 1.2 * x[:, 0] - 0.8 * x[:, 1]))).astype(float)
    for k, x in X.items()
}
ROWS = {k: qis.ModelRows(features=X[k], labels=Y[k]) for k in SIZES}


def pooled_fit(numbers=tuple(SIZES)):
    x = np.concatenate([X[k] for k in numbers])
    y = np.concatenate([Y[k] for k in numbers])
    x, b = np.column_stack((np.ones(len(x)), x)), np.zeros(3)
    for _ in range(40):
        p = 1 / (1 + np.exp(-x @ b))
        information = x.T @ ((p * (1 - p))[:, None] * x)
        b = b + np.linalg.solve(information, x.T @ (y - p))
    return b, np.sqrt(np.diag(np.linalg.inv(information)))


def loop_on(network, number, **options):
    transport = qis.MemoryTransport(network, site(number))
    options.setdefault("studies", [STUDY])
    options.setdefault("roster", ROSTER)
    options.setdefault("answer_after_s", 0.005)
    return loop_of(transport, site(number), SCHEME, ABOUT, **options)


async def at_rest(network, *loops):
    """Until nothing is under way, nothing is due, and every model has answered all it wants."""
    quiet = 0
    while quiet < 5:
        await network.settle()
        for loop in loops:
            await loop.flush(20)
        await asyncio.sleep(0.001)
        quiet = 0 if any(loop.is_synthesising for loop in loops) else quiet + 1


def off(model, numbers=tuple(SIZES)):
    b, errors = pooled_fit(numbers)
    return float(np.abs((model.coefficients - b) / errors).max())


def answers_of(loop):
    return [
        emission
        for emission in loop._options.disclosure.ledger.of_study(STUDY.id)
        if emission.kind == QuadraticLikelihood.kind
    ]


def test_four_sites_reach_the_pooled_fit_without_rounds():
    async def scenario():
        network = qis.MemoryNetwork(now=NOW)
        watcher = Watcher()
        async with (
            loop_on(network, 1, on_event=watcher) as one,
            loop_on(network, 2) as two,
            loop_on(network, 3) as three,
            loop_on(network, 4) as four,
        ):
            loops = (one, two, three, four)
            for number, loop in enumerate(loops, 1):
                packet = await loop.join(STUDY, ROWS[number], about=ABOUT)
                assert packet.outcome.n == SIZES[number]
                await at_rest(network, *loops)
            models = [loop.latest(STUDY) for loop in loops]
            assert all(model.is_converged for model in models)
            assert all(off(model) < 0.01 for model in models)
            assert len({model.digest for model in models}) == 1
            assert len({model.point.tobytes() for model in models}) == 1
            assert all(1 < len(answers_of(loop)) <= 6 for loop in loops)
            assert [each.name for each in models[0].sites] == sorted(NAMES.values())
            assert models[0].own.n == SIZES[1]
            assert models[0].own.auc > 0.6
            assert watcher.of("modelled")
            assert "Converged" in watcher.of("modelled")[-1].reason
            async for model in one.models():
                assert model is one.latest(STUDY)
                break
            # Joining again with the same rows says nothing again.
            given = len(answers_of(one))
            assert await one.join(STUDY, ROWS[1], about=ABOUT) is None
            await at_rest(network, *loops)
            assert len(answers_of(one)) == given
            # A site that withdraws is out of everybody's model.
            await three.retract(STUDY)
            await at_rest(network, *loops)
            left = [loop.latest(STUDY) for loop in loops]
            assert len({model.digest for model in left}) == 1
            assert [each.name for each in left[0].sites] == ["Bern", "Graz", "Ulm"]
            assert left[0].distance < 3
            with pytest.raises(DisclosureError, match="withdrawn"):
                await three.join(STUDY, ROWS[3], about=ABOUT)

    asyncio.run(scenario())


def test_a_late_site_repeated_and_reordered_packets_end_in_the_same_model():
    async def scenario():
        network = qis.MemoryNetwork(now=NOW, seed=3, duplicate=0.2, reorder=0.3)
        three = Roster(ROSTER.sites[:3])
        async with (
            loop_on(network, 1, roster=three) as one,
            loop_on(network, 2, roster=three) as two,
        ):
            await one.join(STUDY, ROWS[1], about=ABOUT)
            await two.join(STUDY, lambda: ROWS[2], about=ABOUT)
            await at_rest(network, one, two)
            async with loop_on(network, 3, roster=three) as late:
                await late.join(STUDY, ROWS[3], about=ABOUT)
                await until(lambda: one.latest(STUDY) and len(one.latest(STUDY).sites) == 3)
                await at_rest(network, one, two, late)
                models = [loop.latest(STUDY) for loop in (one, two, late)]
                assert {len(model.sites) for model in models} == {3}
                assert all(off(model, (1, 2, 3)) < 0.05 for model in models)

    asyncio.run(scenario())


def test_a_site_stops_when_its_answers_are_spent_and_says_so():
    async def scenario():
        network = qis.MemoryNetwork(now=NOW)
        watcher = Watcher()
        few = qis.Study(**{**vars_of(STUDY), "answers": 1})
        async with (
            loop_on(network, 1, studies=[few], on_event=watcher) as one,
            loop_on(network, 2, studies=[few]) as two,
        ):
            await one.join(few, ROWS[1], about=ABOUT)
            await two.join(few, ROWS[2], about=ABOUT)
            await at_rest(network, one, two)
            told = [event for event in watcher.of("limit") if event.subject == "answers"]
            assert len(told) == 1
            assert "given the 1 answers" in told[0].reason
            model = one.latest(few)
            assert not model.is_converged
            assert f"{model.distance:.2g} standard errors" in model.state

    asyncio.run(scenario())


def vars_of(study):
    return {name: getattr(study, name) for name in study.__dataclass_fields__}


def test_the_rules_decide_on_every_answer_and_a_refusal_is_told():
    async def scenario():
        network = qis.MemoryNetwork(now=NOW)
        watcher = Watcher()
        async with (
            loop_on(
                network, 1, disclosure=qis.Disclosure.preset("datashield"), on_event=watcher
            ) as one,
            loop_on(network, 3) as three,
        ):
            few = qis.ModelRows(features=X[1][:40], labels=Y[1][:40])
            await one.join(STUDY, few, about=ABOUT, people=0)
            await three.join(STUDY, ROWS[3], about=ABOUT)
            await at_rest(network, one, three)
            # 5 people for each of 3 coefficients and answer: 40 people give 2 at most.
            assert len(answers_of(one)) <= 2
            told = [event for event in watcher.of("limit") if event.subject == "answers"]
            assert told
            assert watcher.of("refused")
            assert "does not answer again" in told[-1].reason
            tiny = qis.ModelRows(features=X[2][:6], labels=Y[2][:6])
            with pytest.raises(DisclosureError):
                await one.join(STUDY, tiny, about=ABOUT, cohort="tiny")

    asyncio.run(scenario())


def test_answers_wait_for_approval_and_their_anchors_with_them():
    async def scenario():
        network = qis.MemoryNetwork(now=NOW)
        async with loop_on(network, 1, approve="manual") as one, loop_on(network, 2) as two:
            pending = await one.join(STUDY, ROWS[1], about=ABOUT)
            await two.join(STUDY, ROWS[2], about=ABOUT)
            await at_rest(network, one, two)
            assert len(two.latest(STUDY).sites) == 1
            assert not list(two.store.packets_of(site(1).issuer))  # no anchor either
            await one.release(pending.id, approver="Dr A")
            await at_rest(network, one, two)
            assert len(two.latest(STUDY).sites) == 2
            waiting = one.waiting()
            assert [type(each.outcome) for each in waiting] == [QuadraticLikelihood]
            await at_rest(network, one, two)
            assert one.waiting() == waiting  # not another one before it is decided

    asyncio.run(scenario())


def test_what_no_people_can_have_is_set_aside_and_named_in_everybodys_model():
    async def scenario():
        network = qis.MemoryNetwork(now=NOW)
        async with loop_on(network, 1) as one, loop_on(network, 2) as two:
            await one.join(STUDY, ROWS[1], about=ABOUT)
            await two.join(STUDY, ROWS[2], about=ABOUT)
            await at_rest(network, one, two)
            before = one.latest(STUDY)
            false = QuadraticLikelihood.from_terms(
                study=STUDY,
                model="logistic",
                score=[0.0, 800.0, 0.0],
                information=np.diag([20.0, 100.0, 100.0]),
                anchor=ROWS[1].for_study(STUDY).anchored(np.zeros(3)),
                n=80,
                events=30,
            )
            packet = signed(4, false, scheme=SCHEME, about=ABOUT)
            one.store.add(packet, now=NOW)
            one._parts.mark(STUDY.id)
            await at_rest(network, one, two)
            after = one.latest(STUDY)
            assert after.point.tobytes() == before.point.tobytes()
            (left,) = after.left_out
            assert (left.site, left.reason) == ("Ulm", "impossible")
            assert "standard deviations long" in left.sentence
            assert "Ulm" in after.explain()

    asyncio.run(scenario())


def test_an_answer_whose_anchor_is_missing_waits_for_it():
    rows = ROWS[1].for_study(STUDY)
    anchor = rows.anchored([0.1, 0.2, 0.3])
    answer = signed(1, rows.answer(anchor), scheme=SCHEME, about=ABOUT)
    store = qis.MemoryStore(roster=ROSTER)
    store.add(answer, now=NOW)
    model = qis.fit_model(store.evidence(STUDY, now=NOW), study=STUDY)
    assert [left.reason for left in model.left_out] == ["unknown anchor"]
    store.add(signed(1, anchor, scheme=SCHEME, about=ABOUT, at=NOW + 1), now=NOW + 1)
    model = qis.fit_model(store.evidence(STUDY, now=NOW + 1), study=STUDY)
    assert [each.name for each in model.sites] == ["Bern"]
    # Another anchor of the same site takes no other's place.
    further = rows.anchored([0.4, 0.2, 0.3])
    assert isinstance(further, Anchor)
    store.add(signed(1, further, scheme=SCHEME, about=ABOUT, at=NOW + 2), now=NOW + 2)
    again = qis.fit_model(store.evidence(STUDY, now=NOW + 2), study=STUDY)
    assert again.digest == model.digest


def test_an_anchor_moves_by_a_trusted_step_at_most_wherever_others_pull():
    """A member who sends false packets moves the pooled point at will, and the anchor a little."""
    rows = ROWS[2].for_study(STUDY)
    begin = start_of(rows)
    answer = rows.answer(rows.anchored(begin))
    for pull in (30.0, -3000.0):
        at = np.array([0.0, pull, -pull])
        false = QuadraticLikelihood.from_terms(
            study=STUDY,
            model="logistic",
            score=np.zeros(3),
            information=np.diag([200.0, 9e4, 9e4]),
            anchor=rows.anchored(at),
            n=1000,
            events=400,
        )
        model = qis.fit_model(
            {"Graz": answer, "false": false},
            study=STUDY,
            anchors=[rows.anchored(begin), rows.anchored(at)],
        )
        assert rows.largest_change(model.point - begin) > 20
        own = [each for each in model.expansions if each.site == "Graz"]
        step = next_anchor(model, rows, begin, own)
        assert step is None or rows.largest_change(step - begin) <= TRUST * (1 + 1e-9)


def test_only_a_declared_model_study_is_joined():
    async def scenario():
        network = qis.MemoryNetwork(now=NOW)
        async with loop_on(network, 1, studies=[]) as one:
            with pytest.raises(InputError, match="no model study of this loop"):
                await one.join(STUDY, ROWS[1], about=ABOUT)
        async with loop_on(network, 1) as one:
            with pytest.raises(InputError, match=r"gives a list"):
                await one.join(STUDY, list, about=ABOUT)

    asyncio.run(scenario())


def test_the_model_is_under_the_studys_embargo():
    async def scenario():
        network = qis.MemoryNetwork(now=NOW)
        two_sites = Roster(ROSTER.sites[:2])
        hidden = qis.Study(**{**vars_of(STUDY), "embargo_until": int(NOW) + 100})
        async with (
            loop_on(network, 1, studies=[hidden], roster=two_sites) as one,
            loop_on(network, 2, studies=[hidden], roster=two_sites, monitor=True) as two,
        ):
            await one.join(hidden, ROWS[1], about=ABOUT)
            await two.join(hidden, ROWS[2], about=ABOUT)
            await at_rest(network, one, two)
            assert one.latest(hidden) is None
            assert two.latest(hidden).is_converged  # they answer all the same

    asyncio.run(scenario())


def kept_packets():
    """Two answers of each site with their anchors, one of them withdrawn, in one list."""
    found = []
    for number in NAMES:
        rows = ROWS[number].for_study(STUDY)
        for nth, at in enumerate((start_of(rows), np.array([-1.4, 1.0, 0.7]))):
            anchor = rows.anchored(at)
            answer = rows.answer(anchor)
            moment = NOW + 10 * nth
            found += [
                signed(number, anchor, scheme=SCHEME, about=ABOUT, at=moment),
                signed(number, answer, scheme=SCHEME, about=ABOUT, at=moment + 1),
            ]
    gone = qis.Retraction(study=STUDY, reason="withdrawn")
    found.append(signed(2, gone, scheme=SCHEME, about=ABOUT, at=NOW + 30))
    return found


PACKETS = kept_packets()


@settings(max_examples=25, deadline=None)
@given(
    order=st.permutations(range(len(PACKETS))),
    again=st.lists(st.integers(0, len(PACKETS) - 1)),
    lost=st.sets(st.integers(0, len(PACKETS) - 1)),
)
def test_the_same_evidence_gives_the_same_model_in_any_order_and_with_any_loss(order, again, lost):
    def model_of(numbers):
        store = qis.MemoryStore(roster=ROSTER)
        for number in numbers:
            if number not in lost:
                store.add(PACKETS[number], now=NOW + 40)
        return qis.fit_model(store.evidence(STUDY, now=NOW + 40), study=STUDY)

    one, other = model_of(range(len(PACKETS))), model_of([*order, *again])
    assert one.digest == other.digest
    assert one.state == other.state
    assert (one.point is None) == (other.point is None)
    if one.point is not None:
        assert one.point.tobytes() == other.point.tobytes()
        assert one.point_covariance.tobytes() == other.point_covariance.tobytes()
    reasons = [[(left.packet.id, left.reason) for left in each.left_out] for each in (one, other)]
    assert reasons[0] == reasons[1]
    if len(PACKETS) - 1 not in lost:
        assert "Graz" not in [each.name for each in one.sites]
