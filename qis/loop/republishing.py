"""Publishes a site's syntheses as derived packets, with the leaves that they were made from.

By default a derived packet is no evidence, and one is published only if it says something new. So
two loops that receive each other's packets come to rest.

If a leaf is withdrawn, the next synthesis replaces the derived packet. If none may be published
instead, the derived packet is retracted.
"""

import asyncio
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Final

from qis._guard import Backoff, Guard
from qis.errors import AccountError, ClockError, InputError, OutcomeTooLargeError
from qis.evidence import expiry_of, leaves_of
from qis.evidence.lineage import has_void_leaf
from qis.evidence.rules import EvidenceKey, Role
from qis.loop.approval import Draft
from qis.loop.outbox import Own
from qis.loop.release_gate import ReleaseGate
from qis.loop.sender import Sender
from qis.loop.signing import Signer
from qis.outcomes import Derived
from qis.packet import Packet
from qis.synthesis import Synthesis

INTERVAL_S: Final = 60.0
"""Least seconds between two rounds of derived packets."""
LEAST_SITES: Final = 2
_AGAIN_S: Final = 60.0
_STEPS: Final = 1 << 20
"""Waiting times that are drawn from."""


class Republisher:
    """Publishes derived packets of syntheses, and retracts those whose leaves were withdrawn.

    Published are fixed-effect syntheses that say something new.

    A derived packet has the fingerprint and routing keys of this site's own packet of the study. If
    there is none, it travels under the study's id only, with the fingerprint of its first leaf.

    Parameters
    ----------
    publisher, signer, sender
        The other parts of the loop.
    guard
        Contains what a synthesis makes this raise. Nothing has left then, and it is tried again.
    interval_s
        Least seconds between two rounds; of the syntheses in between only the newest counts.
    publishes
        False to retract only: a site that has turned republishing off still has packets out.
    clock
        Gives Unix seconds.

    """

    def __init__(
        self,
        publisher: ReleaseGate,
        signer: Signer,
        sender: Sender,
        *,
        guard: Guard,
        interval_s: float,
        publishes: bool,
        clock: Callable[[], float],
    ) -> None:
        self._publisher = publisher
        self._signer = signer
        self._sender = sender
        self._guard = guard
        self._interval_s = interval_s
        self._publishes = publishes
        self._clock = clock
        self._void: dict[bytes, float] = {}
        """When the derived packet of a study is to be retracted, by the event loop's clock."""
        self._offers: dict[bytes, Synthesis] = {}
        self._offered = asyncio.Event()

    def offer(self, synthesis: Synthesis) -> None:
        """Take a new synthesis, for the next round."""
        self._offers[synthesis.study_id] = synthesis
        self._offered.set()

    async def run(self) -> None:
        """Publish what is new, until cancelled."""
        backoff = Backoff()
        while True:
            await self._until_due()
            self._offered.clear()
            self._retract_due()
            offers, self._offers = self._offers, {}
            emitted = failures = 0
            for study_id, offer in offers.items():
                with self._guard.item("loop.republication") as item:
                    emitted += await self._emit(offer)
                if item.failed:  # nothing has left; a newer synthesis takes precedence
                    self._offers.setdefault(study_id, offer)
                    self._offered.set()
                failures += item.failed
            if failures:
                await asyncio.sleep(backoff.failed())
            else:
                backoff.succeeded()
            if emitted:
                await asyncio.sleep(self._interval_s)

    async def _until_due(self) -> None:
        """Wait for a synthesis, or until a derived packet is to be retracted."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(min(self._void.values(), default=None)):
                await self._offered.wait()

    def _retract_due(self) -> None:
        """Retract the derived packets whose moment has come."""
        now_s = asyncio.get_running_loop().time()
        for study_id in [each for each, due_s in self._void.items() if due_s <= now_s]:
            is_done = True
            with self._guard.item("loop.republication") as item:
                try:
                    self._retract(study_id)
                except AccountError:  # the loop's health tells it, until a person has settled it
                    is_done = False
                except InputError:  # told and recorded where it was refused
                    pass
            if item.failed or not is_done:
                self._void[study_id] = now_s + max(self._interval_s, _AGAIN_S)
            else:
                del self._void[study_id]

    def _retract(self, study_id: bytes) -> None:
        former = self._former(study_id)
        if former is not None:
            self._publisher.withdraw_derived(former)
            self._sender.wake()

    def _former(self, study_id: bytes) -> Own | None:
        """Return this site's derived packet of a study, if one is in force and lives."""
        key = EvidenceKey(study_id, self._signer.issuer.key, "", Role.DERIVED)
        former = self._signer.former(key)
        if former is None or not isinstance(former.packet.outcome, Derived):
            return None
        return former if former.packet.expires_at > self._clock() else None

    def _look_for_void(self, synthesis: Synthesis) -> None:
        """Note when the derived packet of a study is to be retracted, if a leaf was withdrawn.

        All sites that hold the leaf learn of its withdrawal at the same time. Each waits for a
        random time, so that they do not all speak at once, in an order that nobody can foretell.
        """
        study_id, former = synthesis.study_id, self._former(synthesis.study_id)
        if former is None or not has_void_leaf(former.packet, synthesis.excluded):
            self._void.pop(study_id, None)
        elif study_id not in self._void:
            self._void[study_id] = asyncio.get_running_loop().time() + random_part(self._interval_s)

    async def _emit(self, offer: Synthesis) -> bool:
        """Publish a synthesis if it says something new; true if it does."""
        draft = self._draft(offer) if self._publishes else None
        if draft is None:
            self._look_for_void(offer)
            return False
        self._void.pop(offer.study_id, None)  # what is published now replaces it
        await self._sender.room()
        try:
            self._publisher.republish(draft)
            self._sender.wake()
        except ClockError:  # told where it was doubted; the next round tries again
            self._offers.setdefault(offer.study_id, offer)
            self._offered.set()
        except InputError:  # told and recorded where it was refused
            self._look_for_void(offer)
        return True

    def _draft(self, synthesis: Synthesis) -> Draft | None:
        """Draft the derived packet of a synthesis; `None` if it may not leave or is not new."""
        if synthesis.study is not None and synthesis.study.is_embargoed(self._clock()):
            return None  # only a monitoring role sees these numbers, and must not spread them
        if not synthesis.is_signed:
            return None  # nobody could trace it to packets
        outcome = _outcome_of(synthesis)
        packets = [packet for site in synthesis.sites for packet in site.packets]
        if outcome is None or expiry_of(packets) <= self._clock():
            return None
        draft = self._addressed(outcome, packets)
        former = self._signer.former(self._signer.key_of(outcome))
        if (
            former is not None
            and former.packet.outcome.encoded() == outcome.encoded()
            and former.packet.leaves == draft.leaves
        ):
            return None
        return draft

    def _addressed(self, outcome: Derived, packets: list[Packet]) -> Draft:
        first = min(packets, key=lambda packet: packet.leaf)
        fingerprint = self._signer.about(first)
        keys: tuple[bytes, ...] = ()
        is_fixed = False
        for role in (Role.PRIMARY, Role.DERIVED):  # the former derived one binds the next
            key = EvidenceKey(outcome.study_id, self._signer.issuer.key, "", role)
            former = self._signer.former(key)
            if former is not None and former.packet.travels_under(former.routing_keys):
                fingerprint = self._signer.about(former.packet)
                keys, is_fixed = self._signer.keys_after(former)
        whole = Draft(
            outcome=outcome,
            fingerprint=fingerprint,
            base_keys=keys,
            has_fixed_keys=is_fixed,
            leaves=leaves_of(packets),
            expires_at=expiry_of(packets),
        )
        return whole if self._fits(whole) else replace(whole, leaves=())

    def _fits(self, draft: Draft) -> bool:
        try:
            self._signer.unsigned(draft)
        except OutcomeTooLargeError:
            return False
        return True


def random_part(interval_s: float) -> float:
    """Draw a part of an interval; nobody else can foretell it."""
    return secrets.randbelow(_STEPS) / _STEPS * interval_s


def _outcome_of(synthesis: Synthesis) -> Derived | None:
    """Return a synthesis as an outcome, or `None` if others could not use it."""
    if synthesis.is_embargoed or synthesis.model != "fixed" or synthesis.reach.sites < LEAST_SITES:
        return None
    fixed = synthesis.fixed
    if fixed is None or fixed.estimate is None or not fixed.standard_error:
        return None
    return Derived(
        study_id=synthesis.study_id,
        question=synthesis.question,
        measure=fixed.measure,
        model="fixed",
        estimate=fixed.estimate,
        standard_error=fixed.standard_error,
        sites=synthesis.reach.sites,
    )
