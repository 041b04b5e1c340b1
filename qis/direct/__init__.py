"""Direct mode: in a closed roster of few sites each publication goes once to every member.

Nobody registers an interest and no routing keys travel: every member receives and keeps every
packet that lives, and the receiver matches. Sans-IO: `DirectNode` takes bytes, a sender that the
channel has authenticated, and the time, and gives datagrams and events. See docs/direct.md.
"""

from qis.direct.node import DirectNode

__all__ = ["DirectNode"]
