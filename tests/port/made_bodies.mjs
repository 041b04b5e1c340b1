// Bodies of all kinds over the whole of what the page allows, and, as slips, of what it forbids.

import { nextDouble, nextSingle, textBytes } from "./chance.mjs";

const MOST = 2 ** 32 - 1;

/** A CBOR head in the fewest bytes; or, as a slip, in more, or of another type. */
export function head(chance, major, argument) {
  const number = BigInt(argument);
  if (number < 0n) return head(chance, 1, -1n - number);
  let width = [24n, 2n ** 8n, 2n ** 16n, 2n ** 32n].findIndex((end) => number < end);
  if (width < 0) width = 4;
  if (chance.slip(0.01)) width = chance.whole(Math.min(4, width + 1), 4);
  const type = chance.slip(0.003) ? chance.whole(0, 7) : major;
  if (chance.slip(0.003)) return Buffer.of((type << 5) | chance.whole(28, 31));
  if (width === 0) return Buffer.of((type << 5) | Number(number));
  const bytes = Buffer.alloc(9);
  bytes.writeBigUInt64BE(BigInt.asUintN(64, number), 1);
  const used = bytes.subarray(9 - 2 ** (width - 1));
  return Buffer.concat([Buffer.of((type << 5) | (23 + width)), used]);
}

export const byteString = (chance, bytes) => Buffer.concat([head(chance, 2, bytes.length), bytes]);
const text = (chance, bytes) => Buffer.concat([head(chance, 3, bytes.length), bytes]);
const whole = (chance, number) => head(chance, 0, number);
const list = (chance, items) => Buffer.concat([head(chance, 4, items.length), ...items]);

function reals(chance, values, width) {
  const bytes = Buffer.alloc(values.length * width);
  values.forEach((value, index) =>
    width === 8 ? bytes.writeDoubleLE(value, 8 * index) : bytes.writeFloatLE(value, 4 * index),
  );
  return byteString(chance, cut(chance, bytes));
}

const cut = (chance, bytes) =>
  chance.slip(0.05) ? bytes.subarray(0, Math.max(0, bytes.length - chance.whole(1, 9))) : bytes;

/** A map of integer keys in order; or, as a slip, out of order, twice, one missing, one more. */
function map(chance, entries) {
  let pairs = Object.entries(entries)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => Buffer.concat([whole(chance, key), value]));
  if (chance.slip(0.05)) pairs = chance.shuffled(pairs);
  if (chance.slip(0.05)) pairs.splice(chance.whole(0, pairs.length - 1), 1);
  if (chance.slip(0.05)) pairs.push(chance.pick(pairs));
  if (chance.slip(0.05)) {
    const key = chance.pick([3, 4, 5, 6, 7, 8, 9, 23, 24, -1]);
    const value = chance.pick(["00", "40", "60", "80", "a0", "f6", "f90000", "c100"]);
    pairs.push(Buffer.concat([whole(chance, key), Buffer.from(value, "hex")]));
  }
  return Buffer.concat([head(chance, 5, pairs.length), ...pairs]);
}

const maybe = (chance, make) => (chance.is(0.5) ? make() : undefined);

/** The range of estimates and of standard errors of each measure. */
function ranges(measure) {
  if ([9, 10, 13].includes(measure)) return [-1e30, 1e30, 1e-30, 1e30];
  if ([11, 14].includes(measure)) return [-1, 1, 1e-8, 1e4];
  return measure === 12 ? [0, 1, 1e-8, 1e4] : [-50, 50, 1e-8, 1e4];
}

function effect(chance) {
  const measure = chance.count32(1, 15);
  const [least, most, smallest, largest] = ranges(measure);
  return {
    3: whole(chance, measure),
    4: maybe(chance, () => whole(chance, chance.count32(1, MOST))),
    6: reals(chance, [chance.real(least, most), chance.real(smallest, largest)], 8),
  };
}

function counts(chance) {
  const arms = chance.whole(1, 2);
  const hasTimes = chance.is(0.5);
  const numbers = [];
  let [eventsLeft, peopleLeft] = [MOST, MOST];
  for (let arm = arms; arm > 0; arm -= 1) {
    const people = chance.count32(1, peopleLeft - (arm - 1));
    const most = hasTimes ? eventsLeft : Math.min(people, eventsLeft);
    const events = chance.count32(0, Math.max(0, most));
    eventsLeft -= events;
    peopleLeft -= people;
    numbers.push(events, people);
  }
  if (chance.slip()) numbers.splice(chance.whole(0, numbers.length - 1), 1);
  const times = numbers.filter((_, index) => index % 2 === 0).map(() => chance.real(1e-12, 1e15));
  if (chance.slip(0.1)) times.pop();
  return {
    6: hasTimes ? reals(chance, times, 8) : undefined,
    7: list(chance, numbers.map((number) => whole(chance, number))),
  };
}

function moments(chance) {
  const arms = Array.from({ length: chance.slip() ? chance.whole(0, 4) : chance.whole(1, 2) });
  const values = arms.flatMap(() => [chance.real(-1e60, 1e60), chance.real(0, 1e120)]);
  return {
    6: reals(chance, values, 8),
    7: list(chance, arms.map(() => whole(chance, chance.count32(1, MOST)))),
  };
}

function profile(chance) {
  let lower = chance.is(0.3) ? 2 ** -chance.whole(5, 30) : chance.real(-64, 63.8, true);
  const upper = Math.max(chance.real(-63.8, 64, true), chance.slip(0.1) ? -64 : atLeast(lower + 0.1));
  const values = Array.from({ length: 9 }, () => chance.real(-1e12, 0, true));
  const gradients = Array.from({ length: 9 }, () => chance.real(-1e12, 1e12, true));
  const slopes = [chance.real(-1e12, 0, true), chance.real(-1e12, 0, true)];
  const middle = [];
  const shape = chance.pick(["peak", "peak", "rises", "falls", "flat"]);
  const sided = (value, sign) => (chance.slip(0.1) ? value : sign * Math.abs(value) + 0);
  if (shape === "peak") {
    const edge = chance.whole(0, 7) + chance.pick([-0.01, 0.01]);
    const x = chance.is(0.3) ? edge + chance.pick([-1e-6, 0, 1e-6]) : chance.share() * 7;
    const maximum = Math.fround(lower + ((upper - lower) * x) / 7);
    // A lower end that puts the maximum on an edge up to the last bits, where roundings differ.
    const tuned = Math.fround((7 * maximum - edge * upper) / (7 - edge));
    if (chance.is(0.6) && Math.abs(tuned) <= 64 && upper - tuned >= 0.1) lower = tuned + 0;
    middle.push(maximum);
    const index = Math.ceil((7 * (maximum - lower)) / (upper - lower));
    if (!chance.slip(0.2)) values[Math.min(8, Math.max(0, index))] = 0;
    gradients[0] = sided(gradients[0], 1);
    gradients[8] = sided(gradients[8], -1);
  } else {
    const sign = shape === "falls" ? -1 : 1;
    const at = shape === "falls" ? 0 : 8;
    gradients[0] = sided(gradients[0], sign);
    gradients[8] = sided(gradients[8], sign);
    if (!chance.slip(0.2)) values[at] = 0;
    if (!chance.slip(0.2)) slopes[at / 8] = 0;
    if (shape === "flat") [values, gradients, slopes].forEach((numbers) => numbers.fill(0));
  }
  return {
    3: whole(chance, chance.count32(1, 5)),
    4: maybe(chance, () => whole(chance, chance.count32(0, MOST))),
    5: maybe(chance, () => whole(chance, chance.count32(0, MOST))),
    6: reals(chance, [lower, upper, ...slopes, ...middle, ...values, ...gradients], 4),
    8: chance.is(0.2) ? text(chance, textBytes(chance, 1, 24)) : undefined,
  };
}

/** The smallest float32 that is not below a value. */
function atLeast(value) {
  const single = Math.fround(value);
  return single < value ? nextSingle(single, 1) : single;
}

/** Exponent and integers that share it, scaled as the page says. */
function scaled(chance, length, allowed = () => true) {
  const integers = Array.from({ length }, (_, index) =>
    allowed(index) ? chance.pick([0, chance.whole(-32767, 32767), chance.whole(-50, 50)]) : 0,
  );
  const indices = [...integers.keys()].filter(allowed);
  const isZero = integers.every((integer) => integer === 0);
  if (indices.length > 0 && !isZero && !chance.slip()) {
    const size = chance.pick([16384, 32767, chance.whole(16384, 32767)]);
    integers[chance.pick(indices)] = chance.pick([-1, 1]) * size;
  }
  if (indices.length > 0 && chance.slip()) {
    integers[chance.pick(indices)] = chance.pick([-32768, 16383]);
  }
  const nothing = integers.every((integer) => integer === 0) && !chance.slip(0.1);
  const some = chance.pick([-126, 126, chance.whole(-126, 126), chance.whole(-9, 9)]);
  const exponent = nothing ? 0 : some;
  return [chance.slip() ? chance.pick([-128, -127, 127, 1]) : exponent, integers];
}

function quadratic(chance) {
  const p = chance.pick([1, 2, 3, chance.whole(1, 14), chance.slip() ? 15 : 4]);
  const diagonal = Array.from({ length: p }, () => chance.real(0, 2 ** 100, true));
  const [exponent, score] = scaled(chance, p, (row) => diagonal[row] !== 0 || chance.slip());
  const bytes = [chance.bytes(8), Buffer.of(modelOf(chance))];
  const signed = (values) => {
    const packed = Buffer.alloc(2 * values.length);
    values.forEach((value, index) => packed.writeInt16LE(value, 2 * index));
    return packed;
  };
  bytes.push(Buffer.of(exponent & 255), signed(score));
  const below = diagonal.map((_, row) => scaled(chance, row));
  diagonal.forEach((value, row) => {
    const single = Buffer.alloc(4);
    single.writeFloatLE(value);
    // Cut to its upper bytes it must not become 0, of which nothing pulls.
    if (value !== 0 && single.subarray(1).every((byte) => byte === 0)) single[1] = 1;
    bytes.push(Buffer.of(below[row][0] & 255), single.subarray(1));
  });
  bytes.push(...below.map(([, values]) => signed(values)));
  return {
    4: whole(chance, chance.count32(1, MOST)),
    5: maybe(chance, () => whole(chance, chance.count32(0, MOST))),
    6: byteString(chance, cut(chance, Buffer.concat(bytes))),
    10: maybe(chance, () => reals(chance, [chance.real(-(2 ** 100), 2 ** 100)], 8)),
  };
}

const modelOf = (chance) => (chance.slip() ? chance.pick([0, 5, 255]) : chance.whole(1, 4));

/** A real of a record, in the shortest of the three forms that holds it; or, as a slip, another. */
function recordReal(chance) {
  let value = chance.pick([
    () => chance.whole(-4095, 4095) / 2 ** chance.whole(1, 12),
    () => Math.fround(chance.real(-1e6, 1e6)),
    () => chance.real(-1e3, 1e3),
    () => chance.pick([2 ** -24, 2 ** -25, 2 ** -14, 1.5 * 2 ** -24, 2 ** -149, 5e-324, 1e-300]),
    () => chance.pick([0.5, -0.5, 1023.5, 2047.5, 0.1, 1 / 3, 2 ** 20 + 0.5, 2 ** 51 + 0.5]),
  ])();
  if (Number.isInteger(value)) value = 0.25;
  const wrong = [1, -1, 0, -0, NaN, Infinity, 65504, 1e300, 2 ** 53, -1e22];
  if (chance.slip(0.3)) value = chance.pick(wrong);
  const double = Buffer.alloc(9, 0xfb);
  double.writeDoubleBE(value, 1);
  const single = Buffer.alloc(5, 0xfa);
  single.writeFloatBE(value, 1);
  const half = halfOf(value);
  const forms = [half, Object.is(Math.fround(value), value) ? single : undefined, double];
  const good = forms.filter((form) => form !== undefined);
  return chance.slip(0.2) ? chance.pick([...good, Buffer.from("f97e01", "hex")]) : good[0];
}

/** The three bytes of a half-precision real, if one has exactly this value. */
function halfOf(value) {
  if (!Number.isFinite(value)) {
    return Buffer.from({ NaN: "f97e00", Infinity: "f97c00", "-Infinity": "f9fc00" }[value], "hex");
  }
  const size = Math.abs(value);
  const exponent = size < 2 ** -14 ? -14 : Math.floor(Math.log2(size));
  const fraction = size / 2 ** (exponent - 10);
  if (!Number.isInteger(fraction) || fraction > 2047 || exponent > 15) return undefined;
  const bits = fraction < 1024 ? fraction : ((exponent + 15) << 10) | (fraction - 1024);
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  return Buffer.of(0xf9, (sign | bits) >> 8, bits & 255);
}

const LARGEST = 2 ** 53 - 1;
const TOO_LARGE = [2 ** 53, -(2 ** 53), 2n ** 64n - 1n];
/** Undefined, other simple values, tags and a break. */
const NO_VALUES = ["f7", "e0", "f820", "f818", "c000", "d82a40", "ff"];
const many = (length, make) => Array.from({ length }, make);

function recordValue(chance, depth) {
  const leaf = [
    () => Buffer.of(chance.pick([0xf4, 0xf5, 0xf6])),
    () => head(chance, 0, chance.whole(-70, 70)),
    () => head(chance, 0, chance.whole(-LARGEST, LARGEST)),
    () => head(chance, 0, chance.slip() ? chance.pick(TOO_LARGE) : LARGEST),
    () => recordReal(chance),
    () => recordReal(chance),
    () => text(chance, textBytes(chance, 0, 30)),
    () => byteString(chance, chance.bytes(chance.pick([0, 1, 8, 23, 24]))),
    () => Buffer.from(chance.slip(0.3) ? chance.pick(NO_VALUES) : "f6", "hex"),
  ];
  const inner = [
    () => list(chance, many(chance.whole(0, 3), () => recordValue(chance, depth - 1))),
    () => recordMap(chance, depth),
  ];
  return chance.pick(depth > 0 || chance.slip(0.3) ? [...leaf, ...inner, ...inner] : leaf)();
}

function recordMap(chance, depth) {
  const entries = new Map();
  for (let left = chance.pick([0, 1, 2, 3, 5]); left > 0; left -= 1) {
    const key = text(chance, textBytes(chance, 0, 12));
    entries.set(key.toString("hex"), [key, recordValue(chance, depth - 1)]);
  }
  let pairs = [...entries.values()].sort(([a], [b]) => Buffer.compare(a, b));
  if (pairs.length > 1 && chance.slip()) pairs = chance.shuffled(pairs);
  if (pairs.length > 0 && chance.slip(0.1)) pairs.push(chance.pick(pairs));
  if (chance.slip(0.05)) pairs.push([Buffer.of(chance.whole(0, 255)), Buffer.of(0)]);
  return Buffer.concat([head(chance, 5, pairs.length), ...pairs.flat()]);
}

function anchor(chance) {
  const p = chance.slip() ? chance.pick([0, 15]) : chance.whole(1, 14);
  const values = Array.from({ length: p }, () => chance.real(-(2 ** 100), 2 ** 100, true));
  const packed = Buffer.alloc(4 * p);
  values.forEach((value, index) => packed.writeFloatLE(value, 4 * index));
  return {
    6: byteString(chance, cut(chance, Buffer.concat([chance.bytes(8), packed]))),
    8: whole(chance, modelOf(chance)),
  };
}

function derived(chance) {
  const measure = chance.count32(1, 15);
  const [least, most, smallest, largest] = ranges(measure);
  const model = chance.count32(0, 1);
  const top = model === 0 && !chance.slip() ? 0 : largest * largest;
  const tau2 = chance.real(0, chance.is(0.1) && top > 0 ? nextDouble(top, -1) : top);
  return {
    3: whole(chance, measure),
    6: reals(chance, [chance.real(least, most), chance.real(smallest, largest), tau2], 8),
    7: list(chance, many(chance.slip() ? 2 : 1, () => whole(chance, chance.count32(1, MOST)))),
    8: whole(chance, model),
  };
}

const MAKERS = {
  1: effect,
  2: counts,
  3: moments,
  4: profile,
  5: quadratic,
  6: (chance) => ({ 8: recordMap(chance, 3) }),
  7: anchor,
  8: derived,
  9: (chance) => ({
    8: whole(chance, chance.count32(0, 255)),
    ...(chance.is(0.3) && { 9: whole(chance, chance.slip(0.1) ? chance.whole(0, 4) : chance.whole(1, 2)) }),
  }),
  10: () => ({}),
};

/** A body of a kind to come. */
function toCome(chance) {
  const leaf = (depth) => [
    () => head(chance, 0, chance.pick([0, 23, 24, -1, -257, 2 ** 32, TOO_LARGE[2], LARGEST])),
    () => text(chance, textBytes(chance, 0, 12)),
    () => byteString(chance, chance.bytes(chance.whole(0, 30))),
    () => list(chance, many(chance.whole(0, 3), () => one(depth - 1))),
    () => recordValue(chance, 0),
  ];
  const one = (depth) => {
    const makers = leaf(depth);
    if (chance.slip(0.05)) return makers[4]();
    return chance.pick(depth > 0 || chance.slip(0.05) ? makers.slice(0, 4) : makers.slice(0, 3))();
  };
  const keys = many(chance.whole(0, 3), () => chance.whole(3, chance.slip(0.05) ? 25 : 23));
  return Object.fromEntries(keys.map((key) => [key, one(1)]));
}

/** The body of a kind, encoded. */
export function madeBody(chance, kind) {
  return map(chance, {
    0: byteString(chance, cut(chance, chance.bytes(8))),
    1: text(chance, textBytes(chance, 1, chance.pick([10, 48]))),
    2: maybe(chance, () => text(chance, textBytes(chance, 1, 24))),
    ...(MAKERS[kind] ?? toCome)(chance),
  });
}
