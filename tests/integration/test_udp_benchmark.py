"""The benchmark of UDP runs, and says what the issue asks for and no more."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SMALL = ["--packets", "200", "--runs", "1", "--flood", "120", "--singles", "20"]


@pytest.mark.skipif(
    not Path("/proc/net/udp").exists(), reason="only Linux counts what a socket has dropped"
)
def test_the_benchmark_gives_the_keys_of_the_issue_and_no_more(load_benchmark):
    finished = subprocess.run(  # noqa: S603  our own script
        [sys.executable, "benchmarks/udp.py", "--json", "--alone", *SMALL],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )
    figures = json.loads(finished.stdout)
    assert tuple(figures) == load_benchmark("udp").KEYS
    assert figures["cpu_over_verify"] > 1.0  # it verifies each packet, and not only that
    assert figures["flood_delivered"] == 1.0  # 120 fit any buffer
    assert 0.0 < figures["latency_p50_us"] <= figures["latency_p99_us"]
