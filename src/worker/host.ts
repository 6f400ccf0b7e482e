// The worker's side: a runtime, a table of what lives in it, and a queue of calls that are run one after the other.

import { AttentionError, createRuntime } from '../index.js';
import type { Mask, Progress, Runtime, RuntimeOptions, TensorData } from '../index.js';
import * as makers from '../masks/index.js';
import { nextTurn } from '../platform/turns.js';
import { invalidArgument } from '../runtime/errors.js';
import { isTensor } from '../runtime/tensor.js';
import { packError } from './errors.js';
import { perform, signaturesOf } from './operations.js';
import type { Repertoire } from './operations.js';
import { nameOf } from './pack.js';
import type { Answer, CallRequest, Made, Path, Request } from './protocol.js';

/** Sends an answer to whoever started the worker. */
export type Post = (answer: Answer, transfer: readonly ArrayBuffer[]) => void;

interface Disposable {
  dispose(): void;
}

type Job = () => Promise<void> | void;

/** What makes masks, by name. */
const masks: Record<string, (...given: never[]) => Mask> = makers;

const MASKS_KEPT = 32;

export class Host {
  readonly #repertoire: Repertoire;
  readonly #post: Post;
  readonly #handles = new Map<number, Disposable>();
  readonly #numbers = new Map<Disposable, number>();
  readonly #queue: Job[] = [];
  /** Calls in the queue, by number. */
  readonly #waiting = new Set<number>();
  readonly #masks = new Map<number, Mask>();
  /** What ends the calls that are being run, by number. */
  readonly #running = new Map<number, AbortController>();
  #busy = false;
  #nextHandle = 1;
  #runtime: Runtime | undefined;

  constructor(repertoire: Repertoire, post: Post) {
    this.#repertoire = repertoire;
    this.#post = post;
  }

  /** Takes any message; what is none of ours is answered by an error if it has a number, else ignored. */
  receive(message: unknown): void {
    const request = (message ?? {}) as Request;
    switch (request.type) {
      case 'start':
        this.#enqueue(() => this.#start(request.options));
        break;
      case 'call':
        this.#waiting.add(request.id);
        if (this.#repertoire.actions[request.operation]?.beside) void this.#call(request);
        else this.#enqueue(() => this.#call(request));
        break;
      case 'abort':
        this.#abort(request.id);
        break;
      case 'release':
        this.#enqueue(() => this.#release(request.handle));
        break;
      default: {
        const { id, type } = request as { id?: unknown; type?: unknown };
        if (typeof id === 'number') this.#fail(id, invalidMessage('type', type));
      }
    }
  }

  #enqueue(job: Job): void {
    this.#queue.push(job);
    if (!this.#busy) void this.#run();
  }

  async #run(): Promise<void> {
    this.#busy = true;
    for (let job = this.#queue.shift(); job; job = this.#queue.shift()) {
      await job();
      // What has arrived meanwhile is read first: it may call off what comes next.
      if (this.#queue.length > 0) await nextTurn();
    }
    this.#busy = false;
  }

  async #start(options: RuntimeOptions): Promise<void> {
    try {
      const { packs } = this.#repertoire;
      this.#runtime ??= await createRuntime({ ...options, packs });
      const signatures = signaturesOf(this.#repertoire);
      this.#post({ type: 'ready', info: this.#runtime.info, signatures }, []);
    } catch (error) {
      this.#post({ type: 'failed', error: packError(error) }, []);
    }
  }

  async #call(request: CallRequest): Promise<void> {
    const { id } = request;
    if (!this.#waiting.delete(id)) return; // called off
    const abort = new AbortController();
    this.#running.set(id, abort);
    try {
      const runtime = this.#runtime;
      if (!runtime) throw invalidMessage('type', 'a call before the start');
      const inputs = this.#unpack(request);
      const onProgress = ({ done, total }: Progress) =>
        this.#post({ type: 'progress', id, progress: { done, total } }, []);
      const result = await perform(this.#repertoire, request.operation, {
        runtime,
        handles: this.#handles.size,
        inputs: inputs as Record<string, never>,
        options: inputs['options'] as never,
        watched: { signal: abort.signal, onProgress: request.progress ? onProgress : undefined },
      });
      this.#reply(request, result);
    } catch (error) {
      this.#fail(id, error);
    } finally {
      this.#running.delete(id);
    }
  }

  /** What runs ends after its slice; what waits is answered now and passed over later. */
  #abort(id: number): void {
    const running = this.#running.get(id);
    if (running) running.abort();
    else if (this.#waiting.delete(id)) this.#fail(id, AbortSignal.abort().reason);
  }

  /** Puts handles and masks where the references say. */
  #unpack({ inputs, references }: CallRequest): Record<string, unknown> {
    if (typeof inputs !== 'object' || inputs === null) throw invalidMessage('inputs', inputs);
    if (!Array.isArray(references)) throw invalidMessage('references', references);
    for (const reference of references as CallRequest['references']) {
      const { parent, key } = findPlace(inputs, reference.path);
      if ('handle' in reference) {
        parent[key] = this.#find(reference.handle, reference.path);
      } else {
        const given = parent[key];
        if (!Object.hasOwn(masks, reference.mask) || !Array.isArray(given)) {
          throw invalidMessage('mask', reference.mask);
        }
        parent[key] = this.#mask(reference.id, () => masks[reference.mask]!(...(given as never[])));
      }
    }
    return inputs;
  }

  /** The same mask for the same id while it is in use: what operations compile of it is kept with it. */
  #mask(id: number, make: () => Mask): Mask {
    const mask = this.#masks.get(id) ?? make();
    this.#masks.delete(id);
    this.#masks.set(id, mask); // the last one used stands last
    if (this.#masks.size > MASKS_KEPT) this.#masks.delete(this.#masks.keys().next().value!);
    return mask;
  }

  #find(handle: number, path: Path): Disposable {
    const found = this.#handles.get(handle);
    if (found) return found;
    throw new AttentionError({
      code: 'DISPOSED',
      argument: nameOf(path),
      expected: 'a live handle',
      received: 'a disposed one',
    });
  }

  #reply(request: CallRequest, result: unknown): void {
    const made: Made[] = [];
    const transfers: ArrayBuffer[] = [];
    const spares = sparesOf(request.inputs);
    const pack = (value: unknown, path: Path): unknown => {
      const described = this.#repertoire.describe(value);
      if (described) {
        made.push({ path, handle: this.#handleOf(value as Disposable), ...described });
        if (isTensor(value) && request.read) {
          described.properties['data'] = give(copyOf(value.data, spares));
        }
        return undefined;
      }
      if (ArrayBuffer.isView(value)) return give(value);
      if (typeof value !== 'object' || value === null) return value;
      if (Array.isArray(value)) return value.map((part, index) => pack(part, [...path, index]));
      return Object.fromEntries(
        Object.entries(value).map(([key, part]) => [key, pack(part, [...path, key])]),
      );
    };
    /** Without a copy: an operation's arrays are its own. */
    const give = (array: ArrayBufferView): ArrayBufferView => {
      transfers.push(array.buffer as ArrayBuffer);
      return array;
    };
    const known = this.#nextHandle;
    try {
      const value = pack(result, []);
      this.#post({ type: 'result', id: request.id, value, made }, transfers);
    } catch (error) {
      // No room for a copy, for example: nobody will ever release what was made.
      for (const { handle } of made) if (handle >= known) this.#release(handle);
      throw error;
    }
  }

  /** The number of what lives here: the one it has, if an input is also the result. */
  #handleOf(value: Disposable): number {
    const known = this.#numbers.get(value);
    if (known !== undefined) return known;
    const handle = this.#nextHandle++;
    this.#handles.set(handle, value);
    this.#numbers.set(value, handle);
    return handle;
  }

  #release(handle: number): void {
    const value = this.#handles.get(handle);
    if (!value) return;
    this.#handles.delete(handle);
    this.#numbers.delete(value);
    try {
      value.dispose();
    } catch {
      // Nobody waits to be told, and the queue must go on.
    }
  }

  #fail(id: number, error: unknown): void {
    this.#post({ type: 'error', id, error: packError(error) }, []);
  }
}

/** The arrays of inputs: they came for this call alone and have been copied, so they are free to carry results back. */
function sparesOf(inputs: Record<string, unknown>): Float32Array[] {
  const arrays = new Set(Object.values(inputs).map((input) => (input as { data?: unknown } | null)?.data));
  return [...arrays]
    .filter((array) => array instanceof Float32Array)
    .filter((array) => array.byteLength === array.buffer.byteLength);
}

/** A copy, in a spare array of that size if there is one: fresh memory costs twice what copying does. */
function copyOf(data: TensorData, spares: Float32Array[]): TensorData {
  const index = spares.findIndex(({ length }) => length === data.length && data instanceof Float32Array);
  const [spare] = index < 0 ? [] : spares.splice(index, 1);
  if (!spare) return data.slice();
  spare.set(data);
  return spare;
}

function findPlace(
  inputs: Record<string, unknown>,
  path: Path,
): { parent: Record<string, unknown>; key: string } {
  if (!Array.isArray(path) || path.length === 0) throw invalidMessage('path', path);
  let parent = inputs;
  for (const [depth, step] of path.entries()) {
    if (typeof parent !== 'object' || parent === null || !Object.hasOwn(parent, step as string)) {
      throw invalidMessage('path', path);
    }
    if (depth < path.length - 1) parent = parent[step as string] as Record<string, unknown>;
  }
  return { parent, key: String(path.at(-1)) };
}

function invalidMessage(part: string, value: unknown): AttentionError {
  return invalidArgument(`message.${part}`, 'a message of this version of wasm-attention', value);
}
