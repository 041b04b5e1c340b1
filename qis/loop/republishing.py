"""Publishes a site's syntheses as derived packets, with the leaves that they were made from.

By default a derived packet is no evidence, and one is published only if it says something new. So
two loops that receive each other's packets come to rest.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from qis._guard import Backoff, Guard
from qis.errors import ClockError, InputError, OutcomeTooLargeError
from qis.evidence import expiry_of, leaves_of
from qis.evidence.rules import EvidenceKey, Role
from qis.loop.approval import Draft
from qis.loop.release_gate import ReleaseGate
from qis.loop.sender import Sender
from qis.loop.signing import Signer
from qis.outcomes import Derived
from qis.packet import Packet
from qis.synthesis import Synthesis

INTERVAL_S: Final = 60.0
"""Least seconds between two rounds of derived packets."""
LEAST_SITES: Final = 2


class Republisher:
    """Publishes derived packets of fixed-effect syntheses that say something new.

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
        clock: Callable[[], float],
    ) -> None:
        self._publisher = publisher
        self._signer = signer
        self._sender = sender
        self._guard = guard
        self._interval_s = interval_s
        self._clock = clock
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
            await self._offered.wait()
            self._offered.clear()
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

    async def _emit(self, offer: Synthesis) -> bool:
        """Publish a synthesis if it says something new; true if it does."""
        draft = self._draft(offer)
        if draft is None:
            return False
        await self._sender.room()
        try:
            self._publisher.republish(draft)
            self._sender.wake()
        except ClockError:  # told where it was doubted; the next round tries again
            self._offers.setdefault(offer.study_id, offer)
            self._offered.set()
        except InputError:  # told and recorded where it was refused
            pass
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
        fingerprint = first.fingerprint
        keys: tuple[bytes, ...] = ()
        for role in (Role.PRIMARY, Role.DERIVED):  # the former derived one binds the next
            key = EvidenceKey(outcome.study_id, self._signer.issuer.key, "", role)
            former = self._signer.former(key)
            if former is not None and former.packet.travels_under(former.routing_keys):
                fingerprint, keys = former.packet.fingerprint, former.routing_keys
        whole = Draft(
            outcome=outcome,
            fingerprint=fingerprint,
            routing_keys=keys,
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
