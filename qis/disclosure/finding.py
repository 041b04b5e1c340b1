"""What an attack finds: a number of people, and what they have in common."""

from typing import NamedTuple


class Finding(NamedTuple):
    """A count of people that an outcome shows or implies."""

    attack: str
    """Name of the attack."""
    cell: str
    """What is counted, in words."""
    people: int

    @property
    def sentence(self) -> str:
        """What an outsider learns."""
        return f"{self.cell}: {self.people} ({self.attack})"
