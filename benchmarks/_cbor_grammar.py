"""Bodies made from the grammar of CBOR (RFC 8949, appendix A), signed: what a hostile member sends.

`signed_inputs(seed)` yields (way, 512 bytes) for ever, the same ones for the same seed. Signatures
verify, so that a reader has to judge the content. Every initial byte occurs, every kind of head
(short, long, reserved, indefinite), tags with and without a meaning, references within references,
keys twice, out of order and of any type, texts at the edges of what a text may hold; and among them
valid records, so that a reader which refuses everything is found too.
"""

import random
import struct
from collections.abc import Callable, Iterator
from typing import Final

import qis
from qis import _layout

SITE: Final = qis.Identity.from_seed(bytes(range(32)))
BODY_ROOM: Final = _layout.BODY_ROOM
KNOWN_TAGS: Final = (
    *range(46),
    52,
    54,
    *range(61, 88),
    *range(96, 122),
    *range(200, 212),
    256,
    *range(257, 275),
    *range(1000, 1006),
    1040,
    1070,
    55799,
    55800,
    15309736,
    2**16,
    2**32 - 1,
    2**32,
    2**64 - 1,
)
"""Those of the IANA registry that decoders know or might know, and edges of heads."""
CHARACTERS: Final = (
    *"ab \t\n\x00\x1c\x7f\x85\xa0\xad\u00e9\u0301\u0300\u034f\u061c\u0628\u0627\u062f\u0645\u064e",
    *"\u0915\u094d\u0937\u0995\u09cd\u09b7\u09f0\u0dca\u0dba\u115f\u1160\u1680\u17b4\u180b\u180e",
    *"\u2000\u200b\u200c\u200c\u200c\u200d\u200d\u200d\u200e\u2028\u202e\u202f\u205f\u2060\u206f",
    *"\u212b\u2800\u3000\u3164\uac00\u1100\u1161\ue000\ufb1d\ufdd0\ufe0f\ufeff\uff01\uffa0\ufffd",
    *"\uffff\U00010efd\U000105c9\U0001f468\U0001fae8\U000e0041\U000f0000\U0010ffff\u0958\u2126",
)
"""Letters, and what is at the edges of the page's section on text."""
LETTERS: Final = tuple("abc d\u00e9\u00fc\u0628\u0645\u0915\u4e2d\uac00\u2713\U0001f468")
JOINED: Final = (
    "\u0645\u06cc\u200c\u0634",
    "\u0628\u064e\u200c\u0627",
    "\u062f\u200c\u0627",
    "\u0628\u200d\u0628",
    "\u0915\u094d\u200d\u0937",
    "\u0915\u094d\u200c\u0937",
    "\u0915\u094d\u200d",
    "\u0dc1\u0dca\u200d\u0dbb",
    "\u0995\u09cd\u200c\u09f0",
    "\u0915\u094d\u200d\u0995",
    "\u09b0\u200d\u09cd\u09af",
    "\u0995\u09cd\u09b0\u200d\u09cd\u09af",
    "a\u0301",
    "a\u0327\u0301",
    "\u1100\u1161",
)
"""Joiners where they may and may not stand, and texts that are not in NFC."""
REALS: Final = (0.0, -0.0, 0.5, 1.0, 1e-7, 65504.0, 65505.0, 2.0**53, 1e300, 5e-324, -1.25)
_STUDY: Final = b"\x00\x48" + bytes(range(8))


class Grammar:
    """Makes CBOR; the same seed makes the same bytes."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._template = bytes(
            qis.Packet.sign(
                SITE,
                outcome=qis.Suppressed(question="q"),
                fingerprint=qis.Fingerprint(sketch=bytes(range(32)), scheme_id=b"scheme-1"),
                issued_at=1_800_000_000,
                lifetime_s=86_400,
            )
        )
        self._count = 0
        self._ways: tuple[tuple[str, Callable[[], bytes]], ...] = (
            ("grammar", lambda: self.item(6)),
            ("initial byte", self._initial_byte),
            ("tag", self._tagged),
            ("references", self._references),
            ("reserved", self._reserved),
            ("indefinite", self._indefinite),
            ("nested", self._nested),
            ("duplicate keys", self._duplicate_keys),
            ("long head", lambda: self.item(3, longer=0.5)),
            ("text", lambda: self.text(self._random.randint(0, 8))),
            ("number", self._number),
            ("record", lambda: self.valid(2)),
            ("record", lambda: self.valid(3)),
            ("cut", lambda: self.valid(3)[: -self._random.randint(1, 3)]),
            ("changed", self._changed),
        )

    def next(self) -> tuple[str, bytes]:
        """How the input was made, and 512 bytes that verify."""
        self._count += 1
        way, make = self._random.choice(self._ways)
        return way, self.signed(*self._placed(make()))

    def item(self, depth: int, *, longer: float = 0.02) -> bytes:
        """Any item, well-formed or nearly: lengths and heads may be wrong."""
        major = self._random.randrange(8) if depth else self._random.choice((0, 1, 2, 3, 7))
        if major == 7:
            return self._simple()
        if major < 2:
            edge = 1 << self._random.choice((0, 4, 5, 8, 16, 32, 53, 63))
            return self.head(major, max(edge - self._random.randint(0, 2), 0), longer)
        if major == 2:
            data = self._random.randbytes(self._random.choice((0, 1, 8, 12, 16, 24)))
            return self.head(2, len(data) + self._off(), longer) + data
        if major == 3:
            return self.text(self._random.randint(0, 6), longer=longer)
        if major == 6:
            return self.head(6, self._random.choice(KNOWN_TAGS)) + self.item(depth - 1)
        many = self._random.choice((0, 1, 1, 2, 3, 5))
        entries = many if major == 4 else 2 * many
        inner = b"".join(self.item(depth - 1, longer=longer) for _ in range(entries))
        return self.head(major, many + self._off(), longer) + inner

    def head(self, major: int, number: int, longer: float = 0.0) -> bytes:
        """The head of an item: the shortest, or with that chance a longer one."""
        shortest = next(i for i, end in enumerate((24, 2**8, 2**16, 2**32, 2**64)) if number < end)
        width = shortest
        if self._random.random() < longer:
            width = self._random.randint(shortest, 4)
        if width == 0:
            return bytes([major << 5 | number])
        return bytes([major << 5 | 23 + width]) + number.to_bytes(1 << width - 1)

    def text(self, many: int, *, longer: float = 0.0) -> bytes:
        """A text of characters at the edges, now and then not UTF-8 at all."""
        some = CHARACTERS if self._random.random() < 0.4 else LETTERS
        data = "".join(self._random.choices(some, k=many)).encode()
        if self._random.random() < 0.2:
            data += self._random.choice(JOINED).encode()
        if self._random.random() < 0.05:
            data += self._random.choice(
                (b"\xff", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80")
            )
        return self.head(3, len(data), longer) + data

    def valid(self, depth: int) -> bytes:
        """What a record may hold, in its one encoding."""
        kind = self._random.randrange(9 if depth else 7)
        if kind < 7:
            return self._valid_leaf(kind)
        if kind == 7:
            many = self._random.randint(0, 4)
            return self.head(4, many) + b"".join(self.valid(depth - 1) for _ in range(many))
        return self._valid_map(depth)

    def _valid_leaf(self, kind: int) -> bytes:
        if kind == 0:
            return self._random.choice((b"\xf4", b"\xf5", b"\xf6"))
        if kind < 3:
            return self.head(kind - 1, self._random.choice((0, 23, 24, 255, 256, 2**32, 2**53 - 2)))
        if kind == 3:
            return b"\x43" + self._random.randbytes(3)
        if kind == 4:
            return shortest_real(self._random.choice((0.5, -1.25, 1e-7, 0.1, 5e-324, 65504.5)))
        written = "".join(self._random.choices("abcXYZ\u00e9\u4e2d\U0001f468", k=kind)).encode()
        return self.head(3, len(written)) + written

    def _valid_map(self, depth: int) -> bytes:
        keys = {self._random.choice(("", "a", "b", "ab", "\u00e9")).encode() for _ in range(3)}
        ordered = sorted(keys, key=lambda key: (len(key), key))
        pairs = (self.head(3, len(key)) + key + self.valid(depth - 1) for key in ordered)
        return self.head(5, len(ordered)) + b"".join(pairs)

    def signed(self, kind: int, body: bytes) -> bytes:
        """512 bytes that verify, with these where a body is; cut if they are too long."""
        body = body[:BODY_ROOM]
        rest = b"\x06\x48" + bytes(8)
        head = self._template[: _layout.KIND] + bytes([kind]) + self._template[112:123]
        padding = _layout.padding(446 - len(head) - len(body) - len(rest))
        content = head + body + rest + padding
        return content + b"\x58\x40" + SITE.sign(_layout.signed_bytes(content))

    def _placed(self, item: bytes) -> tuple[int, bytes]:
        """Kind and body with this item somewhere in it."""
        question = _STUDY + b"\x01\x61q"
        content = b"\xa3" + question + b"\x08"
        key = self.head(0, self._random.randrange(3, 9))
        kind = self._random.randint(1, 10)
        bodies = (
            (40, 6, content + b"\xa1\x61k" + item),
            (10, 6, content + item),
            (10, 6, content + b"\xa2" + item + b"\xf6\x61k" + item),
            (10, 10, b"\xa2" + _STUDY + b"\x01" + item),
            (10, 10, b"\xa3" + question + b"\x02" + item),
            (5, 10, b"\xa3" + question + item + item),
            (10, kind, b"\xa3" + question + key + item),
            (5, kind, item),
        )
        ((_, kind, body),) = self._random.choices(bodies, [body[0] for body in bodies])
        return kind, body

    def _off(self) -> int:
        return self._random.choice((1, 7, 2**16, 2**40)) if self._random.random() < 0.02 else 0

    def _simple(self) -> bytes:
        low = self._random.randrange(32)
        if low == 24:
            return bytes([0xF8, self._random.randrange(256)])
        if 25 <= low <= 27:
            real = self._random.choice((*REALS, float("inf"), float("-inf"), float("nan")))
            form = {25: ">e", 26: ">f", 27: ">d"}[low]
            try:
                return bytes([0xE0 | low]) + struct.pack(form, real)
            except OverflowError:
                return b"\xfb" + struct.pack(">d", real)
        return bytes([0xE0 | low])

    def _initial_byte(self) -> bytes:
        """Each in its turn, whatever follows."""
        return bytes([self._count % 256]) + self._random.randbytes(
            self._random.choice((0, 1, 9, 40))
        )

    def _tagged(self) -> bytes:
        tag = self._random.choice((*KNOWN_TAGS, self._random.randrange(2**16)))
        inner = self._random.choice((self.item(2), self.valid(1), self.text(4), b"\x44abcd"))
        return self.head(6, tag, 0.1) * self._random.choice((1, 1, 1, 2, 9)) + inner

    def _references(self) -> bytes:
        """Shared items and references to them, in each other."""
        levels = self._random.randint(1, 7)
        width = self._random.randint(1, 6)
        refer = b"".join(
            b"\xd8\x1d" + self.head(0, self._random.randint(0, levels)) for _ in range(width)
        )
        inner = bytes([0x80 + width]) + refer
        for _ in range(levels):
            inner = b"\xd8\x1c" + bytes([0x80 + width + 1]) + inner + refer
        return inner if self._random.random() < 0.8 else b"\xd9\x01\x00" + inner

    def _reserved(self) -> bytes:
        return bytes([self._random.randrange(8) << 5 | self._random.randint(28, 30)]) + self.item(1)

    def _indefinite(self) -> bytes:
        major = self._random.randint(2, 6)
        inner = b"".join(self.item(1) for _ in range(self._random.randint(0, 4)))
        return bytes([major << 5 | 31]) + inner + self._random.choice((b"\xff", b"", b"\xff\xff"))

    def _nested(self) -> bytes:
        levels = self._random.choice((1, 2, 3, 4, 5, 8, 9, 100, 290))
        opened = self._random.choice((b"\x81", b"\xa1\x00", b"\xa1\x60", b"\xa1", b"\xc1", b"\x9f"))
        return opened * levels + self._random.choice((b"\x00", b"\x80", b"\xa0", b"", self.item(0)))

    def _duplicate_keys(self) -> bytes:
        keys = [self.item(0) for _ in range(self._random.randint(1, 3))]
        keys += [self._random.choice(keys), self.item(1)]
        self._random.shuffle(keys)
        return self.head(5, len(keys)) + b"".join(key + self.item(0) for key in keys)

    def _number(self) -> bytes:
        """A real that should be shorter, a whole number or not there, or an integer too large."""
        real = self._random.choice((*REALS, float("nan"), float("inf"), 2.0**64, -3.0, 0.1))
        form = self._random.choice((b"\xf9>e", b"\xfa>f", b"\xfb>d"))
        try:
            packed = struct.pack(form[1:].decode(), real)
        except OverflowError:
            return shortest_real(real)
        edge = self._random.choice((2**53 - 2, 2**53 - 1, 2**53, 2**64 - 1))
        integer = self.head(self._random.randrange(2), edge)
        return self._random.choice((form[:1] + packed, integer))

    def _changed(self) -> bytes:
        """Right but for one byte."""
        made = bytearray(self.valid(3))
        made[self._random.randrange(len(made))] = self._random.randrange(256)
        return bytes(made)


def shortest_real(real: float) -> bytes:
    """A real in its shortest exact form."""
    for head, form in ((b"\xf9", ">e"), (b"\xfa", ">f")):
        try:
            packed = struct.pack(form, real)
        except OverflowError:
            continue
        if struct.unpack(form, packed)[0] == real:
            return head + packed
    return b"\xfb" + struct.pack(">d", real)


def signed_inputs(seed: int) -> Iterator[tuple[str, bytes]]:
    """How each input was made, and 512 bytes whose signature verifies; for ever."""
    grammar = Grammar(seed)
    while True:
        yield grammar.next()


def hostile_tags() -> Iterator[tuple[int, bytes]]:
    """Each tag of one byte and each known one, well-formed inside a valid record, signed."""
    grammar = Grammar(0)
    for tag in sorted({*range(256), *KNOWN_TAGS}):
        for inner in (b"\x01", b"\x61a", b"\x81\x00", b"\x82\x01\x02", b"\x44\x01\x02\x03\x04"):
            item = grammar.head(6, tag) + inner
            body = b"\xa3" + _STUDY + b"\x01\x61q\x08\xa1\x61k" + item
            yield tag, grammar.signed(6, body)
