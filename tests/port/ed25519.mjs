// Which signatures docs/packet-format.md accepts. OpenSSL, which Node has, is laxer than the page:
// it takes keys of small order and keys that are not in canonical form.

import { createPublicKey, verify } from "node:crypto";

import { P, littleEndian } from "./curve.mjs";

const SPKI_ED25519 = Buffer.from("302a300506032b6570032100", "hex");
const KNOWN_KEYS = 4096;

const ORDER_8 = BigInt("0x05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826");
/** The y coordinates of the eight points whose order divides 8. */
const SMALL_ORDER = new Set([0n, 1n, P - 1n, ORDER_8, P - ORDER_8]);

const keys = new Map();

/** Whether this is how a point that is not of small order is written. */
function isGoodPoint(bytes) {
  const y = littleEndian(bytes) & (2n ** 255n - 1n);
  return y < P && !SMALL_ORDER.has(y);
}

function keyOf(publicKey) {
  const name = publicKey.toString("latin1");
  let key = keys.get(name);
  if (key === undefined) {
    const der = Buffer.concat([SPKI_ED25519, publicKey]);
    key = createPublicKey({ key: der, format: "der", type: "spki" });
    if (keys.size >= KNOWN_KEYS) keys.clear();
    keys.set(name, key);
  }
  return key;
}

/** Whether `signature` is that of `message`; `relaxed` names rules to leave out. */
export function isSigned(publicKey, message, signature, relaxed) {
  if (!relaxed.has("small-order")) {
    if (!isGoodPoint(publicKey) || !isGoodPoint(signature.subarray(0, 32))) return false;
  }
  return verify(null, message, keyOf(publicKey), signature); // OpenSSL refuses S >= L itself
}
