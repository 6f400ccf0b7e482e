// Tokens of a text, and a vector for each token and head. Nothing is trained: a feature of a token (its letters, its ending,
// ...) is a random direction, the same whenever it occurs, so that tokens point the same way by what they have in common.

import { sinusoidalEncoding } from 'wasm-attention';

export const HEAD_DIM = 256;

/** What each head looks at. Vectors come from features; those of the last head from the place in the text. */
export const HEADS = [
  { name: 'same words', features: (token) => words(token) },
  { name: 'shared letters', features: (token) => words(token).flatMap((word) => runs(`<${word}>`, 3)) },
  { name: 'same endings', features: (token) => words(token).map((word) => word.slice(-3)) },
  { name: 'neighbours' },
];

/** Words and signs, or lines. @param {string} text @param {'words' | 'lines'} unit @returns {string[]} */
export function split(text, unit) {
  if (unit === 'words') return text.match(/[\p{L}\p{M}\p{N}'’]+|[^\s\p{L}\p{M}\p{N}]/gu) ?? [];
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter(Boolean);
}

/** [1, heads, tokens, HEAD_DIM]; every vector is 1 long, or 0 where a token has no feature. @param {string[]} tokens */
export function embed(tokens) {
  const data = new Float32Array(HEADS.length * tokens.length * HEAD_DIM);
  const places = sinusoidalEncoding(tokens.length, HEAD_DIM, { base: 50 });
  HEADS.forEach(({ features }, head) => {
    tokens.forEach((token, i) => {
      const from = (head * tokens.length + i) * HEAD_DIM;
      const vector = data.subarray(from, from + HEAD_DIM);
      if (features) for (const feature of features(token)) addDirection(vector, feature);
      else vector.set(places.subarray(i * HEAD_DIM, (i + 1) * HEAD_DIM));
      const length = Math.hypot(...vector);
      if (length > 0) vector.forEach((x, c) => (vector[c] = x / length));
    });
  });
  return { data, shape: [1, HEADS.length, tokens.length, HEAD_DIM] };
}

function words(token) {
  return token.toLowerCase().match(/[\p{L}\p{M}\p{N}'’]+/gu) ?? [token];
}

function runs(text, length) {
  return Array.from({ length: Math.max(1, text.length - length + 1) }, (_, i) => text.slice(i, i + length));
}

/** Adds +1 or -1 to every channel: the signs are random bits (xorshift) that begin with the feature's hash (FNV-1a). */
function addDirection(vector, feature) {
  let bits = 0x811c9dc5;
  for (let i = 0; i < feature.length; i++) bits = Math.imul(bits ^ feature.charCodeAt(i), 0x01000193);
  bits ||= 1;
  for (let c = 0; c < vector.length; c++) {
    bits ^= bits << 13;
    bits ^= bits >>> 17;
    bits ^= bits << 5;
    vector[c] += bits < 0 ? -1 : 1;
  }
}
