"""A site that has data which its rules keep back: said, so that nobody takes it for silence.

Leaving small counts out selects on the outcome; a synthesis that lists who was left out can say so.
The body has the common keys 0 (study), 1 (question) and 2 (cohort) only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from qis.outcomes._base import Outcome, common_fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppressed(Outcome):
    """The site has an outcome under this study and cohort, and keeps it back."""

    kind: ClassVar[int] = 10

    @classmethod
    def from_body(cls, body: Mapping[int, Any]) -> Self:
        """The inverse of `body`."""
        return cls(**common_fields(body))
