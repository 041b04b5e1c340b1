"""The result of an attack: a count of people, and what they have in common."""

from typing import NamedTuple

from qis.picture.html import with_table


@with_table
class Finding(NamedTuple):
    """A count of people that an outcome shows or implies.

    Examples
    --------
    >>> from qis.disclosure import Finding
    >>> Finding("difference", "events", 1).people
    1

    """

    attack: str
    """Name of the attack."""
    cell: str
    """What is counted, in words."""
    people: int

    @property
    def where(self) -> str:
        """What is counted and how it is found, without the number: for errors, which get logged."""
        return f"{self.cell} ({self.attack})"

    @property
    def sentence(self) -> str:
        """The finding in words."""
        return f"{self.cell}: {self.people} ({self.attack})"
