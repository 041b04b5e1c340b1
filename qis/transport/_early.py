"""Packets dated in the future: one of two clocks is wrong, and both sites should know."""

from qis._clock import Clock
from qis._guard import Guard
from qis.errors import PeerError
from qis.evidence.roster import Roster
from qis.health import Notices
from qis.identity import issuer_of
from qis.packet import Packet, issuer_key
from qis.transport.site_clocks import SiteClocks, span


class EarlyPackets:
    """Looks at packets that are refused because they are dated in the future.

    Parameters
    ----------
    clocks
        Where to note whose clock differs.
    guard, notices
        Who is told of it (`None`: the log only), and of what was not looked at.
    clock
        The node's clock.

    """

    def __init__(
        self, clocks: SiteClocks, guard: Guard, notices: Notices | None, clock: Clock
    ) -> None:
        self._clocks = clocks
        self._guard = guard
        self._notices = notices
        self._clock = clock

    def look(self, data: bytes, roster: Roster) -> bool:
        """See whether a packet dated in the future is its issuer's, whose clock then differs.

        Only now and then: its times are checked before its signature, to keep refusing cheap.
        True if that could not be seen now and should be tried again.
        """
        issuer = issuer_of(issuer_key(data))
        name = roster.name_of(issuer) if roster.accepts(issuer) else None
        if name is None or self._clocks.is_heard(issuer.key, "early"):
            return False
        if not self._clocks.may_verify():
            self._guard.at_limit(
                "transport.site_clocks.FORGED_RATE",
                "",
                "so many packets dated in the future are not of the sites they name that others "
                "are not looked at for a while: a site whose clock is wrong is named later",
            )
            return True
        try:
            packet = Packet.parse(data)
        except PeerError:
            self._clocks.forged()
            return False
        self._clocks.verified(issuer.key, "early")
        self._clocks.early(issuer.key, packet.id, packet.issued_at)
        if self._notices is not None:
            ahead_s = packet.issued_at - self._clock.wall()
            self._notices.tell(
                "refusal",
                f"NotYetValidError of {name}",
                f"a packet of {name} is dated {span(ahead_s)} ahead of this machine's clock and is "
                "not used before that time: one of the two clocks is wrong",
            )
        return False
