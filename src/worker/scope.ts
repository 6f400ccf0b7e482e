// Tensors in a worker that are freed together.

import { Scope } from '../runtime/scope.js';
import type { WorkerHandle } from './handle.js';
import type { Link } from './link.js';

/**
 * Tensors in the worker that are freed together: results of calls that were given the scope. Layers, caches and packed
 * weights never belong to a scope.
 *
 * @example
 * ```js
 * const scope = remote.scope();
 * const x = await remote.tensor([1, 2, 3], [3], { scope });
 * const y = await remote.softmax(x, { scope });
 * scope.dispose();
 * ```
 */
export class WorkerScope extends Scope<WorkerHandle> {
  /** @internal */
  readonly link: Link;

  /** @internal Use `remote.scope()`. */
  constructor(link: Link) {
    super();
    this.link = link;
  }
}
