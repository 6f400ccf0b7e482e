// What is saved is what was read: every tensor, bit for bit, whatever the model has joined, packed or tied.

import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createRuntime, parseSafetensors } from 'wasm-attention';
import type { Runtime } from 'wasm-attention';
import { loadModel, openCheckpoint } from 'wasm-attention/model';
import type { LoadModelOptions, SaveOptions } from 'wasm-attention/model';
import { checkpointNames } from '../support/model-checkpoints.js';
import { VARIANTS } from '../support/model-variants.js';
import { needs } from '../support/needs.js';
import { modelsFolder } from '../support/requirements.mjs';
import { smallModel } from '../support/small-models.js';

let runtime: Runtime;
beforeAll(async () => {
  runtime = await createRuntime({ build: 'simd' });
});
afterAll(() => runtime.dispose());

/** Bytes of a model after it was loaded and saved, and what it left aside. */
async function savedOf(options: LoadModelOptions, asked?: SaveOptions) {
  const model = await loadModel({ runtime, ...options });
  const chunks: Uint8Array[] = [];
  for await (const chunk of model.save(asked)) chunks.push(chunk.slice());
  const { leftAside } = model;
  model.dispose();
  return { file: new Uint8Array(Buffer.concat(chunks)), leftAside };
}

/** Tensors by name: their kind, shape and bytes. */
async function tensorsOf(file: Uint8Array): Promise<Map<string, object>> {
  const checkpoint = await openCheckpoint(file);
  return new Map(
    [...checkpoint.tensors].map(([name, entry]) => [
      name,
      { ...entry, content: Buffer.from(checkpoint.view(name)!).toString('base64') },
    ]),
  );
}

async function expectSame(options: LoadModelOptions & { weights: Uint8Array }): Promise<void> {
  const { file, leftAside } = await savedOf(options);
  const before = await tensorsOf(options.weights);
  for (const name of leftAside) before.delete(name);
  expect(before.size).toBeGreaterThan(1);
  const after = await tensorsOf(file);
  expect([...after.keys()].sort()).toEqual([...before.keys()].sort());
  for (const [name, tensor] of before) expect(after.get(name), name).toEqual(tensor);
}

it.each(VARIANTS.map(({ title }) => title))('%s', async (title) => {
  const { config, weights } = smallModel(title);
  await expectSame({ config, weights });
});

needs('model-checkpoints').it('checkpoints of every family, also in half precision', async () => {
  for (const name of checkpointNames()) {
    const read = (file: string) => readFileSync(`${modelsFolder()}/${name}/${file}`);
    await expectSame({
      config: JSON.parse(read('config.json').toString()) as unknown,
      weights: new Uint8Array(read('model.safetensors')),
    });
  }
});

it('in another kind of float it is rounded to the nearest', async () => {
  const { config, weights } = smallModel('gpt2: usual');
  const { file } = await savedOf({ config, weights }, { dtype: 'BF16', metadata: { from: 'a test' } });
  const { metadata, tensors } = await openCheckpoint(file);
  expect(metadata).toEqual({ from: 'a test' });
  expect(new Set([...tensors.values()].map(({ dtype }) => dtype))).toEqual(new Set(['BF16']));
  const before = parseSafetensors(weights);
  for (const [name, { data }] of Object.entries(parseSafetensors(file))) {
    before[name]!.data.forEach((value, i) => {
      expect(Math.abs(data[i]! - value)).toBeLessThanOrEqual(Math.abs(value) * 2 ** -8);
    });
  }
});
