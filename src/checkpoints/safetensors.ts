// Reads files in the safetensors format into named float tensors.
// Touch: new dtypes (one row in `decoders`). Checks belong in header.ts, what the names mean in state-dict.ts.

import { AttentionError, describe, invalidArgument } from '../runtime/errors.js';
import { float16BitsToFloat32Bits } from '../math/half.js';
import { lengthBytes, readHeader, readHeaderLength, tensorLabel } from './header.js';
import type { Entry } from './header.js';

/** One named tensor of a checkpoint: row-major values and their shape. */
export interface StateTensor {
  /** The values as float32, as many as the product of `shape`. */
  readonly data: Float32Array;
  /** Sizes from the outermost dimension to the innermost; empty for a scalar. */
  readonly shape: readonly number[];
}

/** From a tensor's bytes to float32. Hosts are little-endian like the file; the kernels need that anyway. */
const decoders: ReadonlyMap<string, (bytes: Uint8Array) => Float32Array> = new Map([
  ['F32', decodeFloat32],
  ['F16', decodeFloat16],
  ['BF16', decodeBfloat16],
  ['F64', decodeFloat64],
]);

/**
 * Reads a safetensors file.
 *
 * The whole header is checked at once, the values of a tensor are touched only when its `data` is read: F32
 * that happens to be aligned is a view of `bytes` (so `bytes` must stay as it is), everything else is
 * converted to float32 on the first read and kept. F16 and BF16 convert exactly, F64 is rounded to nearest.
 *
 * @param bytes the complete file, as a buffer or a view of one.
 * @returns the tensors by name, in an object without a prototype; `__metadata__` is checked and left out.
 * @throws AttentionError `INVALID_FILE` if the file breaks any rule of the format; `INVALID_ARGUMENT` if
 *   `bytes` is not bytes. Reading `data` throws `INVALID_DTYPE` for dtypes other than F32, F16, BF16 and F64,
 *   and `OUT_OF_MEMORY` if the engine has no room for the converted values.
 *
 * The format: https://huggingface.co/docs/safetensors, and the checks of its reference implementation,
 * https://github.com/huggingface/safetensors.
 *
 * @example
 * ```js
 * const response = await fetch('/model.safetensors');
 * const tensors = parseSafetensors(await response.arrayBuffer());
 * Object.keys(tensors); // names, for layer.load(tensors, prefix)
 * ```
 */
export function parseSafetensors(bytes: ArrayBuffer | Uint8Array): Record<string, StateTensor> {
  const file = bytesOf(bytes);
  if (file === undefined) throw invalidArgument('bytes', 'an ArrayBuffer or a Uint8Array', bytes);
  const headerEnd = lengthBytes + readHeaderLength(file, file.length);
  const values = file.subarray(headerEnd);
  const { entries } = readHeader(file.subarray(lengthBytes, headerEnd), values.length);

  // Without a prototype, so that a tensor called `__proto__` is a tensor like any other.
  const tensors = Object.create(null) as Record<string, StateTensor>;
  for (const entry of entries) tensors[entry.name] = makeTensor(entry, values);
  return tensors;
}

/** A view of a buffer or of what another view shows; undefined for what is neither. */
export function bytesOf(value: unknown): Uint8Array | undefined {
  if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  const tag = Object.prototype.toString.call(value);
  return tag === '[object ArrayBuffer]' || tag === '[object SharedArrayBuffer]'
    ? new Uint8Array(value as ArrayBufferLike)
    : undefined;
}

function makeTensor(entry: Entry, values: Uint8Array): StateTensor {
  let decoded: Float32Array | undefined;
  return {
    shape: entry.shape,
    get data(): Float32Array {
      return (decoded ??= decode(entry, values.subarray(entry.begin, entry.end)));
    },
  };
}

function decode({ name, dtype }: Entry, bytes: Uint8Array): Float32Array {
  const decoder = decoders.get(dtype);
  if (decoder === undefined) {
    throw new AttentionError({
      code: 'INVALID_DTYPE',
      argument: tensorLabel(name),
      expected: `one of ${[...decoders.keys()].join(', ')}`,
      received: describe(dtype),
    });
  }
  try {
    return decoder(bytes);
  } catch (cause) {
    throw new AttentionError({
      code: 'OUT_OF_MEMORY',
      argument: tensorLabel(name),
      expected: 'room for its values as float32',
      received: `an allocation failure for ${bytes.length} bytes of ${dtype}`,
      cause,
    });
  }
}

function decodeFloat32(bytes: Uint8Array): Float32Array {
  const { buffer, byteOffset, byteLength } = aligned(bytes, Float32Array.BYTES_PER_ELEMENT);
  return new Float32Array(buffer, byteOffset, byteLength / Float32Array.BYTES_PER_ELEMENT);
}

function decodeFloat64(bytes: Uint8Array): Float32Array {
  const { buffer, byteOffset, byteLength } = aligned(bytes, Float64Array.BYTES_PER_ELEMENT);
  return new Float32Array(new Float64Array(buffer, byteOffset, byteLength / Float64Array.BYTES_PER_ELEMENT));
}

function decodeBfloat16(bytes: Uint8Array): Float32Array {
  return decodeHalves(bytes, (half) => half << 16);
}

function decodeFloat16(bytes: Uint8Array): Float32Array {
  return decodeHalves(bytes, float16BitsToFloat32Bits);
}

/** Works on bits from end to end, so that the payload of a NaN survives as well. */
function decodeHalves(bytes: Uint8Array, widen: (half: number) => number): Float32Array {
  const { buffer, byteOffset, byteLength } = aligned(bytes, Uint16Array.BYTES_PER_ELEMENT);
  const halves = new Uint16Array(buffer, byteOffset, byteLength / Uint16Array.BYTES_PER_ELEMENT);
  const widened = new Uint32Array(halves.length);
  for (let index = 0; index < halves.length; index++) widened[index] = widen(halves[index] as number);
  return new Float32Array(widened.buffer);
}

/** The same bytes at a multiple of `alignment`: themselves if they are there, a copy otherwise. */
function aligned(bytes: Uint8Array, alignment: number): Uint8Array {
  return bytes.byteOffset % alignment === 0 ? bytes : new Uint8Array(bytes);
}
