"""When a synthesis of others may count: only if nothing in it counts already.

Pooling syntheses as if they were new evidence counts their leaves again with every turn of the
loop, and intervals shrink around nothing. A derived packet lists its leaves, so that a reader can
tell.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final, Protocol

from qis._gate import checked
from qis.errors import InputError
from qis.evidence.review import Excluded, Reason, Review
from qis.evidence.roster import TAG_SIZE, Roster
from qis.outcomes import Derived
from qis.packet import CLOCK_TOLERANCE_S, Packet

_WITHDRAWN: Final = frozenset(
    {str(reason) for reason in (Reason.RETRACTED, Reason.SUPPRESSED, Reason.EQUIVOCATION)}
)


class Uncounted(Protocol):
    """A packet that does not count: an `Excluded`, or what a synthesis shows of one."""

    @property
    def packet(self) -> Packet:
        """The packet."""

    @property
    def reason(self) -> Reason | str:
        """Why it does not count, or the label of that."""


@checked
def leaves_of(packets: Iterable[Packet]) -> tuple[bytes, ...]:
    """The leaves of what goes into a synthesis; a derived packet is replaced by its own leaves.

    Examples
    --------
    >>> import qis
    >>> key = qis.Identity.from_seed(bytes(32))
    >>> effect = qis.Effect(question="a vs b | c", measure="OR", estimate=0.1, standard_error=0.2)
    >>> packet = qis.Packet.sign(
    ...     key, outcome=effect, fingerprint=qis.VectorScheme(dimensions=1).fingerprint([1.0]),
    ...     issued_at=1_800_000_000, lifetime_s=3600,
    ... )
    >>> from qis.evidence import leaves_of
    >>> [len(leaf) for leaf in leaves_of([packet])]
    [12]

    """
    leaves: set[bytes] = set()
    for packet in packets:
        leaves.update(packet.leaves if isinstance(packet.outcome, Derived) else (packet.leaf,))
    return tuple(sorted(leaves))


@checked
def expiry_of(packets: Iterable[Packet]) -> int:
    """When a synthesis of these expires: with the first of them, in Unix seconds.

    Raises
    ------
    InputError
        If there are none.

    Examples
    --------
    >>> import qis
    >>> key = qis.Identity.from_seed(bytes(32))
    >>> effect = qis.Effect(question="a vs b | c", measure="OR", estimate=0.1, standard_error=0.2)
    >>> packet = qis.Packet.sign(
    ...     key, outcome=effect, fingerprint=qis.VectorScheme(dimensions=1).fingerprint([1.0]),
    ...     issued_at=1_800_000_000, lifetime_s=3600,
    ... )
    >>> from qis.evidence import expiry_of
    >>> expiry_of([packet]) == packet.expires_at
    True

    """
    ends = [packet.expires_at for packet in packets]
    if not ends:
        raise InputError("a synthesis of nothing", field="packets")
    return min(ends)


@checked
def with_derived(review: Review, roster: Roster, *, now: float) -> Review:
    """Let derived packets count, each of which adds sites that do not count yet.

    Only for fixed-effect syntheses: what a derived packet carries is one estimate of a common
    effect, of which the sites' own heterogeneity cannot be had again. A derived packet counts if it
    is of the fixed model and lives, lists a leaf for each of its sites, all leaves are of sites on
    the roster, none was withdrawn, and neither these sites nor any that shares patients with them
    counts already. Of several, those of more sites come first.

    Parameters
    ----------
    review
        From a store, of the study.
    roster
        By which it was judged. An open roster knows no sites, so nothing derived counts.
    now
        Unix seconds.

    Returns
    -------
    The review, with the derived packets among the evidence or excluded with a reason. Their name
    in `site_names` is that of all their sites.

    Examples
    --------
    >>> import qis
    >>> key = qis.Identity.from_seed(bytes(32))
    >>> effect = qis.Effect(question="a vs b | c", measure="OR", estimate=0.1, standard_error=0.2)
    >>> packet = qis.Packet.sign(
    ...     key, outcome=effect, fingerprint=qis.VectorScheme(dimensions=1).fingerprint([1.0]),
    ...     issued_at=1_800_000_000, lifetime_s=3600,
    ... )
    >>> from qis.evidence import with_derived
    >>> roster = qis.Roster((qis.Site.of("Ulm", key.issuer),))
    >>> store = qis.MemoryStore(roster=roster)
    >>> _ = store.add(packet, now=1_800_000_100)
    >>> review = store.evidence("a vs b | c", now=1_800_000_100)
    >>> with_derived(review, roster, now=1_800_000_100) == review  # there is no derived packet
    True

    """
    derived = sorted(
        (left for left in review.excluded if left.reason is Reason.DERIVED),
        key=lambda left: (-len(left.packet.leaves), left.packet.id),
    )
    counting = set(review.sites)
    names = dict(review.site_names)
    evidence = list(review.evidence)
    excluded = [left for left in review.excluded if left.reason is not Reason.DERIVED]
    withdrawn = _withdrawn(review.excluded)
    for left in derived:
        sites = _sites_of(left.packet, roster)
        reason = _own_fault(left.packet, sites, roster, now)
        reason = reason or _clash(left.packet, sites, counting, withdrawn, roster)
        if reason is None:
            counting |= sites
            evidence.append(left.packet)
            names[left.packet.id] = " + ".join(sorted(sites))
        else:
            excluded.append(Excluded(left.packet, reason, left.site))
    return replace(
        review,
        evidence=tuple(sorted(evidence, key=lambda packet: packet.id)),
        excluded=tuple(sorted(excluded, key=lambda left: left.packet.id)),
        site_names=names,
    )


def has_void_leaf(packet: Packet, left_out: Iterable[Uncounted]) -> bool:
    """True if something that a derived packet was made from is in force no more.

    Parameters
    ----------
    packet
        A derived packet. If it does not list its leaves, whatever was withdrawn since it was issued
        is taken for one of them.
    left_out
        What does not count of its study.

    """
    withdrawn = _withdrawn(left_out)
    if not packet.leaves:
        since = _split(packet.leaf)[1] - CLOCK_TOLERANCE_S
        return any(second >= since for second in withdrawn.values())
    return any(second <= withdrawn.get(tag, -1) for tag, second in map(_split, packet.leaves))


def _withdrawn(left_out: Iterable[Uncounted]) -> dict[bytes, int]:
    """Map the tag of each issuer that withdrew to the second up to which its leaves are void."""
    ends: dict[bytes, int] = {}
    for left in left_out:
        if str(left.reason) in _WITHDRAWN:
            tag, second = _split(left.packet.leaf)
            ends[tag] = max(second, ends.get(tag, 0))
    return ends


def _split(leaf: bytes) -> tuple[bytes, int]:
    return leaf[:TAG_SIZE], int.from_bytes(leaf[TAG_SIZE:], "big")


def _sites_of(packet: Packet, roster: Roster) -> set[str]:
    """Names of the sites behind the leaves, as far as the roster accepts them."""
    names = set()
    for leaf in packet.leaves:
        issuer = roster.issuer_of_tag(leaf[:TAG_SIZE])
        site = None if issuer is None or not roster.accepts(issuer) else roster.site_of(issuer)
        if site is not None and site.enrolled_in(packet.outcome.study_id):
            names.add(site.name)
    return names


def _own_fault(packet: Packet, sites: set[str], roster: Roster, now: float) -> Reason | None:
    """Why a derived packet would not count even alone; `None` if it would."""
    outcome = packet.outcome
    if not isinstance(outcome, Derived) or outcome.model != "fixed":
        return Reason.DERIVED
    if packet.expires_at <= now:
        return Reason.LEAF_EXPIRED
    if len(packet.leaves) < outcome.sites:
        return Reason.INCOMPLETE
    if not all(_has_a_say(leaf, roster) for leaf in packet.leaves):
        return Reason.LEAF_UNKNOWN
    return Reason.INCOMPLETE if len(sites) != outcome.sites else None


def _has_a_say(leaf: bytes, roster: Roster) -> bool:
    """True if the roster accepts a leaf's key at the leaf's second, since sequences are times."""
    tag, second = _split(leaf)
    issuer = roster.issuer_of_tag(tag)
    key = None if issuer is None else roster.key_of(issuer)
    return key is not None and not key.revoked and key.covers(second)


def _clash(
    packet: Packet,
    sites: set[str],
    counting: set[str],
    withdrawn: dict[bytes, int],
    roster: Roster,
) -> Reason | None:
    """Why a derived packet does not count beside the other evidence; `None` if it does."""
    leaves = map(_split, packet.leaves)
    if any(second <= withdrawn.get(tag, -1) for tag, second in leaves):
        return Reason.LEAF_WITHDRAWN
    taken = counting | sites
    if sites & counting or any(roster.overlaps_of(site) & taken for site in sites):
        return Reason.LEAF_COUNTED
    return None
