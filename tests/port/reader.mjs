// A second reader of packets, written from docs/packet-format.md and the CDDL beside it alone.
//
//   node reader.mjs [--hex] [--without=rule,…] < packets
//
// The input is 512-byte records, or with --hex one packet per line. Each gives one line:
// "valid", a space, and the packet's fields as JSON; or "refused" and why. --without leaves rules
// out ("long-heads" accepts integers in more bytes than they need), which shows whether a
// comparison with another reader would notice that.

import { createReadStream } from "node:fs";

import { blake3 } from "./blake3.mjs";
import { body } from "./bodies.mjs";
import { Cursor, Refused, demand } from "./cbor.mjs";
import { isSigned } from "./ed25519.mjs";

const SIZE = 512;
const LEAF = 12;
const DERIVED = 8;
const LONGEST_S = 400 * 86_400;
const CONSTANTS = [
  [0, "d2845826a20127045820"],
  [42, "a0590190a3041a"],
  [53, "061a"],
  [59, "3a00010000"],
  [65, "005820"],
  [100, "0148"],
  [110, "02"],
  [112, "031b"],
  [122, "04"],
  [446, "5840"],
].map(([offset, digits]) => [offset, Buffer.from(digits, "hex")]);
const SIGNED_HEAD = Buffer.concat([Buffer.from([0x84, 0x6a]), Buffer.from("Signature1")]);

/** The fields of a packet; throws Refused if it is not valid. */
export function read(packet, relaxed = new Set()) {
  demand(packet.length === SIZE, `${packet.length} bytes`);
  for (const [offset, bytes] of CONSTANTS) {
    demand(packet.compare(bytes, 0, bytes.length, offset, offset + bytes.length) === 0, "constant");
  }
  const [expiresAt, issuedAt] = [packet.readUInt32BE(49), packet.readUInt32BE(55)];
  demand(issuedAt >= 65536 && expiresAt >= 65536, "a time before 65536");
  demand(expiresAt > issuedAt && expiresAt - issuedAt <= LONGEST_S, "lifetime");
  const issuer = packet.subarray(10, 42);
  const parts = [SIGNED_HEAD, packet.subarray(2, 42), Buffer.of(0x40), packet.subarray(43, 446)];
  demand(isSigned(issuer, Buffer.concat(parts), packet.subarray(448), relaxed), "signature");
  return fields(packet, issuer, issuedAt, expiresAt, relaxed);
}

function fields(packet, issuer, issuedAt, expiresAt, relaxed) {
  const [entries, kind] = [packet[64], packet[111]];
  const sequence = packet.readBigUInt64BE(114);
  demand(sequence >= 2n ** 32n, "sequence");
  const cursor = new Cursor(packet.subarray(0, 446), relaxed);
  cursor.at = 123;
  const { study, question, cohort, values } = body(cursor, kind);
  demand(entries === 0xa7 || (entries === 0xa8 && kind === DERIVED), "head of the outcome map");
  const leaves = entries === 0xa8 ? lineage(cursor, relaxed) : [];
  demand(cursor.unsigned(23) === 6, "routing commitment");
  const commitment = cursor.byteString(8);
  padding(cursor, relaxed);
  return {
    id: blake3(packet.subarray(0, 446)).toString("hex"),
    issuer: issuer.toString("hex"),
    issued_at: issuedAt,
    expires_at: expiresAt,
    sequence: String(sequence),
    sketch: packet.toString("hex", 68, 100),
    scheme_id: packet.toString("hex", 102, 110),
    commitment: Buffer.from(commitment).toString("hex"),
    leaves,
    kind,
    study,
    question,
    cohort,
    values,
  };
}

function lineage(cursor, relaxed) {
  demand(cursor.unsigned(23) === 5, "lineage");
  const bytes = cursor.byteString();
  demand(bytes.length > 0 && bytes.length % LEAF === 0, "leaves of 12 bytes");
  const leaves = Array.from({ length: bytes.length / LEAF }, (_, index) =>
    Buffer.from(bytes.subarray(LEAF * index, LEAF * (index + 1))).toString("hex"),
  );
  const isSorted = leaves.every((leaf, index) => index === 0 || leaves[index - 1] < leaf);
  demand(isSorted || relaxed.has("leaf-order"), "leaves out of order, or twice");
  return leaves;
}

/** One entry of zeros up to the end, under the key −1, or −25 where that cannot reach it. */
function padding(cursor, relaxed) {
  const left = cursor.bytes.length - cursor.at;
  const key = cursor.head();
  const wanted = left === 26 || left === 259 ? 24n : 0n;
  demand(key.major === 1 && key.argument === wanted, "key of the padding");
  const zeros = cursor.byteString();
  demand(cursor.isAtEnd(), "something after the padding");
  demand(relaxed.has("padding") || zeros.every((byte) => byte === 0), "padding is not zero");
}

function verdict(packet, relaxed) {
  try {
    return `valid ${JSON.stringify(read(packet, relaxed))}`;
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    return `refused ${error.message}`;
  }
}

async function* records(stream) {
  let rest = Buffer.alloc(0);
  for await (const chunk of stream) {
    rest = Buffer.concat([rest, chunk]);
    let at = 0;
    for (; at + SIZE <= rest.length; at += SIZE) yield rest.subarray(at, at + SIZE);
    rest = rest.subarray(at);
  }
  if (rest.length > 0) yield rest;
}

async function* hexLines(stream) {
  let rest = "";
  for await (const chunk of stream) {
    const lines = (rest + chunk.toString("latin1")).split("\n");
    rest = lines.pop();
    for (const line of lines) yield Buffer.from(line, "hex");
  }
  if (rest !== "") yield Buffer.from(rest, "hex");
}

async function main(options) {
  const without = options.find((option) => option.startsWith("--without="));
  const relaxed = new Set(without === undefined ? [] : without.slice(10).split(","));
  const stream = createReadStream(null, { fd: 0 });
  const packets = options.includes("--hex") ? hexLines(stream) : records(stream);
  let lines = [];
  for await (const packet of packets) {
    lines.push(verdict(packet, relaxed));
    if (lines.length === 1000) {
      process.stdout.write(`${lines.join("\n")}\n`);
      lines = [];
    }
  }
  if (lines.length > 0) process.stdout.write(`${lines.join("\n")}\n`);
}

if (process.argv[1] === import.meta.filename) await main(process.argv.slice(2));
