// Reads the encoder's files: the shards of a TensorFlow.js model as named arrays, and the vocabulary.

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * @typedef {object} ModelFiles
 * @property {Map<string, { data: Float32Array, shape: number[] }>} weights  by the names of the graph
 * @property {[piece: string, score: number][]} vocabulary
 */

/**
 * @param {string} folder  the one that holds model.json
 * @returns {Promise<ModelFiles>}
 */
export async function readModelFiles(folder) {
  const [{ weightsManifest }, vocabulary] = await Promise.all(
    ['model.json', 'vocab.json'].map(async (name) => JSON.parse(await readFile(join(folder, name), 'utf8'))),
  );
  const weights = new Map();
  for (const group of weightsManifest) {
    const shards = await Promise.all(group.paths.map((path) => readFile(join(folder, path))));
    for (const [name, weight] of readGroup(group.weights, Buffer.concat(shards))) weights.set(name, weight);
  }
  return { weights, vocabulary };
}

/**
 * The tensors of a group, which lie one after another across its shards. Integers are settings of the graph: passed over.
 *
 * @param {{ name: string, dtype: string, shape: number[] }[]} entries
 * @param {Buffer} bytes
 */
function readGroup(entries, bytes) {
  const buffer = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length);
  const weights = [];
  let offset = 0;
  for (const { name, dtype, shape } of entries) {
    const size = shape.reduce((product, length) => product * length, 1);
    if (dtype !== 'float32' && dtype !== 'int32') throw new Error(`${name} is of ${dtype}, not float32`);
    if (offset + 4 * size > buffer.byteLength) break;
    if (dtype === 'float32') weights.push([name, { data: new Float32Array(buffer, offset, size), shape }]);
    offset += 4 * size;
  }
  const wanted = entries.reduce((sum, { shape }) => sum + 4 * shape.reduce((a, b) => a * b, 1), 0);
  if (wanted !== buffer.byteLength)
    throw new Error(`the files of the weights have ${buffer.byteLength} bytes, not ${wanted}`);
  return weights;
}
