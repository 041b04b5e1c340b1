"""Many overlay nodes in virtual time: the same core as on a real network, under any faults.

    network = Simulation.build(interests, seed=1)
    network.kill(range(20))
    network.publish(42)
    network.run(60.0)
    print(network.report())

What is left out: signatures are replaced by a hash (they cost 54 µs each and decide nothing where
nobody forges), packets carry a fingerprint but no outcome, and there is no channel.
"""

from qis.simulation.network import Simulation
from qis.simulation.progress import Progress, progress_bar
from qis.simulation.report import Report

__all__ = ["Progress", "Report", "Simulation", "progress_bar"]
