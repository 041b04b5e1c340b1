"""What one site publishes: numbered once, never shortened in life, and sent until it was taken."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from qis.about import Fingerprint
from qis.disclosure import Disclosure
from qis.disclosure.ledger import Subjects
from qis.errors import InputError, TransportError
from qis.evidence import EvidenceStore
from qis.evidence.rules import KIND_RETRACTION, EvidenceKey, Role, evidence_key, role_of
from qis.fingerprint import Scheme
from qis.identity import Identity
from qis.outcomes import Outcome, Retraction
from qis.packet import Packet
from qis.transport import Transport

OUTBOX_LIMIT: Final = 10_000
"""Packets that wait for the network; `publish` waits for room above that."""
_FIRST_RETRY_S: Final = 0.5
_LAST_RETRY_S: Final = 60.0

_log = logging.getLogger("qis.loop")


class Publisher:
    """Signs, numbers, keeps and sends the packets of one key.

    Parameters
    ----------
    identity, transport, scheme, disclosure, lifetime_s, clock
        As for `qis.SynthesisLoop`.
    store
        Where the site's own packets are kept beside all others.

    """

    def __init__(
        self,
        identity: Identity,
        transport: Transport,
        scheme: Scheme[Any],
        store: EvidenceStore,
        *,
        disclosure: Disclosure,
        lifetime_s: int,
        clock: Callable[[], float],
    ) -> None:
        self._identity = identity
        self._transport = transport
        self._scheme = scheme
        self._store = store
        self._disclosure = disclosure
        self._lifetime_s = lifetime_s
        self._clock = clock
        self._last_sequence = 0
        self._own: dict[EvidenceKey, Packet] = {}
        self._keys: dict[EvidenceKey, tuple[bytes, ...]] = {}
        self._outbox: deque[tuple[Packet, tuple[bytes, ...]]] = deque()
        self._filled = asyncio.Event()
        self._taken = asyncio.Event()
        for packet in store.packets_of(identity.issuer):
            self.notice(packet)

    def notice(self, packet: Packet) -> None:
        """Learn from a packet of our own key, perhaps sent before a backup was restored."""
        if packet.issuer != self._identity.issuer:
            return
        self._last_sequence = max(self._last_sequence, packet.sequence)
        key = evidence_key(packet)
        former = self._own.get(key)
        if former is None or packet.sequence > former.sequence:
            self._own[key] = packet

    async def publish(self, outcome: Outcome, about: Any, subjects: Subjects | None) -> Packet:
        """Sign an outcome that may leave, keep it, and put it into the outbox."""
        fingerprint = self._scheme.fingerprint(about)
        keys = self._scheme.routing_keys(about)
        former = self._own.get(self._key_of(outcome))
        if former is not None and former.outcome.kind != KIND_RETRACTION:
            same_keys = former.travels_under(keys)
            if former.fingerprint != fingerprint or not same_keys:
                raise InputError(
                    f"{outcome.question!r} was published about something else, and whoever got "
                    "that would not get this: retract it first, then publish anew",
                    field="about",
                )
        return await self._publish(outcome, fingerprint, keys, subjects)

    async def retract(self, study_id: bytes, cohort: str, reason: str, about: Any) -> Packet:
        """Publish a withdrawal to everybody who got what it withdraws.

        `about` is needed only where this process did not itself publish what is withdrawn.
        """
        key = EvidenceKey(study_id, self._identity.issuer.key, cohort, Role.PRIMARY)
        former = self._own.get(key)
        if former is None or former.outcome.kind == KIND_RETRACTION:
            raise InputError(
                f"nothing of this site is in force under study {study_id.hex()} and cohort "
                f"{cohort!r}",
                field="study",
            )
        keys = self._keys.get(key, ()) if about is None else self._scheme.routing_keys(about)
        if not former.travels_under(keys):
            raise InputError(
                "a retraction travels the way of what it withdraws: give about= with the features "
                "that it was published with",
                field="about",
            )
        withdrawal = Retraction(
            study_id=study_id, question=former.outcome.question, cohort=cohort, reason=reason
        )
        return await self._publish(withdrawal, former.fingerprint, keys)

    async def run(self) -> None:
        """Send what is in the outbox, in order, for ever; a failing network is tried again."""
        delay = _FIRST_RETRY_S
        while True:
            while self._outbox:
                packet, keys = self._outbox[0]
                try:
                    await self._transport.publish(packet, keys)
                except TransportError as error:
                    _log.warning("%r is not sent yet: %s", packet, error)
                    await asyncio.sleep(delay)
                    delay = min(2.0 * delay, _LAST_RETRY_S)
                    continue
                delay = _FIRST_RETRY_S
                self._outbox.popleft()
                self._taken.set()
            self._filled.clear()
            await self._filled.wait()

    async def flush(self) -> None:
        """Wait until the transport has taken all."""
        while self._outbox:
            await self._next_taken()

    async def _publish(
        self,
        outcome: Outcome,
        fingerprint: Fingerprint,
        keys: tuple[bytes, ...],
        subjects: Subjects | None = None,
    ) -> Packet:
        while len(self._outbox) >= OUTBOX_LIMIT:
            await self._next_taken()
        now = self._clock()
        issued_at = int(now)
        key = self._key_of(outcome)
        former = self._own.get(key)
        # Not before what it replaces, or a node that slept would keep that and never hear of this.
        expires_at = max(issued_at + self._lifetime_s, former.expires_at if former else 0)
        packet = Packet.sign(
            self._identity,
            outcome=outcome,
            fingerprint=fingerprint,
            issued_at=issued_at,
            lifetime_s=expires_at - issued_at,
            sequence=max(self._last_sequence + 1, int(now * 1e6)),
            routing_keys=keys,
        )
        # Noted before it leaves, and after all else that could refuse it.
        self._disclosure.release(outcome, now=now, subjects=subjects)
        admission = self._store.add(packet, now=now)
        if not admission.changes_evidence:
            raise InputError(
                f"this site's own store does not count it: {admission.sentence}", field="outcome"
            )
        self.notice(packet)
        self._keys[key] = keys
        self._outbox.append((packet, keys))
        self._filled.set()
        return packet

    async def _next_taken(self) -> None:
        self._taken.clear()
        await self._taken.wait()

    def _key_of(self, outcome: Outcome) -> EvidenceKey:
        issuer = self._identity.issuer.key
        return EvidenceKey(outcome.study_id, issuer, outcome.cohort, role_of(outcome))
