"""A thousand nodes in virtual time: a fifth of them die, and the packets still arrive.

Usage: 09_thousand_nodes.py [NODES [PICTURE.svg]]

1,000 nodes take half a minute or, on a busy machine, two: 24 routing keys each, placed by the real
core's messages, and five datagrams of a hundred lost. The picture needs matplotlib:
pip install "qis-protocol[plot]".
"""

import sys
from collections import Counter

import numpy as np

import qis
from qis.simulation import Simulation

NODES = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000
PICTURE = sys.argv[2] if len(sys.argv) > 2 else None
rng = np.random.default_rng(1)

# Each agent's patients resemble those of some twenty others, more or less closely.
centres = rng.normal(size=(NODES // 20 + 1, 16))
spread = rng.uniform(0.1, 0.8, size=(NODES, 1))
features = centres[rng.integers(len(centres), size=NODES)] + spread * rng.normal(size=(NODES, 16))
scheme = qis.VectorScheme(dimensions=16)

network = Simulation.build(features, scheme=scheme, joins="tables", seed=1)
network.loss = 0.05
network.kill(rng.choice(NODES, NODES // 5, replace=False).tolist())
network.reset()
packets = [network.publish(node) for node in network.alive()[:20]]
for node in network.alive():
    network.look_up(node)
network.run(25.0)
print(network.report())

due, found = Counter[int](), Counter[int]()
for packet in packets:
    own = network.members[network.publications[packet].publisher].interest
    for node in network.concerned(packet) - network.dead:
        alike = scheme.similarity(own.fingerprint, network.members[node].interest.fingerprint)
        distance = round(256 * (1.0 - alike)) // 10 * 10
        due[distance] += 1
        found[distance] += node in network.delivered(packet)
print("bits that differ: delivered of those alive")
for distance in sorted(due):
    print(f"  {distance:2d}-{distance + 9}: {found[distance]} of {due[distance]}")

if PICTURE:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6, 3.2), layout="constrained")
    axes = figure.add_subplot(xlabel="bits that differ", ylabel="delivered", ylim=(0.0, 1.05))
    axes.bar([d + 4.5 for d in due], [found[d] / due[d] for d in due], width=8.5)
    figure.savefig(PICTURE)
