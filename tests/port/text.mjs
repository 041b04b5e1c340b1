// The normal form of all text in a packet.

const WHITE = /[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]/u;
const FORBIDDEN = new RegExp(
  [
    "[\\u0000-\\u001f\\u007f-\\u009f", // control
    "\\u061c\\u200e\\u200f\\u202a-\\u202e\\u2066-\\u2069", // bidirectional
    "\\ue000-\\uf8ff\\u{f0000}-\\u{ffffd}\\u{100000}-\\u{10fffd}", // private use
    "\\ud800-\\udfff", // surrogates
    "\\ufdd0-\\ufdef]", // noncharacters, and the last two of each plane:
  ].join(""),
  "u",
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
  if (!relaxed.has("nfc") && text.normalize("NFC") !== text) return false;
  if (FORBIDDEN.test(text)) return false;
  for (const character of text) {
    if ((character.codePointAt(0) & 0xfffe) === 0xfffe) return false;
    if (character !== " " && WHITE.test(character)) return false;
  }
  return !/^ | $| {2}/u.test(text);
}
