"""Members that cannot call each other are joined by a third, which forwards what they have sealed.

It lies beside the channel: what it forwards are the channel's own datagrams, so that a relay sees
their sizes and times and nothing else (as TURN, RFC 8656). Sans-IO. See docs/direct.md.
"""

from qis.relay.frames import MAGIC, is_relayed, relayed_address
from qis.relay.relays import Relays, Ways

__all__ = ["MAGIC", "Relays", "Ways", "is_relayed", "relayed_address"]
