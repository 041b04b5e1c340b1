// BLAKE3-256 of at most 1,024 bytes: one chunk, which is all that a packet needs.

const IV = [
  0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
];
const PERMUTATION = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8];
const CHUNK_START = 1;
const CHUNK_END = 2;
const ROOT = 8;
const BLOCK = 64;

function mix(v, a, b, c, d, x, y) {
  v[a] = (v[a] + v[b] + x) | 0;
  v[d] = rotated(v[d] ^ v[a], 16);
  v[c] = (v[c] + v[d]) | 0;
  v[b] = rotated(v[b] ^ v[c], 12);
  v[a] = (v[a] + v[b] + y) | 0;
  v[d] = rotated(v[d] ^ v[a], 8);
  v[c] = (v[c] + v[d]) | 0;
  v[b] = rotated(v[b] ^ v[c], 7);
}

const rotated = (word, by) => (word >>> by) | (word << (32 - by));

function compressed(chaining, words, length, flags) {
  const v = Int32Array.from([...chaining, ...IV.slice(0, 4), 0, 0, length, flags]);
  let m = words;
  for (let round = 0; round < 7; round += 1) {
    mix(v, 0, 4, 8, 12, m[0], m[1]);
    mix(v, 1, 5, 9, 13, m[2], m[3]);
    mix(v, 2, 6, 10, 14, m[4], m[5]);
    mix(v, 3, 7, 11, 15, m[6], m[7]);
    mix(v, 0, 5, 10, 15, m[8], m[9]);
    mix(v, 1, 6, 11, 12, m[10], m[11]);
    mix(v, 2, 7, 8, 13, m[12], m[13]);
    mix(v, 3, 4, 9, 14, m[14], m[15]);
    m = PERMUTATION.map((index) => m[index]);
  }
  return Array.from({ length: 8 }, (_, index) => v[index] ^ v[index + 8]);
}

/** The 32-byte hash of `data` (a Uint8Array of at most 1,024 bytes). */
export function blake3(data) {
  if (data.length > 1024) throw new RangeError(`${data.length} bytes are more than one chunk`);
  const blocks = Math.max(1, Math.ceil(data.length / BLOCK));
  let chaining = IV;
  for (let block = 0; block < blocks; block += 1) {
    const bytes = new Uint8Array(BLOCK);
    const part = data.subarray(block * BLOCK, (block + 1) * BLOCK);
    bytes.set(part);
    const view = new DataView(bytes.buffer);
    const words = Array.from({ length: 16 }, (_, index) => view.getInt32(4 * index, true));
    const flags =
      (block === 0 ? CHUNK_START : 0) | (block === blocks - 1 ? CHUNK_END | ROOT : 0);
    chaining = compressed(chaining, words, part.length, flags);
  }
  const hash = Buffer.alloc(32);
  chaining.forEach((word, index) => hash.writeInt32LE(word, 4 * index));
  return hash;
}
