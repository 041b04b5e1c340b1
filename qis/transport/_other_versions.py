"""Peers that speak another version of the protocol: they are named, and nothing passes."""

from collections.abc import Iterable
from typing import Final

from qis.direct.frames import MAGIC as DIRECT_MAGIC
from qis.evidence.roster import Roster
from qis.health import Condition, HealthState
from qis.identity import Issuer
from qis.overlay.messages import MAGIC as KEYED_MAGIC

VERSIONS_LIMIT: Final = 256
"""Peers of another version remembered; more are not named."""
VERSIONS_S: Final = 600.0
"""How long a peer is named that has spoken another version."""
_NAMED: Final = 3


class OtherVersions:
    """The authenticated peers that have lately spoken another version; they see the same here."""

    def __init__(self) -> None:
        self._spoken_at: dict[bytes, float] = {}

    def note(self, arrivals: Iterable[tuple[bytes, bytes, bytes | None]], now: float) -> bool:
        """Note who has sent what this version does not speak, and forget who has not for long.

        Parameters
        ----------
        arrivals
            Datagrams as decrypted, each with its address and its sender's key (`None`: unknown).
        now
            Steady seconds.

        Returns
        -------
        bool
            True if `judge` has something to say.

        """
        known = self._spoken_at
        for data, _, key in arrivals:
            if (
                key is not None
                and data[:2] == b"qi"
                and data[:4] not in (DIRECT_MAGIC, KEYED_MAGIC)
                and (key in known or len(known) < VERSIONS_LIMIT)
            ):
                known[key] = now
        if not known:
            return False
        for key in [key for key, at in known.items() if now - at >= VERSIONS_S]:
            del known[key]
        return True

    def judge(self, condition: Condition, roster: Roster, *, now: float) -> None:
        """Set a node's health by them (`now`: Unix seconds)."""
        if not self._spoken_at:
            condition.clear("other_version", now=now)
            return
        names = sorted((roster.name_of(Issuer(key)) or key.hex())[:64] for key in self._spoken_at)
        more = f" and {len(names) - _NAMED} others" if len(names) > _NAMED else ""
        condition.set(
            "other_version",
            HealthState.DEGRADED,
            f"another version of the protocol is spoken by {', '.join(names[:_NAMED])}{more}: "
            "nothing passes between them and this node until both run the same; compare "
            "qis.__version__",
            now=now,
        )
