// Reads the encoder's files: the shards of a TensorFlow.js model as named arrays, and the vocabulary.

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readTensors } from './tensors.mjs';

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
  return { weights: await readTensors(weightsManifest, (path) => readFile(join(folder, path))), vocabulary };
}
