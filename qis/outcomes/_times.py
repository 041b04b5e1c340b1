"""Times in TOML files, which must name their zone, as Unix seconds."""

from datetime import UTC, date, datetime

from qis.errors import InputError


def unix_seconds(value: object, field: str) -> int:
    """Convert a TOML time with a zone, or a date (midnight UTC), to Unix seconds.

    Whole numbers are Unix seconds already, and pass.

    Raises
    ------
    InputError
        If it is something else, or a time without a zone, which each site would read in its own.

    """
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise InputError(
                f"{field} has no zone: write {value.isoformat()}Z if it is UTC", field=field
            )
        return int(value.timestamp())
    if isinstance(value, date):
        return int(datetime(value.year, value.month, value.day, tzinfo=UTC).timestamp())
    if type(value) is not int or value < 0:
        raise InputError(f"{field} is a whole number, not {value!r:.60}", field=field)
    return value


def in_words(seconds: float) -> str:
    """Format Unix seconds for people, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
