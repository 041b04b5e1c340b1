// Edwards25519 with BigInt (RFC 8032, section 5.1): slow, and for what OpenSSL does not offer.

import { createHash } from "node:crypto";

export const P = 2n ** 255n - 19n;
export const L = 2n ** 252n + 27742317777372353535851937790883648493n;
const SIGN = 2n ** 255n;

const mod = (value, modulus = P) => ((value % modulus) + modulus) % modulus;

function power(base, exponent) {
  let [result, factor] = [1n, mod(base)];
  for (let left = exponent; left > 0n; left >>= 1n) {
    if (left & 1n) result = mod(result * factor);
    factor = mod(factor * factor);
  }
  return result;
}

const inverse = (value) => power(value, P - 2n);
const D = mod(-121665n * inverse(121666n));
const SQRT_MINUS_1 = power(2n, (P - 1n) / 4n);

const point = (x, y) => [x, y, 1n, mod(x * y)];
const IDENTITY = point(0n, 1n);

export function add([x1, y1, z1, t1], [x2, y2, z2, t2]) {
  const a = mod((y1 - x1) * (y2 - x2));
  const b = mod((y1 + x1) * (y2 + x2));
  const c = mod(2n * D * t1 * t2);
  const d = mod(2n * z1 * z2);
  const [e, f, g, h] = [b - a, d - c, d + c, b + a];
  return [mod(e * f), mod(g * h), mod(f * g), mod(e * h)];
}

export function times(scalar, base) {
  let [result, step] = [IDENTITY, base];
  for (let left = scalar; left > 0n; left >>= 1n) {
    if (left & 1n) result = add(result, step);
    step = add(step, step);
  }
  return result;
}

/** The point that 32 bytes stand for, or undefined; y may be P or more, as RFC 8032 forbids. */
export function decode(bytes) {
  const written = littleEndian(bytes);
  const y = mod(written & (SIGN - 1n));
  const [u, v] = [mod(y * y - 1n), mod(D * y * y + 1n)];
  const v3 = mod(v * v * v);
  let x = mod(u * v3 * power(u * v3 * v3 * v, (P - 5n) / 8n));
  const check = mod(v * x * x);
  if (check !== u) {
    if (check !== mod(-u)) return undefined;
    x = mod(x * SQRT_MINUS_1);
  }
  const isOdd = written >= SIGN;
  return point((x & 1n) === (isOdd ? 1n : 0n) ? x : mod(-x), y);
}

export function encode([x, y, z]) {
  const shrink = inverse(z);
  const isOdd = mod(x * shrink) & 1n;
  return bytesOf(mod(y * shrink) | (isOdd << 255n));
}

/** Bytes as an integer, the first byte the least significant. */
export const littleEndian = (bytes) => BigInt(`0x${Buffer.from(bytes).reverse().toString("hex")}`);

/** The 32 bytes of an integer, the least significant first. */
export const bytesOf = (value) =>
  Buffer.from(value.toString(16).padStart(64, "0"), "hex").reverse();

export const hashed = (...parts) =>
  mod(littleEndian(createHash("sha512").update(Buffer.concat(parts)).digest()), L);

export const BASE = decode(bytesOf(mod(4n * inverse(5n))));

/** A point of order 8. */
export const ORDER_8 = decode(
  Buffer.from("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", "hex"),
);
