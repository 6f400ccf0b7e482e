// What is made together is freed together: what scopes of tensors, here and in a worker, have in common.

import { Disposable } from './disposable.js';
import { invalidArgument } from './errors.js';
import { eachObject } from './walk.js';

export class Scope<Item extends { dispose(): void }> extends Disposable {
  /** @internal */
  readonly items = new Set<Item>();
  /** True once disposed. */
  disposed = false;

  /**
   * Takes what was made in the scope out of it: a tensor, a result, or lists and objects of them.
   *
   * @returns what was given
   */
  keep<Value>(value: Value): Value {
    eachObject(value, (object) => this.items.delete(object as Item));
    return value;
  }

  /** Frees what is in the scope. Safe to repeat. */
  dispose(): void {
    this.disposed = true;
    for (const item of this.items) item.dispose();
    this.items.clear();
  }

  /** @internal Results of calls that end after the scope are freed at once. */
  add(item: Item): void {
    if (this.disposed) item.dispose();
    else this.items.add(item);
  }
}

/** Calls a function with a scope, and frees what is in that when the function has ended, but what it returns. */
export async function tidyWith<Kind extends Pick<Scope<never>, 'keep' | 'dispose'>, Result>(
  scope: Kind,
  body: (scope: Kind) => Result,
): Promise<Awaited<Result>> {
  checkFunction('tidyAsync', body);
  try {
    return scope.keep(await body(scope));
  } finally {
    scope.dispose();
  }
}

/** Throws unless this is a function. */
export function checkFunction(argument: string, body: unknown): void {
  if (typeof body !== 'function') throw invalidArgument(argument, 'a function', body);
}
