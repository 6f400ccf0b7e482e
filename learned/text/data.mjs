// A book as what a training reads: chapters that are learnt and chapters that are held out, and batches of tokens. Runs in pages too.

/** @typedef {import('./book.mjs').Chapter} Chapter */

/** Each chapter whose number is a multiple of it is held out. */
const HELD_OUT = 20;

/** With its heading. @param {Chapter} chapter */
const wholeText = ({ chapter, title, text }) =>
  /^\d+$/.test(chapter) ? `CHAPTER ${chapter}. ${title}\n\n${text}\n\n` : `${text}\n\n`;

/** Two texts. @param {readonly Chapter[]} book */
export function splitBook(book) {
  const isHeldOut = (/** @type {Chapter} */ { chapter }) => Number(chapter) % HELD_OUT === 0;
  const join = (/** @type {Chapter[]} */ chapters) => chapters.map(wholeText).join('');
  return {
    learnt: join(book.filter((chapter) => !isHeldOut(chapter))),
    heldOut: join(book.filter(isHeldOut)),
  };
}

/**
 * Windows of a text: each token is to be told from those before it in its window.
 *
 * @param {Int32Array} tokens
 * @param {readonly number[]} places  where windows begin
 * @param {number} length
 */
function windowsAt(tokens, places, length) {
  const labels = new Int32Array(places.length * length);
  places.forEach((place, row) => labels.set(tokens.subarray(place + 1, place + 1 + length), row * length));
  return { inputs: { inputIds: places.map((place) => tokens.slice(place, place + length)) }, labels };
}

/**
 * A batch of windows from anywhere.
 *
 * @param {Int32Array} tokens
 * @param {import('wasm-attention/training').Random} random
 * @param {{ batch: number, length: number }} sizes
 */
export function randomWindows(tokens, random, { batch, length }) {
  const places = Array.from({ length: batch }, () => random.integer(tokens.length - length));
  return windowsAt(tokens, places, length);
}

/**
 * A whole text in windows side by side, but for what is left at its end, in batches.
 *
 * @param {Int32Array} tokens
 * @param {{ batch: number, length: number }} sizes
 */
export function allWindows(tokens, { batch, length }) {
  const count = Math.floor((tokens.length - 1) / length);
  const places = Array.from({ length: count }, (_, i) => i * length);
  return Array.from({ length: Math.ceil(count / batch) }, (_, i) =>
    windowsAt(tokens, places.slice(i * batch, (i + 1) * batch), length),
  );
}
