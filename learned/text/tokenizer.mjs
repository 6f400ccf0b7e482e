// Byte pairs: a vocabulary made from a text, and texts as its tokens and back. Tokens 0 to 255 are the bytes, so that any text can be
// written; each token after them is two earlier ones side by side, the pair that was the most frequent when it was made.
//
//   merge i of the list:  [left, right]  ->  token 256 + i

/** Pieces that no token crosses: a word, a number or signs, with the space before them; other white space. */
const PIECES = / ?\p{L}+(?:['’]\p{L}+)*| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s/gu;

const BYTES = 256;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** One number for a pair. Tokens are below 2^16, so that keys are exact and their order is that of the pairs. */
const keyOf = (/** @type {number} */ left, /** @type {number} */ right) => left * 65536 + right;

/**
 * Makes one token of every such pair in a list, from left to right.
 *
 * @param {number[]} tokens
 * @param {number} left
 * @param {number} right
 * @param {number} token
 */
function mergePair(tokens, left, right, token) {
  const merged = [];
  for (let i = 0; i < tokens.length; i++) {
    const found = tokens[i] === left && tokens[i + 1] === right;
    merged.push(found ? token : tokens[i]);
    if (found) i += 1;
  }
  return merged;
}

/** The pieces of a text that differ, as bytes, each with how often it is there. @param {string} text */
function countPieces(text) {
  const counts = new Map();
  for (const [piece] of text.matchAll(PIECES)) counts.set(piece, (counts.get(piece) ?? 0) + 1);
  return [...counts].map(([piece, count]) => ({ tokens: [...encoder.encode(piece)], count }));
}

/**
 * The merges of a vocabulary of a size. Of pairs that are equally frequent the one of the lower tokens comes first, so that the
 * vocabulary is a function of the text.
 *
 * @param {string} text
 * @param {number} size of the vocabulary, bytes included; a text that has too few pairs gives fewer
 * @returns {[left: number, right: number][]}
 */
export function learnMerges(text, size) {
  if (!Number.isInteger(size) || size < BYTES || size > 65536)
    throw new RangeError(`size: expected an integer from ${BYTES} to 65536, got ${size}`);
  const pieces = countPieces(text);
  /** @type {Map<number, { left: number, right: number, count: number, pieces: Set<(typeof pieces)[0]> }>} */
  const pairs = new Map();
  const note = (/** @type {(typeof pieces)[0]} */ piece, /** @type {1 | -1} */ sign) => {
    const { tokens, count } = piece;
    for (let i = 1; i < tokens.length; i++) {
      const [left, right] = [tokens[i - 1], tokens[i]];
      const key = keyOf(left, right);
      const pair = pairs.get(key) ?? { left, right, count: 0, pieces: new Set() };
      pair.count += sign * count;
      pair.pieces.add(piece); // it stays there when the pair has gone: merging finds nothing then
      if (pair.count > 0) pairs.set(key, pair);
      else pairs.delete(key);
    }
  };
  for (const piece of pieces) note(piece, 1);
  /** @type {[number, number][]} */
  const merges = [];
  while (BYTES + merges.length < size && pairs.size > 0) {
    const best = [...pairs.values()].reduce((a, b) =>
      b.count > a.count || (b.count === a.count && keyOf(b.left, b.right) < keyOf(a.left, a.right)) ? b : a,
    );
    for (const piece of best.pieces) {
      note(piece, -1);
      piece.tokens = mergePair(piece.tokens, best.left, best.right, BYTES + merges.length);
      note(piece, 1);
    }
    merges.push([best.left, best.right]);
  }
  return merges;
}

/** Texts as tokens of a vocabulary, and back. */
export class Tokenizer {
  /** Of each token. @type {Uint8Array[]} */
  #bytes;
  /** Places of the merges in the list, by pairs. @type {Map<number, number>} */
  #ranks;
  /** Tokens of the pieces that were met. @type {Map<string, number[]>} */
  #known = new Map();

  /** @param {[left: number, right: number][]} merges of `learnMerges` */
  constructor(merges) {
    this.#bytes = Array.from({ length: BYTES }, (_, byte) => Uint8Array.of(byte));
    for (const [left, right] of merges)
      this.#bytes.push(Uint8Array.of(...this.#bytes[left], ...this.#bytes[right]));
    this.#ranks = new Map(merges.map(([left, right], rank) => [keyOf(left, right), rank]));
  }

  /** How many tokens there are. */
  get size() {
    return this.#bytes.length;
  }

  /** @param {string} text @returns {number[]} */
  encode(text) {
    return Array.from(text.matchAll(PIECES), ([piece]) => this.#encodePiece(piece)).flat();
  }

  /** Bytes that are no UTF-8, as a model may write, become U+FFFD. @param {Iterable<number>} tokens */
  decode(tokens) {
    const bytes = Array.from(tokens, (token) => {
      const found = this.#bytes[token];
      if (!found)
        throw new RangeError(`tokens: expected integers from 0 to ${this.size - 1}, got ${String(token)}`);
      return [...found];
    });
    return decoder.decode(Uint8Array.from(bytes.flat()));
  }

  /** The merges in the order they were made. @param {string} piece */
  #encodePiece(piece) {
    const known = this.#known.get(piece);
    if (known) return known;
    let tokens = [...encoder.encode(piece)];
    for (;;) {
      let first = Infinity;
      for (let i = 1; i < tokens.length; i++)
        first = Math.min(first, this.#ranks.get(keyOf(tokens[i - 1], tokens[i])) ?? Infinity);
      if (first === Infinity) break;
      const at = tokens.findIndex((left, i) => this.#ranks.get(keyOf(left, tokens[i + 1])) === first);
      tokens = mergePair(tokens, tokens[at], tokens[at + 1], BYTES + first);
    }
    this.#known.set(piece, tokens);
    return tokens;
  }
}
