// Checkpoints of random weights for a config, made by asking the reference what it reads, and what the reference computes from them.

import { referenceModel } from '../reference/transformer.js';
import type { Kind, Nested, RowInputs, WeightSource } from '../reference/transformer.js';
import { Random } from '../reference/random.js';

export interface NamedTensor {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

const sizeOf = (shape: readonly number[]): number => shape.reduce((size, length) => size * length, 1);

/** Draws a tensor when it is asked for, and keeps it. */
export class RandomWeights implements WeightSource {
  readonly tensors = new Map<string, NamedTensor>();
  readonly #random: Random;

  constructor(seed: number) {
    this.#random = new Random(seed);
  }

  tensor(name: string, shape: readonly number[], kind: Kind): ArrayLike<number> {
    const known = this.tensors.get(name);
    if (known) {
      if (String(known.shape) !== String(shape))
        throw new Error(`${name} is asked for as ${shape.join()} and ${known.shape.join()}`);
      return known.data;
    }
    // Large enough that no attention is uniform, small enough that none is one-hot.
    const spread = { matrix: 1.6 / Math.sqrt(sizeOf(shape.slice(1))), bias: 0.3, norm: 0.3, table: 0.7 }[
      kind
    ];
    const data = new Float32Array(sizeOf(shape)).map(
      () => spread * this.#random.normal() + (kind === 'norm' ? 1 : 0),
    );
    this.tensors.set(name, { shape, data });
    return data;
  }
}

/** A safetensors file of float32. */
export function safetensors(tensors: ReadonlyMap<string, NamedTensor>): Uint8Array<ArrayBuffer> {
  let end = 0;
  const header = new TextEncoder().encode(
    JSON.stringify(
      Object.fromEntries(
        [...tensors].map(([name, { shape, data }]) => {
          const begin = end;
          end += data.byteLength;
          return [name, { dtype: 'F32', shape, data_offsets: [begin, end] }];
        }),
      ),
    ),
  );
  const file = new Uint8Array(8 + header.length + end);
  new DataView(file.buffer).setBigUint64(0, BigInt(header.length), true);
  file.set(header, 8);
  let at = 8 + header.length;
  for (const { data } of tensors.values()) {
    file.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at);
    at += data.byteLength;
  }
  return file;
}

export interface Numbers {
  readonly data: Float32Array;
  readonly dims: readonly number[];
}

/** Arrays of arrays as one array with its shape. */
export function flat(nested: Nested): Numbers {
  const dims: number[] = [];
  for (let level = nested; typeof level !== 'number'; level = level[0]!) dims.push(level.length);
  return { dims, data: Float32Array.from((nested as []).flat(Infinity) as number[]) };
}

/** What the reference gives for a batch, by the names that expected.json uses. */
export function expectedOutputs(
  config: unknown,
  weights: WeightSource,
  rows: readonly RowInputs[],
): Record<string, Numbers> {
  const outputs = rows.map((row) => referenceModel(config, weights, row));
  return Object.fromEntries(
    Object.keys(outputs[0]!).map((name) => [name, flat(outputs.map((each) => each[name]!))]),
  );
}

/** The same rows as the model takes them. */
export function batchOf(
  rows: readonly RowInputs[],
): Record<string, { data: Int32Array | Float32Array; dims: readonly number[] }> {
  return Object.fromEntries(
    Object.keys(rows[0]!).map((name) => {
      const { data, dims } = flat(rows.map((row) => (row as Record<string, Nested>)[name]!));
      return [name, { dims, data: /^(pixel|input_features)/.test(name) ? data : Int32Array.from(data) }];
    }),
  );
}
