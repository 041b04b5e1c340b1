// Chance, and the numbers and texts that packets are made of: the same seed, the same packets.

import { createCipheriv, createHash } from "node:crypto";

const POOL = 2 ** 16;

/** Bits of a ChaCha20 key stream. `slips` is how many rules may still be broken on purpose. */
export class Chance {
  constructor(seed) {
    const key = createHash("sha256").update(String(seed)).digest();
    this.stream = createCipheriv("chacha20", key, Buffer.alloc(16));
    this.pool = Buffer.alloc(0);
    this.at = 0;
    this.slips = 0;
  }

  bytes(length) {
    if (this.at + length > this.pool.length) {
      this.pool = this.stream.update(Buffer.alloc(POOL));
      this.at = 0;
    }
    this.at += length;
    return this.pool.subarray(this.at - length, this.at);
  }

  /** In [0, 1). */
  share() {
    return this.bytes(6).readUIntBE(0, 6) / 2 ** 48;
  }

  /** From least to most, both included. */
  whole(least, most) {
    return least + Math.floor(this.share() * (most - least + 1));
  }

  pick(choices) {
    return choices[this.whole(0, choices.length - 1)];
  }

  is(share) {
    return this.share() < share;
  }

  shuffled(items) {
    return items
      .map((item) => [this.share(), item])
      .sort(([a], [b]) => a - b)
      .map(([, item]) => item);
  }

  /** Whether to break a rule here; each time costs one of the slips. */
  slip(share = 0.15) {
    if (this.slips <= 0 || !this.is(share)) return false;
    this.slips -= 1;
    return true;
  }

  /** A whole number in a range, its ends more often than others; or, as a slip, beside it. */
  count32(least, most) {
    if (this.slip()) {
      return this.pick([least - 1, most + 1, 2 ** 32, 0, 2 ** 53]);
    }
    return this.pick([
      () => least,
      () => most,
      () => this.whole(least, Math.min(most, least + 30)),
      () => this.whole(least, most),
      () => Math.min(most, Math.max(least, this.pick([23, 24, 255, 256, 65535, 65536]))),
    ])();
  }

  /** A real in a range; or, as a slip, one that is not. `single`: one that float32 holds. */
  real(least, most, single = false) {
    const next = single ? nextSingle : nextDouble;
    const within = (value) => Math.min(most, Math.max(least, single ? Math.fround(value) : value));
    if (this.slip()) {
      const near = [next(least, -1), next(most, 1), least - 1, most * 2, -least];
      return this.pick([...near, -0, NaN, Infinity, -Infinity, 5e-324, 0]);
    }
    const value = this.pick([
      () => least,
      () => most,
      () => next(least, 1),
      () => next(most, -1),
      () => least + this.share() * (most - least),
      () => this.pick([-1, 1]) * 10 ** (this.share() * 12 - 9),
      () => this.whole(-3, 3),
      () => 0,
    ])();
    return within(value) + 0;
  }
}

const view = new DataView(new ArrayBuffer(8));

/** The float64 beside a value, towards plus or minus infinity. */
export function nextDouble(value, direction) {
  if (value === 0) return direction * 5e-324;
  view.setFloat64(0, value);
  view.setBigInt64(0, view.getBigInt64(0) + BigInt(value > 0 === direction > 0 ? 1 : -1));
  return view.getFloat64(0);
}

/** The float32 beside a value. */
export function nextSingle(value, direction) {
  if (Math.fround(value) === 0) return direction * 2 ** -149;
  view.setFloat32(0, value);
  view.setInt32(0, view.getInt32(0) + (value > 0 === direction > 0 ? 1 : -1));
  return view.getFloat32(0);
}

/** Ranges of scripts that people write in, all older than the page. */
const SCRIPTS = [
  [0x21, 0x7e],
  [0x61, 0x7a],
  [0x41, 0x5a],
  [0xc0, 0xff],
  [0x100, 0x17f],
  [0x370, 0x3ff],
  [0x400, 0x4ff],
  [0x5d0, 0x5ea],
  [0x620, 0x64a],
  [0x905, 0x939],
  [0x1ea0, 0x1ef9],
  [0x3041, 0x3096],
  [0x4e00, 0x9fff],
  [0xac00, 0xd7a3],
  [0x1f600, 0x1f64f],
  [0x20000, 0x2a6df],
];
const MARKS = [0x300, 0x301, 0x308, 0x323, 0x327, 0x64b, 0x93c, 0x94d, 0x5b0, 0x20dd, 0x3099];
/** What a text may not hold, or must not begin, end or be folded with. */
const TROUBLE = [
  ...[0, 9, 0xa, 0xd, 0x1b, 0x1c, 0x1f, 0x7f, 0x80, 0x85, 0x9f, 0xa0, 0xad, 0x34f, 0x61c],
  ...[0x115f, 0x1160, 0x1680, 0x17b4, 0x17b5, 0x180b, 0x180e, 0x180f, 0x2000, 0x200a, 0x200b],
  ...[0x200c, 0x200d, 0x200e, 0x200f, 0x2028, 0x2029, 0x202a, 0x202e, 0x202f, 0x205f, 0x2060],
  ...[0x2061, 0x2064, 0x2065, 0x2066, 0x2069, 0x206f, 0x2800, 0x3000, 0x3164, 0xe000, 0xf8ff],
  ...[0xfdcf, 0xfdd0, 0xfdef, 0xfdf0, 0xfe00, 0xfe0f, 0xfeff, 0xffa0, 0xfff0, 0xfff8, 0xfff9],
  ...[0xfffb, 0xfffd, 0xfffe, 0xffff, 0x1bca0, 0x1bca3, 0x1d173, 0x1d17a, 0x1fffe, 0xe0000],
  ...[0xe0001, 0xe0020, 0xe007f, 0xe0100, 0xe01ef, 0xe0fff, 0xe1000, 0xf0000, 0xffffd, 0x10ffff],
  ...[0x212b, 0x2126, 0x340, 0x958, 0xfb1d, 0xf900, 0x2f800, 0x1d15e, 0x1100, 0x1161, 0x11a8],
];

/** Words that joiners change, as the page allows. */
const JOINED = ["\u0915\u094d\u200d\u0937", "\u0915\u094d\u200c\u0937", "\u0645\u06cc\u200c\u062e"].concat([
  "\u09b0\u200d\u09cd\u09af",
]);

const character = (chance) => String.fromCodePoint(chance.whole(...chance.pick(SCRIPTS)));

function word(chance) {
  const letters = Array.from({ length: chance.whole(1, 8) }, () => character(chance));
  if (chance.is(0.2)) {
    const mark = String.fromCodePoint(chance.pick(MARKS));
    letters.splice(chance.whole(0, letters.length), 0, mark);
  }
  if (chance.is(0.05)) letters.push(chance.pick(JOINED));
  return letters.join("");
}

/** UTF-8 of a text as it must be, of `least` to `most` bytes; or, as a slip, of one that is not. */
export function textBytes(chance, least, most) {
  const words = Array.from({ length: chance.whole(1, 4) }, () => word(chance));
  let text = chance.is(0.05) ? "" : words.join(chance.is(0.2) ? " | " : " ");
  if (chance.is(0.1)) text = "x".repeat(most);
  if (chance.slip(0.4)) text = troubled(chance, text);
  else text = text.normalize("NFC");
  let bytes = Buffer.from(text);
  while (bytes.length > most && !chance.slip(0.02)) {
    text = [...text].slice(0, -1).join("").replace(/ +$/u, "");
    bytes = Buffer.from(text);
  }
  if (bytes.length < least && !chance.slip(0.5)) bytes = Buffer.from("?".repeat(least));
  return chance.slip(0.03) ? notUTF8(chance, bytes, most) : bytes;
}

function troubled(chance, text) {
  const made = [...text];
  const trouble = () =>
    chance.pick([
      () => String.fromCodePoint(chance.pick(TROUBLE)),
      () => String.fromCodePoint(chance.whole(0xa0, 0xd7ff)),
      () => String.fromCodePoint(chance.whole(0x10000, 0x1ffff)),
      () => String.fromCodePoint(chance.whole(0xe000, 0x10ffff)),
      () => " ",
      () => "  ",
      () => "e\u0301",
      () => String.fromCodePoint(chance.pick(MARKS)) + String.fromCodePoint(chance.pick(MARKS)),
    ])();
  for (let times = chance.whole(1, 2); times > 0; times -= 1) {
    const index = chance.pick([0, made.length, chance.whole(0, made.length)]);
    made.splice(index, 0, trouble());
  }
  return made.join("");
}

function notUTF8(chance, bytes, most) {
  const digits = chance.pick(["80", "c080", "eda080", "f4908080", "ff", "e280", "f8888080"]);
  const wrong = Buffer.from(digits, "hex");
  return Buffer.concat([bytes, wrong]).subarray(0, most);
}
