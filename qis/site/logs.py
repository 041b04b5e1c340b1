"""Logs for machines: one JSON object a line, with site, version and time."""

import json
import logging
from datetime import UTC, datetime
from typing import Any

from qis import __version__


class JSONLines(logging.Formatter):
    """Formats a log record as one line of JSON.

    The fields of a loop's event (``qis_event``, ``qis_study``, ``qis_packet`` …) are among its
    keys. Of an exception its class and where it was raised are kept, and no text, which may hold
    data.

    Parameters
    ----------
    site
        Name of the site, in every line.

    Examples
    --------
    >>> import logging
    >>> from qis.site.logs import JSONLines
    >>> record = logging.makeLogRecord({"msg": "opened", "levelname": "INFO", "created": 0.0})
    >>> JSONLines("Ulm").format(record)
    '{"time": "1970-01-01T00:00:00.000+00:00", "level": "INFO", "site": "Ulm", ...}'

    """

    def __init__(self, site: str) -> None:
        super().__init__()
        self._site = site

    def format(self, record: logging.LogRecord) -> str:
        """Format one record."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "site": self._site,
            "version": __version__,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name, value in vars(record).items() if name.startswith("qis_")}
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = record.exc_info[0].__name__
            trace = record.exc_info[2]
            while trace is not None and trace.tb_next is not None:
                trace = trace.tb_next
            if trace is not None:
                line["at"] = f"{trace.tb_frame.f_globals.get('__name__', '')}:{trace.tb_lineno}"
        return json.dumps(line, ensure_ascii=False, default=str)
