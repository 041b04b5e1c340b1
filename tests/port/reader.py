"""A second reader of packets, written from docs/packet-format.md and the RFCs, not from qis.

It shares with qis only libsodium and BLAKE3: no CBOR library, no class. Where the two disagree
about any bytes, one of them or the page is wrong. `read` gives a packet's fields, or raises
`Refused` with the step of the page's section "Receiving" at which it is refused.
"""

import math
import re
import struct
import unicodedata
from pathlib import Path

from blake3 import blake3
from nacl import bindings
from nacl.exceptions import CryptoError

CONSTANT = {
    0: "d2845826a20127045820",
    42: "a0590190a3041a",
    53: "061a",
    59: "3a00010000",
    65: "005820",
    100: "0148",
    110: "02",
    112: "031b",
    122: "04",
    446: "5840",
}
CHARACTERS = Path(__file__).parents[2] / "docs" / "packet-format-characters.txt"
REFUSED = {
    code
    for line in CHARACTERS.read_text(encoding="ascii").splitlines()
    if not line.startswith("#")
    for code in range(int(line.split()[0], 16), int(line.split()[1], 16) + 1)
}
SPACES = {0x85, 0xA0, 0x1680, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000, *range(9, 14)} | set(
    range(0x2000, 0x200B)
)
VIRAMAS = {0x94D: (0x915, 0x939), 0x9CD: (0x995, 0x9B9), 0xDCA: (0xD9A, 0xDC6)} | {
    block + 0x4D: (block + 0x15, block + 0x39) for block in range(0xA00, 0xD80, 0x80)
}
RIGHT = (
    "622-625 627 629 62F-632 648 671-673 675-677 688-699 6C0 6C3-6CB 6CD 6CF 6D2-6D3 6D5 6EE-6EF"
)
DUAL = (
    "620 626 628 62A-62E 633-63F 641-647 649-64A 66E-66F 678-687 69A-6BF 6C1-6C2 6CC 6CE 6D0-6D1 "
    "6FA-6FC 6FF"
)
UNITLESS, UNITS = ((-50.0, 50.0), (1e-8, 1e4)), ((-1e30, 1e30), (1e-30, 1e30))
MEASURES = dict.fromkeys((1, 2, 3, 4, 5, 6, 7, 8, 15), UNITLESS) | {
    9: UNITS,
    10: UNITS,
    11: ((-1.0, 1.0), UNITLESS[1]),
    12: ((0.0, 1.0), UNITLESS[1]),
    13: UNITS,
    14: ((-1.0, 1.0), UNITLESS[1]),
}


class Refused(Exception):  # noqa: N818  as the page calls it
    def __init__(self, step, reason):
        super().__init__(f"step {step}: {reason}")
        self.step = step


def need(condition, reason, step=7):
    if not condition:
        raise Refused(step, reason)


def read(data):
    """The fields of a packet, without looking at a clock."""
    need(len(data) == 512, "length", 1)
    for offset, constant in CONSTANT.items():
        expected = bytes.fromhex(constant)
        need(data[offset : offset + len(expected)] == expected, f"bytes at {offset}", 2)
    signed = b"\x84\x6aSignature1" + data[2:42] + b"\x40" + data[43:446]
    try:
        bindings.crypto_sign_open(data[448:] + signed, data[10:42])
    except (CryptoError, ValueError):
        raise Refused(6, "signature") from None
    expires, issued = struct.unpack(">I2xI", data[49:59])
    need(2**16 <= issued < expires, "times")
    need(expires - issued <= 400 * 86_400, "lifetime")
    sequence = int.from_bytes(data[114:122], "big")
    need(sequence >= 2**32, "sequence")
    kind = data[111]
    need(1 <= kind <= 23, "kind")
    body, rest = item(data[123:446])
    need(type(body) is dict, "the body is no map")
    lineage = b""
    if data[64] == 0xA8:
        need(kind == 8, "a lineage in another kind")
        need(rest[:1] == b"\x05", "no lineage")
        lineage, rest = item(rest[1:])
        need(type(lineage) is bytes, "the lineage is no byte string")
    need(data[64] in (0xA7, 0xA8), "another number of entries")
    leaves = [lineage[start : start + 12] for start in range(0, len(lineage), 12)]
    need((data[64] == 0xA8) == bool(leaves), "an empty lineage")
    need(all(len(leaf) == 12 for leaf in leaves), "a torn leaf")
    need(leaves == sorted(set(leaves)), "leaves that are not sorted")
    need(rest[:2] == b"\x06\x48", "no commitment")
    commitment, rest = rest[2:10], rest[10:]
    need(rest == padding(len(rest)), "padding")
    content = dict(body)
    common(content)
    moderators(content, kind)
    BODIES.get(kind, to_come)(content)
    need(not content, f"entries {sorted(content)}")
    return {
        "id": blake3(data[:446]).digest(),
        "issuer": data[10:42],
        "expires_at": expires,
        "issued_at": issued,
        "sequence": sequence,
        "sketch": data[68:100],
        "scheme_id": data[102:110],
        "kind": kind,
        "body": body,
        "leaves": leaves,
        "routing_commitment": commitment,
    }


def padding(size):
    for key in (b"\x20", b"\x38\x18"):
        for zeros in range(size):
            entry = key + head(2, zeros) + bytes(zeros)
            if len(entry) == size:
                return entry
    return None


def head(major, number):
    """RFC 8949, section 3: the shortest head."""
    for code, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if number < 24:
            return bytes([major << 5 | number])
        if number < 256**size:
            return bytes([major << 5 | code]) + number.to_bytes(size, "big")
    return None


def item(data, depth=4):
    """One item in deterministic CBOR and what follows it; the body itself is at depth 4 of 8."""
    need(data, "ends within an item")
    major, low = data[0] >> 5, data[0] & 31
    if major == 7:
        return simple(data, low)
    size = {24: 1, 25: 2, 26: 4, 27: 8}.get(low, 0)
    need(low < 28, "an indefinite length or a reserved head")
    number = int.from_bytes(data[1 : 1 + size], "big") if size else low
    need(data[: 1 + size] == head(major, number), "a head that is not the shortest")
    data = data[1 + size :]
    if major == 0:
        return number, data
    if major == 1:
        return -1 - number, data
    if major in (2, 3):
        need(number <= len(data), "ends within a string")
        return string(data[:number], text=major == 3), data[number:]
    need(major in (4, 5), "a tag")
    need(depth < 9, "nested deeper than 8")
    need(number <= len(data), "ends within a collection")
    return array(data, number, depth) if major == 4 else mapping(data, number, depth)


def array(data, number, depth):
    found = []
    for _ in range(number):
        one, data = item(data, depth + 1)
        found.append(one)
    return found, data


def mapping(data, number, depth):
    found, last = {}, b""
    for _ in range(number):
        key, rest = item(data, depth + 1)
        encoded = data[: len(data) - len(rest)]
        need(type(key) in (int, str), "a key that is neither integer nor text")
        need(encoded > last, "keys that are not in ascending order")
        last = encoded
        found[key], data = item(rest, depth + 1)
    return found, data


def string(data, *, text):
    if not text:
        return data
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused(7, "text that is not UTF-8") from None


def simple(data, low):
    if low in (20, 21, 22):
        return {20: False, 21: True, 22: None}[low], data[1:]
    formats = {25: ">e", 26: ">f", 27: ">d"}
    need(low in formats, "another simple value")
    size = struct.calcsize(formats[low])
    need(len(data) > size, "ends within a float")
    (number,) = struct.unpack(formats[low], data[1 : 1 + size])
    need(math.isfinite(number), "not finite")
    for shorter in formats.values():
        if struct.calcsize(shorter) < size:
            try:
                (same,) = struct.unpack(shorter, struct.pack(shorter, number))
            except OverflowError:
                continue
            need(same != number, "a float that is not the shortest")
    return number, data[1 + size :]


def common(body):
    need(type(body.get(0)) is bytes and len(body.pop(0)) == 8, "study id")
    need(1 in body, "no question")
    line(body.pop(1), 48)
    if 2 in body:
        line(body.pop(2), 24)


def moderators(body, kind):
    if 11 in body and kind <= 4:
        codes = body.pop(11)
        need(type(codes) is bytes and 1 <= len(codes) <= 16, "moderators")


def line(value, limit):
    need(type(value) is str and value, "an empty text")
    plain(value)
    need(len(value.encode()) <= limit, "a text that is too long")


def plain(text):
    codes = [ord(character) for character in text]
    need(not SPACES & set(codes), "white space that is not U+0020")
    need("  " not in text and text.strip(" ") == text, "white space")
    need(not REFUSED & set(codes), "character")
    need(unicodedata.normalize("NFC", text) == text, "not NFC")
    for index, code in enumerate(codes):
        if code in (0x200C, 0x200D):
            need(joins(codes[:index], code, codes[index + 1 :]), "a joiner that changes nothing")


def joins(before, joiner, after):
    if not before or not after:
        return False
    if joiner == 0x200D and before[-1] in (0x9B0, 0x9F0) and after[:2] == [0x9CD, 0x9AF]:
        return before[-2:-1] not in ([0x9CD], [0x200C], [0x200D])
    if before[-1] in VIRAMAS:
        first, last = VIRAMAS[before[-1]]
        return first <= after[0] <= last or (before[-1] == 0x9CD and after[0] in (0x9F0, 0x9F1))
    while before and (0x64B <= before[-1] <= 0x65F or before[-1] == 0x670):
        before.pop()
    dual, right = letters(DUAL), letters(RIGHT)
    return joiner == 0x200C and before and before[-1] in dual and after[0] in dual | right


def letters(written):
    found = set()
    for first, last in re.findall(r"([0-9A-F]+)(?:-([0-9A-F]+))?", written):
        found |= set(range(int(first, 16), int(last or first, 16) + 1))
    return found


def count(value, low=0, high=2**32 - 1):
    need(type(value) is int and low <= value <= high, "count")
    return value


def counts(body, lengths):
    value = body.pop(7, None)
    need(type(value) is list and len(value) in lengths, "counts")
    return [count(number) for number in value]


def optional(body, key, low=0):
    if key in body:
        count(body.pop(key), low)


def reals(body, form, *lengths):
    value = body.pop(6, None)
    size = struct.calcsize(form)
    need(type(value) is bytes and len(value) in [size * n for n in lengths], "reals")
    numbers = struct.unpack(f"<{len(value) // size}{form}", value)
    for number in numbers:
        real(number, -math.inf, math.inf)
    return numbers


def real(number, low, high):
    need(math.isfinite(number) and low <= number <= high, "a real out of range")
    need(number != 0.0 or math.copysign(1.0, number) > 0.0, "-0.0")


def effect(body):
    measure = MEASURES.get(known(body.pop(3, None), 1, 15))
    optional(body, 4, 1)
    estimate, error = reals(body, "d", 2)
    real(estimate, *measure[0])
    real(error, *measure[1])


def known(value, low, high):
    need(type(value) is int and low <= value <= high, "code")
    return value


def counted(body):
    numbers = counts(body, (2, 4))
    arms = [numbers[:2], numbers[2:]][: len(numbers) // 2]
    times = reals(body, "d", len(arms)) if 6 in body else None
    for events, total in arms:
        need(total >= 1 and (times is not None or events <= total), "events")
    for time in times or ():
        real(time, 1e-12, 1e15)
    for both in zip(*arms, strict=True):
        count(sum(both))


def moments(body):
    people = counts(body, (1, 2))
    numbers = reals(body, "d", 2 * len(people))
    for arm, total in enumerate(people):
        count(total, 1)
        real(numbers[2 * arm], -1e60, 1e60)
        real(numbers[2 * arm + 1], 0.0, 1e120)


def profile(body):
    known(body.pop(3, None), 1, 5)
    optional(body, 4)
    optional(body, 5)
    if 8 in body:
        line(body.pop(8), 24)
    numbers = reals(body, "f", 22, 23)
    lower, upper, below, above = numbers[:4]
    values, gradients = numbers[-18:-9], numbers[-9:]
    for number in (lower, upper, *numbers[4:-18]):
        real(number, -64.0, 64.0)
    for number in (below, above, *values):
        real(number, -1e12, 0.0)
    for number in gradients:
        real(number, -1e12, 1e12)
    need(upper - lower >= 0.1, "ends")
    rises, falls = gradients[0] >= 0.0, gradients[-1] <= 0.0
    if len(numbers) == 23:
        position = 7 * (numbers[4] - lower) / (upper - lower)
        off = abs(position - round(position))
        need(0.01 < position < 6.99 and off > 0.01, "the position of the maximum")
        need(rises and falls and values[math.ceil(position)] == 0.0, "no maximum")
        return
    up = rises and gradients[-1] >= 0.0 and above == values[-1] == 0.0
    down = falls and gradients[0] <= 0.0 and below == values[0] == 0.0
    need(up or down, "rises to no end")


def quadratic(body):
    count(body.pop(4, None), 1)
    optional(body, 5)
    if 10 in body:
        told = body.pop(10)
        need(type(told) is bytes and len(told) == 8, "quadratic")
        real(struct.unpack("<d", told)[0], -(2.0**100), 2.0**100)
    packed = body.pop(6, None)
    need(type(packed) is bytes and len(packed) > 9, "quadratic")
    known(packed[8], 1, 4)
    packed = packed[9:]
    sizes = [p for p in range(1, 15) if 1 + 6 * p + p * (p - 1) == len(packed)]
    need(sizes, "quadratic")
    (p,) = sizes
    exponent, *z = struct.unpack(f"<b{p}h", packed[: 1 + 2 * p])
    scaled(exponent, z)
    rows = packed[1 + 2 * p : 1 + 6 * p]
    below = struct.unpack(f"<{p * (p - 1) // 2}h", packed[1 + 6 * p :])
    for i in range(p):
        exponent, diagonal = rows[4 * i], b"\0" + rows[4 * i + 1 : 4 * i + 4]
        (diagonal,) = struct.unpack("<f", diagonal)
        real(diagonal, 0.0, 2.0**100)
        need(diagonal or not z[i], "a pull without information")
        start = i * (i - 1) // 2
        scaled(exponent - 256 * (exponent > 127), below[start : start + i])


def scaled(exponent, numbers):
    need(-126 <= exponent <= 126, "exponent")
    need(all(abs(number) <= 32767 for number in numbers), "integer")
    largest = max(map(abs, numbers), default=0)
    need(largest >= 16384 or (largest == 0 and exponent == 0), "exponent")


def record(body):
    value = body.pop(8, None)
    need(type(value) is dict, "a record's map")
    entry(value, 1)


def entry(value, depth):
    if isinstance(value, (dict, list)):
        need(depth <= 4, "a record nested deeper than 4")
    if isinstance(value, dict):
        for key in value:
            need(type(key) is str, "a record's key")
            plain(key)
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            entry(one, depth + 1)
    elif isinstance(value, str):
        plain(value)
    elif isinstance(value, float):
        need(value != int(value), "a whole number as a float")
    elif type(value) is int:
        need(abs(value) < 2**53, "a large integer")


def anchor(body):
    known(body.pop(8, None), 1, 4)
    packed = body.get(6)
    need(type(packed) is bytes and len(packed) >= 8, "anchor")
    body[6] = packed[8:]
    for number in reals(body, "f", *range(1, 15)):
        real(number, -(2.0**100), 2.0**100)


def derived(body):
    measure = MEASURES.get(known(body.pop(3, None), 1, 15))
    estimate, error, tau2 = reals(body, "d", 3)
    (sites,) = counts(body, (1,))
    count(sites, 1)
    model = known(body.pop(8, None), 0, 1)
    real(estimate, *measure[0])
    real(error, *measure[1])
    real(tau2, 0.0, measure[1][1] ** 2 if model else 0.0)


def retraction(body):
    known(body.pop(8, None), 0, 255)
    if 9 in body:
        known(body.pop(9), 1, 2)


def to_come(body):
    for key in sorted(body):
        value = body.pop(known(key, 3, 23))
        for one in value if type(value) is list else [value]:
            need(type(one) in (int, str, bytes), "what no body holds")
            if type(one) is str:
                plain(one)


BODIES = {
    1: effect,
    2: counted,
    3: moments,
    4: profile,
    5: quadratic,
    6: record,
    7: anchor,
    8: derived,
    9: retraction,
    10: lambda _: None,
}
