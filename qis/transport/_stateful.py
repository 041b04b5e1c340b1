"""What transports that are opened and closed tell of themselves, in one way."""

from qis.health import Condition, Health
from qis.transport.base import Statistics, Transport
from qis.transport.site_clocks import SiteClocks


class StatefulTransport(Transport):
    """A transport with a state: open or closed, healthy or not, and what it has counted.

    Whoever derives from it sets the attributes that begin with an underscore.
    """

    _is_open: bool
    _condition: Condition
    _statistics: Statistics
    _clocks: SiteClocks

    @property
    def is_open(self) -> bool:
        """True while it is in use, also while it cannot reach what it uses."""
        return self._is_open

    @property
    def health(self) -> Health:
        """Its state, with reasons and since when; docs/operating.md lists them."""
        return self._condition.health

    @property
    def statistics(self) -> Statistics:
        """Counters since the transport was made."""
        return self._statistics

    @property
    def site_clocks(self) -> SiteClocks:
        """What packets have shown of other sites' clocks, those from the future included."""
        return self._clocks
