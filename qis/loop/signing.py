"""Numbers and signs the packets of one key, and shows what would be signed without signing it."""

from collections.abc import Callable
from typing import Final

from qis.evidence.rules import EvidenceKey, evidence_key, role_of
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
    """Signs what an identity publishes: numbered once, never shortened in life.

    Parameters
    ----------
    identity, lifetime_s, clock
        As for `qis.SynthesisLoop`.
    outbox
        Where sequences and what was published before are kept.
    announcer
        Tells of packets of this key that were made elsewhere.

    """

    def __init__(
        self,
        identity: Identity,
        outbox: Outbox,
        *,
        announcer: Announcer,
        lifetime_s: int,
        clock: Callable[[], float],
    ) -> None:
        self.issuer = identity.issuer
        self._identity = identity
        self._outbox = outbox
        self._lifetime_s = lifetime_s
        self._clock = clock
        self._announcer = announcer
        outbox.begins(clock())
        self._own = outbox.own()
        self._aside = {each.packet.id for each in outbox.aside()}

    def read_again(self) -> None:
        """Take over what the outbox has now: something was set aside."""
        self._own = self._outbox.own()
        self._aside = {each.packet.id for each in self._outbox.aside()}

    def former(self, key: EvidenceKey) -> Own | None:
        """The newest packet of this site under an evidence key."""
        return self._own.get(key)

    def newest(self) -> list[Packet]:
        """The newest packet under every key."""
        return [own.packet for own in self._own.values()]

    def key_of(self, outcome: Outcome) -> EvidenceKey:
        """The evidence key of an outcome of this site."""
        return EvidenceKey(outcome.study_id, self.issuer.key, outcome.cohort, role_of(outcome))

    def notice(self, packet: Packet) -> None:
        """Learn from a packet of our own key, perhaps sent before a backup was restored."""
        if issuer_key(bytes(packet)) != self.issuer.key:
            return
        if count := self._outbox.noticed(packet):
            self._announcer.tell("foreign_use", packet=packet, reason=_ELSEWHERE, count=count)
        if packet.id in self._aside:  # others may hold what a wrong clock had dated
            return
        if is_numbered_ahead(packet.sequence, packet.issued_at):
            return  # no store admits it, so it need not be surpassed, and must not stop this site
        self._outbox.raise_sequence(packet.sequence)
        key = evidence_key(packet)
        former = self._own.get(key)
        if former is None or packet.sequence > former.packet.sequence:
            # Its routing keys are not in it; those of the former hold if it commits to them.
            keys = () if former is None else former.routing_keys
            self._own[key] = Own(packet, keys if packet.travels_under(keys) else ())

    def sign(self, draft: Draft, *, above: int = 0) -> Packet:
        """The packet of a draft under the next sequence, which the outbox then marks as used.

        That is higher than `above`.
        """
        return self._packet(draft, self._identity, above)

    def unsigned(self, draft: Draft) -> Packet:
        """What `sign` would give now, with zeros for the signature: nobody would accept it."""
        return self._packet(draft, _Blank(self.issuer))

    def signed(self, packet: Packet, routing_keys: tuple[bytes, ...]) -> None:
        """Remember the newest packet under its key."""
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
        )

    def _expiry(self, draft: Draft, issued_at: int) -> int:
        """When a packet is to expire, if a packet may live so long.

        Not before what it replaces, or a node that slept would keep that and never hear of this.
        Where that was dated so far ahead that no packet issued now may live as long, the end is
        capped: otherwise nothing could replace or withdraw it until that date.
        """
        if draft.outlives_all:
            return issued_at + MAX_LIFETIME_S
        if draft.expires_at is not None:
            return draft.expires_at
        former = self._own.get(self.key_of(draft.outcome))
        return max(issued_at + self._lifetime_s, former.packet.expires_at if former else 0)


class _Blank(Identity):
    """Stands in for a key where nothing may be signed."""

    __slots__ = ()

    def __init__(self, issuer: Issuer) -> None:
        self.issuer = issuer

    def sign(self, message: bytes) -> bytes:  # noqa: ARG002  there is no key to sign it with
        return _NO_SIGNATURE
