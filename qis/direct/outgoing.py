"""What leaves for the other members: their flows, and what is said once and not acknowledged."""

from typing import Final

from qis._guard import Guard
from qis.direct.flow import QueuedFrame
from qis.direct.frames import ACKS_LIMIT, Acknowledgement, Frame, datagrams_of, encode
from qis.direct.members import MemberState, OtherMember
from qis.overlay.bundles import Datagram
from qis.relay import is_relayed

ACK_DELAY_S: Final = 0.01
"""How long an acknowledgement waits for company; a datagram of its own costs what a packet does."""
ACKS_AT_ONCE: Final = 4
"""So many do not wait: a sender with a small window waits for them (RFC 9000, 13.2)."""


class Outgoing:
    """The members that something is on its way to.

    Parameters
    ----------
    guard
        Tells for whom a frame was dropped.

    """

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        # Of 128 members few have something to send or to wait for: only these are looked through.
        self._active: dict[OtherMember, None] = {}

    @property
    def active(self) -> list[OtherMember]:
        """The members that something is on its way to, or that are waited for."""
        return list(self._active)

    def put(self, member: OtherMember, frame: Frame, packet_id: bytes = b"") -> None:
        """Send a frame until it is acknowledged; `packet_id` if it is a packet."""
        self._active[member] = None
        if not member.flow.put(QueuedFrame(frame, packet_id)):
            self._guard.at_limit(
                "direct.flow.WAITING_LIMIT",
                member.key.hex(),
                "a frame for this member was dropped: too many wait for it; packets come when "
                "sets are compared, within some periods",
            )

    def say(self, member: OtherMember, frame: Frame, number: int = 0) -> None:
        """Send a frame once."""
        member.loose.append(encode(frame, number))
        self._active[member] = None

    def say_at(self, member: OtherMember, address: bytes, frame: Frame, number: int) -> None:
        """Send a frame once, to an address of the member that it may not answer at."""
        member.elsewhere.append((encode(frame, number), address))
        self._active[member] = None

    def acknowledge(self, member: OtherMember, numbers: list[int], now: float) -> None:
        """Say that these transmissions have come: with what leaves next, or a little later."""
        if not member.acks:
            member.acks_at = now + ACK_DELAY_S
        member.acks += numbers
        self._active[member] = None

    def wait_for(self, member: OtherMember) -> None:
        """Look at a member's timers though nothing is on its way to it."""
        self._active[member] = None

    def forget(self, member: OtherMember) -> None:
        """Send nothing more to a member."""
        self._active.pop(member, None)

    def datagrams(self, now: float) -> list[Datagram]:
        """What has to be sent now: bytes, address, and the key expected there; taken once."""
        found: list[Datagram] = []
        for member in list(self._active):
            for frame, elsewhere in member.elsewhere:
                found += [(data, elsewhere, member.key) for data in datagrams_of([frame])]
                member.is_contacted = member.is_contacted or not is_relayed(elsewhere)
            member.elsewhere.clear()
            address = member.address
            if address is None:
                member.loose.clear()
                del self._active[member]
                continue
            frames, member.loose = member.loose, []
            frames += member.flow.take(now)
            if member.acks and (
                frames or now >= member.acks_at or len(member.acks) >= ACKS_AT_ONCE
            ):
                frames += _acknowledgements(member)
            if frames:
                member.sent_at = now
                member.is_contacted = member.is_contacted or not is_relayed(address)
                found += [(data, address, member.key) for data in datagrams_of(frames)]
            is_done = member.flow.is_over and not member.acks
            if is_done and member.reach is not MemberState.SILENT:
                del self._active[member]
        return found


def _acknowledgements(member: OtherMember) -> list[bytes]:
    numbers, member.acks = member.acks, []
    return [
        encode(Acknowledgement(tuple(numbers[start : start + ACKS_LIMIT])), 0)
        for start in range(0, len(numbers), ACKS_LIMIT)
    ]
