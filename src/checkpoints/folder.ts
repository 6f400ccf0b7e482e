// A model's folder as published: its config, its weights, and what sentence-transformers adds.
// Touch: names of files. What a config says belongs to the models, what an index says in shards.ts.

import { AttentionError, describe, invalidFile } from '../runtime/errors.js';
import type { AddressOptions } from './address.js';
import { checkCheckpointOptions, sourceOf } from './checkpoint.js';
import type { Weights } from './checkpoint.js';
import { decodeText, isPlainObject, parseJson } from './json.js';
import { fileFrom, isFileName } from './shards.js';
import type { Files } from './shards.js';
import { isAddress } from './source.js';
import type { FileSource } from './source.js';

/** Settings, as their JSON has them. */
export type Settings = Readonly<Record<string, unknown>>;

/** A step of a sentence-transformers model (`modules.json`). */
export interface FolderModule {
  /** Such as 'sentence_transformers.models.Pooling'. */
  readonly type: string;
  /** Its folder, such as '1_Pooling'; empty for the transformer itself. */
  readonly path: string;
  /** The `config.json` there. */
  readonly config?: Settings | undefined;
  /** The `model.safetensors` there, of a dense layer. */
  readonly weights?: FileSource | undefined;
}

/** What a folder holds; what is not there is undefined. */
export interface ModelFolder {
  /** `config.json`. */
  readonly config: Settings;
  /** For `openCheckpoint`: `model.safetensors`, or the shards that `model.safetensors.index.json` names. */
  readonly weights: Weights;
  /** `modules.json`, in its order. */
  readonly modules?: readonly FolderModule[] | undefined;
  /** `generation_config.json`. */
  readonly generationConfig?: Settings | undefined;
  /** `sentence_bert_config.json`. */
  readonly sentenceConfig?: Settings | undefined;
}

/** What every model has; where it is refused, that is the error. */
const CONFIG = 'config.json';

/** More than any such file has: what is longer is something else. */
const LARGEST_JSON = 64 * 2 ** 20;

/** Answers for a file that is not there: storage that does not list its files forbids those, too. */
const ABSENT: readonly unknown[] = [403, 404, 410];

/**
 * Finds the parts of a model in its folder. Of the weights nothing is read; at an address `model.safetensors` is taken to be there
 * if there is no index.
 *
 * @param folder its address, such as 'https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2/resolve/main/'; a function that gives files by name, or undefined (in Node: `(name) => openAsBlob(join(path, name))`);
 *   or a record of files by name
 * @throws AttentionError `INVALID_FILE` if `config.json` or weights are missing or a file is not what its name says, `READ_FAILED` if a
 *   server does not give what it is asked for
 *
 * @example
 * ```js
 * const folder = await openFolder({
 *   'config.json': new Blob(['{"model_type":"bert"}']),
 *   'model.safetensors': await writeSafetensors({}),
 * });
 * folder.config.model_type; // 'bert'
 * const { totalBytes } = await inspectCheckpoint(folder.weights);
 * ```
 */
export async function openFolder(folder: Files, options: AddressOptions = {}): Promise<ModelFolder> {
  checkCheckpointOptions(options);
  const read = (name: string) => readSettings(folder, name, options);
  const [config, index, modules, generationConfig, sentenceConfig] = await Promise.all([
    read(CONFIG),
    read('model.safetensors.index.json'),
    readModules(folder, options),
    read('generation_config.json'),
    read('sentence_bert_config.json'),
  ]);
  if (config === undefined) throw invalidFile('folder', CONFIG, 'none');
  const weights =
    index === undefined ? await fileFrom('folder', folder, 'model.safetensors') : { index, files: folder };
  if (weights !== undefined) return { config, weights, modules, generationConfig, sentenceConfig };
  throw invalidFile('folder', 'model.safetensors or model.safetensors.index.json', 'neither');
}

async function readModules(folder: Files, options: AddressOptions): Promise<FolderModule[] | undefined> {
  const modules = await readJson(folder, 'modules.json', options);
  if (modules === undefined) return undefined;
  if (!Array.isArray(modules)) throw invalidFile('modules.json', 'a list of modules', describe(modules));
  return Promise.all(
    modules.map(async (module: unknown, i) => {
      const { type, path } = (module ?? {}) as Partial<FolderModule>;
      if (typeof type !== 'string' || typeof path !== 'string' || !isPath(path)) {
        throw invalidFile(`modules.json[${i}]`, 'a type and the name of a folder', describe({ type, path }));
      }
      const config = path === '' ? undefined : await readSettings(folder, `${path}/config.json`, options);
      if (!type.endsWith('.Dense')) return { type, path, config };
      return { type, path, config, weights: await fileFrom('folder', folder, `${path}/model.safetensors`) };
    }),
  );
}

function isPath(path: string): boolean {
  return path === '' || path.split('/').every(isFileName);
}

async function readSettings(
  folder: Files,
  name: string,
  options: AddressOptions,
): Promise<Settings | undefined> {
  const settings = await readJson(folder, name, options);
  if (settings === undefined || isPlainObject(settings)) return settings as Settings | undefined;
  throw invalidFile(name, 'an object', describe(settings));
}

/** The JSON in a file; undefined if there is no such file. */
async function readJson(folder: Files, name: string, options: AddressOptions): Promise<unknown> {
  const file = await fileFrom('folder', folder, name);
  if (file === undefined) return undefined;
  const bytes = await readWhole(name, file, options);
  if (bytes === undefined) return undefined;
  // Many servers of pages send one for every name they do not know.
  if (isAddress(file) && beginsLikeAPage(bytes)) {
    if (name !== CONFIG) return undefined;
    throw invalidFile(name, 'JSON', 'a page');
  }
  const value = parseJson(name, decodeText(name, bytes));
  refusePrototypes(name, value);
  return value;
}

async function readWhole(
  name: string,
  file: FileSource,
  options: AddressOptions,
): Promise<Uint8Array | undefined> {
  const source = await sourceOf(name, file, { ...options, cache: false });
  try {
    const bytes = await source.head(LARGEST_JSON);
    if (bytes.length < LARGEST_JSON) return bytes;
    throw invalidFile(source.label, `less than ${LARGEST_JSON} bytes`, 'more');
  } catch (error) {
    const { cause } = error as AttentionError;
    if (name !== CONFIG && ABSENT.includes((cause as Response | undefined)?.status)) return undefined;
    throw error;
  } finally {
    await source.close?.();
  }
}

function beginsLikeAPage(bytes: Uint8Array): boolean {
  return /^\s*</.test(String.fromCharCode(...bytes.subarray(0, 100)));
}

/** A key that would become a prototype where somebody copies the settings. */
function refusePrototypes(name: string, value: unknown): void {
  const open = [value];
  for (let item = open.pop(); item !== undefined; item = open.pop()) {
    if (typeof item !== 'object' || item === null) continue;
    if (Object.hasOwn(item, '__proto__')) throw invalidFile(name, 'settings', '"__proto__" among them');
    for (const inner of Object.values(item)) open.push(inner);
  }
}
