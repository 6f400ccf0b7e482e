// Where the bytes of a file are, read from front to back in chunks: in memory, behind a Blob, or at an address (address.ts).

import { AttentionError } from '../runtime/errors.js';

/**
 * A file: its bytes; a Blob (in Node: `await fs.openAsBlob(path)`), of which only what is needed is read; or an address, of which
 * only what is needed is fetched.
 */
export type FileSource = Uint8Array | ArrayBuffer | Blob | string | URL;

/** What every file can do. */
export interface ByteSource {
  /** What errors call it; empty where there is nothing to tell it from. */
  readonly label: string;
  /** All bytes, where they are in memory. */
  readonly memory?: Uint8Array;
  /** Bytes of the file; Infinity as long as that is not known. */
  readonly size: number;
  /** The first bytes: at least so many, or all there are. */
  head(least: number): Promise<Uint8Array>;
  /** Its header is sound; the file has so many bytes. */
  opened?(size: number): Promise<void>;
  /** The bytes from one offset to another, in order, in chunks of any size. */
  chunks(from: number, to: number): AsyncGenerator<Uint8Array, void, undefined>;
  /** Lets go of whatever stays open between two reads. */
  close?(): Promise<void>;
}

/** Bytes that are fetched before it is known how long the header is. */
export const FIRST_BYTES = 65_536;

/** Bytes that are read at once, and the most that a piece has unless a single row has more. */
export const PIECE_BYTES = 4 * 2 ** 20;

/** By what it can do: in older engines a Blob of a file is none of the global class. */
export function isBlob(value: unknown): value is Blob {
  const { size, slice, arrayBuffer } = (value ?? {}) as Partial<Blob>;
  return typeof size === 'number' && typeof slice === 'function' && typeof arrayBuffer === 'function';
}

export function isAddress(value: unknown): value is string | URL {
  return typeof value === 'string' || Object.prototype.toString.call(value) === '[object URL]';
}

export function memorySource(label: string, memory: Uint8Array): ByteSource {
  return {
    label,
    memory,
    size: memory.length,
    head: () => Promise.resolve(memory),
    // eslint-disable-next-line @typescript-eslint/require-await
    async *chunks(from, to) {
      yield memory.subarray(from, to);
    },
  };
}

export function blobSource(label: string, blob: Blob, signal: AbortSignal | undefined): ByteSource {
  let head: Uint8Array | undefined;
  return {
    label,
    size: blob.size,
    async head(least) {
      if (head === undefined || head.length < Math.min(least, blob.size)) {
        head = await readBlob(label, blob, 0, Math.max(least, FIRST_BYTES), signal);
      }
      return head;
    },
    async *chunks(from, to) {
      for (let at = from; at < to; at += PIECE_BYTES) {
        yield readBlob(label, blob, at, Math.min(at + PIECE_BYTES, to), signal);
      }
    },
  };
}

async function readBlob(
  label: string,
  blob: Blob,
  from: number,
  to: number,
  signal: AbortSignal | undefined,
): Promise<Uint8Array> {
  signal?.throwIfAborted();
  let bytes: Uint8Array;
  try {
    bytes = new Uint8Array(await blob.slice(from, to).arrayBuffer());
  } catch (cause) {
    throw readFailed(label || 'Blob', `bytes ${from} to ${to}`, 'a Blob that cannot be read any more', cause);
  }
  signal?.throwIfAborted();
  return bytes;
}

/** The error of a file that could not be read to its end. */
export function readFailed(
  argument: string,
  expected: string,
  received: string,
  cause?: unknown,
): AttentionError {
  return new AttentionError({ code: 'READ_FAILED', argument, expected, received, cause });
}
