// Writes files in the safetensors format, as a whole or chunk by chunk.

import { checkObject, checkOptions } from '../runtime/checks.js';
import type { NamesOf } from '../runtime/checks.js';
import { describe, invalidArgument, shapeError } from '../runtime/errors.js';
import { sizeOf } from '../runtime/layout.js';
import { METADATA, isListOfSizes, largestHeader, lengthBytes, tensorLabel } from './header.js';
import { bytesOf } from './safetensors.js';

/** Values of a tensor in little-endian order: a buffer, or a view of any kind. */
export type Values = ArrayBuffer | ArrayBufferView;

/** A tensor to write. */
export interface TensorToWrite {
  /** As the format calls it. Values are written as they are: nothing is converted. */
  readonly dtype: 'F32' | 'F16' | 'BF16';
  /** Sizes from the outermost dimension to the innermost; empty for a scalar. */
  readonly shape: readonly number[];
  /** All values, or a function that produces them piece by piece when it is their turn. */
  readonly data: Values | (() => Iterable<Values> | AsyncIterable<Values>);
}

/** Tensors by name: an object, or pairs such as those of a Map. */
export type TensorsToWrite =
  Readonly<Record<string, TensorToWrite>> | Iterable<readonly [name: string, tensor: TensorToWrite]>;

/** Options of writing. */
export interface WriteOptions {
  /** Texts by key, for `__metadata__`, such as `{ format: 'pt' }`. Default: none. */
  readonly metadata?: Readonly<Record<string, string>> | undefined;
}

/** A tensor and its place among the values. */
interface Placed {
  readonly name: string;
  readonly tensor: TensorToWrite;
  readonly bytes: number;
}

const OPTION_NAMES = { metadata: 1 } satisfies NamesOf<WriteOptions>;
const WIDTHS: Readonly<Record<string, number>> = { F32: 4, F16: 2, BF16: 2 };
const ALIGNMENT = 8;

// The type is Uint8Array<ArrayBuffer>, or Uint8Array for older compilers, which know no kinds of it.
/**
 * A safetensors file in memory: {@link safetensorsChunks} put together.
 *
 * @example
 * ```js
 * const file = await writeSafetensors({
 *   weight: { dtype: 'F32', shape: [2, 2], data: Float32Array.of(1, 2, 3, 4) },
 * });
 * file.length % 8; // 0
 * ```
 */
export async function writeSafetensors(
  tensors: TensorsToWrite,
  options: WriteOptions = {},
): Promise<ReturnType<Uint8Array['slice']>> {
  const { header, placed } = plan(tensors, options);
  const file = new Uint8Array(placed.reduce((total, { bytes }) => total + bytes, header.length));
  let at = 0;
  for await (const chunk of chunksOf(header, placed)) {
    file.set(chunk, at);
    at += chunk.length;
  }
  return file;
}

/**
 * A safetensors file in chunks: for a file of Node (`fs.promises.writeFile` takes them), a stream or the parts of a Blob, so that a
 * model is not in memory twice.
 *
 * Values lie in the order in which the tensors are given, but those of four bytes before those of two, as other writers have it: then
 * every tensor is aligned. The same tensors give the same bytes.
 *
 * @returns chunks that are views of the `data` given: to be used before that changes
 * @throws AttentionError at once `INVALID_ARGUMENT` for a name, dtype or metadata that a file cannot have, `INVALID_SHAPE` for a shape
 *   that is none or has another number of bytes than `data`; on the way `INVALID_SHAPE` if a function produces more or less
 *
 * @example
 * ```js
 * const weight = { dtype: 'F32', shape: [2, 2], data: Float32Array.of(1, 2, 3, 4) };
 * const parts = [];
 * for await (const chunk of safetensorsChunks({ weight })) parts.push(chunk);
 * const file = new Blob(parts, { type: 'application/octet-stream' });
 * ```
 */
export function safetensorsChunks(
  tensors: TensorsToWrite,
  options: WriteOptions = {},
): AsyncGenerator<Uint8Array, void, undefined> {
  const { header, placed } = plan(tensors, options);
  return chunksOf(header, placed);
}

function plan(
  tensors: TensorsToWrite,
  options: WriteOptions,
): { readonly header: Uint8Array; readonly placed: readonly Placed[] } {
  checkOptions(options, OPTION_NAMES);
  checkObject('tensors', tensors);
  const pairs = Symbol.iterator in tensors ? [...tensors] : Object.entries(tensors);
  const placed = pairs.map(([name, tensor]) => ({ name, tensor, bytes: checkTensor(name, tensor) }));
  placed.sort((left, right) => widthOf(right) - widthOf(left)); // keeps the order of equal ones
  return { header: headerOf(placed, options.metadata), placed };
}

function widthOf({ tensor }: Placed): number {
  return WIDTHS[tensor.dtype] as number;
}

/** Returns how many bytes its values have. */
function checkTensor(name: unknown, tensor: unknown): number {
  checkText('tensors', 'the name of a tensor', name);
  if (name === METADATA) throw invalidArgument('tensors', `a name other than ${METADATA}`, name);
  const label = tensorLabel(name);
  checkObject(label, tensor, 'an object with dtype, shape and data');
  const { dtype, shape, data } = tensor as Partial<TensorToWrite>;
  if (typeof dtype !== 'string' || !Object.hasOwn(WIDTHS, dtype)) {
    throw invalidArgument(`${label} dtype`, Object.keys(WIDTHS).join(', '), dtype);
  }
  if (!isListOfSizes(shape)) throw shapeError(`${label} shape`, 'a list of integers >= 0', shape);
  const bytes = sizeOf(shape) * (WIDTHS[dtype] as number);
  if (!Number.isSafeInteger(bytes)) throw shapeError(`${label} shape`, 'fewer than 2^53 bytes', shape);
  if (typeof data === 'function') return bytes;
  const given = bytesOf(data);
  if (given === undefined)
    throw invalidArgument(`${label} data`, 'bytes, or a function that produces them', data);
  if (given.length === bytes) return bytes;
  throw shapeError(`${label} data`, `${bytes} bytes for ${dtype} of shape ${describe(shape)}`, given.length);
}

/** Half of a surrogate pair would come back as another character. */
function checkText(argument: string, expected: string, text: unknown): asserts text is string {
  if (typeof text !== 'string' || /\p{Surrogate}/u.test(text)) {
    throw invalidArgument(argument, `${expected}, a string of whole characters`, text);
  }
}

function headerOf(placed: readonly Placed[], metadata: WriteOptions['metadata']): Uint8Array {
  const members = metadata === undefined ? [] : [member(METADATA, checkMetadata(metadata))];
  const names = new Set<string>();
  let end = 0;
  for (const { name, tensor, bytes } of placed) {
    if (names.has(name)) throw invalidArgument('tensors', 'every name once', name);
    names.add(name);
    const begin = end;
    end += bytes;
    members.push(member(name, { dtype: tensor.dtype, shape: tensor.shape, data_offsets: [begin, end] }));
  }
  const text = new TextEncoder().encode(`{${members.join(',')}}`);
  const length = Math.ceil(text.length / ALIGNMENT) * ALIGNMENT;
  if (length > largestHeader) {
    throw invalidArgument('tensors', `names that fit into a header of ${largestHeader} bytes`, length);
  }
  const header = new Uint8Array(lengthBytes + length).fill(' '.charCodeAt(0));
  new DataView(header.buffer).setBigUint64(0, BigInt(length), true);
  header.set(text, lengthBytes);
  return header;
}

function member(key: string, value: object): string {
  return `${JSON.stringify(key)}:${JSON.stringify(value)}`;
}

function checkMetadata(metadata: unknown): object {
  checkObject('metadata', metadata, 'an object of strings');
  for (const [key, text] of Object.entries(metadata as object)) {
    checkText('metadata', 'keys', key);
    checkText(`metadata.${key}`, 'a text', text);
  }
  return metadata as object;
}

async function* chunksOf(
  header: Uint8Array,
  placed: readonly Placed[],
): AsyncGenerator<Uint8Array, void, undefined> {
  yield header;
  for (const { name, tensor, bytes } of placed) {
    const { data } = tensor;
    let written = 0;
    for await (const values of typeof data === 'function' ? data() : [data]) {
      const chunk = bytesOf(values);
      if (chunk === undefined) throw invalidArgument(`${tensorLabel(name)} data`, 'pieces of bytes', values);
      written += chunk.length;
      if (written > bytes) break;
      if (chunk.length > 0) yield chunk;
    }
    if (written !== bytes) {
      throw shapeError(`${tensorLabel(name)} data`, `${bytes} bytes in all`, written);
    }
  }
}
