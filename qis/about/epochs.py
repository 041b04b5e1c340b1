"""Epochs of routing keys: with a secret, each key is replaced by another every quarter of a year.

Who registers or carries keys sees which of them are equal, and only within an epoch: the keys of
one epoch cannot be told from those of another without the secret.

A version keeps the epoch of the first version of its evidence key and lives until shortly before
the end of the epoch after. A reader therefore registers the keys of two epochs. The hour between a
reader's change and the edge is far more than clocks may differ (five minutes), so a reader whose
clock is wrong by that has registered whatever somebody signs.
"""

from typing import Final

EPOCH_S: Final = 91 * 86_400
"""Length of an epoch: 13 weeks."""
EDGE_S: Final = 3_600
"""Readers change to the keys of an epoch so many seconds before it begins."""


def epoch_at(unix_s: float) -> int:
    """Return the epoch that a date in Unix seconds lies in."""
    return int(unix_s // EPOCH_S)


def epochs_read_at(unix_s: float) -> tuple[int, int]:
    """Return the two epochs whose keys a reader registers: of all that lives, or begins soon."""
    newest = epoch_at(unix_s + EDGE_S)
    return newest - 1, newest


def next_change(unix_s: float) -> int:
    """Return when a reader registers other keys than at this date, in Unix seconds."""
    return (epochs_read_at(unix_s)[1] + 1) * EPOCH_S - EDGE_S


def epochs_signed_at(issued_at: int) -> tuple[int, ...]:
    """Return the epochs that a version issued then may have, the likeliest first.

    Its own; that before, if it corrects; or that after, if the first version was dated by a clock
    that was a little fast, shortly before the edge.
    """
    own = epoch_at(issued_at)
    return tuple(dict.fromkeys((own, own - 1, epoch_at(issued_at + EDGE_S))))


def last_expiry(epoch: int) -> int:
    """Return when versions of an epoch expire at the latest, in Unix seconds.

    An hour before readers let go of its keys, so that none of them does so too early.
    """
    return (epoch + 2) * EPOCH_S - 2 * EDGE_S
