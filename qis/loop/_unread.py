"""Tells what this version no longer reads of the site's store and outbox.

A stricter rule in a new version takes evidence out of syntheses and outcomes out of the outbox
without anybody having done anything, so it is shown in `health` and not in the log alone.
"""

from collections.abc import Callable
from typing import Final

from qis import _layout
from qis.evidence import EvidenceStore
from qis.health import Condition, HealthState
from qis.identity import Issuer
from qis.loop.outbox import Outbox

_NAMED: Final = 5


def tell_unread(
    store: EvidenceStore, outbox: Outbox, condition: Condition, clock: Callable[[], float]
) -> None:
    """Set in the loop's health what is kept but not read, until something newer replaces it.

    A packet is replaced by a newer one of the same issuer and study. An outcome that waits for
    approval has to be rejected by a person.
    """
    now = clock()
    newest: dict[tuple[bytes, bytes], int] = {}

    def is_missed(raw: bytes) -> bool:
        issuer, study = raw[_layout.ISSUER], raw[_layout.STUDY_ID]
        if (issuer, study) not in newest:
            for packet in store.packets_of(Issuer(issuer)):
                newest[issuer, packet.outcome.study_id] = packet.sequence  # ascending
            newest.setdefault((issuer, study), 0)
        return newest[issuer, study] < int.from_bytes(raw[_layout.SEQUENCE], "big")

    evidence = [one for one in store.unread if is_missed(one.raw)]
    if evidence:
        issuers = sorted({str(one.issuer) for one in evidence})
        text = (
            f"{len(evidence)} packets in the store are no longer read and do not count "
            f"({evidence[0].reason}): ask their issuers to publish anew: {_some(issuers)}"
        )
        condition.set("unread_evidence", HealthState.DEGRADED, text, now=now)
    else:
        condition.clear("unread_evidence", now=now)
    own = [raw for raw in outbox.unread if is_missed(raw)]
    drafts = outbox.unread_waiting
    if own or drafts:
        text = (
            f"{len(own)} packets of this site are no longer read and are not sent (publish their "
            f"outcomes anew), and {len(drafts)} outcomes that wait for approval (reject them, and "
            f"submit them anew): {_some([*_sequences(own), *(draft.id for draft in drafts)])}"
        )
        condition.set("unread_own", HealthState.DEGRADED, text, now=now)
    else:
        condition.clear("unread_own", now=now)


def _sequences(packets: list[bytes]) -> list[str]:
    return [str(int.from_bytes(raw[_layout.SEQUENCE], "big")) for raw in packets]


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
