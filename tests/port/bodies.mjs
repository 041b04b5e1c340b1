// The kinds of body, ten and those to come: their entries and the conditions on them, from docs/packet-format.md.

import { ARRAY, BYTES, MAP, NEGATIVE, TEXT, UNSIGNED, demand } from "./cbor.mjs";
import { isNormal } from "./text.mjs";

const MOST = 2 ** 32 - 1;
const RATIOS = 5;
const WITH_UNITS = new Set([9, 10, 13]);
const WITHIN_ONE = new Set([11, 14]);
const PROPORTION = 12;

/** Kind → [its entries after study, question and cohort, those that may be absent, the rule]. */
const KINDS = {
  1: [[3, 4, 6, 11], [4, 11], effect],
  2: [[6, 7, 11], [6, 11], counts],
  3: [[6, 7, 11], [11], moments],
  4: [[3, 4, 5, 6, 8, 11], [4, 5, 8, 11], profile],
  5: [[4, 5, 6, 10], [5, 10], quadratic],
  6: [[8], [], record],
  7: [[6, 8], [], anchor],
  8: [[3, 6, 7, 8], [], derived],
  9: [[8, 9], [9], retraction],
  10: [[], [], () => ({})],
};
const KEYS = Array.from({ length: 21 }, (_, index) => 3 + index);
/** A kind to come, of which the values are not read. */
const TO_COME = [KEYS, KEYS, () => ({})];

/** How the entries that mean the same in all kinds are read. */
function entry(cursor, key, kind) {
  if (kind > 10) return unread(cursor, true);
  if (key === 3) return cursor.unsigned(15);
  if (key === 4 || key === 5) return cursor.unsigned(MOST);
  if (key === 6 || (key === 10 && kind === 5)) return cursor.byteString();
  if (key === 11) {
    const codes = cursor.byteString();
    demand(codes.length >= 1 && codes.length <= 16, "1 to 16 moderators");
    return Buffer.from(codes).toString("hex");
  }
  if (key === 7) {
    const length = cursor.argument(ARRAY);
    demand(length >= 1n && length <= 4n, "1 to 4 numbers");
    return Array.from({ length: Number(length) }, () => cursor.unsigned(MOST));
  }
  if (kind === 6) {
    const start = cursor.at;
    demand(cursor.head().major === MAP, "a record is a map");
    cursor.at = start;
    return cursor.value(4, (text) => isNormal(text, cursor.relaxed));
  }
  return kind === 4 ? shortText(cursor, 1, 24) : cursor.unsigned(255);
}

/** A whole number, text or bytes, or a list of these. */
function unread(cursor, mayBeList) {
  const start = cursor.at;
  const { major, argument } = cursor.head();
  if (major === UNSIGNED || major === NEGATIVE) return;
  if (major === ARRAY && mayBeList) {
    for (let left = argument; left > 0n; left -= 1n) unread(cursor, false);
    return;
  }
  cursor.at = start;
  if (major === BYTES) cursor.byteString();
  else demand(isNormal(cursor.text(), cursor.relaxed), "text is not in normal form");
}

function shortText(cursor, least, most) {
  const start = cursor.at;
  const length = cursor.argument(TEXT);
  demand(length >= BigInt(least) && length <= BigInt(most), `text of ${least} to ${most} bytes`);
  cursor.at = start;
  const text = cursor.text();
  demand(isNormal(text, cursor.relaxed), "text is not in normal form");
  return text;
}

/** The body at the cursor: its common entries and its values. */
export function body(cursor, kind) {
  demand(kind >= 1 && kind <= 23, `kind ${kind}`);
  const [allowed, optional, rule] = KINDS[kind] ?? TO_COME;
  const entries = {};
  let before = -1;
  for (let left = cursor.argument(MAP); left > 0n; left -= 1n) {
    const key = cursor.unsigned(23);
    demand(key > before, "keys out of order, or twice");
    before = key;
    if (key === 0) entries[0] = Buffer.from(cursor.byteString(8)).toString("hex");
    else if (key === 1) entries[1] = shortText(cursor, 1, 48);
    else if (key === 2) entries[2] = shortText(cursor, 1, 24);
    else {
      demand(allowed.includes(key), `kind ${kind} has no entry ${key}`);
      entries[key] = entry(cursor, key, kind);
    }
  }
  const needed = [0, 1, ...allowed.filter((key) => !optional.includes(key))];
  demand(needed.every((key) => key in entries), "an entry is missing");
  const { 0: study, 1: question, 2: cohort = "" } = entries;
  const values = rule(entries, cursor.relaxed);
  if (kind <= 4 && 11 in entries) values.moderators = entries[11];
  return { study, question, cohort, values };
}

/** Little-endian reals. */
function reals(bytes, width, relaxed) {
  demand(bytes.length % width === 0, "a part of a real");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return Array.from({ length: bytes.length / width }, (_, index) => {
    const at = index * width;
    const real = width === 8 ? view.getFloat64(at, true) : view.getFloat32(at, true);
    demand(Number.isFinite(real), "not finite");
    demand(!Object.is(real, -0) || relaxed.has("minus-zero"), "minus zero");
    return real;
  });
}

const isWithin = (value, least, most) => value >= least && value <= most;

function demandEstimate(measure, estimate, error) {
  const hasUnits = WITH_UNITS.has(measure);
  let [least, most] = hasUnits ? [-1e30, 1e30] : [-50, 50];
  if (WITHIN_ONE.has(measure)) [least, most] = [-1, 1];
  if (measure === PROPORTION) [least, most] = [0, 1];
  demand(isWithin(estimate, least, most), "estimate");
  demand(hasUnits ? isWithin(error, 1e-30, 1e30) : isWithin(error, 1e-8, 1e4), "standard error");
  return hasUnits ? 1e30 : 1e4;
}

function demandMeasure(measure, most) {
  demand(measure >= 1 && measure <= most, `measure ${measure}`);
}

function effect({ 3: measure, 4: n = null, 6: bytes }, relaxed) {
  demandMeasure(measure, 15);
  demand(n === null || n >= 1, "n");
  demand(bytes.length === 16, "two reals");
  const [estimate, standardError] = reals(bytes, 8, relaxed);
  demandEstimate(measure, estimate, standardError);
  return { measure, n, estimate: hex(estimate), standard_error: hex(standardError) };
}

function counts({ 6: bytes, 7: numbers }, relaxed) {
  demand(numbers.length === 2 || numbers.length === 4, "one arm or two");
  const arms = numbers.length / 2;
  const times = bytes === undefined ? [] : reals(bytes, 8, relaxed);
  demand(bytes === undefined || times.length === arms, "a time for each arm");
  demand(times.every((time) => isWithin(time, 1e-12, 1e15)), "person-time");
  const [events, total, controlEvents = null, controlTotal = null] = numbers;
  for (let arm = 0; arm < arms; arm += 1) {
    demand(numbers[2 * arm + 1] >= 1, "nobody in an arm");
    const isPossible = bytes !== undefined || numbers[2 * arm] <= numbers[2 * arm + 1];
    demand(isPossible || relaxed.has("events"), "more events than people");
  }
  demand(events + controlEvents <= MOST && total + controlTotal <= MOST, "both arms");
  return {
    events,
    total,
    control_events: controlEvents,
    control_total: controlTotal,
    person_time: hex(times[0]),
    control_person_time: hex(times[1]),
  };
}

function moments({ 6: bytes, 7: people }, relaxed) {
  demand(people.length <= 2, "one arm or two");
  demand(bytes.length === 16 * people.length, "two reals for each arm");
  demand(people.every((count) => count >= 1), "nobody in an arm");
  const [mean, ss, controlMean, controlSs] = reals(bytes, 8, relaxed);
  for (const value of [mean, controlMean ?? 0]) demand(isWithin(value, -1e60, 1e60), "mean");
  for (const value of [ss, controlSs ?? 0]) demand(isWithin(value, 0, 1e120), "ss");
  return {
    total: people[0],
    mean: hex(mean),
    ss: hex(ss),
    control_total: people[1] ?? null,
    control_mean: hex(controlMean),
    control_ss: hex(controlSs),
  };
}

function profile(entries, relaxed) {
  const { 3: measure, 4: n = null, 5: events = null, 6: bytes, 8: protection = null } = entries;
  demandMeasure(measure, RATIOS);
  demand(bytes.length === 88 || bytes.length === 92, "22 or 23 reals");
  const numbers = reals(bytes, 4, relaxed);
  const [lower, upper, slopeBelow, slopeAbove] = numbers;
  const maximum = numbers.length === 23 ? numbers[4] : null;
  const values = numbers.slice(-18, -9);
  const gradients = numbers.slice(-9);
  demand(isWithin(lower, -64, 64) && isWithin(upper, -64, 64), "ends");
  demand(upper - lower >= 0.1, "ends too close");
  for (const value of [slopeBelow, slopeAbove, ...values]) {
    demand(isWithin(value, -1e12, 0), "a slope or value");
  }
  for (const value of gradients) demand(isWithin(value, -1e12, 1e12), "a gradient");
  const [first, last] = [gradients[0], gradients[8]];
  const width = upper - lower;
  const evenly = (count) =>
    Array.from({ length: count }, (_, k) =>
      k === count - 1 ? upper : lower + (width * k) / (count - 1),
    );
  let points = evenly(9);
  if (maximum === null) {
    const rises = first >= 0 && last >= 0 && values[8] === 0 && slopeAbove === 0;
    const falls = first <= 0 && last <= 0 && values[0] === 0 && slopeBelow === 0;
    demand(rises || falls, "neither rises nor falls for ever");
  } else {
    demand(isWithin(maximum, -64, 64), "maximum");
    const x = (7 * (maximum - lower)) / (upper - lower);
    demand(x > 0.01 && x < 6.99 && Math.abs(x - Math.round(x)) > 0.01, "position of the maximum");
    demand(first >= 0 && last <= 0, "no maximum between the ends");
    const index = Math.ceil(x);
    demand(values[index] === 0, "value at the maximum");
    points = evenly(8);
    points.splice(index, 0, maximum);
  }
  return {
    measure,
    n,
    events,
    protection,
    lower: hex(lower),
    upper: hex(upper),
    slope_below: hex(slopeBelow),
    slope_above: hex(slopeAbove),
    maximum: hex(maximum),
    points: points.map(hex),
    values: values.map(hex),
    gradients: gradients.map(hex),
  };
}

function quadratic({ 4: n, 5: events = null, 6: bytes, 10: told = null }, relaxed) {
  demand(n >= 1, "n");
  let logLikelihood = null;
  if (told !== null) {
    demand(told.length === 8, "one float64");
    [logLikelihood] = reals(told, 8, relaxed);
    demand(isWithin(logLikelihood, -(2 ** 100), 2 ** 100), "log-likelihood");
  }
  const p = Array.from({ length: 14 }, (_, index) => index + 1).find(
    (count) => count * count + 5 * count + 10 === bytes.length,
  );
  demand(p !== undefined, "no number of coefficients has this length");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const model = bytes[8];
  demand(isWithin(model, 1, 4), "model");
  const scoreExponent = view.getInt8(9);
  const score = Array.from({ length: p }, (_, index) => view.getInt16(10 + 2 * index, true));
  const rows = 10 + 2 * p;
  const exponents = [];
  const diagonal = [];
  for (let row = 0; row < p; row += 1) {
    exponents.push(view.getInt8(rows + 4 * row));
    const upper = bytes.subarray(rows + 4 * row + 1, rows + 4 * row + 4);
    const [value] = reals(Uint8Array.of(0, ...upper), 4, relaxed);
    demand(isWithin(value, 0, 2 ** 100), "diagonal");
    demand(value !== 0 || score[row] === 0, "a score without information");
    diagonal.push(value);
  }
  demandScaled(scoreExponent, score, relaxed);
  const below = [];
  let at = rows + 4 * p;
  for (let row = 0; row < p; row += 1) {
    const offsets = Array.from({ length: row }, (_, column) => at + 2 * column);
    const numbers = offsets.map((offset) => view.getInt16(offset, true));
    at += 2 * row;
    demandScaled(exponents[row], numbers, relaxed);
    below.push(numbers);
  }
  return {
    n,
    events,
    anchor_id: Buffer.from(bytes.subarray(0, 8)).toString("hex"),
    model,
    score_exponent: scoreExponent,
    whitened: score,
    diagonal: diagonal.map(hex),
    exponents,
    factors: below.flat(),
    log_likelihood: hex(logLikelihood),
  };
}

/** Integers that share an exponent use it to the full, so that there is one form of each. */
function demandScaled(exponent, integers, relaxed) {
  demand(isWithin(exponent, -126, 126), "exponent");
  demand(integers.every((integer) => integer >= -32767), "-32768");
  const largest = Math.max(0, ...integers.map(Math.abs));
  const isScaled = largest >= 16384 || (largest === 0 && exponent === 0);
  demand(isScaled || relaxed.has("exponents"), "another exponent would do");
}

/** Each value with its type, so that 1, 1.5, "1" and true stay different. */
function shown(value) {
  if (value === null || typeof value === "boolean") return value;
  if (typeof value === "bigint") return ["integer", String(value)];
  if (typeof value === "string") return ["text", value];
  if (value instanceof Uint8Array) return ["bytes", Buffer.from(value).toString("hex")];
  if (Array.isArray(value)) return ["list", value.map(shown)];
  if (value instanceof Map) return ["map", [...value].map(([key, item]) => [key, shown(item)])];
  return ["real", hex(value.value)];
}

function record({ 8: values }) {
  return { content: shown(values) };
}

function anchor({ 6: bytes, 8: model }, relaxed) {
  demand(isWithin(model, 1, 4), "model");
  demand(isWithin(bytes.length, 12, 64), "1 to 14 coefficients");
  const coefficients = reals(bytes.subarray(8), 4, relaxed);
  for (const value of coefficients) demand(isWithin(value, -(2 ** 100), 2 ** 100), "coefficient");
  const names = Buffer.from(bytes.subarray(0, 8)).toString("hex");
  return { model, coefficients: coefficients.map(hex), names_hash: names };
}

function derived({ 3: measure, 6: bytes, 7: sites, 8: model }, relaxed) {
  demandMeasure(measure, 15);
  demand(sites.length === 1 && sites[0] >= 1, "sites");
  demand(model <= 1, "fixed or random");
  demand(bytes.length === 24, "three reals");
  const [estimate, standardError, tau2] = reals(bytes, 8, relaxed);
  const largest = demandEstimate(measure, estimate, standardError);
  demand(isWithin(tau2, 0, model === 0 ? 0 : largest * largest), "tau²");
  return {
    measure,
    estimate: hex(estimate),
    standard_error: hex(standardError),
    tau2: hex(tau2),
    sites: sites[0],
    model,
  };
}

function retraction({ 8: reason, 9: role }) {
  demand(role === undefined || role === 1 || role === 2, "role");
  return { reason, role: role ?? 0 };
}

/** A real as the 16 digits of its float64, which compare exactly. */
function hex(real) {
  if (real === undefined || real === null) return null;
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleBE(real);
  return bytes.toString("hex");
}
