// Files of a model on their way into a worker: bytes are copied or given away, a Blob is sent as it is or read here as the worker
// asks, and what an address names is fetched in there.

import { resolveAddress } from '../../checkpoints/address.js';
import { openFolder } from '../../checkpoints/folder.js';
import { isPlainObject } from '../../checkpoints/json.js';
import { bytesOf } from '../../checkpoints/safetensors.js';
import { readIndex, shardFrom } from '../../checkpoints/shards.js';
import type { Files } from '../../checkpoints/shards.js';
import { isAddress, isBlob } from '../../checkpoints/source.js';
import type { FileSource } from '../../checkpoints/source.js';
import type { LoadModelOptions } from '../../model/index.js';

type Given = Pick<LoadModelOptions, 'weights' | 'folder' | 'modules' | 'signal'>;

/** Bytes are called `data`, as everything is that can be given away. */
interface SentBytes {
  readonly data: Uint8Array;
}

interface SentBlob {
  readonly size: number;
  readonly port: MessagePort;
}

/** Options of `loadModel` as they can be sent. Functions that give files are called here. */
export async function sendable<Options>(options: Options): Promise<Options> {
  if (typeof options !== 'object' || options === null) return options;
  const { weights, folder, signal } = options as Given;
  const found: Record<string, unknown> = {};
  for (const name in options) found[name] = options[name]; // inherited ones, too
  if (isShards(weights))
    found['weights'] = { ...weights, files: await shardsOf(weights.index, weights.files) };
  if (typeof folder === 'function') found['folder'] = await filesOf(folder, signal);
  return withFiles(found, sent) as Options;
}

/** The options that were sent, in the worker, and what to do when their files are read. */
export function received<Options>(options: Options): {
  readonly options: Options;
  readonly close: () => void;
} {
  const ports: MessagePort[] = [];
  const open = (file: unknown): unknown => {
    const { data, port, size } = file as Partial<SentBytes & SentBlob>;
    if (!port) return data ?? file;
    ports.push(port);
    return blobBehind(port, size!);
  };
  return {
    options: withFiles(options as Given, open) as Options,
    close: () => ports.forEach((port) => port.close()),
  };
}

function sent(file: unknown): unknown {
  // A worker that came from a blob: address knows no other addresses.
  if (isAddress(file)) return resolveAddress(file).href;
  if (isBlob(file)) return isSendable(file) ? file : offered(file);
  const data = bytesOf(file);
  return data ? ({ data } satisfies SentBytes) : file;
}

/** Those of files cannot be sent in Node, and none in some engines. */
function isSendable(blob: Blob): boolean {
  try {
    return isBlob(structuredClone(blob));
  } catch {
    return false;
  }
}

/** A Blob that stays here: parts of it are read when they are asked for. */
function offered(blob: Blob): SentBlob {
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = async ({ data: [from, to] }: MessageEvent<[number, number]>) => {
    try {
      const bytes = await blob.slice(from, to).arrayBuffer();
      port1.postMessage(bytes, [bytes]);
    } catch (error) {
      port1.postMessage(String(error));
    }
  };
  (port1 as { unref?: () => void }).unref?.(); // waiting calls keep the program running
  return { size: blob.size, port: port2 };
}

/** The other end, with what is used of a Blob. Parts come in the order in which they are asked for. */
function blobBehind(port: MessagePort, size: number): Pick<Blob, 'size'> {
  const waiting: { resolve: (bytes: ArrayBuffer) => void; reject: (reason: unknown) => void }[] = [];
  port.onmessage = ({ data }: MessageEvent<ArrayBuffer | string>) => {
    const { resolve, reject } = waiting.shift()!;
    if (typeof data === 'string') reject(new Error(data));
    else resolve(data);
  };
  const slice = (from = 0, to = size) => ({
    arrayBuffer: () =>
      new Promise<ArrayBuffer>((resolve, reject) => {
        waiting.push({ resolve, reject });
        port.postMessage([from, to]);
      }),
  });
  return Object.assign(slice(), { size, slice });
}

/** The options with other files. What is none of the things it should be stays, for the worker to say so. */
function withFiles(options: Given, replace: (file: unknown) => unknown): object {
  const { weights, folder, modules } = options as Record<keyof Given, unknown>;
  const each = (files: unknown): unknown =>
    isPlainObject(files) && !isAddress(files)
      ? Object.fromEntries(Object.entries(files).map(([name, file]) => [name, replaced(file)]))
      : replaced(files);
  const replaced = (file: unknown): unknown => (file === undefined || file === null ? file : replace(file));
  return {
    ...options,
    weights: Array.isArray(weights)
      ? weights.map(replaced)
      : isShards(weights)
        ? { ...weights, files: each(weights.files) }
        : replaced(weights),
    folder: each(folder),
    modules: Array.isArray(modules)
      ? modules.map((module: Given) =>
          module?.weights === undefined ? module : { ...module, weights: replaced(module.weights) },
        )
      : modules,
  };
}

function isShards(weights: unknown): weights is { readonly index: unknown; readonly files: Files } {
  return isPlainObject(weights) && 'index' in weights && 'files' in weights;
}

/** What a function gives for the names in the index. */
async function shardsOf(index: unknown, files: Files): Promise<Files> {
  if (typeof files !== 'function') return files;
  const shards: Record<string, FileSource> = {};
  for (const name of new Set(readIndex(index).values())) shards[name] = await shardFrom(files, name);
  return shards;
}

/** What a function gives for the names that are asked for when a folder is opened, and the shards. */
async function filesOf(
  folder: Extract<Files, (...given: never) => unknown>,
  signal: AbortSignal | undefined,
): Promise<Files> {
  const files: Record<string, FileSource> = {};
  const { weights } = await openFolder(async (name) => {
    const file = await folder(name);
    if (file !== undefined && file !== null) files[name] = file;
    return file;
  }, signal && { signal });
  return isShards(weights) ? { ...files, ...((await shardsOf(weights.index, folder)) as object) } : files;
}
