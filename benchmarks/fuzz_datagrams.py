"""Fuzzing of a live node: datagrams of every kind, from strangers, spoofed, and from a bad member.

``python benchmarks/fuzz_datagrams.py [--count 1000000] [--seed 0] [--encrypted | --clear]``
``[--empty] [--json]``. Half of the datagrams come to a bare core, half to one under the encrypted
channel. The target is one of eight sites that subscribe, publish, refresh, leave and come back
meanwhile; an hour of virtual time passes. Who attacks:

- strangers at ever new addresses, and some that come again; they hear all that passes, change it
  and send it from their own addresses or from somebody else's;
- an outsider, whose key is not on the roster but whose address is proven and whose messages and
  packets are validly signed;
- a member of the roster, who answers the target's own questions with lies, and floods it with
  subscriptions, packets and records of its own.

The run fails if the target raises, sends a stranger more than it has got from there, believes
anything that no member has signed, loses anything that an honest member has there, or goes beyond a
limit. Memory is what the target holds, counted object by object, most in each third; first the
member fills all that the target remembers up to its limits, so memory has to stay where it is.
"""

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parent))
from _attack import SITES, Attack
from _bounds import held_bytes, resident_bytes, sizes
from _judge import Judge
from _live_network import Network
from _site import TOPICS

VIRTUAL_S: Final = 4_000.0
"""How long the attack lasts on the target's clock: refreshes, expiries, all repetitions."""
PUBLISH_EVERY_S: Final = 60
LEAVES_S: Final = 1_000
RETURNS_S: Final = 1_100
SAMPLES: Final = 30
"""How often memory is measured, as it rises and falls with what is tidied every ten minutes."""
FLAT: Final = 1.05
"""How much more the last third may hold than the first."""


def live(network: Network, since_s: float, until_s: float) -> None:
    """What honest members do from one second to the other: publish, leave, come back."""
    leaver = network.sites[3]
    for second in range(int(since_s) + 1, int(until_s) + 1):
        number, is_time = divmod(second, PUBLISH_EVERY_S)
        if second == LEAVES_S:
            network.leave(leaver)
        elif second == RETURNS_S:
            network.return_home(leaver)
        elif not is_time and not LEAVES_S <= second <= RETURNS_S:
            network.publish(int(number) % (SITES - 1), int(number) // 2 % len(TOPICS))


def thirds(samples: list[int]) -> list[int]:
    """The largest of each third."""
    size = len(samples) // 3
    return [max(samples[start : start + size]) for start in (0, size, 2 * size)]


def still_works(network: Network) -> list[str]:
    """What the target no longer does once all is over."""
    faults = []
    target, neighbour = network.target, network.sites[2]
    before = target.statistics.delivered, neighbour.statistics.delivered
    network.publish(1, 0)
    network.publish(0, 0)
    network.run(60.0)
    if target.statistics.delivered != before[0] + 1:
        faults.append("a new packet does not come to the target")
    if neighbour.statistics.delivered != before[1] + 2:
        faults.append("a packet of the target comes to nobody")
    due = sum(0 < publisher < SITES - 1 and not topic for _, publisher, topic in network.published)
    if target.statistics.delivered != due:
        faults.append(f"{due} packets were for the target, {target.statistics.delivered} came")
    return faults


def attack(
    count: int,
    seed: int,
    *,
    encrypted: bool,
    seconds: float = VIRTUAL_S,
    filled: bool = False,
) -> dict[str, Any]:
    """Attack a network with so many datagrams in so much virtual time; what came of it."""
    trial = Attack(seed, encrypted=encrypted)
    if filled:
        trial.fill()
    network, judge = trial.network, Judge(trial.network)
    target, start = network.target, network.now
    memory, resident, faults = [], [], judge.faults()
    samples = SAMPLES if filled else 3
    largest: Counter[str] = Counter()
    for number in range(count):
        before = network.now - start
        network.run_until(start + seconds * (number + 1) / count)
        live(network, before, network.now - start)
        trial.step()
        if (number + 1) % max(count // 30, 1) == 0:
            largest |= Counter({name: size for name, (size, _) in sizes(target).items()})
        if (number + 1) % max(count // samples, 1) == 0:
            memory.append(held_bytes(target))
            resident.append(resident_bytes())
            faults += judge.faults()
    faults += still_works(network)
    memory, resident = thirds(memory), thirds(resident)
    if filled and memory[2] > FLAT * memory[0]:
        faults.append(f"memory grows: {memory}")
    if trial.worst_ratio > 1.0:
        faults.append(f"a stranger got {trial.worst_ratio} times what it sent")
    return {
        "datagrams": sum(trial.made.values()),
        "raised": dict(network.raised),
        "faults": faults,
        "most_held_bytes_by_thirds": memory,
        "most_resident_bytes_by_thirds": resident,
        "worst_reply_ratio": round(trial.worst_ratio, 3),
        "unasked_bytes": sum(trial.unasked.values()),
        "unasked_bytes_to_one": max(trial.unasked.values(), default=0),
        "sizes": {name: (largest[name], limit) for name, (_, limit) in sizes(target).items()},
        "refused": dict(target.statistics.refused.most_common()),
        "made": dict(sorted(trial.made.items())),
        "not_refused": dict(sorted(trial.taken.items())),
    }


def main() -> None:
    """Attack and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--clear", action="store_true", help="only without the channel")
    only.add_argument("--encrypted", action="store_true", help="only under the channel")
    parser.add_argument("--empty", action="store_true", help="begin with nothing remembered")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    modes = [options.encrypted] if options.clear or options.encrypted else [False, True]
    results = {
        "encrypted" if mode else "clear": attack(
            options.count // len(modes), options.seed, encrypted=mode, filled=not options.empty
        )
        for mode in modes
    }
    if options.json:
        print(json.dumps(results))
    else:
        for mode, result in results.items():
            print(f"-- {mode}")
            for name, value in result.items():
                print(f"{name:26}{value}")
    if any(result["faults"] or result["raised"] for result in results.values()):
        raise SystemExit("the target did not stand it")


if __name__ == "__main__":
    main()
