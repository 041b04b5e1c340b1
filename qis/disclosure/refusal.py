"""Refusals: each names the rule, what was found, the limit, who set it, and ways out."""

from typing import Final, NoReturn

from qis.disclosure.presets import Preset
from qis.errors import DisclosureError

WAYS_OUT: Final = (
    "publish qis.Suppressed, so that others know; wait for more people; pool with another site "
    "before the release; in a closed roster under an agreement, a lower preset; rounded counts "
    "(rounded_counts) where the preset asks for them; counts with calibrated noise "
    "(private_counts). A coarser profile or a rounded estimate is no protection"
)


def refuse(
    rules: Preset,
    rule: str,
    what: str,
    actual: object,
    *,
    limit: float | None = None,
    ways_out: str = WAYS_OUT,
) -> NoReturn:
    """Raise the `DisclosureError` of a rule.

    Parameters
    ----------
    rules
        The preset in force.
    rule
        Name of the rule, which is the error's `field`.
    what
        What was found, in words.
    actual, limit
        What was found and the limit, as numbers. The limit is by default the smallest cell.
    ways_out
        What the site can do, in words.

    """
    least = rules.minimum_cell if limit is None else limit
    raise DisclosureError(
        f"{rules.name}, rule {rule}: {what}; the limit is {least:.4g} ({rules.source}). "
        f"Ways out: {ways_out}.",
        field=rule,
        actual=actual,
        limit=least,
    )
