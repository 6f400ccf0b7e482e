// A file at an address: fetched by ranges, or in one stream from a server that knows none; kept in the browser's cache (file-cache.ts).
//
//   head      64 kB, and the rest of a longer header
//   chunks    one request for the whole run that is asked for, read no faster than it is used; with a cache block by block, and the
//             request begins at the first block that is not there yet

import { invalidArgument, invalidFile } from '../runtime/errors.js';
import { ByteReader } from './byte-reader.js';
import { FileCache } from './file-cache.js';
import { FIRST_BYTES, readFailed } from './source.js';
import type { ByteSource } from './source.js';

/** How files at addresses are fetched. */
export interface AddressOptions {
  /** Ends all reading: what is under way is cancelled and rejects with the signal's reason, at any time. */
  readonly signal?: AbortSignal | undefined;
  /** What fetches. Default: the global `fetch`. One of your own can add headers, such as a token. */
  readonly fetch?: typeof fetch | undefined;
  /**
   * Name of the cache (of `caches`) where blocks of the file are kept, so that the next time only a HEAD request is made, and after
   * an interruption only what is missing is fetched. The copy is used unless the server has another ETag or length. Default
   * 'wasm-attention', where there are `caches`; false: none.
   */
  readonly cache?: string | false | undefined;
}

/** The bytes of an answer to a request. */
interface Answer {
  readonly body: ReadableStreamDefaultReader<Uint8Array> | undefined;
  /** The whole file, whatever was asked for. */
  readonly whole: boolean;
  /** Where in the file its next byte is. */
  position: number;
  rest: Uint8Array;
}

const nothing = new Uint8Array(0);

export class AddressSource implements ByteSource {
  readonly label: string;
  readonly #url: URL;
  readonly #options: AddressOptions;
  readonly #cache: FileCache | undefined;
  #size = Infinity;
  #head: Uint8Array = nothing;
  /** What the server calls this version of the file. */
  #version = '';
  /** The rest of an answer with the whole file, of which the head was read. */
  #waiting: Answer | undefined;

  constructor(address: string | URL, options: AddressOptions) {
    this.#url = resolveAddress(address);
    this.label = labelOf(this.#url);
    this.#options = options;
    this.#cache = FileCache.of(this.#url, options.cache);
  }

  get size(): number {
    return this.#size;
  }

  async head(least: number): Promise<Uint8Array> {
    if (this.#head.length === 0) {
      const kept = await this.#cache?.open();
      if (kept !== undefined && (await this.#isCurrent(kept))) {
        this.#head = kept.head;
        this.#size = kept.size;
        this.#version = kept.version;
      }
    }
    if (this.#head.length >= least || this.#head.length >= this.#size) return this.#head;
    const to = Math.min(Math.max(least, FIRST_BYTES), this.#size);
    const parts = [this.#head];
    for await (const chunk of this.#fetched(this.#head.length, to, true)) parts.push(chunk);
    this.#head = joined(parts);
    return this.#head;
  }

  async opened(size: number): Promise<void> {
    this.#size = size;
    await this.#refuseMore(this.#head.length);
    await this.#cache?.keep({ head: this.#head, size, version: this.#version });
  }

  async *chunks(from: number, to: number): AsyncGenerator<Uint8Array, void, undefined> {
    const cache = this.#cache;
    if (cache === undefined) return yield* this.#fetched(from, to);
    const { blockBytes } = cache;
    const end = Math.min(Math.ceil(to / blockBytes) * blockBytes, this.#size);
    let reader: ByteReader | undefined;
    try {
      for (let at = from - (from % blockBytes); at < to; at += blockBytes) {
        const length = Math.min(blockBytes, end - at);
        const kept = reader === undefined ? await cache.read(at, length) : undefined;
        this.#options.signal?.throwIfAborted();
        if (kept === undefined) reader ??= new ByteReader(this.#fetched(at, end));
        const block = kept ?? (await (reader as ByteReader).take(length));
        if (kept === undefined) await cache.write(at, block);
        this.#options.signal?.throwIfAborted();
        yield block.subarray(Math.max(from - at, 0), to - at);
      }
      await reader?.finish();
    } finally {
      await reader?.close();
    }
  }

  async close(): Promise<void> {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (waiting !== undefined) await cancel(waiting);
  }

  /** A file that came whole has to end where its header says. */
  async #refuseMore(read: number): Promise<void> {
    const waiting = this.#waiting;
    if (read < this.#size) return;
    if (read === this.#size && (!waiting || (await this.#next(waiting, Infinity)) === undefined)) return;
    throw invalidFile(this.label, `${this.#size} bytes`, 'a longer file: trailing bytes');
  }

  /** @param maybeShort whether the file may end before `to`, because its length is not known yet */
  async *#fetched(from: number, to: number, maybeShort = false): AsyncGenerator<Uint8Array, void, undefined> {
    const head = this.#head.subarray(from, to);
    if (head.length > 0) yield head;
    if (from + head.length >= to) return;
    const answer = await this.#answerFrom(from + head.length, to);
    let complete = false;
    try {
      for (let at = from + head.length; at < to;) {
        const chunk = await this.#next(answer, to);
        if (chunk === undefined) {
          if (maybeShort) break;
          throw invalidFile(this.label, `${this.#size} bytes`, `a file that ends after ${at} of them`);
        }
        // What stands before the range is the beginning of a file that came whole.
        const wanted = chunk.subarray(Math.max(at - (answer.position - chunk.length), 0));
        at += wanted.length;
        if (wanted.length > 0) yield wanted;
      }
      if (answer.whole) this.#waiting = answer;
      if (!maybeShort && to >= this.#size) await this.#refuseMore(to);
      complete = true;
    } finally {
      if (!complete || !answer.whole) await cancel(answer);
    }
  }

  async #answerFrom(from: number, to: number): Promise<Answer> {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (waiting !== undefined) {
      if (waiting.position <= from) return waiting;
      await cancel(waiting);
    }
    const response = await this.#request(from, to);
    const answer: Answer = {
      body: (response.body ?? undefined)?.getReader(),
      whole: response.status === 200,
      position: response.status === 200 ? 0 : from,
      rest: nothing,
    };
    try {
      this.#checkRange(response, from, to);
      this.#checkVersion(response);
      return answer;
    } catch (error) {
      await cancel(answer);
      await this.#cache?.forget();
      throw error;
    }
  }

  async #request(from: number, to: number): Promise<Response> {
    const response = await this.#fetch('GET', from, to);
    if (response.status === 200 || response.status === 206) return response;
    await response.body?.cancel();
    const status = `status ${response.status} ${response.statusText}`.trim();
    throw readFailed(this.label, 'the file', status, response);
  }

  async #fetch(method: string, from: number, to: number): Promise<Response> {
    const { signal } = this.#options;
    signal?.throwIfAborted();
    try {
      return await (this.#options.fetch ?? fetch)(this.#url, {
        method,
        headers: { Range: `bytes=${from}-${to - 1}` },
        ...(signal === undefined ? {} : { signal }),
        // Chrome answers later requests for the whole file from ranges that it kept. Not every runtime knows the setting.
        ...('cache' in Request.prototype ? { cache: 'no-store' } : {}),
      });
    } catch (cause) {
      signal?.throwIfAborted();
      throw readFailed(this.label, 'the file', 'no answer', cause);
    }
  }

  /** Pages of other origins do not see the header unless the server exposes it: then the bytes have to speak for themselves. */
  #checkRange({ status, headers }: Response, from: number, to: number): void {
    const range = headers.get('Content-Range');
    if (status !== 206 || range === null) return;
    const [, first, last, total] = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(range) ?? [];
    const size = total === undefined || total === '*' ? this.#size : Number(total);
    const changed = this.#size < Infinity && size !== this.#size;
    if (Number(first) !== from || Number(last) !== Math.min(to, size) - 1 || changed) {
      const whole = this.#size < Infinity ? `/${this.#size}` : '';
      throw readFailed(this.label, `bytes ${from}-${to - 1}${whole}`, range);
    }
    this.#size = size;
  }

  #checkVersion({ headers }: Response): void {
    const version = versionOf(headers);
    if (this.#version !== '' && version !== '' && version !== this.#version) {
      throw readFailed(this.label, 'the version that was opened', 'another: the file has changed');
    }
    this.#version ||= version;
  }

  async #next(answer: Answer, to: number): Promise<Uint8Array | undefined> {
    const { signal } = this.#options;
    while (answer.rest.length === 0) {
      signal?.throwIfAborted();
      let next: ReadableStreamReadResult<Uint8Array> | undefined;
      try {
        next = await answer.body?.read();
      } catch (cause) {
        signal?.throwIfAborted();
        const expected = this.#size < Infinity ? `${this.#size} bytes` : 'the whole file';
        const received = `a connection that was lost after ${answer.position} of them`;
        throw readFailed(this.label, expected, received, cause);
      }
      if (next?.value === undefined) return undefined;
      answer.rest = next.value;
    }
    signal?.throwIfAborted();
    const chunk = answer.rest.subarray(0, to - answer.position);
    answer.rest = answer.rest.subarray(chunk.length);
    answer.position += chunk.length;
    return chunk;
  }

  /** Whether the server still has this version. Where it does not answer the question, it is taken to have. */
  async #isCurrent({ version, size }: { readonly version: string; readonly size: number }): Promise<boolean> {
    let response: Response;
    try {
      response = await this.#fetch('HEAD', 0, 1); // of a range, because ranges are never compressed
    } catch {
      this.#options.signal?.throwIfAborted();
      return true;
    }
    const { ok, status, headers } = response;
    if (!ok) return true;
    const found = versionOf(headers);
    if (found !== '' && version !== '') return found === version;
    const length = status === 200 ? headers.get('Content-Length') : null;
    return length === null || Number(length) === size;
  }
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

async function cancel({ body }: Answer): Promise<void> {
  await body?.cancel().catch(() => undefined); // what has failed already cannot be cancelled
}

/** Without the mark of weak ones: bytes of the same version are the same however they are sent. */
function versionOf(headers: Headers): string {
  return (headers.get('ETag') ?? headers.get('Last-Modified') ?? '').replace(/^W\//, '');
}

export function resolveAddress(address: string | URL): URL {
  try {
    return new URL(address, globalThis.location?.href);
  } catch {
    throw invalidArgument(
      'weights',
      'a whole address, such as https://example.org/model.safetensors',
      address,
    );
  }
}

/** Without what may be secret: user, password, signature. */
function labelOf({ protocol, host, pathname }: URL): string {
  return protocol === 'data:' ? 'data address' : `${protocol}//${host}${pathname}`;
}
