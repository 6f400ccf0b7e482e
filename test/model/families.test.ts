// Families: what they make of configs and names. That a description means what transformers computes is shown by the reference of
// test/reference/model.ts, which follows it in float64.

import { describe, expect, it } from 'vitest';
import { ConfigReader, findFamily } from '../../src/model/config.js';
import type { CheckpointNames, ModelDescription, Source } from '../../src/model/description.js';
import { allFamilies } from '../../src/model/families/index.js';
import { referenceModel } from '../reference/model.js';
import type { ReferenceInput, ReferenceOutputs } from '../reference/model.js';
import { checkpointNames, numbersOf, readCheckpoint } from '../support/model-checkpoints.js';
import type { ModelCase, ModelCheckpoint, StoredTensor } from '../support/model-checkpoints.js';
import { needs } from '../support/needs.js';

const namesOf = (shapes: ReadonlyMap<string, readonly number[]>): CheckpointNames => ({
  has: (name) => shapes.has(name),
  shape: (name) => shapes.get(name),
});

function describeModel(
  config: object,
  shapes: ReadonlyMap<string, readonly number[]> = new Map(),
): ModelDescription {
  const reader = new ConfigReader(config);
  const model = findFamily(reader, allFamilies).describe(reader, namesOf(shapes));
  reader.finish();
  return model;
}

/** Everything that is named anywhere in a description. */
function sourcesOf(value: unknown): Source[] {
  if (typeof value !== 'object' || value === null || value instanceof RegExp) return [];
  if ('name' in value && 'shape' in value) return [value as Source];
  return Object.values(value).flatMap(sourcesOf);
}

/** One of a batch. */
function ownRow(tensor: StoredTensor, b: number): Float32Array | Int32Array {
  const all = numbersOf(tensor);
  const size = all.length / tensor.dims[0]!;
  return all.subarray(b * size, (b + 1) * size);
}

/** What transformers gave, one row of the batch after the other. */
function compareCase(
  checkpoint: ModelCheckpoint,
  model: ModelDescription,
  { inputs, outputs, tolerance_hint }: ModelCase,
): void {
  const batch = Math.max(...Object.values(inputs).map(({ dims }) => dims[0]!));
  const rowOf = (name: string, b: number): number[] | undefined => {
    const tensor = inputs[name];
    return tensor && b < tensor.dims[0]! ? [...ownRow(tensor, b)] : undefined;
  };
  const compared = new Set<string>();
  for (let b = 0; b < batch; b++) {
    const mask = rowOf('attention_mask', b);
    const input = {
      ids: rowOf('input_ids', b),
      types: rowOf('token_type_ids', b),
      positions: rowOf('position_ids', b),
      mask,
      decoderIds: rowOf('decoder_input_ids', b),
      pixels: rowOf('pixel_values', b),
      features: rowOf('input_features', b),
    } as ReferenceInput;
    const computed = referenceModel(model, checkpoint.values, input);
    for (const [name, expected] of Object.entries(outputs)) {
      const actual = valuesOf(computed, name);
      if (!actual) continue;
      const own = ownRow(expected, b);
      const limit = 1e-6 + 2 * (tolerance_hint[name] ?? 0);
      const padded =
        mask && actual.tokens === mask.length && !/decoder_|cross_/.test(name) ? mask : undefined;
      let most = 0;
      actual.values.forEach((row, i) => {
        if (padded?.[i % actual.tokens] === 0) return;
        row.forEach((value, j) => (most = Math.max(most, Math.abs(value - own[i * row.length + j]!))));
      });
      expect(actual.values.length * actual.values[0]!.length, name).toBe(own.length);
      expect(most, name).toBeLessThan(limit);
      compared.add(name);
    }
  }
  // What follows from these by normalisation and products alone is not the families'.
  const others =
    /^(sentence_embedding|(text|image)_embeds|logits_per_image|(encoder_|text_|vision_|decoder_)?hidden_states\.\d+)$/;
  for (const name of Object.keys(outputs)) if (!others.test(name)) expect(compared, name).toContain(name);
}

/** Rows of an output in one list; of attention weights those of all heads. */
function valuesOf(computed: ReferenceOutputs, name: string) {
  const found = computed.get(name);
  if (!found) return undefined;
  const values = found.flat() as Float64Array[];
  return { values, tokens: Array.isArray(found[0]) ? found[0].length : found.length };
}

needs('model-checkpoints').describe('families of the checkpoints beside this project', () => {
  for (const name of checkpointNames()) {
    describe(name, () => {
      it('names every tensor of the file once, by its shape, and nothing else', () => {
        const { configs, shapes } = readCheckpoint(name);
        for (const config of Object.values(configs)) {
          const model = describeModel(config, shapes);
          const sources = sourcesOf(model);
          for (const source of sources) expect(shapes.get(source.name), source.name).toEqual(source.shape);
          const named = new Set(sources.map((source) => source.name));
          const others = [...shapes.keys()].filter((tensor) => !named.has(tensor));
          expect(others.filter((tensor) => !model.buffers?.some((buffer) => buffer.test(tensor)))).toEqual(
            [],
          );
          expect([...named].filter((tensor) => /position_ids|\.attn\.(masked_)?bias$/.test(tensor))).toEqual(
            [],
          );
        }
      });

      it('means the same in both forms of its config', () => {
        const { configs, shapes } = readCheckpoint(name);
        const [first, ...others] = Object.values(configs).map((config) => describeModel(config, shapes));
        for (const other of others) expect(other).toEqual(first);
      });

      it('describes what transformers computes', () => {
        const checkpoint = readCheckpoint(name);
        const model = describeModel(checkpoint.configs['config.json']!, checkpoint.shapes);
        for (const one of checkpoint.cases) compareCase(checkpoint, model, one);
      }, 60_000);
    });
  }
});
