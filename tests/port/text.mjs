// The rule that all text in a packet obeys (docs/packet-format.md, section "Text").

import { readFileSync } from "node:fs";

const LIST = new URL("../../docs/packet-format-characters.txt", import.meta.url);
const escaped = (digits) => `\\u{${digits}}`;

const FORBIDDEN = new RegExp(
  `[${readFileSync(LIST, "utf8")
    .split("\n")
    .filter((line) => /^[0-9A-F]/u.test(line))
    .map((line) => line.split(/\s+/u).slice(0, 2).map(escaped).join("-"))
    .join("")}]`,
  "u",
);
const WHITE =
  /[\u0009-\u000d\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]|^ | $| {2}/u;

/** Virama and consonants of each script. */
const INDIC = [
  ["\u094d", "\u0915-\u0939"],
  ["\u09cd", "\u0995-\u09b9\u09f0\u09f1"],
  ["\u0a4d", "\u0a15-\u0a39"],
  ["\u0acd", "\u0a95-\u0ab9"],
  ["\u0b4d", "\u0b15-\u0b39"],
  ["\u0bcd", "\u0b95-\u0bb9"],
  ["\u0c4d", "\u0c15-\u0c39"],
  ["\u0ccd", "\u0c95-\u0cb9"],
  ["\u0d4d", "\u0d15-\u0d39"],
  ["\u0dca", "\u0d9a-\u0dc6"],
];
const D = [
  "\u0620\u0626\u0628\u062a-\u062e\u0633-\u063f\u0641-\u0647\u0649\u064a\u066e\u066f",
  "\u0678-\u0687\u069a-\u06bf\u06c1\u06c2\u06cc\u06ce\u06d0\u06d1\u06fa-\u06fc\u06ff",
].join("");
const R = [
  "\u0622-\u0625\u0627\u0629\u062f-\u0632\u0648\u0671-\u0673\u0675-\u0677\u0688-\u0699",
  "\u06c0\u06c3-\u06cb\u06cd\u06cf\u06d2\u06d3\u06d5\u06ee\u06ef",
].join("");
/** A joiner that may stand where it does. */
const JOINER = new RegExp(
  [
    ...INDIC.map(([virama, consonants]) => `(?<=${virama})[\u200c\u200d](?=[${consonants}])`),
    "(?<=(?<![\u09cd\u200c\u200d])[\u09b0\u09f0])\u200d(?=\u09cd\u09af)",
    `(?<=[${D}][\u064b-\u065f\u0670]*)\u200c(?=[${D}${R}])`,
  ].join("|"),
  "gu",
);

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The text in these bytes, or undefined if they are not UTF-8. */
export function decoded(bytes) {
  try {
    return decoder.decode(bytes);
  } catch {
    return undefined;
  }
}

/** Whether text is as a packet must carry it; the empty text is. */
export function isNormal(text, relaxed) {
  if (!relaxed.has("characters") && FORBIDDEN.test(text)) return false;
  if (!relaxed.has("white-space") && WHITE.test(text)) return false;
  if (!relaxed.has("nfc") && text.normalize("NFC") !== text) return false;
  return relaxed.has("joiners") || !/[\u200c\u200d]/u.test(text.replace(JOINER, ""));
}
