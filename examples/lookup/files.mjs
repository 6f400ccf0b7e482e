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
  const sizes = entries.map(({ shape }) => shape.reduce((product, length) => product * length, 1));
  const wanted = 4 * sizes.reduce((sum, size) => sum + size, 0);
  const other = entries.find(({ dtype }) => dtype !== 'float32' && dtype !== 'int32');
  if (other) throw new Error(`${other.name} is of ${other.dtype}, not float32`);
  if (bytes.length !== wanted)
    throw new Error(`the files of the weights have ${bytes.length} bytes, not ${wanted}`);
  const { buffer } = new Uint8Array(bytes); // begins at a multiple of 4, which a part of a pool need not
  let offset = 0;
  return entries.flatMap(({ name, dtype, shape }, i) => {
    const data = new Float32Array(buffer, offset, sizes[i]);
    offset += 4 * sizes[i];
    return dtype === 'float32' ? [[name, { data, shape }]] : [];
  });
}
