// Deterministic CBOR (RFC 8949, section 4.2.1), read once from left to right: a second form of
// anything is refused where it stands, so nothing has to be encoded again.

import { decoded } from "./text.mjs";

export class Refused extends Error {}

export function demand(holds, why) {
  if (!holds) throw new Refused(why);
}

export const UNSIGNED = 0;
export const NEGATIVE = 1;
export const BYTES = 2;
export const TEXT = 3;
export const ARRAY = 4;
export const MAP = 5;
const SIMPLE = 7;

/** A real in a record, apart from integers, which are BigInt. */
export class Real {
  constructor(value) {
    this.value = value;
  }
}

export class Cursor {
  constructor(bytes, relaxed) {
    this.bytes = bytes;
    this.at = 0;
    this.relaxed = relaxed;
  }

  take(length) {
    demand(this.at + length <= this.bytes.length, "ends too early");
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }

  isAtEnd() {
    return this.at === this.bytes.length;
  }

  /** The next head: major type, additional information, argument (BigInt). */
  head() {
    const [initial] = this.take(1);
    const info = initial & 31;
    const major = initial >> 5;
    demand(info < 28, "indefinite or reserved length");
    if (info < 24) return { major, info, argument: BigInt(info) };
    const width = 1 << (info - 24);
    let argument = 0n;
    for (const byte of this.take(width)) argument = (argument << 8n) | BigInt(byte);
    const least = width === 1 ? 24n : 1n << BigInt(4 * width);
    const isLong = argument < least && major !== SIMPLE;
    demand(!isLong || this.relaxed.has("long-heads"), "longer than needed");
    return { major, info, argument };
  }

  argument(wanted) {
    const { major, argument } = this.head();
    demand(major === wanted, `major type ${major}, not ${wanted}`);
    return argument;
  }

  unsigned(most) {
    const argument = this.argument(UNSIGNED);
    demand(argument <= BigInt(most), `above ${most}`);
    return Number(argument);
  }

  byteString(length) {
    const actual = this.argument(BYTES);
    demand(length === undefined || actual === BigInt(length), "another length");
    demand(actual <= 512n, "longer than a packet");
    return this.take(Number(actual));
  }

  text() {
    const length = this.argument(TEXT);
    demand(length <= 512n, "longer than a packet");
    const text = decoded(this.take(Number(length)));
    demand(text !== undefined, "not UTF-8");
    return text;
  }

  /** What a record may hold. `depth` is how many maps and lists there may still be, nested. */
  value(depth, isKey) {
    const start = this.at;
    const { major, info, argument } = this.head();
    if (major === UNSIGNED || major === NEGATIVE) {
      const integer = major === UNSIGNED ? argument : -1n - argument;
      demand(integer < 2n ** 53n && integer > -(2n ** 53n), "beyond 2^53 - 1");
      return integer;
    }
    if (major === SIMPLE) return this.simple(info, argument);
    this.at = start;
    if (major === BYTES) return this.byteString();
    if (major === TEXT) {
      const text = this.text();
      demand(isKey(text), "text is not in normal form");
      return text;
    }
    demand(major === ARRAY || major === MAP, "a tag");
    demand(depth > 0, "nested too deep");
    return major === ARRAY ? this.list(depth, isKey) : this.map(depth, isKey);
  }

  list(depth, isKey) {
    const values = [];
    for (let left = this.argument(ARRAY); left > 0n; left -= 1n) {
      values.push(this.value(depth - 1, isKey));
    }
    return values;
  }

  /** A map with text keys. */
  map(depth, isKey) {
    const entries = new Map();
    let before;
    for (let left = this.argument(MAP); left > 0n; left -= 1n) {
      const start = this.at;
      const key = this.text();
      demand(isKey(key), "a key is not in normal form");
      const encoded = this.bytes.subarray(start, this.at);
      const isInOrder = before === undefined || Buffer.compare(before, encoded) < 0;
      demand(isInOrder || this.relaxed.has("key-order"), "keys out of order, or twice");
      before = encoded;
      entries.set(key, this.value(depth - 1, isKey));
    }
    return entries;
  }

  simple(info, argument) {
    if (info === 20 || info === 21) return info === 21;
    if (info === 22) return null;
    demand(info >= 25, "a simple value without meaning here");
    const real = { 25: halfOf, 26: singleOf, 27: doubleOf }[info](argument);
    demand(Number.isFinite(real) && !Object.is(real, -0), "not a finite real");
    demand(!Number.isInteger(real), "a whole number as a real");
    if (!this.relaxed.has("long-floats")) demand(info === shortestOf(real), "a longer real");
    return new Real(real);
  }
}

const scratch = new DataView(new ArrayBuffer(8));

function doubleOf(bits) {
  scratch.setBigUint64(0, bits);
  return scratch.getFloat64(0);
}

function singleOf(bits) {
  scratch.setUint32(0, Number(bits));
  return scratch.getFloat32(0);
}

function halfOf(argument) {
  const bits = Number(argument);
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
}

/** The additional information of the shortest form that holds a real exactly. */
function shortestOf(real) {
  if (Math.fround(real) !== real) return 27;
  const size = Math.abs(real);
  const unit = size < 2 ** -14 ? 2 ** -24 : 2 ** (Math.floor(Math.log2(size)) - 10);
  return size < 65520 && Number.isInteger(size / unit) ? 25 : 26;
}
