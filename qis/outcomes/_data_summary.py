"""What a site knows of the people behind an outcome that the packet does not say.

Disclosure control reads it, and it never travels: whether a small group is among the people, how
much of the whole one of them is, and what outsiders know beside the packet (the anchor). It is
bound to the outcome's numbers, so that other numbers never pass as those of these people.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSummary:
    """What the rows behind an outcome say and the outcome does not.

    Parameters
    ----------
    anchor
        Coefficients at which a model was expanded; they are public. Empty if not known.
    weight
        The information that each person brings, if it is the same for all and public.
    own_intercept
        True if an intercept of the site's own was fitted.
    smallest_cell
        The smallest number of people above zero in a group by one column of at most three values,
        or by two of them (features, label, arms), or of those with another value than most; 0 if
        there is no such group. `None`: not known.
    smallest_of_three
        The same for groups by three columns.
    largest_share
        The largest share that one person has of the whole: of the information, or of the sum of
        the absolute values. `None`: not known.
    largest_two
        The share of the two largest together.
    group_columns
        Columns of two values of a model with an intercept of the site's own, at most ten.
    groups
        Each pattern of values in these columns that some people have, with their number.
    binds
        Digest of the numbers that it belongs to.

    """

    anchor: tuple[float, ...] = ()
    weight: float | None = None
    own_intercept: bool = False
    smallest_cell: int | None = None
    smallest_of_three: int | None = None
    largest_share: float | None = None
    largest_two: float | None = None
    group_columns: tuple[int, ...] = ()
    groups: tuple[tuple[tuple[float, ...], int], ...] = ()
    binds: bytes = b""
