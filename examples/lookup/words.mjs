// From tokens back to words: which word a head looks at, and from which.

/**
 * @typedef {object} Link
 * @property {string} from
 * @property {string} to
 * @property {number} share  of the attention of `from` that `to` has
 */

/**
 * The strongest links from words to others, or to punctuation, in each head.
 *
 * @param {import('./tokenizer.mjs').Tokenizer} tokenizer
 * @param {number[]} ids
 * @param {Float32Array[][]} attention  by layer and head, [tokens, tokens]
 * @param {number} count  links of a head
 * @returns {Link[][][]} by layer and head, the strongest first
 */
export function strongestLinks(tokenizer, ids, attention, count) {
  const words = wordsOf(tokenizer, ids);
  return attention.map((heads) =>
    heads.map((weights) => linksOf(words, weights, ids.length).slice(0, count)),
  );
}

/** @typedef {{ text: string, tokens: number[] }} Word */

/**
 * Tokens that are written together, punctuation apart.
 *
 * @param {import('./tokenizer.mjs').Tokenizer} tokenizer @param {number[]} ids
 * @returns {Word[]}
 */
export function wordsOf(tokenizer, ids) {
  /** @type {Word[]} */
  const words = [];
  for (const [token, id] of ids.entries()) {
    const piece = tokenizer.piece(id);
    const last = words.at(-1);
    const goesOn =
      last && !piece.startsWith(' ') && (last.text === '' || isWord(last.text) === isWord(piece));
    if (goesOn) {
      last.text += piece;
      last.tokens.push(token);
    } else {
      words.push({ text: piece.trim(), tokens: [token] });
    }
  }
  return words;
}

function isWord(text) {
  return /[\p{L}\p{N}]/u.test(text);
}

/** @param {Word[]} words @param {Float32Array} weights @param {number} length */
function linksOf(words, weights, length) {
  const links = words
    .filter((from) => isWord(from.text))
    .flatMap((from) =>
      words
        .filter((to) => to !== from)
        .map((to) => ({ from: from.text, to: to.text, share: shareOf(from, to, weights, length) })),
    );
  return links.sort((a, b) => b.share - a.share);
}

/**
 * What the tokens of `to` have of the attention of a token of `from`, on average.
 *
 * @param {Word} from @param {Word} to @param {Float32Array} weights  [tokens, tokens] @param {number} length  tokens
 */
export function shareOf(from, to, weights, length) {
  let sum = 0;
  for (const i of from.tokens) for (const j of to.tokens) sum += weights[i * length + j];
  return sum / from.tokens.length;
}
