// The search: what a line says, its vector, and the lines nearest to the question.

import { CHANNELS } from './encoder.mjs';

/**
 * @typedef {object} Found
 * @property {import('./input.mjs').Line} line
 * @property {number} cosine  of the angle between the line's vector and the question's
 */

/**
 * @param {Float32Array} question
 * @param {Float32Array[]} vectors  of the lines
 * @param {import('./input.mjs').Line[]} lines
 * @returns {Found[]} all, the nearest first; of equal ones the first in the text
 */
export function rank(question, vectors, lines) {
  const found = lines.map((line, i) => ({ line, cosine: innerProduct(question, vectors[i]) }));
  return found.sort((a, b) => b.cosine - a.cosine || a.line.number - b.line.number);
}

/** @param {Float32Array} a @param {Float32Array} b */
function innerProduct(a, b) {
  let sum = 0;
  for (let c = 0; c < CHANNELS; c++) sum += a[c] * b[c];
  return sum;
}
