// Scopes of tensors: everything that is made in one is freed together.

import type { Disposable } from './disposable.js';
import { AttentionError, invalidArgument } from './errors.js';
import { checkRuntime } from './inputs.js';
import type { Runtime } from './runtime.js';
import { checkFunction, Scope, tidyWith } from './scope.js';
import { isTensor } from './tensor.js';
import type { Tensor } from './tensor.js';
import { eachObject } from './walk.js';

/**
 * Tensors that are freed together. Layers, caches and packed weights never belong to a scope: dispose them yourself.
 *
 * @example
 * ```js
 * const scope = new TensorScope(runtime); // `using scope = ...` disposes it at the end of the block
 * const x = scope.tensor([1, 2, 3]);
 * const y = scope.run(() => softmax(x)); // everything made in there
 * const z = await softmaxAsync(y, { scope }); // results of an asynchronous call
 * scope.dispose();
 * ```
 */
export class TensorScope extends Scope<Pick<Disposable, 'dispose'>> {
  readonly #runtime: Runtime;
  readonly #outer: TensorScope | undefined;

  /** See `Runtime.tensor`. */
  readonly tensor = ((data, shape) => this.run(() => this.#runtime.tensor(data, shape))) as Runtime['tensor'];
  /** See `Runtime.empty`. */
  readonly empty: Runtime['empty'] = (shape, dtype) => this.run(() => this.#runtime.empty(shape, dtype));

  /** @throws AttentionError INVALID_ARGUMENT, DISPOSED */
  constructor(runtime: Runtime, /** @internal */ outer?: TensorScope) {
    super();
    checkRuntime(runtime);
    this.#runtime = runtime;
    this.#outer = outer;
  }

  /**
   * Calls a function; the tensors that are made before it returns belong to the scope.
   *
   * @throws AttentionError INVALID_ARGUMENT if it returns a promise: what it makes later would belong to nobody
   */
  run<Result>(body: () => Result): Result {
    checkFunction('run', body);
    this.admit(this.#runtime);
    const { linearMemory } = this.#runtime;
    const before = linearMemory.scope;
    let result: Result;
    linearMemory.scope = this;
    try {
      result = body();
    } finally {
      linearMemory.scope = before;
    }
    if (typeof (result as { then?: unknown } | undefined)?.then !== 'function') return result;
    Promise.resolve(result).catch(() => {}); // it may reject, because its tensors are disposed before it ends
    throw invalidArgument('tidy', 'a function that returns no promise (tidyAsync takes those)', result);
  }

  /**
   * Takes tensors out of the scope (those of a `tidy` go to the one around it, if there is one): a tensor, a result, or
   * lists and objects of them. A view gets a share of the memory, which is freed when all such views are disposed.
   *
   * @returns what was given
   */
  override keep<Value>(value: Value): Value {
    const objects = new Set<Pick<Disposable, 'dispose'>>();
    eachObject(value, (object) => objects.add(object as Tensor));
    const owners = [...objects].filter((object) => this.items.delete(object));
    const views = [...objects].filter(isTensor).filter(({ owner }) => this.items.has(owner));
    for (const view of views) view.own();
    for (const kept of [...owners, ...views]) this.#outer?.add(kept);
    return value;
  }

  /** @internal Throws unless tensors of the runtime can be added. */
  admit(runtime: Runtime): void {
    runtime.check();
    if (this.disposed) throw new AttentionError({ code: 'DISPOSED', argument: 'scope' });
    if (this.#runtime !== runtime) throw invalidArgument('scope', 'a scope of the same runtime', this);
  }
}

/**
 * Calls a function, and frees all tensors of the runtime that are made in it but those it returns: a tensor, a result, or
 * lists and objects of them. What a `tidy` within another one returns belongs to that. Layers, caches and packed weights
 * are not freed, nor are results of asynchronous calls, which {@link tidyAsync} is for.
 *
 * @throws AttentionError INVALID_ARGUMENT if the function returns a promise
 * @example
 * ```js
 * const result = tidy(runtime, () => {
 *   const { output } = scaledDotProductAttention(q, k, v);
 *   return softmax(output); // output is freed
 * });
 * ```
 */
export function tidy<Result>(runtime: Runtime, body: (scope: TensorScope) => Result): Result {
  checkRuntime(runtime);
  checkFunction('tidy', body);
  const scope = new TensorScope(runtime, runtime.linearMemory.scope);
  try {
    return scope.keep(scope.run(() => body(scope)));
  } finally {
    scope.dispose();
  }
}

/**
 * {@link tidy} for an asynchronous function: frees what is made through the scope that it is given, so that other work in
 * between is left alone.
 *
 * @example
 * ```js
 * const result = await tidyAsync(runtime, async (scope) => {
 *   const { output } = await scaledDotProductAttentionAsync(q, k, v, { scope });
 *   return scope.run(() => softmax(output)); // output is freed
 * });
 * ```
 */
export async function tidyAsync<Result>(
  runtime: Runtime,
  body: (scope: TensorScope) => Result,
): Promise<Awaited<Result>> {
  return tidyWith(new TensorScope(runtime), body);
}
