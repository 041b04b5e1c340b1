"""All packets that live, as every member keeps them: of each issuer the newest, up to a quota.

What is kept follows from the packets alone and not from the order in which they came: of those that
replace each other the newest, then of each issuer those of the highest sequences. So members that
have seen the same packets keep the same ones, and comparing their sets ends.
"""

import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence

from blake3 import blake3

from qis._guard import Guard
from qis.direct.frames import BUCKETS, DIGEST_SIZE, ID_SIZE
from qis.overlay.message_store import RETAINED_LIMIT, Carried


class PacketStore:
    """The live packets, found by the first 8 bytes of their ids.

    Parameters
    ----------
    members
        How many issuers may publish: `RETAINED_LIMIT` packets are shared out among them evenly.
    guard
        Tells whose packet had to make room.

    """

    def __init__(self, members: int, guard: Guard) -> None:
        self._guard = guard
        self.quota = RETAINED_LIMIT
        self._packets: dict[bytes, Carried] = {}
        self._sorted: list[bytes] | None = []
        self._of_issuer: dict[bytes, list[tuple[int, bytes]]] = {}
        self._newest: dict[bytes, list[bytes]] = {}
        self._first_expiry = math.inf
        self._dropped: list[bytes] = []
        self.share_among(members)

    def __len__(self) -> int:
        return len(self._packets)

    def __contains__(self, short: object) -> bool:
        """True if a packet whose id begins with these 8 bytes is kept."""
        return short in self._packets

    def get(self, short: bytes) -> Carried | None:
        """The packet whose id begins with these 8 bytes."""
        return self._packets.get(short)

    def share_among(self, members: int) -> None:
        """Set the quota of each issuer."""
        self.quota = max(1, RETAINED_LIMIT // max(1, members))
        for issuer in list(self._of_issuer):
            self._keep_quota(issuer)

    def put(self, carried: Carried, unix_s: float) -> bool:
        """Keep a packet; true if it, or what replaces it, is kept now."""
        short = carried.id[:ID_SIZE]
        if carried.expires_at <= unix_s:
            return False
        if short in self._packets:
            return self._packets[short].id == carried.id
        if carried.topic:
            for other in list(self._newest.get(carried.topic, ())):
                sequence = self._packets[other].sequence
                if sequence > carried.sequence:
                    return True
                if sequence < carried.sequence:  # two of one sequence are a proof: both stay
                    self._drop(other)
            self._newest.setdefault(carried.topic, []).append(short)
        self._packets[short] = carried
        self._sorted = None
        insort(self._of_issuer.setdefault(carried.issuer, []), (carried.sequence, short))
        self._first_expiry = min(self._first_expiry, carried.expires_at)
        if len(self._of_issuer[carried.issuer]) > self.quota:
            self.expire(unix_s)
            self._keep_quota(carried.issuer)
        return short in self._packets

    def dropped(self) -> list[bytes]:
        """Ids of packets that are kept no longer; taken once."""
        found, self._dropped = self._dropped, []
        return found

    def withdraw(self, packet_id: bytes) -> None:
        """Keep a packet no longer."""
        if packet_id[:ID_SIZE] in self._packets:
            self._drop(packet_id[:ID_SIZE])

    def of(self, issuer: bytes) -> list[bytes]:
        """The first bytes of the ids of an issuer's packets."""
        return [short for _, short in self._of_issuer.get(issuer, ())]

    def keep(self, issuers: frozenset[bytes]) -> None:
        """Drop the packets of all other issuers."""
        for issuer in self._of_issuer.keys() - issuers:
            for short in self.of(issuer):
                self._drop(short)

    def expire(self, unix_s: float) -> None:
        """Drop packets that have expired."""
        if unix_s < self._first_expiry:
            return
        for short, carried in list(self._packets.items()):
            if carried.expires_at <= unix_s:
                self._drop(short)
        alive = (carried.expires_at for carried in self._packets.values())
        self._first_expiry = min(alive, default=math.inf)

    def digest(self, nonce: bytes) -> bytes:
        """8 bytes that are equal for equal sets of packets; nobody can prepare for the nonce."""
        return blake3(nonce + b"".join(self._ids())).digest(DIGEST_SIZE)

    def bucket_digests(self, nonce: bytes) -> tuple[bytes, ...]:
        """The same for each 64th of the space of ids."""
        return tuple(
            blake3(nonce + b"".join(self.between(*bucket_range(bucket)))).digest(DIGEST_SIZE)
            for bucket in range(BUCKETS)
        )

    def between(self, low: bytes, high: bytes) -> Sequence[bytes]:
        """The first bytes of all ids in [low, high], ascending."""
        ids = self._ids()
        return ids[bisect_left(ids, low) : bisect_right(ids, high)]

    def _ids(self) -> list[bytes]:
        if self._sorted is None:
            self._sorted = sorted(self._packets)
        return self._sorted

    def _keep_quota(self, issuer: bytes) -> None:
        kept = self._of_issuer.get(issuer, [])
        while len(kept) > self.quota:
            self._guard.at_limit(
                "direct.store.PacketStore.quota",
                issuer.hex(),
                f"a packet is kept no longer: its issuer has more than {self.quota} that live; "
                "sites that join later do not get it",
            )
            self._drop(kept[0][1])

    def _drop(self, short: bytes) -> None:
        carried = self._packets.pop(short)
        self._dropped.append(carried.id)
        self._sorted = None
        of_issuer = self._of_issuer[carried.issuer]
        of_issuer.remove((carried.sequence, short))
        if not of_issuer:
            del self._of_issuer[carried.issuer]
        if carried.topic:
            newest = self._newest[carried.topic]
            newest.remove(short)
            if not newest:
                del self._newest[carried.topic]


def bucket_range(bucket: int) -> tuple[bytes, bytes]:
    """The first and the last id of a bucket."""
    width = (1 << 8 * ID_SIZE) // BUCKETS
    return (bucket * width).to_bytes(ID_SIZE), ((bucket + 1) * width - 1).to_bytes(ID_SIZE)
