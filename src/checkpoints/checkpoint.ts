// A checkpoint, in one file or in shards, wherever they are: which tensors it has, and their bytes piece by piece.
// Touch: forms of weights, how pieces are cut. What a file's header says belongs in header.ts, where bytes are in source.ts.

import { checkOptions } from '../runtime/checks.js';
import type { NamesOf } from '../runtime/checks.js';
import type { Progress } from '../runtime/call.js';
import { AttentionError, describe, invalidArgument, invalidFile } from '../runtime/errors.js';
import { sizeOf } from '../runtime/layout.js';
import type { AddressOptions } from './address.js';
import { ByteReader } from './byte-reader.js';
import { lengthBytes, readHeader, readHeaderLength, tensorLabel } from './header.js';
import type { Entry } from './header.js';
import type { Shards } from './shards.js';
import { bytesOf } from './safetensors.js';
import { PIECE_BYTES, blobSource, isAddress, isBlob, memorySource } from './source.js';
import type { ByteSource, FileSource } from './source.js';

/** The weights of a model: a safetensors file, or the shards of one, with or without their index. */
export type Weights = FileSource | readonly FileSource[] | Shards;

/** What opening a checkpoint takes beside its files. */
export interface CheckpointOptions extends AddressOptions {
  /** Called after every piece, in bytes of the tensors that are read. */
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

const OPTION_NAMES = { signal: 1, fetch: 1, cache: 1, onProgress: 1 } satisfies NamesOf<CheckpointOptions>;

/** A tensor of a checkpoint, as its file's header has it. */
export interface CheckpointTensor {
  /** As the format calls it: 'F32', 'F16', 'BF16', ... */
  readonly dtype: string;
  /** From the outermost axis to the innermost; empty of a scalar. */
  readonly shape: readonly number[];
  /** How many bytes its values have. */
  readonly bytes: number;
}

/** Some rows of a tensor. */
export interface Piece {
  /** Of the tensor. */
  readonly name: string;
  /** As the format calls it. */
  readonly dtype: string;
  /** The first element, counted from the tensor's first. */
  readonly from: number;
  /** Little-endian values at any alignment; views of what is in memory anyway. */
  readonly bytes: Uint8Array;
}

/** What the headers of a checkpoint say. */
export interface CheckpointContents {
  /** By name, in the order in which they lie in the files. */
  readonly tensors: ReadonlyMap<string, CheckpointTensor>;
  /** What `__metadata__` says, of all files. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Bytes of all values. */
  readonly totalBytes: number;
}

/** What `inspectCheckpoint` tells. */
export interface CheckpointSummary extends CheckpointContents {
  /** Elements of all tensors. */
  readonly parameters: number;
}

/** A checkpoint whose headers were read. */
export interface Checkpoint extends CheckpointContents {
  /**
   * The tensors of these names (default: all) in the order in which they lie in the files, each in pieces of whole rows of the first
   * axis: of at most 4 MB, unless a row has more. A tensor without elements is one empty piece.
   *
   * @throws AttentionError `INVALID_ARGUMENT` for a name that is none; on the way `READ_FAILED`, and `INVALID_FILE` for a file that
   *   ends too early
   */
  pieces(names?: Iterable<string>): AsyncGenerator<Piece, void, undefined>;
  /** A view of the bytes of a tensor, at any alignment; undefined if they are not in memory. */
  view(name: string): Uint8Array | undefined;
  /** Lets go of the connection that a server without ranges keeps open for `pieces`, if that will not be called. */
  close(): Promise<void>;
}

/** A file whose header was read. */
interface OpenFile {
  readonly source: ByteSource;
  /** Where its values begin. */
  readonly values: number;
  /** In the order of their offsets. */
  readonly entries: readonly Entry[];
  readonly metadata: Readonly<Record<string, string>>;
}

/** Neighbours with less than that between them are read in one go. */
const LARGEST_GAP = 256 * 1024;

/** Files whose headers are fetched at the same time. */
const AT_ONCE = 6;

/**
 * Opens a checkpoint: reads the headers of its files, and nothing else yet.
 *
 * Files in memory are read as views, Blobs by slices, addresses by ranges. A server that knows no ranges is no error: it sends the file
 * once, from front to back, and that is the order of `pieces`.
 *
 * @param weights a safetensors file, an array of shards, or `{ index, files }`
 * @throws AttentionError `INVALID_FILE` for a file that breaks a rule of the format, or shards that do not fit together; `READ_FAILED`
 *   if a server does not give what it is asked for; `INVALID_ARGUMENT` for weights in another form. An aborted call rejects with the
 *   signal's reason.
 *
 * @example
 * ```js
 * const weight = { dtype: 'F32', shape: [2, 3], data: new Float32Array(6) };
 * const checkpoint = await openCheckpoint(new Blob([await writeSafetensors({ weight })]));
 * for await (const { name, dtype, from, bytes } of checkpoint.pieces()) {
 *   [name, dtype, from, bytes.length]; // ['weight', 'F32', 0, 24]
 * }
 * ```
 */
export async function openCheckpoint(weights: Weights, options: CheckpointOptions = {}): Promise<Checkpoint> {
  checkCheckpointOptions(options);
  const files = await openFiles(weights, options);
  try {
    return checkpointOf(files, options);
  } catch (error) {
    await closeAll(files);
    throw error;
  }
}

/**
 * What the headers of a checkpoint say, before anything else is downloaded: names, dtypes, shapes and bytes of its tensors.
 *
 * @throws as `openCheckpoint` does
 *
 * @example
 * ```js
 * const weight = { dtype: 'F16', shape: [2, 3], data: new Uint16Array(6) };
 * const { totalBytes, parameters } = await inspectCheckpoint(await writeSafetensors({ weight }));
 * [totalBytes, parameters]; // [12, 6]
 * ```
 */
export async function inspectCheckpoint(
  weights: Weights,
  options: AddressOptions = {},
): Promise<CheckpointSummary> {
  const checkpoint = await openCheckpoint(weights, options);
  await checkpoint.close();
  const { tensors, metadata, totalBytes } = checkpoint;
  let parameters = 0;
  for (const { shape } of tensors.values()) parameters += sizeOf(shape);
  return { tensors, metadata, totalBytes, parameters };
}

export function checkCheckpointOptions(options: CheckpointOptions): void {
  checkOptions(options, OPTION_NAMES);
  const { signal, fetch, cache, onProgress } = options;
  if (signal !== undefined && typeof signal?.throwIfAborted !== 'function') {
    throw invalidArgument('signal', 'an AbortSignal', signal);
  }
  for (const [name, value] of [
    ['fetch', fetch],
    ['onProgress', onProgress],
  ]) {
    if (value !== undefined && typeof value !== 'function')
      throw invalidArgument(name as string, 'a function', value);
  }
  if (cache !== undefined && cache !== false && typeof cache !== 'string') {
    throw invalidArgument('cache', 'the name of a cache, or false', cache);
  }
  signal?.throwIfAborted();
}

/** @param name what errors call the source where it has no address: a shard's name, say; empty for the only file */
export async function sourceOf(name: string, source: unknown, options: AddressOptions): Promise<ByteSource> {
  const memory = bytesOf(source);
  if (memory !== undefined) return memorySource(name, memory);
  if (isBlob(source)) return blobSource(name, source, options.signal);
  if (isAddress(source)) {
    const { AddressSource } = await import('./address.js');
    return new AddressSource(source, options);
  }
  throw invalidArgument(name || 'weights', 'bytes, a Blob or an address', source);
}

async function openFiles(weights: Weights, options: CheckpointOptions): Promise<OpenFile[]> {
  if (Array.isArray(weights)) {
    const sources: ByteSource[] = [];
    for (const source of weights as readonly FileSource[])
      sources.push(await sourceOf(`weights[${sources.length}]`, source, options));
    if (sources.length > 0) return openAll(sources);
    throw invalidArgument('weights', 'at least one file', weights);
  }
  if (!isShards(weights)) return openAll([await sourceOf('', weights, options)]);
  const { compareWithIndex, readIndex, shardFrom } = await import('./shards.js');
  const index = readIndex(weights.index);
  const names = [...new Set(index.values())].sort();
  const sources: ByteSource[] = [];
  for (const name of names) sources.push(await sourceOf(name, await shardFrom(weights.files, name), options));
  const files = await openAll(sources);
  try {
    compareWithIndex(index, new Map(names.map((name, i) => [name, files[i] as OpenFile])));
    return files;
  } catch (error) {
    await closeAll(files);
    throw error;
  }
}

function isShards(weights: unknown): weights is Shards {
  return typeof weights === 'object' && weights !== null && 'index' in weights && 'files' in weights;
}

/** Only the first may keep a connection open: browsers have few for a server, and others would wait for them for ever. */
async function openAll(sources: readonly ByteSource[]): Promise<OpenFile[]> {
  const files: OpenFile[] = [];
  for (let from = 0; from < sources.length; from += AT_ONCE) {
    const results = await Promise.allSettled(sources.slice(from, from + AT_ONCE).map(openFile));
    for (const result of results) if (result.status === 'fulfilled') files.push(result.value);
    const failed = results.find(({ status }) => status === 'rejected') as PromiseRejectedResult | undefined;
    if (failed !== undefined) {
      await closeAll(files);
      throw failed.reason;
    }
    await closeAll(files.slice(1));
  }
  return files;
}

async function closeAll(files: readonly OpenFile[]): Promise<void> {
  for (const { source } of files) await source.close?.();
}

async function openFile(source: ByteSource): Promise<OpenFile> {
  try {
    let head = await source.head(lengthBytes);
    refuseText(head);
    const values = lengthBytes + readHeaderLength(head, sizeKnown(source, head, lengthBytes));
    head = await source.head(values);
    readHeaderLength(head, sizeKnown(source, head, values)); // the file may have turned out to be shorter than its header
    const { entries, metadata = {} } = readHeader(head.subarray(lengthBytes, values), source.size - values);
    const inOrder = [...entries].sort((left, right) => left.begin - right.begin || left.end - right.end);
    await source.opened?.(values + (inOrder.at(-1)?.end ?? 0));
    return { source, values, entries: inOrder, metadata };
  } catch (error) {
    await source.close?.();
    throw named(source.label, error);
  }
}

/** Bytes of the file as far as that is known: where fewer came than were asked for, there are no more. */
function sizeKnown({ size }: ByteSource, head: Uint8Array, asked: number): number {
  return head.length < asked ? head.length : size;
}

/** A page that says that something was not found, a pointer to a file elsewhere: their first letters are no length of a header. */
function refuseText(head: Uint8Array): void {
  const beginning = String.fromCharCode(...head.subarray(0, 40));
  if (/^[\t\n\r -~]{8}/.test(beginning)) {
    const text = (/^[\t\n\r -~]*/.exec(beginning) as RegExpExecArray)[0];
    throw invalidFile('safetensors file', 'the length of a header', `text: ${describe(text.trim())}`);
  }
}

/** The same error with the file it is about, which other errors name already. */
function named(label: string, error: unknown): unknown {
  if (!(error instanceof AttentionError) || label === '' || error.argument?.startsWith(label)) return error;
  const { code, argument, expected, received } = error;
  const path = argument === undefined ? label : `${label}: ${argument}`;
  return new AttentionError({ code, argument: path, expected, received, cause: error });
}

function checkpointOf(files: readonly OpenFile[], options: CheckpointOptions): Checkpoint {
  const tensors = new Map<string, CheckpointTensor>();
  const places = new Map<string, { readonly file: OpenFile; readonly entry: Entry }>();
  const metadata = Object.create(null) as Record<string, string>;
  let totalBytes = 0;
  for (const file of files) {
    for (const key of Object.keys(file.metadata)) metadata[key] = file.metadata[key] as string;
    for (const entry of file.entries) {
      const { name, dtype, shape, begin, end } = entry;
      const other = places.get(name)?.file.source.label;
      if (other !== undefined) {
        throw invalidFile(tensorLabel(name), 'it in one file', `it in ${other} and in ${file.source.label}`);
      }
      places.set(name, { file, entry });
      tensors.set(name, { dtype, shape, bytes: end - begin });
      totalBytes += end - begin;
    }
  }
  return {
    tensors,
    metadata,
    totalBytes,
    pieces(names = tensors.keys()) {
      const wanted = new Set(names);
      for (const name of wanted) {
        if (!tensors.has(name)) throw invalidArgument('names', 'names of tensors', name);
      }
      return readPieces(files, wanted, options);
    },
    view(name) {
      const place = places.get(name);
      if (place === undefined) throw invalidArgument('name', 'the name of a tensor', name);
      const { file, entry } = place;
      return file.source.memory?.subarray(file.values + entry.begin, file.values + entry.end);
    },
    close: () => closeAll(files),
  };
}

async function* readPieces(
  files: readonly OpenFile[],
  wanted: ReadonlySet<string>,
  { signal, onProgress }: CheckpointOptions,
): AsyncGenerator<Piece, void, undefined> {
  const chosen = files.map(({ entries }) => entries.filter(({ name }) => wanted.has(name)));
  let total = 0;
  for (const { begin, end } of chosen.flat()) total += end - begin;
  let done = 0;
  for (const [i, file] of files.entries()) {
    try {
      for (const run of runsOf(chosen[i] as readonly Entry[])) {
        for await (const piece of readRun(file, run)) {
          signal?.throwIfAborted();
          yield piece;
          done += piece.bytes.length;
          onProgress?.({ done, total });
          signal?.throwIfAborted();
        }
      }
    } catch (error) {
      throw named(file.source.label, error);
    } finally {
      await file.source.close?.();
    }
  }
}

/** Entries that are read in one go. */
function runsOf(entries: readonly Entry[]): Entry[][] {
  const runs: Entry[][] = [];
  for (const entry of entries) {
    const last = runs.at(-1);
    const gap = entry.begin - (last?.at(-1)?.end ?? 0);
    if (last !== undefined && gap <= LARGEST_GAP) last.push(entry);
    else runs.push([entry]);
  }
  return runs;
}

async function* readRun(
  { source, values }: OpenFile,
  run: readonly Entry[],
): AsyncGenerator<Piece, void, undefined> {
  const { begin } = run[0] as Entry;
  const { end } = run.at(-1) as Entry;
  const reader = new ByteReader(source.chunks(values + begin, values + end));
  try {
    let at = begin;
    for (const entry of run) {
      await reader.skip(entry.begin - at);
      at = entry.end;
      const { name, dtype } = entry;
      for (const { from, length } of cutsOf(entry)) {
        const bytes = await reader.take(length);
        if (bytes.length < length) {
          throw invalidFile(tensorLabel(name), `${entry.end - entry.begin} bytes`, 'a file that ends before');
        }
        yield { name, dtype, from, bytes };
      }
    }
    await reader.finish();
  } finally {
    await reader.close();
  }
}

/** Whole rows, as many as fit into a piece, or one that does not. */
function* cutsOf({
  shape,
  begin,
  end,
}: Entry): Generator<{ readonly from: number; readonly length: number }> {
  const bytes = end - begin;
  const rows = shape[0] ?? 1;
  const rowBytes = bytes / rows;
  // Elements of less than a byte may end within one; no loader takes those piece by piece.
  const rowsAtOnce = Number.isInteger(rowBytes) ? Math.max(1, Math.floor(PIECE_BYTES / rowBytes)) : rows;
  if (bytes === 0) yield { from: 0, length: 0 };
  else {
    const rowElements = sizeOf(shape) / rows;
    for (let row = 0; row < rows; row += rowsAtOnce) {
      const count = Math.min(rowsAtOnce, rows - row);
      yield { from: row * rowElements, length: count * rowBytes };
    }
  }
}
