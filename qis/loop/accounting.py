"""Holds the account of what has left against what lies outside of it, and stops what leaves.

Files of one age agree with each other, so an account is compared with what is likely to be of
another age: its witnesses, the audit log, heads of the log that were handed out, and this site's
own packets in the network. What does not agree is a finding; until a person has said what happened,
nothing leaves.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Literal

from qis.account import AccountFinding
from qis.account.findings import FINDINGS
from qis.account.taking_over import relative
from qis.errors import InputError, StorageDamagedError, StorageError
from qis.evidence import AuditHead, AuditLog, EvidenceStore
from qis.health import Condition, HealthState
from qis.loop.events import Announcer
from qis.loop.journal import Journal
from qis.loop.outbox import Outbox
from qis.packet import Packet

HAND_OUT_S: Final = 3_600.0
"""Seconds between two heads of the audit log that are handed out."""
Verdict = Literal["restored", "stolen"]
VERDICTS: Final = ("restored", "stolen")


class Accounting:
    """Compares at opening, tells what is found, and takes a person's word for it.

    Parameters
    ----------
    outbox, audit, journal, announcer
        The other parts of the loop.
    condition
        The loop's health, which shows that nothing leaves.
    clock
        Gives Unix seconds.

    """

    def __init__(
        self,
        outbox: Outbox,
        audit: AuditLog | None,
        *,
        journal: Journal,
        announcer: Announcer,
        condition: Condition,
        clock: Callable[[], float],
    ) -> None:
        self._outbox = outbox
        self._audit = audit
        self._journal = journal
        self._announcer = announcer
        self._condition = condition
        self._clock = clock
        self._told: set[str] = set()
        outbox.account.on_change = self._with_head

    def begin(self) -> None:
        """Compare the account with the audit log, and tell everything that is wrong."""
        if self._audit is not None:
            self._outbox.account.found(self._of_audit(self._audit), now=self._clock())
        self.look()

    def look(self) -> tuple[AccountFinding, ...]:
        """Return what is wrong, and tell what is new of it."""
        found, now = self._outbox.findings(), self._clock()
        for each in found:
            if each.code not in self._told:
                self._told.add(each.code)
                self._announcer.tell("account", subject=each.code, reason=each.text, count=1)
        if found:
            text = f"nothing leaves until a person has looked: {'; '.join(map(str, found))}"
            self._condition.set("account", HealthState.CUT_OFF, text, now=now)
        else:
            self._told.clear()
            self._condition.clear("account", now=now)
        return found

    def settle(self, verdict: Verdict, approver: str) -> tuple[AccountFinding, ...]:
        """Take a person's word for what was found; returns what is still wrong."""
        found = self._outbox.findings()
        if verdict not in VERDICTS:
            raise InputError(
                f"verdict is {verdict!r:.40}; it is one of {', '.join(VERDICTS)}",
                field="verdict",
                actual=verdict,
                limit=VERDICTS,
            )
        if self._outbox.account.is_over:
            raise InputError(
                "this key is not used any more: make a new one and let the coordinator list it "
                "(docs/embedding.md)",
                field="verdict",
                actual=verdict,
            )
        if verdict == "restored" and not found:
            raise InputError("nothing is wrong with the account", field="verdict", actual=verdict)
        self._journal.settled(verdict, approver, [each.code for each in found])
        if verdict == "restored":
            self._outbox.adopt_unknown()
            self._hand_out()  # or the one handed out before would be missed again
        self._outbox.account.settle(verdict, now=self._clock())
        return self.look()

    def _hand_out(self) -> None:
        """Hand out the head of the audit log; if that fails, it is told, and tried again."""
        if self._audit is None:
            return
        now = self._clock()
        try:
            head = self._audit.hand_out(now=now)
        except StorageError as error:
            self._condition.set("audit_heads", HealthState.DEGRADED, str(error), now=now)
        else:
            self._condition.clear("audit_heads", now=now)
            self._announcer.tell("audit_head", subject="audit_head", reason=str(head))

    async def run(self) -> None:
        """Hand out the head of the audit log now and every hour, until cancelled, and then too."""
        try:
            while True:
                self._hand_out()
                await asyncio.sleep(HAND_OUT_S)
        finally:
            self._hand_out()

    def arriving(self, packets: Sequence[Packet]) -> None:
        """Note on disk what is about to be stored, so that it gets its line in the log.

        Whatever ends this process before it is recorded, the next one finds it.
        """
        if self._audit is not None and self._outbox.path is not None:
            self._outbox.arriving(packets, since=self._audit.head.count)

    def record_arrived(self, store: EvidenceStore) -> None:
        """Record what the last process stored and could not record."""
        since, packets = self._outbox.arrived()
        if self._audit is None or not packets or "audit_cut" in self._told:
            return
        known = {each.subject for each in self._audit.since(since)}
        missing = [
            packet for packet in packets if packet.id in store and (packet.id.hex(),) not in known
        ]
        self._journal.arrived_before(missing)
        self._outbox.arriving((), since=0)

    def _of_audit(self, audit: AuditLog) -> list[AccountFinding]:
        account = self._outbox.account
        said = account.fact(self._name_of_head())
        heads = [] if said is None else [("the account", AuditHead.parse(said.decode()))]
        found = []
        try:
            handed = audit.handed_out()
        except (StorageError, InputError) as error:  # a share that is away stops nobody
            self._condition.set("audit_heads", HealthState.DEGRADED, f"{error}", now=self._clock())
        else:
            heads += [] if handed is None else [(str(audit.heads), handed)]
        try:
            for where, head in heads:
                if not audit.contains(head):
                    text = f"{audit.path} has not come to {head}, which {where} knows of"
                    found.append(_finding("audit_cut", text))
            since = heads[0][1].count if heads else 0
            told = [
                entry.details.get("account", ("", 0))
                for entry in (() if found else audit.since(since))
                if entry.event == "emitted"
            ]
        except StorageDamagedError as error:
            return [_finding("audit_cut", str(error))]
        known = max((counter for name, counter in told if name == account.name), default=0)
        if known > account.counter:
            text = f"The account has {account.counter} changes, the log knows of {known}"
            found.append(_finding("audit_ahead", text))
        return found

    def _with_head(self) -> None:
        """Write the newest head of the audit log into each change of the account."""
        if self._audit is not None:
            head = str(self._audit.head).encode()
            self._outbox.account.set_fact(self._name_of_head(), head)

    def _name_of_head(self) -> str:
        """One key may have several logs, as it may have several outboxes: one for each place."""
        account, audit = self._outbox.path, self._audit
        if account is None or audit is None:
            return "audit"
        return f"audit {relative(audit.path, account)}"


def _finding(code: str, text: str) -> AccountFinding:
    return AccountFinding(code=code, text=f"{FINDINGS[code]}. {text}", found_at=0.0)
