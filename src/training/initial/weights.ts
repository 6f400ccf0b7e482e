// Weights of a new model: what its tensors are called comes from the family, what they begin with from values.ts, and random numbers
// from the seed and the tensor's name. Loaded when it is asked for.

import { writeSafetensors } from '../../checkpoints/write-safetensors.js';
import type { TensorToWrite } from '../../checkpoints/write-safetensors.js';
import { power, sineAndCosine } from '../../math/elementary.js';
import { describer } from '../../model/describe.js';
import { nextTurn } from '../../platform/turns.js';
import { sinusoidalEncoding } from '../../positions/sinusoidal.js';
import { sizeOf } from '../../runtime/layout.js';
import type { InitialWeightsOptions } from '../initial-weights.js';
import { namesOf } from './names.js';
import { fillNormal } from './normal.js';
import { beginningsOf } from './values.js';
import type { Beginning, BegunTensor } from './values.js';

/** Numbers that are drawn between turns of the event loop, a few milliseconds' work. */
const PIECE = 16384;

/** Tells these random numbers from those of a training with the same seed. */
const STREAM = 0x696e6974;

/** @internal A safetensors file; the options have been checked, but for the config. */
export async function makeWeights({
  config,
  seed,
  families,
  ignoreSettings,
}: InitialWeightsOptions): Promise<Uint8Array> {
  const describe = await describer({ config, families, ignoreSettings });
  const description = describe(namesOf(config as Readonly<Record<string, unknown>>));
  const tensors = beginningsOf(config, description).map((begun): [string, TensorToWrite] => [
    begun.source.name,
    { dtype: 'F32', shape: begun.source.shape, data: () => valuesOf(begun, seed) },
  ]);
  return writeSafetensors(tensors, { metadata: { format: 'pt' } });
}

async function* valuesOf({ source, beginning }: BegunTensor, seed: number): AsyncGenerator<Float32Array> {
  const { name, shape } = source;
  if (beginning.kind !== 'normal') {
    yield fixedValues(beginning, shape);
    return;
  }
  const size = sizeOf(shape);
  const { deviation, zeroRow } = beginning;
  const columns = sizeOf(shape.slice(1));
  for (let from = 0; from < size; from += PIECE) {
    const piece = new Float32Array(Math.min(PIECE, size - from));
    fillNormal(piece, deviation, { key: keyOf(seed), stream: hashesOf(name), from });
    if (zeroRow !== undefined)
      piece.fill(0, clamp(zeroRow * columns - from), clamp((zeroRow + 1) * columns - from));
    yield piece;
    await nextTurn();
  }
}

const clamp = (index: number) => Math.max(0, index);

function fixedValues(beginning: Exclude<Beginning, { kind: 'normal' }>, shape: readonly number[]) {
  if (beginning.kind === 'constant') return new Float32Array(sizeOf(shape)).fill(beginning.value);
  const [rows, channels] = shape.slice(-2) as [number, number];
  return beginning.order === 'pairs' ? sinusoidalEncoding(rows, channels) : sinusoids(rows, channels);
}

/** Whisper's: all sines, then all cosines, and wavelengths that reach 10000 times 2 pi. */
function sinusoids(rows: number, channels: number): Float32Array {
  const half = channels / 2;
  const table = new Float32Array(rows * channels);
  for (let channel = 0; channel < half; channel++) {
    const frequency = power(10000, -channel / Math.max(1, half - 1));
    for (let row = 0; row < rows; row++) {
      const { sine, cosine } = sineAndCosine(row * frequency);
      table[row * channels + channel] = sine;
      table[row * channels + half + channel] = cosine;
    }
  }
  return table;
}

/** Both words of a seed. */
const keyOf = (seed: number): [number, number] => [seed >>> 0, (Math.floor(seed / 2 ** 32) ^ STREAM) >>> 0];

/** Two words of a name (FNV-1a, with two beginnings), so that hardly two names have both. */
function hashesOf(name: string): [number, number] {
  const hash = (start: number) => {
    let word = start;
    for (const byte of new TextEncoder().encode(name)) word = Math.imul(word ^ byte, 0x01000193);
    return word >>> 0;
  };
  return [hash(0x811c9dc5), hash(0x050c5d1f)];
}
