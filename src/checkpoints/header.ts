// The header of a safetensors file: which tensors it has, and where. No byte of it is trusted.
// Touch: stricter checks. Values are read in safetensors.ts, of whole files, and in checkpoint.ts, piece by piece.

import { AttentionError, describe, invalidFile } from '../runtime/errors.js';
import { decodeText, isPlainObject, ownValue, parseJson } from './json.js';

/** A tensor's header entry, once it has been checked on its own. */
export interface Entry {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly begin: number;
  readonly end: number;
}

/** What a header says. */
export interface Header {
  /** In the header's order. */
  readonly entries: readonly Entry[];
  readonly metadata?: Readonly<Record<string, string>> | undefined;
}

/** Bytes that say how long the header is. */
export const lengthBytes = 8;
const HEADER = 'safetensors header';
export const METADATA = '__metadata__';
export const largestHeader = 100_000_000;
const openingBrace = 0x7b;

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

/**
 * How many bytes of header follow the first eight of a file.
 *
 * @param size bytes of the whole file; Infinity if that is not known
 */
export function readHeaderLength(file: Uint8Array, size: number): number {
  if (size < lengthBytes) {
    throw invalidFile('safetensors file', `at least ${lengthBytes} bytes`, `${size} bytes`);
  }
  const view = new DataView(file.buffer, file.byteOffset, lengthBytes);
  const length = view.getUint32(0, true) + view.getUint32(4, true) * 2 ** 32;
  if (length > largestHeader) {
    throw invalidFile('safetensors header length', `at most ${largestHeader} bytes`, `${length} bytes`);
  }
  const available = size - lengthBytes;
  if (length > available) {
    throw invalidFile('safetensors header', `${length} bytes`, `a file that ends after ${available} of them`);
  }
  return length;
}

/**
 * Reads a header.
 *
 * @param bytes the header alone
 * @param available bytes of values in the file; Infinity if that is not known
 */
export function readHeader(bytes: Uint8Array, available: number): Header {
  const header = parseJson(HEADER, decodeHeader(bytes));
  const entries = readEntries(header, available);
  checkCoverage(entries, available);
  return { entries, metadata: header[METADATA] as Header['metadata'] };
}

function decodeHeader(bytes: Uint8Array): string {
  if (bytes[0] !== openingBrace) {
    throw invalidFile(HEADER, 'a JSON object that begins with {', describeFirstByte(bytes));
  }
  return decodeText(HEADER, bytes);
}

function describeFirstByte(bytes: Uint8Array): string {
  return bytes[0] === undefined ? 'an empty header' : `byte 0x${bytes[0].toString(16).padStart(2, '0')}`;
}

function readEntries(header: Record<string, unknown>, available: number): Entry[] {
  const entries: Entry[] = [];
  const bits = elementBits();
  for (const name of Object.keys(header)) {
    if (name === METADATA) checkMetadata(header[name]);
    else entries.push(readEntry(name, header[name], available, bits));
  }
  return entries;
}

function checkMetadata(value: unknown): void {
  if (!isPlainObject(value)) throw invalidFile(METADATA, 'an object of strings', describe(value));
  for (const [key, text] of Object.entries(value)) {
    if (typeof text !== 'string')
      throw invalidFile(`${METADATA} ${describe(key)}`, 'a string', describe(text));
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
  if (covered !== available && available < Infinity) {
    throw invalidFile('safetensors file', `${covered} bytes of values`, `${available}: trailing bytes`);
  }
}

export function isListOfSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every(isSize);
}

function isSize(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0 && !Object.is(value, -0);
}

export function tensorLabel(name: string): string {
  return `tensor ${describe(name)}`;
}
