"""Numbers and signs the packets of one key, or builds them unsigned for a preview."""

from collections.abc import Callable
from typing import Any, Final

from qis.about import SKETCH_SIZE, Fingerprint
from qis.evidence.rules import EvidenceKey, evidence_key, role_of
from qis.fingerprint import Scheme
from qis.identity import Identity, Issuer
from qis.loop.approval import Draft
from qis.loop.events import Announcer
from qis.loop.outbox import Outbox, Own
from qis.outcomes import Outcome
from qis.packet import MAX_LIFETIME_S, Packet, is_numbered_ahead, issuer_key

_ELSEWHERE: Final = (
    "signed with this site's key, and not by this outbox: another machine has the key, or this is "
    "from before a backup was restored"
)
_NO_SIGNATURE: Final = bytes(64)


class Signer:
    """Signs what an identity publishes, each with a new sequence, none expiring before its former.

    Parameters
    ----------
    identity
        The site's key.
    lifetime_s
        Validity of the packets, in seconds.
    clock
        Gives Unix seconds.
    outbox
        Keeps used sequences and the packets that were published before.
    scheme
        Seals sketches, and opens those of former packets.
    announcer
        Told of packets of this key that were made elsewhere.

    """

    def __init__(
        self,
        identity: Identity,
        outbox: Outbox,
        *,
        scheme: Scheme[Any],
        announcer: Announcer,
        lifetime_s: int,
        clock: Callable[[], float],
    ) -> None:
        self.issuer = identity.issuer
        self._identity = identity
        self._outbox = outbox
        self._scheme = scheme
        self._lifetime_s = lifetime_s
        self._clock = clock
        self._announcer = announcer
        self.doubted: Callable[[], object] = lambda: None
        """Called when a packet of this key is found that this site does not know."""
        outbox.begins(clock())
        self._own = outbox.own()
        self._aside = {each.packet.id for each in outbox.aside()}

    def read_again(self) -> None:
        """Read the outbox again, after something was set aside."""
        self._own = self._outbox.own()
        self._aside = {each.packet.id for each in self._outbox.aside()}

    def former(self, key: EvidenceKey) -> Own | None:
        """Return the newest packet of this site under an evidence key, if there is one."""
        return self._own.get(key)

    def about(self, packet: Packet) -> Fingerprint:
        """Return what a packet is about, unsealed; see `fingerprint_of`."""
        return fingerprint_of(packet, self._scheme)

    def newest(self) -> list[Packet]:
        """Return the newest packet of every evidence key."""
        return [own.packet for own in self._own.values()]

    def key_of(self, outcome: Outcome) -> EvidenceKey:
        """Return the evidence key of an outcome of this site."""
        return EvidenceKey(outcome.study_id, self.issuer.key, outcome.cohort, role_of(outcome))

    def notice(self, packet: Packet) -> None:
        """Note a received packet of the own key, perhaps sent before a backup was restored."""
        if issuer_key(bytes(packet)) != self.issuer.key:
            return
        if count := self._outbox.noticed(packet, now=self._clock()):
            self._announcer.tell("foreign_use", packet=packet, reason=_ELSEWHERE, count=count)
            self.doubted()
        if packet.id in self._aside:  # dated by a wrong clock; other nodes may still send it
            return
        if is_numbered_ahead(packet.sequence, packet.issued_at):
            return  # no store admits it, so it must not push the sequence far ahead either
        self._outbox.raise_sequence(packet.sequence)
        key = evidence_key(packet)
        former = self._own.get(key)
        if former is None or packet.sequence > former.packet.sequence:
            # A packet contains only a hash of its routing keys: see if the former's fit.
            keys = () if former is None else former.routing_keys
            self._own[key] = Own(packet, keys if packet.travels_under(keys) else ())

    def sign(self, draft: Draft, *, above: int = 0) -> Packet:
        """Sign a draft with an unused sequence, higher than `above`.

        The sequence counts as used once the packet is put into the outbox.
        """
        return self._packet(draft, self._identity, above)

    def unsigned(self, draft: Draft) -> Packet:
        """Return what `sign` would, with zeros for the signature, so that nobody accepts it."""
        return self._packet(draft, _Blank(self.issuer))

    def signed(self, packet: Packet, routing_keys: tuple[bytes, ...]) -> None:
        """Remember a packet as the newest of its evidence key."""
        self._own[evidence_key(packet)] = Own(packet, routing_keys)

    def _packet(self, draft: Draft, identity: Identity, above: int = 0) -> Packet:
        now = self._clock()
        issued_at = int(now)
        expires_at = min(self._expiry(draft, issued_at), issued_at + MAX_LIFETIME_S)
        return Packet.sign(
            identity,
            outcome=draft.outcome,
            fingerprint=draft.fingerprint,
            issued_at=issued_at,
            lifetime_s=expires_at - issued_at,
            sequence=self._outbox.next_sequence(now, above=above),
            routing_keys=draft.routing_keys,
            leaves=draft.leaves,
            seal=self._scheme.seal,
        )

    def _expiry(self, draft: Draft, issued_at: int) -> int:
        """Return when a packet is to expire, in Unix seconds.

        Not before the packet that it replaces: otherwise a node that was offline would keep that
        one and never receive this one. If a packet issued now may not live so long, because the
        former was dated far ahead, the latest allowed time is used, so that it can be replaced.
        """
        if draft.outlives_all:
            return issued_at + MAX_LIFETIME_S
        if draft.expires_at is not None:
            return draft.expires_at
        former = self._own.get(self.key_of(draft.outcome))
        return max(issued_at + self._lifetime_s, former.packet.expires_at if former else 0)


def fingerprint_of(packet: Packet | None, scheme: Scheme[Any]) -> Fingerprint:
    """Return what a packet is about, for a packet that this site signs with its scheme.

    A sketch of zeros if there is none, or it is of another scheme, which cannot be opened here.
    """
    if packet is None or packet.fingerprint.scheme_id != scheme.id:
        return Fingerprint(bytes(SKETCH_SIZE), scheme.id)
    return scheme.open(packet)


class _Blank(Identity):
    """An identity that puts zeros for a signature, used where nothing may be signed."""

    __slots__ = ()

    def __init__(self, issuer: Issuer) -> None:
        self.issuer = issuer
        self.path = None

    def sign(self, message: bytes) -> bytes:  # noqa: ARG002  there is no key to sign it with
        return _NO_SIGNATURE
