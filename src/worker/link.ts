// The program's side of a worker: calls that wait for their answers, and what becomes of them when the worker ends.

import type { AsyncOptions, Progress, RuntimeInfo, RuntimeOptions } from '../index.js';
import { checkOptions } from '../runtime/checks.js';
import type { Names, NamesOf } from '../runtime/checks.js';
import { AttentionError, invalidArgument } from '../runtime/errors.js';
import { unpackError } from './errors.js';
import { WorkerHandle } from './handle.js';
import { packInputs } from './pack.js';
import { WorkerScope } from './scope.js';
import type { Answer, Request, Signature } from './protocol.js';
import { startWorker } from './start.js';
import type { WorkerLike, WorkerSource } from '../platform/workers.js';

/** Options of every call. */
export interface CallOptions extends Omit<AsyncOptions, 'scope'> {
  /**
   * Give the typed arrays of input tensors to the worker instead of copying them: they are empty afterwards, and so is
   * every other view of their buffers. Default false.
   */
  readonly transfer?: boolean | undefined;
  /** Send the contents along with resulting tensors: their first `read()` needs no message of its own. Default false. */
  readonly read?: boolean | undefined;
  /** To which the tensors of the result belong: see `WorkerRuntime.tidyAsync`. */
  readonly scope?: WorkerScope | undefined;
}

const CALL_NAMES = {
  signal: 1,
  onProgress: 1,
  transfer: 1,
  read: 1,
  scope: 1,
} satisfies NamesOf<CallOptions>;

type ResultAnswer = Extract<Answer, { type: 'result' }>;

/** Classes of handles, by what they stand for. */
export type HandleClasses = Readonly<
  Record<string, new (link: Link, number: number, properties: Record<string, unknown>) => WorkerHandle>
>;

interface Pending {
  readonly resolve: (answer: ResultAnswer) => void;
  readonly reject: (reason: unknown) => void;
  readonly onProgress: CallOptions['onProgress'];
}

export class Link {
  /** What the worker said of its runtime. */
  info!: RuntimeInfo;
  /** What can be called. */
  signatures!: Readonly<Record<string, Signature>>;
  readonly #classes: HandleClasses;
  #worker!: WorkerLike;
  readonly #pending = new Map<number, Pending>();
  #start: { resolve: (info: RuntimeInfo) => void; reject: (reason: unknown) => void } | undefined;
  #nextId = 1;
  #end: AttentionError | undefined;

  private constructor(classes: HandleClasses) {
    this.#classes = classes;
  }

  /** Starts a worker, by default on the script, and a runtime in it. */
  static async open(
    source: WorkerSource | undefined,
    script: string,
    options: RuntimeOptions,
    classes: HandleClasses,
  ): Promise<Link> {
    const { inputs } = packInputs({ options }, false, () => undefined);
    const link = new Link(classes);
    const started = new Promise<RuntimeInfo>((resolve, reject) => (link.#start = { resolve, reject }));
    started.catch(() => {}); // it may fail before it is waited for
    link.#worker = await startWorker(source, script, {
      message: (message) => link.#receive(message as Answer),
      lost: (reason, cause) => link.#lose(reason, cause),
    });
    try {
      link.#post({ type: 'start', options: inputs['options'] as RuntimeOptions }, []);
      link.info = await started;
      link.#start = undefined;
      link.#worker.unref?.();
      return link;
    } catch (error) {
      link.#worker.terminate();
      throw error;
    }
  }

  /** Whether no call can be made any more. */
  get ended(): boolean {
    return this.#end !== undefined;
  }

  /**
   * Calls an operation of the worker. Calls are answered in the order they are made in.
   *
   * @param given its inputs in order, then its options and those of every call
   */
  async call<T>(operation: string, ...given: readonly unknown[]): Promise<T> {
    if (this.#end) throw this.#end;
    const { inputs, options: names } = this.signatures[operation]!;
    const options = (given[inputs.length] === undefined ? {} : given[inputs.length]) as CallOptions;
    checkOptions(options, names, CALL_NAMES);
    checkCallOptions(options, this);
    const { signal, onProgress, transfer = false, read = false, scope } = options;
    signal?.throwIfAborted();
    const handles = new Map<number, WorkerHandle>();
    const named = Object.fromEntries(inputs.map((name, index) => [name, given[index]]));
    const { transfers, ...packed } = packInputs(
      { ...named, options: pick(options, names) },
      transfer,
      (argument, value) => {
        if (!(value instanceof WorkerHandle)) return undefined;
        handles.set(value.number, this.#check(argument, value));
        return value.number;
      },
    );
    const id = this.#nextId++;
    const answer = new Promise<ResultAnswer>((resolve, reject) => {
      const progress = onProgress !== undefined;
      this.#post({ type: 'call', id, operation, progress, read, ...packed }, transfers);
      this.#pending.set(id, { resolve, reject, onProgress });
      if (this.#pending.size === 1) this.#worker.ref?.();
    });
    const abort = () => this.#post({ type: 'abort', id }, []);
    signal?.addEventListener('abort', abort);
    try {
      const result = await answer;
      if (!signal?.aborted) return this.#place(result, handles, scope) as T;
      this.#discard(result, handles);
      throw signal.reason;
    } catch (error) {
      throw signal?.aborted && !this.#end ? signal.reason : error;
    } finally {
      signal?.removeEventListener('abort', abort);
    }
  }

  /** Frees what a handle stands for, after the calls made before. */
  release(handle: number): void {
    if (!this.#end) this.#post({ type: 'release', handle }, []);
  }

  dispose(): void {
    this.#finish(new AttentionError({ code: 'DISPOSED', message: 'the worker runtime was disposed' }));
  }

  #receive(answer: Answer): void {
    switch (answer.type) {
      case 'ready':
        this.signatures = answer.signatures;
        this.#start?.resolve(answer.info);
        break;
      case 'failed':
        this.#start?.reject(unpackError(answer.error));
        break;
      case 'progress':
        this.#report(answer.id, answer.progress);
        break;
      case 'result': {
        const pending = this.#settle(answer.id);
        if (pending) pending.resolve(answer);
        else this.#discard(answer, new Map());
        break;
      }
      case 'error':
        this.#settle(answer.id)?.reject(unpackError(answer.error));
    }
  }

  #settle(id: number): Pending | undefined {
    const pending = this.#pending.get(id);
    if (pending && this.#pending.delete(id) && this.#pending.size === 0) this.#worker.unref?.();
    return pending;
  }

  #report(id: number, progress: Progress): void {
    try {
      this.#pending.get(id)?.onProgress?.(progress);
    } catch (error) {
      this.#post({ type: 'abort', id }, []);
      this.#settle(id)?.reject(error);
    }
  }

  #lose(reason: string, cause: unknown): void {
    this.#start?.reject(
      new AttentionError({ code: 'UNSUPPORTED', message: `a worker could not be started: ${reason}`, cause }),
    );
    const message = `the worker is gone, and all its tensors with it: ${reason}`;
    this.#finish(new AttentionError({ code: 'WORKER_LOST', message, cause }));
  }

  #finish(error: AttentionError): void {
    if (this.#end) return;
    this.#end = error;
    for (const { reject } of this.#pending.values()) reject(error);
    this.#pending.clear();
    this.#worker?.terminate();
  }

  #post(request: Request, transfers: ArrayBuffer[]): void {
    try {
      this.#worker.postMessage(request, transfers);
    } catch (cause) {
      // Options that cannot be copied, or an array that cannot be given away: that of a WebAssembly memory.
      throw new AttentionError({
        code: 'UNSUPPORTED',
        message: `the inputs cannot be sent to a worker: ${String((cause as Error)?.message ?? cause)}`,
        cause,
      });
    }
  }

  /** The value of a result with handles in their places: the caller's own where it was given as an input. */
  #place(
    { value, made }: ResultAnswer,
    given: Map<number, WorkerHandle>,
    scope: WorkerScope | undefined,
  ): unknown {
    const root = { value } as Record<string, unknown>;
    for (const { path, handle, kind, properties } of made) {
      let parent = root;
      let key = 'value';
      for (const step of path) {
        parent = parent[key] as Record<string, unknown>;
        key = String(step);
      }
      const known = given.get(handle);
      const placed = known ?? new this.#classes[kind]!(this, handle, properties);
      if (!known && (kind === 'tensor' || kind === 'record')) scope?.add(placed);
      parent[key] = placed;
    }
    return root['value'];
  }

  /** Frees what was made for a call that nobody waits for. */
  #discard({ made }: ResultAnswer, given: Map<number, WorkerHandle>): void {
    for (const { handle } of made) if (!given.has(handle)) this.release(handle);
  }

  #check(argument: string, handle: WorkerHandle): WorkerHandle {
    if (handle.disposed) {
      throw new AttentionError({
        code: 'DISPOSED',
        argument,
        expected: 'a live handle',
        received: 'a disposed one',
      });
    }
    if (handle.link !== this) {
      throw new AttentionError({
        code: 'INVALID_ARGUMENT',
        argument,
        expected: 'a handle of the same worker runtime',
        received: 'one of another',
      });
    }
    return handle;
  }
}

/** Options as a plain object, inherited ones and those behind getters too: the structured clone algorithm would lose them. */
function pick(options: object, names: Names): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(names).map(([name, inner]) => {
      const value = (options as Record<string, unknown>)[name];
      return [name, inner !== 1 && value && typeof value === 'object' ? pick(value, inner) : value];
    }),
  );
}

function checkCallOptions(options: CallOptions, link: Link): void {
  const fail = (argument: string, expected: string, value: unknown) => {
    throw invalidArgument(argument, expected, value);
  };
  const { signal, onProgress, transfer, read, scope } = options as Record<keyof CallOptions, unknown>;
  if (signal !== undefined && !(signal instanceof AbortSignal)) fail('signal', 'an AbortSignal', signal);
  if (onProgress !== undefined && typeof onProgress !== 'function')
    fail('onProgress', 'a function', onProgress);
  if (transfer !== undefined && typeof transfer !== 'boolean') fail('transfer', 'true or false', transfer);
  if (read !== undefined && typeof read !== 'boolean') fail('read', 'true or false', read);
  if (scope !== undefined && !(scope instanceof WorkerScope && scope.link === link && !scope.disposed)) {
    fail('scope', 'a live scope of the same worker runtime', scope);
  }
}
