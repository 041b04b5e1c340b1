"""What UDP costs on loopback: a receiver's CPU time, a flood, and latency.

    python benchmarks/udp.py --json
    python benchmarks/udp.py --json --details --stages

`cpu_over_verify`: two processes deliver packets of one study, signed and sealed beforehand, with
the window of a holder that delivers to a subscriber: as fast as it acknowledges. All the CPU time
that the receiving process spends, from socket to the subscription's async iterator, by the number
of packets that came out of that, over one raw Ed25519 verification (timed in the same process in a
tight loop, before and after). Nothing is subtracted. It is the median of several runs, each in new
processes: the core where the system puts a process changes a verification's time by up to a half,
in the loop and in the receiver alike. `--details` has the same where the two publish: in a network
of three the receiver is a holder of the study too, and each packet comes twice.

`flood_delivered`: 60,000 distinct valid packets, signed and sealed beforehand, sent by one process
as fast as the system takes them, without the window that a node keeps to; the share that
was read from the socket before anything was sent again, by the kernel's count of what it dropped.
What is not acknowledged is sent again by the overlay's own retries; `--details` has the share that
the application had in the end.

`--details` also has a burst: a third as many packets, published by four nodes without waiting.

`latency_p50_us`, `latency_p99_us`: from `publish` in one process to the iterator in another, by the
one monotonic clock of the machine; one packet at a time, nothing else going on, holders known.
"""

import argparse
import json
import signal
import statistics
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from _processes import ask, rounded
from _udp_floods import burst, flood
from _udp_giver import holder
from _udp_nodes import receiver, sender, single
from _udp_peers import peers
from _udp_roles import Role, settled, started
from _udp_stages import stages

KEYS = ("cpu_over_verify", "flood_delivered", "latency_p50_us", "latency_p99_us")
SENDERS = 2
LIMIT_S = 600
"""After which a run is ended."""
PER_PACKET = ("cpu_s", "datagrams_received", "datagrams_sent", "duplicates")


def cpu(packets: int, giver: Role = holder, taker: Role = receiver) -> dict[str, Any]:
    """What the receiving process spends on each packet."""
    with ExitStack() as stack:
        taking, giving = started(stack, taker, giver, SENDERS, packets)
        time.sleep(1.0)  # until everybody knows everybody
        first = ask(taking, "")
        for pipe in giving:
            pipe.send("go")
        for pipe in giving:
            pipe.recv()
        last = settled(taking, "taken")
        for pipe in giving:
            pipe.send("stop")
        verify_s = ask(taking, "stop")
    taken = last["taken"] - first["taken"]
    per_packet = {name: (last[name] - first[name]) / taken for name in PER_PACKET if name in last}
    return {
        "cpu_over_verify": per_packet["cpu_s"] / verify_s,
        "verification_us": 1e6 * verify_s,
        "packets_per_s": taken / (last["at"] - first["at"]),
        "share_taken": taken / packets,
        **{f"{name}_per_packet": value for name, value in per_packet.items()},
    }


def cpu_of_several(packets: int, runs: int) -> dict[str, Any]:
    """The median of each figure of `cpu`, and the ratio of each run."""
    found = [cpu(packets) for _ in range(runs)]
    medians = {name: statistics.median(each[name] for each in found) for name in found[0]}
    return medians | {"of_runs": sorted(each["cpu_over_verify"] for each in found)}


def latency(packets: int, giver: Role = single, taker: Role = receiver) -> dict[str, Any]:
    """Microseconds from `publish` to the iterator."""
    warm_up = packets // 10
    with ExitStack() as stack:
        taking, (giving,) = started(stack, taker, giver, 1, warm_up + packets)
        time.sleep(1.0)
        published = ask(giving, "go")
        seen = ask(taking, "seen")
        giving.send("stop")
        ask(taking, "stop")
    times = sorted(
        1e6 * (seen[packet_id] - at)
        for packet_id, at in list(published.items())[warm_up:]
        if packet_id in seen
    )
    return {
        "latency_p50_us": statistics.median(times),
        "latency_p99_us": times[int(0.99 * (len(times) - 1))],
        "published": packets,
        "seen": len(times),
    }


def parser() -> argparse.ArgumentParser:
    """Options."""
    asked = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    asked.add_argument("--json", action="store_true")
    asked.add_argument("--details", action="store_true", help="all figures of each measurement")
    asked.add_argument("--stages", action="store_true", help="where a receiver's CPU time goes")
    asked.add_argument("--alone", action="store_true", help="no other engines beside")
    asked.add_argument("--packets", type=int, default=16_000, help="of the first measurement")
    asked.add_argument("--runs", type=int, default=7, help="of the first measurement")
    asked.add_argument("--flood", type=int, default=60_000)
    asked.add_argument("--singles", type=int, default=1_000, help="of the latency measurement")
    return asked


def measure(asked: argparse.Namespace) -> dict[str, Any]:
    """The figures."""
    details = {
        "cpu": cpu_of_several(asked.packets, asked.runs),
        "flood": flood(asked.flood),
        "latency": latency(asked.singles),
    }
    figures = {name: found[name] for found in details.values() for name in KEYS if name in found}
    if not asked.alone:
        few = {"packets": asked.packets // 4, "singles": asked.singles // 4}
        figures["peers"] = peers(cpu, latency, **few)
    if asked.details:
        details["cpu_of_a_holder_too"] = cpu(asked.packets, sender)
        details["burst"] = burst(asked.flood // 3)
        figures["details"] = details
    if asked.stages:
        whole_s = details["cpu"]["cpu_s_per_packet"]
        figures["stages"] = stages(1e6 * whole_s)
    return figures


def too_long(*_: object) -> None:
    """End, and with it all processes that were started."""
    raise TimeoutError(f"not done within {LIMIT_S} s")


def main() -> None:
    """Print what was measured."""
    asked = parser().parse_args()
    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(LIMIT_S)
    figures = rounded(measure(asked))
    print(json.dumps(figures, indent=None if asked.json else 2))


if __name__ == "__main__":
    main()
