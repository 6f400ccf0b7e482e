// What a forward pass leaves for the backward pass: the rows that were computed, and for each step what gives gradients back through
// it. Everything is planned in the order in which it runs, in calls that run at once and in those that run in slices; so memory that
// is let go of in the plan can serve what is planned later.
//
//   forward    Value -> step -> Value -> step -> Value        each step notes how gradients come back
//   backward   gradient <- step <- gradient <- step <- gradient

import type { CallScope } from '../runtime/call-scope.js';
import type { Tensor } from '../runtime/tensor.js';
import type { Rows } from '../model/pass.js';
import { runAdd } from './ops/add.js';

/** Rows of floats that flow through a model. */
export interface Value extends Rows {
  readonly channels: number;
  /** [rows, channels], the memory they lie in. */
  readonly tensor: Tensor<'float32'>;
  /** Whether something before it is trained: only then does it get a gradient. */
  readonly trained: boolean;
}

/** Where a gradient goes, and whether something is there that it is added to. */
export interface Target {
  readonly address: number;
  readonly rowBytes: number;
  readonly adding: boolean;
}

/** Memory of values, by size: what was let go of is given out again. */
export class Pool {
  readonly #take: (floats: number) => Tensor<'float32'>;
  readonly #free: Tensor<'float32'>[] = [];

  constructor(take: (floats: number) => Tensor<'float32'>) {
    this.#take = take;
  }

  take(floats: number): Tensor<'float32'> {
    const fitting = this.#free.findIndex(({ size }) => size === floats);
    return fitting < 0 ? this.#take(floats) : this.#free.splice(fitting, 1)[0]!;
  }

  give(tensor: Tensor<'float32'>): void {
    this.#free.push(tensor);
  }
}

function temporaryPool(scope: CallScope): Pool {
  return new Pool((floats) => scope.temporary([floats]));
}

/** How gradients come back through a step. */
export type Back = (back: Backward) => void;

/** Parts that are left out at random, the same ones for the same seed. */
export interface TapeDropout {
  /** Of what enters the first block, and of what sublayers give. */
  readonly hidden: number;
  /** Of weights of attention. */
  readonly attention: number;
  readonly seed: number;
}

/** One pass through layers, and what its way back needs. */
export class Tape {
  readonly scope: CallScope;
  /** Memory of what nothing keeps. */
  readonly passing: Pool;
  readonly dropout: TapeDropout | undefined;
  readonly #pool: Pool;
  readonly #steps: Back[] = [];
  readonly #taken: Tensor<'float32'>[] = [];
  readonly #kept: { dispose(): void }[] = [];

  constructor(scope: CallScope, pool: Pool, dropout?: TapeDropout) {
    this.scope = scope;
    this.dropout = dropout;
    this.passing = temporaryPool(scope);
    this.#pool = pool;
  }

  /** Rows to write to. */
  place(rows: number, channels: number, trained: boolean): Value {
    const tensor = this.memory(rows * channels);
    return valueOf(tensor.withLayout([rows, channels], [channels, 1]), trained);
  }

  /** Floats that live as long as the tape. */
  memory(floats: number): Tensor<'float32'> {
    const tensor = this.#pool.take(floats);
    this.#taken.push(tensor);
    return tensor;
  }

  /** Notes how gradients come back. Steps whose result needs no gradient have none. */
  note(result: Value, back: Back): void {
    if (result.trained) this.#steps.push(back);
  }

  /** Disposes something with the tape. */
  keep(held: { dispose(): void }): void {
    this.#kept.push(held);
  }

  dispose(): void {
    for (const held of this.#kept) held.dispose();
  }

  /** The way back, step by step. */
  run(back: Backward): void {
    for (let i = this.#steps.length - 1; i >= 0; i--) this.#steps[i]!(back);
  }

  /** Lets go of what was computed: nothing that is planned from now on reads it. */
  giveBack(): void {
    for (const tensor of this.#taken) this.#pool.give(tensor);
    this.#taken.length = 0;
  }
}

/** Rows that lie one after the other in a tensor [..., channels]. */
export function valueOf(tensor: Tensor<'float32'>, trained: boolean): Value {
  const channels = tensor.shape.at(-1)!;
  const rows = channels === 0 ? 0 : tensor.size / channels;
  return { address: tensor.address, rowBytes: channels * 4, rows, channels, tensor, trained };
}

/** A way back: gradients of values while they are needed. */
export class Backward {
  readonly scope: CallScope;
  /** Memory of gradients and of what is computed on the way. */
  readonly pool: Pool;
  readonly #gradients = new Map<Value, Tensor<'float32'>>();

  constructor(scope: CallScope) {
    this.scope = scope;
    this.pool = temporaryPool(scope);
  }

  /** Whether anything came back to a value so far. */
  has(value: Value): boolean {
    return this.#gradients.has(value);
  }

  /** The gradient of a value; nothing where none came back. */
  of(value: Value): Rows | undefined {
    const tensor = this.#gradients.get(value);
    return tensor && { address: tensor.address, rowBytes: value.channels * 4, rows: value.rows };
  }

  /** Where to write the gradient of a value, or to add to it. */
  to(value: Value): Target {
    const known = this.#gradients.get(value);
    const tensor = known ?? this.pool.take(value.rows * value.channels);
    this.#gradients.set(value, tensor);
    return { address: tensor.address, rowBytes: value.channels * 4, adding: known !== undefined };
  }

  /** The memory of the gradient of a value whose parts are written by several, each its own. */
  tensorOf(value: Value): Tensor<'float32'> {
    this.to(value);
    return this.#gradients.get(value)!;
  }

  /** Where gradients of some rows of a value are added: those of the others are zero. */
  toSome(value: Value): Target {
    const known = this.has(value);
    const target = this.to(value);
    if (!known) zero(this.scope, target.address, value.rows * value.channels);
    return { ...target, adding: true };
  }

  /** Hands the gradient of a value on to another one of its size, whole: what goes through an addition. Ends the first one. */
  pass(from: Value, to: Value): void {
    const tensor = this.#gradients.get(from)!;
    this.#gradients.delete(from);
    if (!to.trained) this.pool.give(tensor);
    else if (!this.has(to)) this.#gradients.set(to, tensor);
    else {
      const { rowBytes, rows, channels } = from;
      runAdd(this.scope, { address: tensor.address, rowBytes, rows }, this.to(to), channels);
      this.pool.give(tensor);
    }
  }

  /** Ends the gradient of a value, which nothing needs any more. */
  end(value: Value): void {
    const tensor = this.#gradients.get(value);
    if (!tensor) return;
    this.#gradients.delete(value);
    this.pool.give(tensor);
  }

  /** Runs with rows that are free afterwards. */
  with<Result>(rows: number, channels: number, action: (rows: Rows) => Result): Result {
    const tensor = this.pool.take(rows * channels);
    const result = action({ address: tensor.address, rowBytes: channels * 4, rows });
    this.pool.give(tensor);
    return result;
  }
}

/** Fills floats with zeros, when their turn comes. */
export function zero(scope: CallScope, address: number, count: number): void {
  scope.then(() => {
    new Float32Array(scope.runtime.linearMemory.buffer, address, count).fill(0);
  });
}
