"""What a node has published itself, and which members have acknowledged it."""

from dataclasses import dataclass, field
from typing import Final

from qis.overlay.lru_cache import LruCache

REMEMBERED_LIMIT: Final = 16_384
"""Own packets that are kept no longer and are remembered as held."""


@dataclass(slots=True)
class SentPacket:
    """Since when an own packet is published, until when it lives, and who has acknowledged it."""

    since: float
    expires_at: float
    holders: set[bytes] = field(default_factory=set)
    is_held: bool = False


class SentPackets:
    """The own packets of a node, by id.

    Parameters
    ----------
    own_site
        Keys of this site: what only they have acknowledged is not held by another site.

    """

    def __init__(self, own_site: frozenset[bytes]) -> None:
        self.own_site = own_site
        self._live: dict[bytes, SentPacket] = {}
        self._unheld: dict[bytes, SentPacket] = {}
        self._former: LruCache[bytes, SentPacket] = LruCache(REMEMBERED_LIMIT)

    @property
    def unheld(self) -> int:
        """How many nobody else has acknowledged."""
        return len(self._unheld)

    def begin(self, packet_id: bytes, now: float, expires_at: float) -> None:
        """Note that a packet is published."""
        if packet_id not in self._live:
            self._live[packet_id] = self._unheld[packet_id] = SentPacket(now, expires_at)

    def get(self, packet_id: bytes) -> SentPacket | None:
        """What is known of an own packet."""
        return self._live.get(packet_id) or self._former.get(packet_id)

    def acknowledged(self, packet_id: bytes, key: bytes) -> None:
        """Note that a member has it."""
        publication = self._live.get(packet_id)
        if publication is not None:
            publication.holders.add(key)
            if key not in self.own_site:
                publication.is_held = True
                self._unheld.pop(packet_id, None)

    def live(self) -> list[bytes]:
        """Ids of all that is published and lives."""
        return list(self._live)

    def all_acknowledged(self, key: bytes) -> None:
        """Note that a member has all that lives."""
        for packet_id in list(self._live):
            self.acknowledged(packet_id, key)

    def end(self, packet_id: bytes) -> None:
        """Note that a packet is replaced, withdrawn or expired."""
        publication = self._live.pop(packet_id, None)
        self._unheld.pop(packet_id, None)
        if publication is not None:
            self._former.put(packet_id, publication)

    def young(self, when: float) -> list[bytes]:
        """Ids of what was published after a moment, or nobody has acknowledged yet."""
        found = dict.fromkeys(self._unheld)
        for packet_id, publication in reversed(self._live.items()):
            if publication.since < when:
                break
            found[packet_id] = None
        return list(found)

    def all_held(self, unix_s: float) -> bool:
        """True if another site has acknowledged all that live."""
        for packet_id in [i for i, each in self._unheld.items() if each.expires_at <= unix_s]:
            self.end(packet_id)
        return not self._unheld
