"""Packets that were verified and stored by an older version, under wider rules than these.

A rule for packets may become stricter (which characters a text may hold). What was stored before is
authentic, so it is no damage and must not stop a file from being opened; but nobody reads it any
more, so it can neither count nor travel: whoever keeps packets sets it aside once and names it.
"""

from typing import Final

from qis import _layout
from qis.errors import PeerError
from qis.identity import verify
from qis.packet.packet import reread
from qis.packet.screening import screen

RULES: Final = 1
"""Raised by one whenever a packet that was read before is refused from then on."""


def reason_unread(raw: bytes) -> str | None:
    """Give the reason why an authentic packet is refused by the rules of this version.

    `None` if it is read. `None` too if its signature does not verify: that is damage, and whoever
    reads the packet reports it.
    """
    try:
        reread(raw)
    except PeerError as error:
        return str(error) if _is_authentic(raw) else None
    return None


def _is_authentic(raw: bytes) -> bool:
    try:
        screen(raw)
        verify(raw[_layout.ISSUER], _layout.signed_bytes(raw), raw[_layout.SIGNATURE])
    except PeerError:
        return False
    return True
