// Lines of text as vectors, without any training: each run of characters (an n-gram) is hashed to a channel and a sign.
// Lines that share pieces of words get similar vectors; that is all these vectors know.

/** Length of n-grams a head looks at: heads differ in this and in the hash. */
const LENGTHS = [2, 3, 4, 5];

/** FNV-1a over the characters from `from` to `to`, started by a seed. */
function hash(text, from, to, seed) {
  let value = (0x811c9dc5 ^ Math.imul(seed, 0x9e3779b9)) >>> 0;
  for (let i = from; i < to; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193) >>> 0;
  return (value ^ (value >>> 15)) >>> 0;
}

/**
 * Writes the vector of a line for one head: counts of hashed n-grams, of length 1 (or 0 for a line without letters).
 *
 * @param {string} line
 * @param {number} head
 * @param {Float32Array} into `headDim` numbers, zero before
 */
function embedLine(line, head, into) {
  const words = ` ${line
    .toLowerCase()
    .replace(/[^\p{L}\p{N}]+/gu, ' ')
    .trim()} `;
  const length = LENGTHS[head % LENGTHS.length];
  for (let i = 0; i + length <= words.length; i++) {
    const code = hash(words, i, i + length, head + 1);
    into[code % into.length] += code & 0x10000 ? 1 : -1;
  }
  const norm = Math.hypot(...into);
  if (norm > 0) for (let c = 0; c < into.length; c++) into[c] /= norm;
}

/** Vectors of lines as [heads, lines, headDim]. */
export function embed(lines, heads, headDim) {
  const vectors = new Float32Array(heads * lines.length * headDim);
  for (let head = 0; head < heads; head++) {
    lines.forEach((line, i) => {
      const at = (head * lines.length + i) * headDim;
      embedLine(line, head, vectors.subarray(at, at + headDim));
    });
  }
  return vectors;
}
