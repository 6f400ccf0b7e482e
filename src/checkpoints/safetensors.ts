// Reads files in the safetensors format into named float tensors, and trusts no byte of them.
// Touch: new dtypes (one row in `decoders`), stricter checks. What the names mean belongs in state-dict.ts.

import { AttentionError, describe, invalidArgument } from '../runtime/errors.js';
import { float16BitsToFloat32Bits } from '../math/half.js';

/** One named tensor of a checkpoint: row-major values and their shape. */
export interface StateTensor {
  /** The values as float32, as many as the product of `shape`. */
  readonly data: Float32Array;
  /** Sizes from the outermost dimension to the innermost; empty for a scalar. */
  readonly shape: readonly number[];
}

/** A tensor's header entry, once it has been checked on its own. */
interface Entry {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly begin: number;
  readonly end: number;
}

const lengthBytes = 8;
const largestHeader = 100_000_000;
const openingBrace = 0x7b;
const colon = 0x3a;
const space = 0x20;

/** Bits per element of the format's dtypes: sizes are checked for tensors that cannot be read, too. */
const elementBits = (): ReadonlyMap<string, number> =>
  new Map([
    ['F4', 4],
    ['F6_E2M3', 6],
    ['F6_E3M2', 6],
    ...['BOOL', 'U8', 'I8', 'F8_E5M2', 'F8_E4M3', 'F8_E8M0'].map((dtype) => [dtype, 8] as const),
    ...['I16', 'U16', 'F16', 'BF16'].map((dtype) => [dtype, 16] as const),
    ...['I32', 'U32', 'F32'].map((dtype) => [dtype, 32] as const),
    ...['I64', 'U64', 'F64', 'C64'].map((dtype) => [dtype, 64] as const),
  ]);

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
  const file = toByteView(bytes);
  const headerLength = readHeaderLength(file);
  const text = decodeHeader(file.subarray(lengthBytes, lengthBytes + headerLength));
  const header = parseJson(text);
  const values = file.subarray(lengthBytes + headerLength);
  const entries = readEntries(header, values.length);
  refuseDuplicates(text, header);
  checkCoverage(entries, values.length);

  // Without a prototype, so that a tensor called `__proto__` is a tensor like any other.
  const tensors = Object.create(null) as Record<string, StateTensor>;
  for (const entry of entries) tensors[entry.name] = makeTensor(entry, values);
  return tensors;
}

function toByteView(bytes: unknown): Uint8Array {
  if (ArrayBuffer.isView(bytes)) return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const tag = Object.prototype.toString.call(bytes);
  if (tag === '[object ArrayBuffer]' || tag === '[object SharedArrayBuffer]') {
    return new Uint8Array(bytes as ArrayBufferLike);
  }
  throw invalidArgument('bytes', 'an ArrayBuffer or a Uint8Array', bytes);
}

function readHeaderLength(file: Uint8Array): number {
  if (file.length < lengthBytes) {
    throw invalidFile('safetensors file', `at least ${lengthBytes} bytes`, `${file.length} bytes`);
  }
  const view = new DataView(file.buffer, file.byteOffset, lengthBytes);
  const length = view.getUint32(0, true) + view.getUint32(4, true) * 2 ** 32;
  if (length > largestHeader) {
    throw invalidFile('safetensors header length', `at most ${largestHeader} bytes`, `${length} bytes`);
  }
  const available = file.length - lengthBytes;
  if (length > available) {
    throw invalidFile('safetensors header', `${length} bytes`, `a file that ends after ${available} of them`);
  }
  return length;
}

function decodeHeader(bytes: Uint8Array): string {
  if (bytes[0] !== openingBrace) {
    throw invalidFile('safetensors header', 'a JSON object that begins with {', describeFirstByte(bytes));
  }
  return decodeText(bytes);
}

function describeFirstByte(bytes: Uint8Array): string {
  return bytes[0] === undefined ? 'an empty header' : `byte 0x${bytes[0].toString(16).padStart(2, '0')}`;
}

function decodeText(bytes: Uint8Array): string {
  try {
    // A copy, because browsers refuse to decode from shared memory.
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(new Uint8Array(bytes));
  } catch (cause) {
    throw invalidFile('safetensors header', 'UTF-8 text', 'bytes that are not', cause);
  }
}

function parseJson(text: string): Record<string, unknown> {
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch (cause) {
    throw invalidFile('safetensors header', 'valid JSON', 'a syntax error', cause);
  }
}

/**
 * `JSON.parse` silently keeps the last of several values of one key, which would let two readers see different tensors in
 * one file. Only if the text has more keys than the objects is there anything to look for.
 */
function refuseDuplicates(text: string, header: Record<string, unknown>): void {
  let keys = 0;
  for (const object of [header, ...Object.values(header)] as object[]) {
    for (const key in object) if (Object.hasOwn(object, key)) keys++; // without a list of them for each tensor
  }
  if (countKeys(text) === keys) return;
  const duplicate = findDuplicateKey(text);
  if (duplicate !== undefined) {
    throw invalidFile('safetensors header', 'every key once', `${describe(duplicate)} again`);
  }
}

/** Strings before a colon, in JSON that is known to be valid. */
function countKeys(text: string): number {
  let count = 0;
  for (let at = text.indexOf('"'); at >= 0; at = text.indexOf('"', at)) {
    at = endOfString(text, at);
    while (text.charCodeAt(at) <= space) at++;
    if (text.charCodeAt(at) === colon) count++;
  }
  return count;
}

/**
 * The first key that some object of a JSON text has twice.
 *
 * @param text JSON that is known to be valid.
 */
function findDuplicateKey(text: string): string | undefined {
  const open: (Set<string> | undefined)[] = [];
  let keyIsNext = false;
  for (let at = 0; at < text.length; at++) {
    const character = text[at];
    if (character === '"') {
      const end = endOfString(text, at);
      if (keyIsNext) {
        const key = JSON.parse(text.slice(at, end)) as string;
        const keys = open.at(-1);
        if (keys?.has(key)) return key;
        keys?.add(key);
        keyIsNext = false;
      }
      at = end - 1;
    } else if (character === '{' || character === '[') {
      open.push(character === '{' ? new Set() : undefined);
      keyIsNext = character === '{';
    } else if (character === '}' || character === ']') {
      open.pop();
      keyIsNext = false;
    } else if (character === ',') {
      keyIsNext = open.at(-1) !== undefined;
    }
  }
  return undefined;
}

/** One past the closing quote of the string that opens at `start`. */
function endOfString(text: string, start: number): number {
  let quote = text.indexOf('"', start + 1);
  while (countBackslashesBefore(text, quote) % 2 === 1) quote = text.indexOf('"', quote + 1);
  return quote + 1;
}

function countBackslashesBefore(text: string, position: number): number {
  let first = position;
  while (text[first - 1] === '\\') first--;
  return position - first;
}

function readEntries(header: Record<string, unknown>, available: number): Entry[] {
  const entries: Entry[] = [];
  const bits = elementBits();
  for (const name of Object.keys(header)) {
    if (name === '__metadata__') checkMetadata(header[name]);
    else entries.push(readEntry(name, header[name], available, bits));
  }
  return entries;
}

function checkMetadata(value: unknown): void {
  if (!isPlainObject(value)) throw invalidFile('__metadata__', 'an object of strings', describe(value));
  for (const [key, text] of Object.entries(value)) {
    if (typeof text !== 'string')
      throw invalidFile(`__metadata__ ${describe(key)}`, 'a string', describe(text));
  }
}

function readEntry(
  name: string,
  value: unknown,
  available: number,
  elementBits: ReadonlyMap<string, number>,
): Entry {
  if (!isPlainObject(value)) {
    throw invalidFile(tensorLabel(name), 'an object with dtype, shape and data_offsets', describe(value));
  }
  const dtype = ownValue(value, 'dtype');
  if (typeof dtype !== 'string') throw invalid('dtype', 'a string', dtype);
  const shape = ownValue(value, 'shape');
  if (!isListOfSizes(shape)) throw invalid('shape', 'a list of integers >= 0', shape);
  const offsets = ownValue(value, 'data_offsets');
  if (!isListOfSizes(offsets) || offsets.length !== 2) {
    throw invalid('data_offsets', 'two integers >= 0', offsets);
  }
  const [begin, end] = offsets as [number, number];
  if (begin > end || end > available) {
    throw invalid('data_offsets', `begin <= end <= ${available}`, offsets);
  }
  const entry = { name, dtype, shape, begin, end };
  checkSize(entry, elementBits.get(dtype));
  return entry;

  function invalid(field: string, expected: string, received: unknown): AttentionError {
    return invalidFile(`${tensorLabel(name)} ${field}`, expected, describe(received));
  }
}

function checkSize({ name, dtype, shape, begin, end }: Entry, bits: number | undefined): void {
  const count = shape.reduce((product, size) => product * size, 1);
  if (!Number.isSafeInteger(count)) {
    throw invalidFile(`${tensorLabel(name)} shape`, 'fewer than 2^53 elements', describe(shape));
  }
  // A dtype from the future has a size nobody here knows; reading the tensor is what fails then.
  if (bits === undefined) return;
  const size = (count * bits) / 8;
  if (size !== end - begin) {
    const expected = `${size} bytes for ${dtype} of shape ${describe(shape)}`;
    throw invalidFile(
      tensorLabel(name),
      expected,
      `${end - begin} bytes in data_offsets ${describe([begin, end])}`,
    );
  }
}

/** Tensors must cover the values without overlap, hole or rest: what no entry names could hide anything. */
function checkCoverage(entries: readonly Entry[], available: number): void {
  const inOrder = [...entries].sort((left, right) => left.begin - right.begin || left.end - right.end);
  let covered = 0;
  for (const { name, begin, end } of inOrder) {
    if (begin !== covered) {
      const fault = begin < covered ? 'an overlap' : 'a hole';
      const expected = `to begin at byte ${covered}, where the tensor before it ends`;
      throw invalidFile(`${tensorLabel(name)} data_offsets`, expected, `${describe([begin, end])}, ${fault}`);
    }
    covered = end;
  }
  if (covered !== available) {
    throw invalidFile('safetensors file', `${covered} bytes of values`, `${available}: trailing bytes`);
  }
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

function isPlainObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Own properties only: what an entry lacks must not be found on a prototype. */
function ownValue(value: object, key: string): unknown {
  return Object.hasOwn(value, key) ? (value as Record<string, unknown>)[key] : undefined;
}

function isListOfSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every(isSize);
}

function isSize(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0 && !Object.is(value, -0);
}

function tensorLabel(name: string): string {
  return `tensor ${describe(name)}`;
}

function invalidFile(argument: string, expected: string, received: string, cause?: unknown): AttentionError {
  return new AttentionError({
    code: 'INVALID_FILE',
    argument,
    expected,
    received,
    ...(cause === undefined ? {} : { cause }),
  });
}
