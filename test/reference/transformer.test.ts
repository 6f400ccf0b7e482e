// The reference of whole transformers against what transformers computes, where that is at hand; and rules that hold without.

import { expect, it } from 'vitest';
import { counting, differences, modelNames, readModelFolder } from '../conformance/model-cases.js';
import type { Inputs, ModelFolder } from '../conformance/model-cases.js';
import { needs } from '../support/needs.js';
import { expectedOutputs } from '../support/random-checkpoint.js';
import { hasReference } from './transformer.js';
import type { RowInputs, WeightSource } from './transformer.js';

/** Tensors of a safetensors file as numbers. */
function weightsOf(bytes: Uint8Array): WeightSource {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const length = Number(view.getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length))) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >;
  return {
    tensor(name, shape) {
      // Names of older files.
      const older = name
        .replace(/LayerNorm\.weight$/, 'LayerNorm.gamma')
        .replace(/LayerNorm\.bias$/, 'LayerNorm.beta')
        .replace(/^transformer\.(w|h\.|ln_f)/, '$1');
      const given = header[name] ?? header[older];
      if (!given) throw new Error(`no tensor ${name}`);
      expect(given.shape, name).toEqual(shape);
      const at = 8 + length + given.data_offsets[0];
      const size = shape.reduce((product, side) => product * side, 1);
      return Array.from({ length: size }, (_, i) => {
        if (given.dtype === 'F32') return view.getFloat32(at + 4 * i, true);
        const bits = view.getUint16(at + 2 * i, true);
        return given.dtype === 'BF16' ? widened(bits << 16) : half(bits);
      });
    },
  };
}

const word = new DataView(new ArrayBuffer(4));
function widened(bits: number): number {
  word.setInt32(0, bits);
  return word.getFloat32(0);
}

function half(bits: number): number {
  const [exponent, mantissa] = [(bits >> 10) & 31, bits & 1023];
  const size = exponent === 0 ? mantissa * 2 ** -24 : (1024 + mantissa) * 2 ** (exponent - 25);
  return bits >> 15 ? -size : size;
}

/** Inputs of a batch, a row each. */
function rowsOf(inputs: Inputs): RowInputs[] {
  const batch = Object.values(inputs)[0]!.dims[0]!;
  const nested = (data: ArrayLike<number>, dims: readonly number[]): unknown => {
    if (dims.length === 1) return Array.from(data);
    const step = data.length / dims[0]!;
    return Array.from({ length: dims[0]! }, (_, i) =>
      nested(Array.from(data).slice(i * step, (i + 1) * step), dims.slice(1)),
    );
  };
  return Array.from({ length: batch }, (_, b) =>
    Object.fromEntries(
      Object.entries(inputs).map(([name, { data, dims }]) => [name, (nested(data, dims) as unknown[])[b]]),
    ),
  );
}

function compare({ configs, weights, cases }: ModelFolder): string[] {
  const wrong: string[] = [];
  const source = weightsOf(weights);
  for (const { inputs, outputs } of cases) {
    const computed = expectedOutputs(configs['config.json'], source, rowsOf(inputs));
    for (const [key, expected] of Object.entries(outputs)) {
      if (key === 'sentence_embedding') continue;
      // Of the sums that float32 holds: the outputs are stored so.
      const limit = 2e-6 * Math.max(1, ...expected.data.map(Math.abs));
      wrong.push(...differences(key, computed[key], expected, limit, counting(key, expected, inputs)));
    }
  }
  return wrong;
}

needs('model-checkpoints').describe('the reference gives what transformers gives', () => {
  const folders = modelNames()
    .map(readModelFolder)
    .filter(({ configs }) => hasReference(configs['config.json']));
  it('are there', () => expect(folders).not.toEqual([]));
  for (const folder of folders) it(folder.name, () => expect(compare(folder)).toEqual([]));
});
