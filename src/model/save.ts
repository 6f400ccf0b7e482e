// A model's weights as a checkpoint: in the names, shapes and kinds of floats it was read by.

import { safetensorsChunks } from '../checkpoints/write-safetensors.js';
import type { TensorToWrite } from '../checkpoints/write-safetensors.js';
import { ELEMENT_BYTES } from '../ops/linear/packing.js';
import type { ElementType } from '../ops/linear/packing.js';
import { checkOptions } from '../runtime/checks.js';
import type { NamesOf } from '../runtime/checks.js';
import { invalidArgument } from '../runtime/errors.js';
import { sizeOf } from '../runtime/layout.js';
import type { Parameters } from './parameters.js';

/** Options of `model.save`. */
export interface SaveOptions {
  /** Kind of the floats. Default: of each tensor the one it was read as, which gives back the bits that were read. */
  readonly dtype?: 'F32' | 'F16' | 'BF16' | undefined;
  /** Texts for the file's header. Default { format: 'pt' }, which transformers wants to see. */
  readonly metadata?: Readonly<Record<string, string>> | undefined;
}

export const SAVE_NAMES = { dtype: 1, metadata: 1 } satisfies NamesOf<SaveOptions>;

/** Bytes that are read back at once. */
const PIECE_BYTES = 2 ** 20;

/** The chunks of a safetensors file, so that the weights are not in memory twice. */
export function saveParameters(
  parameters: Parameters,
  options: SaveOptions,
): AsyncGenerator<Uint8Array, void, undefined> {
  checkOptions(options, SAVE_NAMES);
  const { dtype, metadata = { format: 'pt' } } = options;
  if (dtype !== undefined && !Object.hasOwn(ELEMENT_BYTES, dtype))
    throw invalidArgument('dtype', "'F32', 'F16' or 'BF16'", dtype);
  const tensors = parameters.readNames.map((name): [string, TensorToWrite] => {
    const entry = parameters.entry(name);
    const kind = dtype ?? entry.dtype;
    return [
      name,
      { dtype: kind, shape: entry.shape, data: () => pieces(parameters, name, entry.shape, kind) },
    ];
  });
  return safetensorsChunks(tensors, { metadata });
}

function* pieces(
  parameters: Parameters,
  name: string,
  shape: readonly number[],
  dtype: ElementType,
): Generator<Uint8Array> {
  const size = sizeOf(shape);
  const row = Math.max(1, sizeOf(shape.slice(1)));
  const step = row * Math.max(1, Math.floor(PIECE_BYTES / (row * ELEMENT_BYTES[dtype])));
  for (let from = 0; from < size; from += step)
    yield parameters.read(name, from, Math.min(size, from + step), dtype);
}
