// A file in the browser's cache, in blocks: each an entry of its own under an address made up of the file's.
//
// Blocks, because the Cache API takes no partial answers (status 206), entries of gigabytes meet limits of browsers, and what an
// interrupted download has brought is not lost. Whatever the cache refuses or lacks is fetched: it never makes a load fail.

import { PIECE_BYTES } from './source.js';

/** What is known of a file without asking the server. */
export interface KeptFile {
  /** Its first bytes, with the whole header. */
  readonly head: Uint8Array;
  /** Bytes of the file. */
  readonly size: number;
  /** What the server called this version. */
  readonly version: string;
}

const SIZE = 'x-file-size';
const VERSION = 'x-file-version';

export class FileCache {
  readonly blockBytes = PIECE_BYTES;
  readonly #url: URL;
  readonly #name: string;
  #cache: Cache | undefined;
  #kept: KeptFile | undefined;

  private constructor(url: URL, name: string) {
    this.#url = url;
    this.#name = name;
  }

  /** Undefined where there is no cache, or none is wanted. */
  static of(url: URL, name: string | false = 'wasm-attention'): FileCache | undefined {
    if (name === false || typeof caches === 'undefined' || !url.protocol.startsWith('http')) return undefined;
    return new FileCache(url, name);
  }

  async open(): Promise<KeptFile | undefined> {
    return this.#try(async () => {
      this.#cache = await caches.open(this.#name);
      const entry = await this.#cache.match(this.#key('file'));
      if (entry === undefined) return undefined;
      const size = Number(entry.headers.get(SIZE));
      const version = entry.headers.get(VERSION) ?? '';
      this.#kept = { head: new Uint8Array(await entry.arrayBuffer()), size, version };
      return this.#kept;
    });
  }

  /** This version is the one to keep from now on; blocks of another are deleted. */
  async keep(file: KeptFile): Promise<void> {
    const kept = this.#kept;
    if (kept?.size === file.size && kept.version === file.version) return;
    await this.#try(async () => {
      for (let at = 0; at < (kept?.size ?? 0); at += this.blockBytes)
        await this.#cache?.delete(this.#key(at));
      this.#kept = file;
      await this.#put('file', file.head);
    });
  }

  /** The server has another version than the one that is kept. */
  async forget(): Promise<void> {
    await this.#try(async () => this.#cache?.delete(this.#key('file')));
  }

  async read(at: number, length: number): Promise<Uint8Array | undefined> {
    return this.#try(async () => {
      const entry = await this.#cache?.match(this.#key(at));
      if (entry === undefined || !this.#isOfThisVersion(entry)) return undefined;
      const bytes = new Uint8Array(await entry.arrayBuffer());
      return bytes.length === length ? bytes : undefined;
    });
  }

  async write(at: number, block: Uint8Array): Promise<void> {
    await this.#try(() => this.#put(at, block));
  }

  async #put(part: string | number, bytes: Uint8Array): Promise<void> {
    const { size, version } = this.#kept as KeptFile;
    const headers = { [SIZE]: String(size), [VERSION]: version };
    // What arrives from a network or a cache is not shared memory, which no Response would take.
    const response = new Response(bytes as Uint8Array<ArrayBuffer>, { headers });
    await this.#cache?.put(this.#key(part), response);
  }

  #isOfThisVersion({ headers }: Response): boolean {
    return headers.get(SIZE) === String(this.#kept?.size) && headers.get(VERSION) === this.#kept?.version;
  }

  /** The query tells entries of a file apart: caches disregard what follows a #. */
  #key(part: string | number): string {
    const url = new URL(this.#url);
    url.hash = '';
    url.search += `${url.search === '' ? '?' : '&'}wasm-attention-part=${part}`;
    return url.href;
  }

  /** A cache that fails, because it is full or forbidden, is not asked again. */
  async #try<Result>(action: () => Promise<Result>): Promise<Result | undefined> {
    try {
      return await action();
    } catch {
      this.#cache = undefined;
      return undefined;
    }
  }
}
