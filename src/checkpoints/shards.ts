// The index of a checkpoint in shards (model.safetensors.index.json): which tensor is in which file, and where the files are.

import { checkObject } from '../runtime/checks.js';
import { describe, invalidArgument, invalidFile } from '../runtime/errors.js';
import { tensorLabel } from './header.js';
import type { Entry } from './header.js';
import { decodeText, isPlainObject, ownValue, parseJson } from './json.js';
import { bytesOf } from './safetensors.js';
import { isAddress } from './source.js';
import type { FileSource } from './source.js';

/** Where files are that are asked for by name: a base address, a record, or a function. */
export type Files =
  | string
  | URL
  | Readonly<Record<string, FileSource>>
  | ((name: string) => FileSource | undefined | PromiseLike<FileSource | undefined>);

/** A checkpoint in several files. */
export interface Shards {
  /** `model.safetensors.index.json`: parsed, as text or as bytes. */
  readonly index: object | string | Uint8Array | ArrayBuffer;
  /** Where the files are that it names. */
  readonly files: Files;
}

const INDEX = 'index';

/** What Node's functions say of files that are not there: `readFile` the one, `openAsBlob` the other. */
const MISSING: readonly unknown[] = ['ENOENT', 'ERR_INVALID_ARG_VALUE'];

/** From tensors to the files they are in. */
export function readIndex(index: unknown): ReadonlyMap<string, string> {
  const bytes = bytesOf(index);
  const text = bytes === undefined ? index : decodeText(INDEX, bytes);
  const parsed: unknown = typeof text === 'string' ? parseJson(INDEX, text) : text;
  checkObject(INDEX, parsed, 'model.safetensors.index.json, parsed or as text');
  const map = ownValue(parsed as object, 'weight_map');
  if (!isPlainObject(map)) throw invalidFile(`${INDEX}.weight_map`, 'an object', describe(map));
  const places = new Map<string, string>();
  for (const [name, file] of Object.entries(map) as [string, unknown][]) {
    if (!isFileName(file)) {
      throw invalidFile(`${INDEX}, ${tensorLabel(name)}`, 'the name of a file', describe(file));
    }
    places.set(name, file);
  }
  if (places.size === 0) throw invalidFile(`${INDEX}.weight_map`, 'at least one tensor', 'none');
  return places;
}

/** Every tensor is in the shard that the index names, and all tensors of the shards are in the index. */
export function compareWithIndex(
  index: ReadonlyMap<string, string>,
  files: ReadonlyMap<string, { readonly entries: readonly Pick<Entry, 'name'>[] }>,
): void {
  const found = new Map<string, string>();
  for (const [file, { entries }] of files) for (const { name } of entries) found.set(name, file);
  for (const name of new Set([...index.keys(), ...found.keys()])) {
    const expected = index.get(name);
    const place = found.get(name);
    if (expected === place) continue;
    throw invalidFile(
      `index, ${tensorLabel(name)}`,
      expected === undefined ? 'a shard for it' : `it in ${describe(expected)}`,
      place === undefined ? 'no such tensor there' : `it in ${describe(place)}`,
    );
  }
}

/** A name, not a path: an index must not lead out of its folder. */
export function isFileName(name: unknown): name is string {
  return typeof name === 'string' && /^(?!\.{1,2}$)[^/\\:\0]+$/.test(name);
}

export async function shardFrom(files: Files, name: string): Promise<FileSource> {
  const file = await fileFrom('weights.files', files, name);
  if (file !== undefined) return file;
  throw invalidFile('weights.files', `the shard ${describe(name)}, which the index names`, 'none');
}

/** A file by its name, which may be a path with slashes; undefined where there is none. At an address that is not known yet. */
export async function fileFrom(
  argument: string,
  files: Files,
  name: string,
): Promise<FileSource | undefined> {
  if (isAddress(files)) return addressIn(argument, files, name);
  if (typeof files === 'function') return fileOfFunction(files, name);
  if (isPlainObject(files)) return (ownValue(files, name) ?? undefined) as FileSource | undefined;
  throw invalidArgument(argument, 'a base address, a record of files or a function', files);
}

async function fileOfFunction(
  files: Extract<Files, (name: string) => unknown>,
  name: string,
): Promise<FileSource | undefined> {
  try {
    return (await files(name)) ?? undefined;
  } catch (error) {
    if (MISSING.includes((error as NodeJS.ErrnoException | undefined)?.code)) return undefined;
    throw error;
  }
}

/** Queries, which may hold a token, are kept. */
function addressIn(argument: string, folder: string | URL, name: string): URL {
  let base: URL;
  try {
    base = new URL(folder, globalThis.location?.href);
  } catch {
    throw invalidArgument(argument, 'a whole address, such as https://example.org/model/', folder);
  }
  const path = name.split('/').map(encodeURIComponent).join('/');
  base.pathname += base.pathname.endsWith('/') ? path : `/${path}`;
  return base;
}
