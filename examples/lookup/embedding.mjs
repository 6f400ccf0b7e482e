// Lines as vectors by feature hashing: no model, nothing trained, the same on every machine.
//
// Each head has a kind of feature of its own (words, runs of n characters, ...). A feature is hashed to a channel and
// a sign (Weinberger et al. 2009); the rarer it is among the lines, the more it counts. Vectors are at most 1 long.

export const HEAD_DIM = 128;

/** Document frequencies are counted by hash, too: a table of fixed size for any text. */
const BUCKETS = 1 << 18;

/** What each head looks at. */
export const FAMILIES = [
  { name: 'words', features: (text) => words(text) },
  { name: '3 letters', features: (text) => grams(text, 3) },
  { name: '4 letters', features: (text) => grams(text, 4) },
  { name: 'word starts', features: (text) => words(text).map((word) => word.slice(0, 4)) },
  { name: '5 letters', features: (text) => grams(text, 5) },
  { name: '2 letters', features: (text) => grams(text, 2) },
  { name: '6 letters', features: (text) => grams(text, 6) },
  { name: 'word pairs', features: (text) => pairs(words(text)) },
];

/**
 * @typedef {object} Embedded
 * @property {number} heads
 * @property {number} count      lines
 * @property {Float32Array} keys   [heads, count, HEAD_DIM]
 * @property {Float32Array} query  [heads, 1, HEAD_DIM]
 */

/**
 * @param {import('./input.mjs').Line[]} lines
 * @param {string} query
 * @param {number} heads
 * @returns {Embedded}
 */
export function embedLines(lines, query, heads) {
  const count = lines.length;
  const texts = lines.map(({ text }) => normalize(text));
  const keys = new Float32Array(heads * count * HEAD_DIM);
  const queries = new Float32Array(heads * HEAD_DIM);
  for (let head = 0; head < heads; head++) {
    const hashes = (text) => FAMILIES[head].features(text).map((feature) => hash(feature, head));
    const rarity = rarities(texts, hashes);
    const ofQuery = queries.subarray(head * HEAD_DIM, (head + 1) * HEAD_DIM);
    addFeatures(ofQuery, hashes(normalize(query)), rarity);
    scaleRows(ofQuery, 0);
    const ofKeys = keys.subarray(head * count * HEAD_DIM, (head + 1) * count * HEAD_DIM);
    texts.forEach((text, i) => {
      addFeatures(ofKeys.subarray(i * HEAD_DIM, (i + 1) * HEAD_DIM), hashes(text), rarity);
    });
    scaleRows(ofKeys, square(ofKeys) / count);
  }
  return { heads, count, keys, query: queries };
}

/** @param {string} text */
function normalize(text) {
  return text.normalize('NFKC').toLowerCase();
}

/** @param {string} text @returns {string[]} */
function words(text) {
  return text.match(/[\p{L}\p{M}\p{N}]+/gu) ?? [];
}

/** Runs of `length` letters within words, whose ends count as a letter. */
function grams(text, length) {
  const result = [];
  for (const word of words(text)) {
    const letters = ` ${word} `;
    for (let i = 0; i + length <= letters.length; i++) result.push(letters.slice(i, i + length));
  }
  return result;
}

/** @param {string[]} list */
function pairs(list) {
  return list.slice(1).map((word, i) => `${list[i]} ${word}`);
}

/** FNV-1a over UTF-16 units, then murmur3's finish: the low bits of FNV alone are not even enough. */
function hash(text, seed) {
  let h = 0x811c9dc5 ^ Math.imul(seed + 1, 0x9e3779b1);
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/**
 * How much each feature counts: log(1 + lines / lines that have it), and 0 for what no line has.
 *
 * @param {string[]} texts @param {(text: string) => number[]} hashes
 */
function rarities(texts, hashes) {
  const having = new Float32Array(BUCKETS);
  for (const text of texts) for (const h of new Set(hashes(text))) having[h % BUCKETS]++;
  return having.map((lines) => (lines === 0 ? 0 : Math.log(1 + texts.length / lines)));
}

/** @param {Float32Array} vector @param {number[]} hashes @param {Float32Array} rarity */
function addFeatures(vector, hashes, rarity) {
  for (const h of hashes) {
    const sign = h >>> 31 ? -1 : 1;
    vector[(h >>> 20) % HEAD_DIM] += sign * rarity[h % BUCKETS];
  }
}

/**
 * Divides each row by sqrt(its squared length + `damping`). Without damping a row of one feature would be as
 * long as any other, and match perfectly whatever happens to fall into its one channel.
 *
 * @param {Float32Array} rows @param {number} damping
 */
function scaleRows(rows, damping) {
  for (let from = 0; from < rows.length; from += HEAD_DIM) {
    const row = rows.subarray(from, from + HEAD_DIM);
    const length = Math.sqrt(square(row) + damping);
    if (length > 0) for (let c = 0; c < HEAD_DIM; c++) row[c] /= length;
  }
}

/** Sum of the squares. @param {Float32Array} values */
function square(values) {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i] * values[i];
  return sum;
}
