// A cache as bytes. Little-endian throughout, as linear memory is:
//
//   8 bytes    "WATTNKV" and the format version
//   4 bytes    length of the header
//   header     JSON: CacheHeader
//   pages      in the order the header counts them, each as it lies in memory (assembly/cache/page.ts)
//   4 bytes    CRC-32 of all before

import { kindOf } from '../runtime/elements.js';
import { AttentionError } from '../runtime/errors.js';

const MAGIC = [0x57, 0x41, 0x54, 0x54, 0x4e, 0x4b, 0x56] as const;
const VERSION = 1;
const PREAMBLE = 12;

interface SequenceHeader {
  readonly length: number;
  readonly dropped: number;
  /** Numbers of pages. Sequences that share a page name the same number. */
  readonly pages: readonly number[];
}

export interface CacheHeader {
  readonly layers: number;
  readonly batch: number;
  readonly numKeyValueHeads: number;
  readonly headDim: number;
  readonly valueHeadDim: number;
  readonly storage: string;
  readonly ring: { readonly sinkTokens: number; readonly window: number } | null;
  readonly pageBytes: number;
  readonly pages: number;
  /** [layer][row] */
  readonly sequences: readonly (readonly SequenceHeader[])[];
}

export function writeSnapshot(header: CacheHeader, pages: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const json = new TextEncoder().encode(JSON.stringify(header));
  const pagesFrom = PREAMBLE + json.length;
  const end = pagesFrom + pages.length * header.pageBytes;
  const bytes = new Uint8Array(end + 4);
  const view = new DataView(bytes.buffer);
  bytes.set([...MAGIC, VERSION]);
  view.setUint32(8, json.length, true);
  bytes.set(json, PREAMBLE);
  pages.forEach((page, i) => bytes.set(page, pagesFrom + i * header.pageBytes));
  view.setUint32(end, crc32(bytes.subarray(0, end)), true);
  return bytes;
}

/** The header and the pages, checked against damage but not yet against a cache. */
export function readSnapshot(bytes: Uint8Array): {
  header: CacheHeader;
  page: (index: number) => Uint8Array;
} {
  if (kindOf(bytes) !== 'Uint8Array') throw broken('expected a Uint8Array');
  if (bytes.length < PREAMBLE + 4 || MAGIC.some((byte, i) => bytes[i] !== byte)) {
    throw broken('these bytes are no snapshot of a key/value cache');
  }
  if (bytes[7] !== VERSION) throw broken(`its format has version ${bytes[7]}, this package reads ${VERSION}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = bytes.length - 4;
  if (view.getUint32(end, true) !== crc32(bytes.subarray(0, end))) {
    throw broken('the checksum does not fit: bytes are damaged or missing');
  }
  const pagesFrom = PREAMBLE + view.getUint32(8, true);
  const header = parseHeader(bytes.subarray(PREAMBLE, Math.min(pagesFrom, end)));
  if (pagesFrom + header.pages * header.pageBytes !== end) throw broken('its length does not fit its header');
  return {
    header,
    page: (index) =>
      bytes.subarray(pagesFrom + index * header.pageBytes, pagesFrom + (index + 1) * header.pageBytes),
  };
}

function parseHeader(bytes: Uint8Array): CacheHeader {
  let header: Partial<CacheHeader> | null;
  try {
    // A copy, because browsers refuse to decode from shared memory.
    header = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes))) as Partial<CacheHeader> | null;
  } catch (cause) {
    throw broken('its header is no JSON', cause);
  }
  if (!header || !isCount(header.pages) || !isCount(header.pageBytes) || !Array.isArray(header.sequences)) {
    throw broken('its header lacks fields');
  }
  const whole = header as CacheHeader;
  const fits = whole.sequences.every(
    (layer: unknown) =>
      Array.isArray(layer) &&
      (layer as (Partial<SequenceHeader> | null)[]).every(
        (sequence) =>
          isCount(sequence?.length) &&
          isCount(sequence.dropped) &&
          Array.isArray(sequence.pages) &&
          sequence.pages.every((page: unknown) => isCount(page) && page < whole.pages),
      ),
  );
  if (!fits) throw broken('its header has a sequence that cannot be');
  return whole;
}

function isCount(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 0;
}

/** @internal */
export function broken(why: string, cause?: unknown): AttentionError {
  return new AttentionError({
    code: 'INVALID_FILE',
    argument: 'snapshot',
    message: `snapshot: ${why}`,
    ...(cause === undefined ? {} : { cause }),
  });
}

let table: Uint32Array | undefined;

/** CRC-32 as in zip and PNG (polynomial 0xedb88320). */
function crc32(bytes: Uint8Array): number {
  table ??= Uint32Array.from({ length: 256 }, (_, byte) => {
    let value = byte;
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
    return value;
  });
  let crc = 0xffffffff;
  for (let i = 0; i < bytes.length; i++) crc = (crc >>> 8) ^ table[(crc ^ bytes[i]!) & 0xff]!;
  return (crc ^ 0xffffffff) >>> 0;
}
