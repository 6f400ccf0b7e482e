// An asynchronous iterator in a worker, whose values the program outside asks for one by one: it is never ahead.

import { Disposable } from '../../runtime/disposable.js';

export class Stream extends Disposable {
  readonly #abort = new AbortController();
  readonly #values: AsyncGenerator<unknown, void, undefined>;

  /** @param start makes the iterator, which the signal ends */
  constructor(start: (signal: AbortSignal) => AsyncGenerator<unknown, void, undefined>) {
    super();
    this.#values = start(this.#abort.signal);
  }

  /** @param signal of the call that asks: when it is aborted, there are no more values */
  next(signal: AbortSignal | undefined): Promise<IteratorResult<unknown, void>> {
    signal?.addEventListener('abort', () => this.#abort.abort(signal.reason));
    return this.#values.next();
  }

  /** Ends the iterator, which frees what it holds. */
  dispose(): void {
    this.#values.return().catch(() => {}); // nobody waits to be told
  }
}
