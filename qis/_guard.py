"""Containment: what comes in may fail, and the node goes on; nobody is left untold.

Everything that handles what comes from outside (a datagram, a file, an alarm, a poll, a callback)
runs inside `Guard.item`. What goes *out* does not: there an error reaches the caller, and nothing
leaves.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from qis.health import Notices

_log = logging.getLogger("qis.fault")


class Guard:
    """Counts what an item raises, logs it once per kind, tells the application, and goes on.

    Parameters
    ----------
    notices
        Who is told, with kind "fault" and the subject ``"<seam>: <error's class>"``.

    """

    def __init__(self, notices: Notices) -> None:
        self._notices = notices
        self.faults = 0

    @contextmanager
    def item(self, seam: str) -> Iterator[None]:
        """Contain one item. `asyncio.CancelledError`, `KeyboardInterrupt`, `SystemExit` pass.

        Parameters
        ----------
        seam
            Where, as the operators' page lists it: ``"udp.datagrams"``, ``"directory.file"`` …

        """
        try:
            yield
        except Exception as error:  # noqa: BLE001  containment: MemoryError and RecursionError too
            self.contained(seam, error)

    def contained(self, seam: str, error: Exception) -> None:
        """An item raised and was set aside."""
        self.faults += 1
        kind = type(error).__name__
        # Data of patients or of strangers may stand in the text: only our own errors' is shown.
        said = str(error) if type(error).__module__.startswith("qis") else ""
        self._notices.tell(
            "fault", f"{seam}: {kind}", f"{kind} at {seam} was contained. {said}".strip()
        )
