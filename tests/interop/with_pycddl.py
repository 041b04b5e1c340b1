"""pycddl judges packets by docs/packet-format.cddl."""

import json
import sys

import pycddl


def main() -> None:
    asked = json.load(sys.stdin)
    # pycddl's root is the first rule; it does not look into byte strings inside arrays, so what
    # they hold is judged by its own rule.
    rules = {
        name: pycddl.Schema(f"root = {name}\n{asked['cddl']}")
        for name in ("envelope", "header", "claims")
    }

    def fits(packet: str) -> bool:
        data = bytes.fromhex(packet)
        try:
            rules["envelope"].validate_cbor(data)
            rules["header"].validate_cbor(data[4:42])
            rules["claims"].validate_cbor(data[46:446])
        except pycddl.ValidationError:
            return False
        return True

    answers = {name: [fits(packet) for packet in asked[name]] for name in ("packets", "misshapen")}
    json.dump(answers, sys.stdout)


main()
