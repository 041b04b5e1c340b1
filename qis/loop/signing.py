"""Numbers and signs the packets of one key, or builds them unsigned for a preview."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from qis.about import (
    SKETCH_SIZE,
    Fingerprint,
    epoch_at,
    epochs_signed_at,
    last_expiry,
)
from qis.evidence.rules import KIND_RETRACTION, EvidenceKey, evidence_key, role_of
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


class Signed(NamedTuple):
    """A signed packet, and under which keys it travels."""

    packet: Packet
    routing_keys: tuple[bytes, ...]
    base_keys: tuple[bytes, ...]
    """What they follow from, if they are of an epoch; else empty."""
    wished_expiry: int
    """Unix seconds: until when it would live if its keys were of no epoch."""


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

    def sign(self, draft: Draft, *, above: int = 0) -> Signed:
        """Sign a draft with an unused sequence, higher than `above`.

        The sequence counts as used once the packet is put into the outbox.
        """
        return self._packet(draft, self._identity, above)

    def unsigned(self, draft: Draft) -> Signed:
        """Return what `sign` would, with zeros for the signature, so that nobody accepts it."""
        return self._packet(draft, _Blank(self.issuer))

    def signed(self, packet: Packet, routing_keys: tuple[bytes, ...]) -> None:
        """Remember a packet as the newest of its evidence key."""
        self._own[evidence_key(packet)] = Own(packet, routing_keys)

    def keys_after(self, former: Own) -> tuple[tuple[bytes, ...], bool]:
        """Return the base keys of the next version of a packet, and whether they are fixed.

        They are fixed, that is the routing keys of that packet themselves, if it is not known what
        these follow from, or not in this scheme.
        """
        is_ours = former.packet.fingerprint.scheme_id == self._scheme.id
        base = self._outbox.base_keys(former.packet) if is_ours and self._scheme.is_keyed else ()
        return (base, False) if base else (former.routing_keys, True)

    def epoch_of(self, packet: Packet, base_keys: tuple[bytes, ...]) -> int | None:
        """Return of which epoch a packet's routing keys are; `None` if they follow from others."""
        for epoch in epochs_signed_at(packet.issued_at):
            if packet.travels_under(self._scheme.keys_of_epoch(base_keys, epoch)):
                return epoch
        return None

    def outgrown(self, draft: Draft) -> Own | None:
        """Return the former version of an older epoch that the draft would outlive, if any.

        It is to be retracted under its own keys, and the draft begins anew in this epoch.
        """
        former = self._own.get(self.key_of(draft.outcome))
        if former is None or former.packet.outcome.kind == KIND_RETRACTION:
            return None
        if not self._has_epoch(draft) or draft.keeps_epoch:
            return None
        issued_at = int(self._clock())
        epoch = self.epoch_of(former.packet, draft.base_keys)
        if epoch is None or epoch >= epoch_at(issued_at):
            return None
        is_outgrown = issued_at < last_expiry(epoch) < self._expiry(draft, issued_at)
        return former if is_outgrown else None

    def _has_epoch(self, draft: Draft) -> bool:
        return self._scheme.is_keyed and not draft.has_fixed_keys and bool(draft.base_keys)

    def _epoch(self, draft: Draft, issued_at: int, expires_at: int) -> int:
        """Return the epoch of a draft's keys: that of the former version, if it lasts."""
        former = self._own.get(self.key_of(draft.outcome))
        is_retraction = draft.outcome.kind == KIND_RETRACTION
        if former is not None and (is_retraction or former.packet.outcome.kind != KIND_RETRACTION):
            epoch = self.epoch_of(former.packet, draft.base_keys)
            if epoch is not None and issued_at < last_expiry(epoch):
                is_long_enough = epoch >= epoch_at(issued_at) or expires_at <= last_expiry(epoch)
                if is_long_enough or draft.keeps_epoch:
                    return epoch
        return epoch_at(issued_at)

    def _packet(self, draft: Draft, identity: Identity, above: int = 0) -> Signed:
        now = self._clock()
        issued_at = int(now)
        wished = min(self._expiry(draft, issued_at), issued_at + MAX_LIFETIME_S)
        keys, expires_at = draft.base_keys, wished
        base_keys: tuple[bytes, ...] = ()
        if self._has_epoch(draft):
            epoch = self._epoch(draft, issued_at, wished)
            base_keys, keys = keys, self._scheme.keys_of_epoch(keys, epoch)
            expires_at = min(wished, last_expiry(epoch))
        packet = Packet.sign(
            identity,
            outcome=draft.outcome,
            fingerprint=draft.fingerprint,
            issued_at=issued_at,
            lifetime_s=expires_at - issued_at,
            sequence=self._outbox.next_sequence(now, above=above),
            routing_keys=keys,
            leaves=draft.leaves,
            seal=self._scheme.seal,
        )
        return Signed(packet, keys, base_keys, wished)

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
