// The reader of TensorFlow.js models of examples/lookup/, on small ones made here.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { readModelFiles } from '../../examples/lookup/files.mjs';

const folder = mkdtempSync(join(tmpdir(), 'wasm-attention-model-files-'));
afterAll(() => {
  rmSync(folder, { recursive: true });
});

const entries = [
  { name: 'a', dtype: 'float32', shape: [2, 2] },
  { name: 'size', dtype: 'int32', shape: [] },
  { name: 'b', dtype: 'float32', shape: [3] },
];
const numbers = new Uint8Array(32);
new Float32Array(numbers.buffer).set([1, 2, 3, 4]);
new Int32Array(numbers.buffer)[4] = 99;
new Float32Array(numbers.buffer).set([5, 6, 7], 5);

/** A model whose numbers are cut into files at the given places. */
function write(cuts: number[], weights = entries, bytes = numbers): void {
  const paths = cuts.map((_, i) => `shard${i}`);
  const weightsManifest = [{ paths, weights }];
  writeFileSync(join(folder, 'model.json'), JSON.stringify({ weightsManifest }));
  writeFileSync(join(folder, 'vocab.json'), '[["a",0]]');
  cuts.forEach((cut, i) => writeFileSync(join(folder, paths[i]!), bytes.subarray(cut, cuts[i + 1])));
}

it('weights by name, wherever the files are cut, and the vocabulary', async () => {
  for (const cuts of [[0], [0, 16], [0, 5, 6, 31]]) {
    write(cuts);
    const { weights, vocabulary } = await readModelFiles(folder);
    expect([...weights.keys()]).toEqual(['a', 'b']);
    expect(weights.get('a')).toEqual({ data: Float32Array.of(1, 2, 3, 4), shape: [2, 2] });
    expect(weights.get('b')).toEqual({ data: Float32Array.of(5, 6, 7), shape: [3] });
    expect(vocabulary).toEqual([['a', 0]]);
  }
});

it('files that are too short or too long are named with their sizes', async () => {
  write([0, 16], entries, numbers.subarray(0, 28));
  await expect(readModelFiles(folder)).rejects.toThrow('the files of the weights have 28 bytes, not 32');
  write([0], entries, new Uint8Array(36));
  await expect(readModelFiles(folder)).rejects.toThrow('the files of the weights have 36 bytes, not 32');
});

it('weights of another type are refused by name', async () => {
  write([0], [{ name: 'half', dtype: 'float16', shape: [4] }]);
  await expect(readModelFiles(folder)).rejects.toThrow('half is of float16, not float32');
});
