"""The conformance suite of evidence stores: all behave alike, wherever the packets are kept."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from itertools import permutations
from typing import Final

from qis._gate import checked
from qis.about import Fingerprint
from qis.errors import InputError
from qis.evidence import Admission, EvidenceStore, Reason, Roster, Site, SiteKey
from qis.identity import Identity, Issuer
from qis.outcomes import Effect, Retraction
from qis.packet import CLOCK_TOLERANCE_S, Packet

StoreFactory = Callable[[Roster, int], EvidenceStore]
"""Makes an empty store with this roster and capacity."""

_NOW: Final = 1_800_000_000
_QUESTION: Final = "conformance"
_SITES: Final = tuple(Identity.from_seed(bytes([n]) * 32) for n in (1, 2, 3))
_ABOUT: Final = Fingerprint(bytes(32), bytes(8))


@checked
def check_store(factory: StoreFactory) -> None:
    """Run every check of the contract, each on stores of its own, which are closed in any case.

    Parameters
    ----------
    factory
        Makes an empty store with a given roster and capacity.

    Raises
    ------
    InputError
        If `factory` is no function.
    AssertionError
        If a promise is broken; the message names it.

    Examples
    --------
    >>> import qis
    >>> from qis.testing import check_store
    >>> check_store(lambda roster, room: qis.MemoryStore(roster=roster, capacity=room))

    """
    for check in _CHECKS:
        with ExitStack() as opened:

            def made(roster: Roster, capacity: int, opened: ExitStack = opened) -> EvidenceStore:
                store = factory(roster, capacity)
                opened.callback(store.close)
                return store

            check(made)


def state_of(store: EvidenceStore) -> object:
    """Return everything that a reader can see of a store, to compare two of them."""
    return (
        store.packets(),
        store.equivocations(),
        store.flagged,
        [store.review(study, now=_NOW) for study in store.studies()],
        [store.packets_of(identity.issuer) for identity in _SITES],
    )


def _packet(
    site: int,
    second: int = 0,
    *,
    estimate: float = 0.0,
    cohort: str = "",
    question: str = "",
    sequence: int | None = None,
) -> Packet:
    return _sign(site, _effect(estimate, cohort, question), second, sequence)


def _effect(estimate: float, cohort: str = "", question: str = "") -> Effect:
    return Effect(
        question=question or _QUESTION,
        cohort=cohort,
        measure="OR",
        estimate=estimate,
        standard_error=1.0,
    )


def _sign(
    site: int, outcome: Effect | Retraction, second: int, sequence: int | None = None
) -> Packet:
    return Packet.sign(
        _SITES[site],
        outcome=outcome,
        fingerprint=_ABOUT,
        issued_at=_NOW + second,
        lifetime_s=3600,
        sequence=sequence,
    )


def _open(
    factory: StoreFactory, packets: Sequence[Packet] = (), capacity: int = 100
) -> EvidenceStore:
    store = factory(Roster.open(), capacity)
    assert len(store) == 0, "the factory makes empty stores"
    store.add_many(packets, now=_NOW)
    return store


def _gives_a_reason_for_every_verdict(factory: StoreFactory) -> None:
    store = _open(factory)
    new = _packet(0, 1)
    for packet, now, verdict in (
        (new, _NOW, Admission.ACCEPTED),
        (new, _NOW, Admission.DUPLICATE),
        (_packet(0, 0), _NOW, Admission.SUPERSEDED),
        (_packet(0, 1, estimate=1.0), _NOW, Admission.EQUIVOCATION),
        (_packet(1, 0), _NOW + 3600, Admission.EXPIRED),
        (_packet(1, CLOCK_TOLERANCE_S + 1), _NOW, Admission.NOT_YET_VALID),
    ):
        before = state_of(store)
        foreseen = store.foreseen(packet, now=now)
        assert foreseen is verdict, f"foreseen {foreseen}, expected {verdict}"
        assert state_of(store) == before, "to foresee a verdict keeps nothing"
        got = store.add(packet, now=now)
        assert got is verdict, f"expected {verdict}, got {got}"
        assert (packet.id in store) is verdict.kept, f"{verdict}: kept is what it says"
        assert verdict.sentence, "every verdict has a reason in words"
    assert len(store) == 3, "duplicates and refused packets are not held"
    assert bytes(32) not in store, "what was never added is not held"


def _keeps_one_state_whatever_the_order(factory: StoreFactory) -> None:
    packets = [
        _packet(0, 0),
        _packet(0, 1),
        _packet(0, 1, estimate=0.5),
        _packet(0, 1, estimate=0.7, cohort="other"),
        _sign(1, Retraction(question=_QUESTION), 1),
    ]
    states = []
    for order in permutations(packets):
        store = _open(factory, (*order, *order[:2]))
        states.append(state_of(store))
        store.close()
    assert all(state == states[0] for state in states), "order and repetition change nothing"


def _keeps_equivocation_as_proof(factory: StoreFactory) -> None:
    pair = [_packet(0, 1, estimate=estimate) for estimate in (0.1, 0.2)]
    elsewhere = _packet(0, 1, question="another question")
    store = _open(factory, [_packet(0, 0), *pair, elsewhere])
    assert store.evidence(_QUESTION, now=_NOW) == [], "refuted evidence does not count"
    assert store.evidence("another question", now=_NOW) == [], "nor in another study"
    (proof,) = store.equivocations()
    assert proof.issuer == _SITES[0].issuer, "the proof names the issuer"
    assert {proof.first, proof.second} < {*pair, elsewhere}, "the proof is two of the packets"
    assert store.flagged == {_SITES[0].issuer}, "the issuer is flagged"
    last = _packet(0, 2)
    assert store.add(last, now=_NOW) is Admission.ACCEPTED, "a higher sequence is accepted"
    assert store.evidence(_QUESTION, now=_NOW) == [last], "and decides"
    assert len(store.equivocations()) == 1, "the proof stays"


def _admits_no_sequence_ahead_of_its_issue_time(factory: StoreFactory) -> None:
    good, limit = _packet(0, 1), (_NOW + CLOCK_TOLERANCE_S) * 1_000_000
    store = _open(factory, [good])
    for sequence in (limit + 1, 2**63, 2**64 - 1):
        ahead = _packet(0, 0, estimate=1.0, sequence=sequence)
        got = store.add(ahead, now=_NOW)
        assert got is Admission.SEQUENCE_AHEAD, f"sequence {sequence} is refused, not {got}"
        assert ahead not in store, "and not held"
        assert store.evidence(_QUESTION, now=_NOW) == [good], "and pins nothing"
        retraction = _sign(0, Retraction(question=_QUESTION), 0, sequence)
        assert store.add(retraction, now=_NOW) is Admission.SEQUENCE_AHEAD, "of any kind"
    assert store.flagged == frozenset(), "and proves nothing"
    last = _packet(0, 0, estimate=1.0, sequence=limit)
    assert store.add(last, now=_NOW) is Admission.ACCEPTED, "clocks may differ by the tolerance"
    assert store.add(_packet(0, CLOCK_TOLERANCE_S + 1), now=_NOW + 1) is Admission.ACCEPTED, (
        "whose sequence is no bar for longer than that"
    )


def _lets_a_late_retraction_withdraw(factory: StoreFactory) -> None:
    store = _open(factory, [_packet(0, 0)])
    later = _NOW + 10_000
    assert store.evidence(_QUESTION, now=later) == [_packet(0, 0)], "accepted evidence stays"
    withdrawal = _sign(0, Retraction(question=_QUESTION), 1)
    assert store.add(withdrawal, now=later) is Admission.ACCEPTED, "a late retraction counts"
    review = store.review(_QUESTION, now=later)
    assert review.evidence == (), "what is withdrawn does not count"
    assert review.excluded_for(Reason.RETRACTED) == (withdrawal,), "and is listed"
    store.add(_packet(0, 0), now=_NOW)
    assert store.evidence(_QUESTION, now=_NOW) == [], "nothing older comes back"


def _judges_trust_when_it_is_read(factory: StoreFactory) -> None:
    north, south = (Site.of(name, _SITES[n].issuer) for n, name in enumerate(("north", "south")))
    store = factory(Roster((north,)), 100)
    assert store.add(_packet(0), now=_NOW) is Admission.ACCEPTED, "a listed site is believed"
    assert store.add(_packet(1), now=_NOW) is Admission.UNTRUSTED, "another is not"
    store.roster = Roster((north, south))
    assert len(store.evidence(_QUESTION, now=_NOW)) == 2, "a site that is listed later counts"
    revoked = Site(name="north", keys=(SiteKey(issuer=_SITES[0].issuer, revoked=True),))
    store.roster = Roster((revoked, south))
    review = store.review(_QUESTION, now=_NOW)
    assert review.evidence == (_packet(1),), "revoked evidence leaves"
    assert review.excluded_for(Reason.REVOKED) == (_packet(0),), "and is listed with the reason"


def _roster(*sites: tuple[SiteKey, ...]) -> Roster:
    return Roster(tuple(Site(name=f"site {n}", keys=keys) for n, keys in enumerate(sites)))


def _judges_trust_before_it_chooses(factory: StoreFactory) -> None:
    good, late, later = (_packet(0, second, estimate=float(second)) for second in (0, 10, 20))
    ended = _roster((SiteKey(issuer=_SITES[0].issuer, valid_until=_NOW + 5),))
    store = factory(ended, 100)
    store.add(good, now=_NOW)
    assert store.add(late, now=_NOW) is Admission.UNTRUSTED, "issued after its key had ended"
    assert store.evidence(_QUESTION, now=_NOW) == [good], "what is refused takes nothing's place"
    review = store.review(_QUESTION, now=_NOW)
    assert review.excluded_for(Reason.KEY_NOT_VALID) == (late,), "and is listed"
    store.close()
    store = factory(ended, 100)
    store.add_many([later, late], now=_NOW)
    assert store.add(good, now=_NOW) is Admission.ACCEPTED, "of a lower sequence, and it decides"
    twin = _sign(0, _effect(7.0), 30, good.sequence)
    store.add(twin, now=_NOW)
    assert store.evidence(_QUESTION, now=_NOW) == [good], "nor is a word against it one"
    assert store.flagged == {_SITES[0].issuer}, "though the proof is kept"
    for roster, expected in (
        (Roster.open(), [later]),
        (ended, [good]),
        (_roster(), []),
        (_roster((SiteKey(issuer=_SITES[0].issuer, valid_until=_NOW + 15),)), [late]),
        (_roster((SiteKey(issuer=_SITES[0].issuer, revoked=True),)), []),
        (_roster((SiteKey(issuer=_SITES[0].issuer, valid_from=_NOW + 1),)), [later]),
        (ended, [good]),
    ):
        store.roster = roster
        assert store.evidence(_QUESTION, now=_NOW) == expected, "a roster to and fro: the same"


def _follows_a_rotated_key(factory: StoreFactory) -> None:
    old, new = _packet(0, CLOCK_TOLERANCE_S), _packet(1, 0, estimate=1.0)
    keys = [SiteKey(issuer=site.issuer) for site in _SITES[:2]]
    newer = SiteKey(issuer=_SITES[1].issuer, valid_from=_NOW)
    for order in permutations((old, new)):
        store = factory(_roster((keys[0], newer)), 100)
        store.add_many(order, now=_NOW)
        review = store.review(_QUESTION, now=_NOW)
        assert review.evidence == (new,), "the key valid from a later time goes before"
        assert review.excluded_for(Reason.REPLACED) == (old,), "and the other is listed"
        store.roster = _roster(tuple(keys))
        assert store.evidence(_QUESTION, now=_NOW) == [old], "of equal keys the newer packet counts"
        store.close()


def _drops_first_what_the_roster_refuses(factory: StoreFactory) -> None:
    ended = SiteKey(issuer=_SITES[0].issuer, valid_until=_NOW + 5)
    good = [_packet(0, n, cohort=f"{n % 2}") for n in range(4)]
    other = _packet(1)
    store = factory(_roster((ended,), (SiteKey(issuer=_SITES[1].issuer),)), 12)
    late = [_packet(0, second, cohort=f"{second % 2}") for second in range(5, 60)]
    for packet in (*good, other, *late):
        store.add(packet, now=_NOW)
    assert len(store) <= 12, "a store never holds more than its capacity"
    assert {*good, other} <= set(store.packets()), "what is refused goes before what was superseded"
    assert set(store.evidence(_QUESTION, now=_NOW)) == {good[2], good[3], other}, "and nothing else"
    assert store.add(_packet(0, 4, cohort="4"), now=_NOW) is Admission.ACCEPTED, "and bars nothing"
    store.roster = Roster.open()
    newest = max(set(store.packets()) - set(good), key=lambda packet: packet.sequence)
    assert newest in store.evidence(_QUESTION, now=_NOW), "what is left of it may count again"


def _sets_aside(factory: StoreFactory) -> None:
    old, wrong = _packet(0, 0), _packet(0, CLOCK_TOLERANCE_S, estimate=1.0)
    store = _open(factory, [old, wrong])
    assert store.set_aside([wrong]) == 1, "says how many"
    assert store.set_aside([wrong]) == 0, "once"
    assert store.aside == {wrong.id}, "names them"
    review = store.review(_QUESTION, now=_NOW)
    assert review.evidence == (old,), "what is set aside takes nothing's place"
    assert review.excluded_for(Reason.SET_ASIDE) == (wrong,), "and is listed"
    assert store.add(wrong, now=_NOW) is Admission.DUPLICATE, "it is kept"
    repaired = _packet(0, 1, estimate=2.0)
    assert store.add(repaired, now=_NOW) is Admission.ACCEPTED, "the sequence goes on from now"
    assert store.evidence(_QUESTION, now=_NOW) == [repaired], "and the new packet decides"


def _is_bounded_fairly(factory: StoreFactory) -> None:
    flood = [_packet(0, second, cohort=f"{second}") for second in range(60)]
    store = _open(factory, [_packet(1), *flood], capacity=20)
    assert len(store) <= 20, "a store never holds more than its capacity"
    assert _packet(1).id in store, "the heaviest issuer loses first"
    assert flood[-1].id in store, "the newest of an issuer stays"
    assert store.add(flood[0], now=_NOW) is Admission.EVICTED, "what was evicted stays out"
    assert store.statistics.evicted == 61 - len(store), "evictions are counted"


def _never_tears_a_proof(factory: StoreFactory) -> None:
    pairs = [_packet(0, second, estimate=e) for second in range(20) for e in (0.1, 0.2)]
    store = _open(factory, pairs, capacity=9)
    assert len(store) <= 9, "proofs too are bounded"
    assert 2 * len(store.equivocations()) == len(store), "a proof is kept whole or not at all"
    assert store.evidence(_QUESTION, now=_NOW) == [], "eviction makes nothing count again"


def _takes_packets_only(factory: StoreFactory) -> None:
    store = _open(factory)
    for wrong in (bytes(_packet(0)), None):
        try:
            store.add(wrong, now=_NOW)  # type: ignore[arg-type]
        except InputError:
            continue
        raise AssertionError("a store takes packets, which were verified, and nothing else")
    assert len(store) == 0, "a refused call leaves nothing"


def _leaves_nothing_half_done_by_a_fault(factory: StoreFactory) -> None:
    for error in (RuntimeError, RecursionError, MemoryError, OSError):
        store = _open(factory, [_packet(0)])
        before = state_of(store)

        def torn(error: type[Exception] = error) -> Iterator[Packet]:
            yield _packet(1)
            raise error

        try:
            store.add_many(torn(), now=_NOW)
        except error:
            pass
        else:
            raise AssertionError(f"what goes in fails closed: {error.__name__} reaches the caller")
        assert state_of(store) == before, "of packets whose source fails none is kept"
        believed, store.roster = store.roster, _raising_roster(error)
        with suppress(error):  # whether it asks the roster now or when it is read
            store.add(_packet(2), now=_NOW)
        store.roster = believed
        assert len(store.evidence(_QUESTION, now=_NOW)) == len(store), (
            "what a roster that raised let in counts, and what it kept out is not held"
        )
        assert store.add(_packet(1), now=_NOW) is Admission.ACCEPTED, "a store goes on after faults"
        assert _packet(1) in store.evidence(_QUESTION, now=_NOW), "and what it takes then counts"
        store.close()


def _raising_roster(error: type[Exception]) -> Roster:
    """Raises whatever it is asked."""

    class RaisingForAll(Roster):
        __slots__ = ()

        def accepts(self, issuer: Issuer) -> bool:
            raise error(str(issuer))

        def site_of(self, issuer: Issuer) -> Site | None:
            raise error(str(issuer))

    return RaisingForAll(is_open=True)


_CHECKS: Final = (
    _gives_a_reason_for_every_verdict,
    _keeps_one_state_whatever_the_order,
    _keeps_equivocation_as_proof,
    _admits_no_sequence_ahead_of_its_issue_time,
    _lets_a_late_retraction_withdraw,
    _judges_trust_when_it_is_read,
    _judges_trust_before_it_chooses,
    _follows_a_rotated_key,
    _drops_first_what_the_roster_refuses,
    _sets_aside,
    _is_bounded_fairly,
    _never_tears_a_proof,
    _takes_packets_only,
    _leaves_nothing_half_done_by_a_fault,
)
