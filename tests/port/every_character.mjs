// Which characters text may hold: node every_character.mjs CONTEXT…
//
// Each context is a JSON string in which "?" stands for the character. Prints a line for each: the
// ranges of code points with which the text is in normal form, as JSON.

import { isNormal } from "./text.mjs";

const NONE = new Set();

for (const context of process.argv.slice(2).map((argument) => JSON.parse(argument))) {
  const [before, after] = context.split("?");
  const ranges = [];
  for (let code = 0; code <= 0x10ffff; code += 1) {
    if (code === 0xd800) code = 0xe000; // surrogates are in no UTF-8
    if (!isNormal(before + String.fromCodePoint(code) + after, NONE)) continue;
    if (ranges.at(-1)?.[1] === code - 1) ranges.at(-1)[1] = code;
    else ranges.push([code, code]);
  }
  console.log(JSON.stringify(ranges));
}
