"""COSE libraries that we did not write, and the CDDL: they and we read and make the same packets.

``python tests/interop/run.py`` with qis installed, and with `npm` and the package indexes within
reach: each library is installed into an environment of its own in a temporary folder. Exits with 1
if any of them disagrees.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import qis
from qis import _layout

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PYTHON = {
    "pycose": ("with_pycose.py", ["pycose==1.1.0", "cbor2<6"]),
    "python-cwt": ("with_cwt.py", ["cwt==3.3.0", "cbor2<6"]),
    "pycddl": ("with_pycddl.py", ["pycddl==0.6.4"]),
}
NODE = ("@auth0/cose", "cose-kit")


def main() -> int:
    """Ask every library; 0 if all agree."""
    vectors = json.loads((ROOT / "tests" / "vectors" / "packets.json").read_text(encoding="utf-8"))
    valid = [vector for vector in vectors if vector["valid"]]
    packets = [bytes.fromhex(vector["packet"]) for vector in valid]
    asked = {
        "issuer": packets[0][_layout.ISSUER].hex(),
        "seed": valid[0]["seed"],
        "packets": [packet.hex() for packet in packets],
        "payloads": [packet[_layout.PAYLOAD].hex() for packet in packets],
        "tampered": [flipped(packets[0], offset).hex() for offset in (70, 130, 300, 445, 448, 511)],
        "misshapen": [flipped(packets[0], offset).hex() for offset in (0, 43, 47, 66, 112, 123)],
        "cddl": (ROOT / "docs" / "packet-format.cddl").read_text(encoding="utf-8"),
    }
    faults = []
    with tempfile.TemporaryDirectory() as folder:
        for name, answers in answers_of_all(Path(folder), asked):
            found = list(disagreements(name, answers, packets))
            print(f"{name:12} {'agrees' if not found else 'DISAGREES'}")
            faults += found
    for fault in faults:
        print(fault)
    return int(bool(faults))


def flipped(packet: bytes, offset: int) -> bytes:
    """The packet with one bit changed."""
    return packet[:offset] + bytes([packet[offset] ^ 1]) + packet[offset + 1 :]


def answers_of_all(folder: Path, asked: dict[str, Any]) -> Any:
    """What each library answers, by name."""
    for name, (script, requirements) in PYTHON.items():
        environment = folder / name
        run([sys.executable, "-m", "venv", str(environment)])
        python = environment / "bin" / "python"
        run([str(python), "-m", "pip", "install", "--quiet", *requirements])
        yield name, answered([str(python), str(HERE / script)], asked, folder)
    if shutil.which("npm") is None:
        sys.exit("npm is not installed: the interoperability of packets cannot be checked")
    node = folder / "node"
    node.mkdir()
    for file in ("package.json", "with_node.mjs"):
        shutil.copy(HERE / file, node / file)
    run(["npm", "install", "--silent", "--no-audit", "--no-fund"], cwd=node)
    for name in NODE:
        yield name, answered(["node", "with_node.mjs", name], asked, node)


def run(command: list[str], cwd: Path | None = None) -> None:
    """Run a command; exit with its output if it fails."""
    # The environments are the libraries' own: nothing of ours leaks into them.
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(command, cwd=cwd, env=clean, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")


def answered(command: list[str], asked: dict[str, Any], cwd: Path) -> dict[str, Any]:
    """The JSON that a script prints when asked."""
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(  # noqa: S603
        command,
        input=json.dumps(asked),
        cwd=cwd,
        env=clean,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    answers: dict[str, Any] = json.loads(done.stdout)
    return answers


def disagreements(name: str, answers: dict[str, Any], packets: list[bytes]) -> Any:
    """What one library sees otherwise than we do."""
    if name == "pycddl":
        if not all(answers["packets"]):
            yield "the CDDL refuses a valid packet"
        if any(answers["misshapen"]):
            yield f"the CDDL accepts what is no packet: {answers['misshapen']}"
        return
    if answers["verified"] != [True] * len(packets):
        yield f"{name} does not verify all our packets: {answers['verified']}"
    if any(answers["tampered"]):
        yield f"{name} verifies what was tampered with: {answers['tampered']}"
    for ours, theirs in zip(packets, answers["made"], strict=True):
        made = bytes.fromhex(theirs)
        if made != ours:
            yield f"{name} makes {len(made)} other bytes of the same content: {theirs[:120]}…"
        elif qis.Packet.parse(made) != qis.Packet.parse(ours):
            yield f"what {name} makes is another packet here"


if __name__ == "__main__":
    sys.exit(main())
