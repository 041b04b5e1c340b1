"""A synthesis is a function of the set of packets: no order, no repetition, no bit."""

from hypothesis import given, settings, strategies as st

import qis
from qis.synthesis import Mark
from qis.testing import effects, profiles

NOW = 1_800_000_000
QUESTION = "a vs b | death"
SITES = [qis.Identity.from_seed(bytes([n]) * 32) for n in range(1, 6)]
FINGERPRINT = qis.Fingerprint(bytes(32), bytes(8))


@st.composite
def evidence(draw):
    """Packets of one study: several kinds, sites, cohorts and versions; some equivocate."""
    made = []
    for _ in range(draw(st.integers(1, 8))):
        outcome = draw(
            st.builds(
                qis.Effect,
                question=st.just(QUESTION),
                cohort=st.sampled_from(["", "north"]),
                measure=st.sampled_from(["OR", "HR"]),
                estimate=st.floats(-5, 5),
                standard_error=st.floats(0.01, 5),
                n=st.none() | st.integers(1, 1000),
            )
            | profiles().map(_of_this_question)
        )
        made.append(
            qis.Packet.sign(
                draw(st.sampled_from(SITES)),
                outcome=outcome,
                fingerprint=FINGERPRINT,
                issued_at=NOW + draw(st.integers(0, 1)),
                lifetime_s=3600,
            )
        )
    return made


def _of_this_question(profile):
    return type(profile).from_body({**profile.body(), **_common()})


def _common():
    effect = qis.Effect(question=QUESTION, measure="OR", estimate=0.0, standard_error=1.0)
    body = effect.body()
    return {key: body[key] for key in (0, 1, 3)}


@given(evidence(), st.randoms())
@settings(max_examples=30)
def test_order_and_repetition_change_no_bit(packets, random):
    again = [*packets, *random.choices(packets, k=5)]
    random.shuffle(again)
    first, second = (qis.synthesise(p, model="random") for p in (packets, again))
    assert first.digest == second.digest
    assert (first.fixed, first.random) == (second.fixed, second.random)
    assert first.sites == second.sites
    assert first.excluded == second.excluded
    assert first.to_dict() == second.to_dict()
    assert first.explain() == second.explain()
    assert first == second


@given(effects() | profiles())
def test_one_site_alone_gives_its_own_estimate(outcome):
    packet = qis.Packet.sign(
        SITES[0], outcome=outcome, fingerprint=FINGERPRINT, issued_at=NOW, lifetime_s=60
    )
    found = qis.synthesise([packet], model="fixed")
    if isinstance(outcome, qis.Effect):
        assert (found.estimate, found.standard_error) == (outcome.estimate, outcome.standard_error)
    elif outcome.maximum is not None:
        assert found.estimate == outcome.maximum
    else:
        assert found.estimate is None
    # Under random effects one site says little of the others: the prior decides, and it is said.
    if found.random is not None and found.random.estimate is not None:
        assert Mark.PRIOR_DOMINATED in found.random.marks


@given(
    st.lists(st.tuples(st.floats(-3, 3), st.floats(0.05, 3)), min_size=2, max_size=6, unique=True),
    st.floats(0.1, 10),
)
def test_units_carry_through(numbers, factor):
    def pooled(scale):
        packets = [
            qis.Packet.sign(
                site,
                outcome=qis.Effect(
                    question=QUESTION, measure="MD", estimate=y * scale, standard_error=s * scale
                ),
                fingerprint=FINGERPRINT,
                issued_at=NOW,
                lifetime_s=60,
            )
            for site, (y, s) in zip(SITES * 2, numbers, strict=False)
        ][: len(SITES)]
        return qis.synthesise(packets, model="random", tau_scale=0.5 * scale)

    one, other = pooled(1.0), pooled(factor)
    for name in ("fixed", "random"):
        a, b = getattr(one, name), getattr(other, name)
        size = factor * (abs(a.estimate) + a.standard_error)
        assert abs(b.estimate - factor * a.estimate) < 1e-6 * size
        assert abs(b.standard_error - factor * a.standard_error) < 1e-6 * size
