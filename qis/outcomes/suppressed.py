"""Suppressed: tells others that a site has data which its disclosure rules keep back.

To leave small counts out is to select on the outcome; a synthesis can say so only if it knows which
sites were left out.
The body has the common keys 0 (study), 1 (question) and 2 (cohort) only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from qis.outcomes._base import Outcome, common_fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppressed(Outcome):
    """Says that the site has an outcome under this study and cohort, and keeps it back.

    Examples
    --------
    >>> import qis
    >>> qis.Suppressed(question="a vs b | death").kind
    10

    """

    kind: ClassVar[int] = 10

    @classmethod
    def from_body(cls, body: Mapping[int, Any]) -> Self:
        """The inverse of `body`."""
        return cls(**common_fields(body))
