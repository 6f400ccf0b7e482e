// What is made together is freed together: scopes, behind `runtime.tidy`, `runtime.tidyAsync` and `runtime.scope`.

import { Disposable } from './disposable.js';
import { AttentionError, invalidArgument } from './errors.js';
import type { Runtime } from './runtime.js';
import { isTensor } from './tensor.js';
import type { Tensor } from './tensor.js';
import { eachObject } from './walk.js';

/**
 * Tensors that are freed together. Layers, caches and packed weights never belong to a scope: dispose them yourself.
 *
 * @example
 * ```js
 * const scope = runtime.scope(); // `using scope = ...` disposes it at the end of the block
 * const x = scope.tensor([1, 2, 3]);
 * const y = scope.run(() => softmax(x)); // everything made in there
 * const z = await softmaxAsync(y, { scope }); // results of an asynchronous call
 * scope.dispose();
 * ```
 */
export class TensorScope extends Disposable {
  readonly #runtime: Runtime;
  readonly #outer: TensorScope | undefined;
  readonly #tensors = new Set<Tensor>();
  #disposed = false;

  /** See `Runtime.tensor`. */
  readonly tensor = ((data, shape) => this.run(() => this.#runtime.tensor(data, shape))) as Runtime['tensor'];
  /** See `Runtime.empty`. */
  readonly empty: Runtime['empty'] = (shape, dtype) => this.run(() => this.#runtime.empty(shape, dtype));

  /** @internal Use `runtime.scope()`. */
  constructor(runtime: Runtime, outer?: TensorScope) {
    super();
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
    this.check(this.#runtime);
    const { linearMemory } = this.#runtime;
    const before = linearMemory.scope;
    let result: Result;
    linearMemory.scope = this;
    try {
      result = body();
    } finally {
      linearMemory.scope = before;
    }
    const { then } = (result ?? {}) as { then?: unknown };
    if (typeof then !== 'function') return result;
    // It may reject, because its tensors are disposed before it ends.
    then.call(
      result,
      () => {},
      () => {},
    );
    throw invalidArgument(
      'tidy',
      'a function that returns no promise (tidyAsync takes those, and asynchronous calls take { scope })',
      result,
    );
  }

  /**
   * Takes tensors out of the scope (those of a `tidy` go to the one around it, if there is one): a tensor, a result, or
   * lists and objects of them. A view gets a share of the memory, which is freed when all such views are disposed.
   *
   * @returns what was given
   */
  keep<Value>(value: Value): Value {
    const tensors = new Set<Tensor>();
    eachObject(value, (object) => {
      if (isTensor(object)) tensors.add(object);
    });
    const owners = [...tensors].filter((tensor) => this.#tensors.delete(tensor));
    const views = [...tensors].filter((tensor) => this.#tensors.has(tensor.owner));
    for (const view of views) view.own();
    for (const tensor of [...owners, ...views]) this.#outer?.add(tensor);
    return value;
  }

  /** Frees the tensors of the scope. Safe to repeat. */
  dispose(): void {
    this.#disposed = true;
    for (const tensor of this.#tensors) tensor.dispose();
    this.#tensors.clear();
  }

  /** @internal Results of calls that end after the scope are freed at once. */
  add(tensor: Tensor): void {
    if (this.#disposed) tensor.dispose();
    else this.#tensors.add(tensor);
  }

  /** @internal Throws unless tensors of the runtime can be added. */
  check(runtime: Runtime): void {
    runtime.check();
    if (this.#disposed) {
      throw new AttentionError({ code: 'DISPOSED', argument: 'scope', message: 'the scope was disposed' });
    }
    if (this.#runtime !== runtime) throw invalidArgument('scope', 'a scope of the same runtime', this);
  }
}

/** Throws unless tensors of the runtime can be made in the scope. */
export function checkScope(scope: TensorScope | undefined, runtime: Runtime): void {
  if (scope instanceof TensorScope) scope.check(runtime);
  else if (scope !== undefined) throw invalidArgument('scope', 'a scope (runtime.scope())', scope);
}

/** Throws unless this is a function. */
export function checkFunction(argument: string, body: unknown): void {
  if (typeof body !== 'function') throw invalidArgument(argument, 'a function', body);
}
