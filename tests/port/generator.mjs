// Packets for readers to agree on: of all kinds, most of them valid, and others that break a rule
// or two, made by nothing of qis.
//
//   node generator.mjs SEED COUNT > packets        (512 bytes each)
//
// Half keep every rule of docs/packet-format.md as their maker understands it; the rest break one
// or two, hold CBOR of any shape where the body is, have bytes changed (signed again or not), or
// have signatures that verifiers treat differently.

import { createPrivateKey, createPublicKey, sign } from "node:crypto";

import { Chance } from "./chance.mjs";
import {
  BASE,
  L,
  ORDER_8,
  P,
  add,
  bytesOf,
  encode,
  hashed,
  littleEndian,
  times,
} from "./curve.mjs";
import { byteString, head, madeBody } from "./made_bodies.mjs";

const PKCS8 = Buffer.from("302e020100300506032b657004220420", "hex");
const ROOM = 311;
const DERIVED = 8;

/** Keys of this many issuers sign all packets. */
const ISSUERS = Array.from({ length: 8 }, (_, index) => {
  const der = Buffer.concat([PKCS8, new Chance(`issuer ${index}`).bytes(32)]);
  const secret = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  const spki = createPublicKey(secret).export({ format: "der", type: "spki" });
  return { secret, key: spki.subarray(-32) };
});

const SIGNED_HEAD = Buffer.from("\x84\x6aSignature1", "latin1");

const signedPart = (packet) =>
  Buffer.concat([SIGNED_HEAD, packet.subarray(2, 42), Buffer.of(0x40), packet.subarray(43, 446)]);

/** The 512 bytes of a packet from its first 446, signed by an issuer, whose key is put in. */
function signed(content, issuer) {
  const packet = Buffer.concat([content, Buffer.from("5840", "hex"), Buffer.alloc(64)]);
  issuer.key.copy(packet, 10);
  sign(null, signedPart(packet), issuer.secret).copy(packet, 448);
  return packet;
}

/** The entry of zeros that takes exactly this room; or, as a slip, not quite. */
function padding(chance, room) {
  const isHole = room === 26 || room === 259;
  const key = Buffer.from(isHole !== chance.slip(0.02) ? "3818" : "20", "hex");
  const left = room - key.length;
  const heads = left <= 24 ? 1 : left <= 257 ? 2 : 3;
  const zeros = Buffer.alloc(Math.max(0, left - heads));
  if (zeros.length > 0 && chance.slip(0.02)) zeros[chance.whole(0, zeros.length - 1)] = 1;
  return Buffer.concat([key, byteString(chance, zeros)]);
}

function lineage(chance) {
  const leaves = Array.from({ length: chance.pick([0, 1, 2, 5, 14]) }, () => chance.bytes(12));
  let sorted = [...leaves].sort(Buffer.compare);
  if (sorted.length > 1 && chance.slip()) sorted = chance.shuffled(sorted);
  if (sorted.length > 0 && chance.slip()) sorted.push(sorted.at(-1));
  const bytes = Buffer.concat(sorted);
  return chance.slip() ? bytes.subarray(0, -1) : bytes;
}

const SEQUENCES = [2n ** 32n, 2n ** 64n - 1n, 1_800_000_000_000_007n, 2n ** 53n + 1n];

function times32(chance) {
  const issued = chance.pick([65536, 1_800_000_000, chance.whole(65536, 2 ** 32 - 2)]);
  const longest = Math.min(400 * 86_400, 2 ** 32 - 1 - issued);
  const lifetime = chance.pick([1, longest, chance.whole(1, longest)]);
  if (!chance.slip(0.05)) return [issued, issued + lifetime];
  return chance.pick([
    [issued, issued],
    [issued, Math.min(2 ** 32 - 1, issued + 400 * 86_400 + 1)],
    [65535, 65536],
    [issued, issued - 1],
    [0, 2 ** 32 - 1],
  ]);
}

/** The first 446 bytes with this body; undefined if it does not fit. */
function contentOf(chance, kind, body) {
  const leaves = kind === DERIVED || chance.slip(0.02) ? lineage(chance) : Buffer.alloc(0);
  const hasLineage = leaves.length > 0 || chance.slip(0.02);
  const more = hasLineage ? Buffer.concat([Buffer.of(5), byteString(chance, leaves)]) : leaves;
  const [issued, expires] = times32(chance);
  const fixed = Buffer.alloc(123);
  const constants = [
    [0, "d2845826a20127045820"],
    [42, "a0590190a3041a"],
    [53, "061a"],
    [59, "3a00010000"],
    [64, hasLineage !== chance.slip(0.02) ? "a8" : "a7"],
    [65, "005820"],
    [100, "0148"],
    [110, "02"],
    [112, "031b"],
    [122, "04"],
  ];
  for (const [offset, digits] of constants) fixed.write(digits, offset, "hex");
  fixed.writeUInt32BE(expires, 49);
  fixed.writeUInt32BE(issued, 55);
  chance.bytes(32).copy(fixed, 68);
  chance.bytes(8).copy(fixed, 102);
  fixed[111] = kind;
  fixed.writeBigUInt64BE(chance.slip(0.02) ? 2n ** 32n - 1n : chance.pick(SEQUENCES), 114);
  const commitment = Buffer.concat([Buffer.of(6), byteString(chance, chance.bytes(8))]);
  const used = 123 + body.length + more.length + commitment.length;
  if (446 - used < 2) return undefined;
  const content = Buffer.concat([fixed, body, more, commitment, padding(chance, 446 - used)]);
  // A slip in a length makes the whole longer or shorter.
  return Buffer.concat([content, Buffer.alloc(446)]).subarray(0, 446);
}

function content(chance, slips) {
  for (;;) {
    chance.slips = slips;
    const kind = chance.is(0.1) ? chance.whole(11, 23) : chance.whole(1, 10);
    const body = madeBody(chance, kind);
    const others = [0, 11, 12, 23, 24, 255, chance.whole(1, 10)];
    const told = chance.slip(0.02) ? chance.pick(others) : kind;
    const made = body.length <= ROOM ? contentOf(chance, told, body) : undefined;
    chance.slips = 0;
    if (made !== undefined) return made;
  }
}

/** CBOR of any shape: every initial byte, reserved lengths, tags, references into one another. */
function anything(chance, depth) {
  const initial = chance.whole(0, 255);
  const [major, info] = [initial >> 5, initial & 31];
  const width = info < 24 ? 0 : info < 28 ? 2 ** (info - 24) : 0;
  const argument = Buffer.alloc(width);
  if (width > 0) argument[width - 1] = chance.pick([0, 1, 2, 24, 28, 29, 35, 255]);
  const items = info < 24 ? info : chance.pick([0, 1, 2]);
  const start = Buffer.concat([Buffer.of(initial), argument]);
  if (depth === 0 || major < 2 || major === 7) return start;
  if (major < 4) return Buffer.concat([start, chance.bytes(Math.min(items, 24))]);
  const inner = major === 6 ? 1 : Math.min(items, 3) * (major - 3);
  const parts = Array.from({ length: inner }, () => anything(chance, depth - 1));
  return Buffer.concat([start, ...parts]);
}

/** A packet whose body, or one entry of it, is CBOR of any shape. */
function grammatical(chance) {
  const kind = chance.whole(1, 13);
  const value = anything(chance, chance.whole(0, 9));
  if (chance.is(0.3)) return contentOf(chance, kind, value.subarray(0, ROOM)) ?? content(chance, 0);
  const [study, question] = ["0048", "016178"].map((digits) => Buffer.from(digits, "hex"));
  const common = Buffer.concat([study, chance.bytes(8), question]);
  const key = head(chance, 0, chance.pick([3, 4, 5, 6, 7, 8, 8, 8]));
  const body = Buffer.concat([Buffer.of(0xa3), common, key, value]).subarray(0, ROOM);
  return contentOf(chance, kind, body) ?? content(chance, 0);
}

function changed(chance, bytes) {
  const made = Buffer.from(bytes);
  for (let left = chance.whole(1, 3); left > 0; left -= 1) {
    const at = chance.whole(chance.is(0.7) ? 123 : 0, made.length - 1);
    const bit = 1 << chance.whole(0, 7);
    made[at] = chance.pick([made[at] ^ bit, chance.whole(0, 255), made[at] + 1]);
  }
  return made;
}

/** Secret scalars with their points, none among them; computed once, since BigInt is slow. */
const SECRETS = Array.from({ length: 8 }, (_, index) => {
  const scalar = index < 2 ? 0n : littleEndian(new Chance(`secret ${index}`).bytes(31));
  return { scalar, point: times(scalar, BASE) };
});
const TORSION = Array.from({ length: 8 }, (_, index) => times(BigInt(index), ORDER_8));

/** A point in bytes; in a form that is not canonical where there is one, half of the time. */
function written(chance, point) {
  const bytes = encode(point);
  const y = littleEndian(bytes) & (2n ** 255n - 1n);
  if (y < 19n && chance.is(0.5)) return bytesOf(littleEndian(bytes) + P);
  const hasNoX = y === 1n || y === P - 1n;
  if (hasNoX && chance.is(0.5)) bytes[31] ^= 0x80;
  return bytes;
}

/** Packets with signatures and keys on which verifiers of Ed25519 disagree. */
function doubtful(chance, issuer) {
  const packet = signed(content(chance, 0), issuer);
  if (chance.is(0.2)) {
    const s = littleEndian(packet.subarray(480)) + BigInt(chance.whole(1, 15)) * L;
    if (s < 2n ** 256n) bytesOf(s).copy(packet, 480);
    return packet;
  }
  const [secret, nonce] = [chance.pick(SECRETS), chance.pick(SECRETS)];
  const [ofKey, ofNonce] = [chance.whole(0, 7), chance.pick([0, 0, chance.whole(0, 7)])];
  written(chance, add(secret.point, TORSION[ofKey])).copy(packet, 10);
  written(chance, add(nonce.point, TORSION[ofNonce])).copy(packet, 448);
  // Half of them satisfy S B = R + h A itself, not only after multiplication by 8.
  const wantsAll = chance.is(0.7);
  let challenge;
  for (let tries = 0; tries < 100; tries += 1) {
    packet[70] = tries;
    challenge = hashed(packet.subarray(448, 480), packet.subarray(10, 42), signedPart(packet));
    if (!wantsAll || (BigInt(ofNonce) + challenge * BigInt(ofKey)) % 8n === 0n) break;
  }
  bytesOf((nonce.scalar + challenge * secret.scalar) % L).copy(packet, 480);
  return packet;
}

/** The next packet. */
export function made(chance) {
  const issuer = chance.pick(ISSUERS);
  const way = chance.share();
  if (way < 0.5) return signed(content(chance, 0), issuer);
  if (way < 0.84) return signed(content(chance, chance.whole(1, 2)), issuer);
  if (way < 0.9) return signed(grammatical(chance), issuer);
  if (way < 0.95) return signed(changed(chance, content(chance, 0)), issuer);
  if (way < 0.98) return changed(chance, signed(content(chance, 0), issuer));
  return doubtful(chance, issuer);
}

if (process.argv[1] === import.meta.filename) {
  const [seed, count] = process.argv.slice(2);
  const chance = new Chance(seed);
  for (let left = Number(count); left > 0; left -= 1) process.stdout.write(made(chance));
}
