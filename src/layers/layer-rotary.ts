// Rotary embedding inside a layer: tables of cos and sin that grow with the longest position seen, applied to queries and
// keys where the projection left them.

import { checkRotaryDim, placePositions, rotaryTables, rotateInPlace } from '../positions/rotary.js';
import type { Positions, RotaryOptions } from '../positions/rotary.js';
import { AttentionError } from '../runtime/errors.js';
import type { CallScope } from '../runtime/inputs.js';
import type { Runtime } from '../runtime/runtime.js';
import type { Tensor } from '../runtime/tensor.js';

export class LayerRotary {
  readonly #runtime: Runtime;
  readonly #options: RotaryOptions & { rotaryDim: number };
  #length = 0;
  #cos: Tensor | undefined;
  #sin: Tensor | undefined;

  constructor(runtime: Runtime, options: RotaryOptions, headDim: number) {
    this.#runtime = runtime;
    this.#options = { ...options, rotaryDim: checkRotaryDim(options.rotaryDim, headDim) };
    rotaryTables(this.#options, 1);
  }

  /** Rotates [batch, heads, length, headDim] queries and keys in place. */
  rotate(
    scope: CallScope,
    query: Tensor,
    key: Tensor,
    options: { positions?: Positions | undefined; context?: unknown },
  ): void {
    if (query.size === 0 || key.size === 0) return;
    if (options.context !== undefined) {
      throw new AttentionError({
        code: 'UNSUPPORTED',
        argument: 'context',
        expected: 'self-attention in a layer with rotary embedding',
        received: 'a context',
      });
    }
    const [batch, , length] = query.shape as [number, number, number, number];
    const placed = placePositions(scope, { positions: options.positions }, batch, length);
    this.#grow(placed.highest + 1);
    const tables = { ...placed, cos: scope.use(this.#cos!).address, sin: scope.use(this.#sin!).address };
    const { rotaryDim, interleaved = false } = this.#options;
    rotateInPlace(scope, query, tables, rotaryDim, interleaved);
    rotateInPlace(scope, key, tables, rotaryDim, interleaved);
  }

  dispose(): void {
    this.#cos?.dispose();
    this.#sin?.dispose();
    this.#length = 0;
  }

  /** By doubling, so that a growing text costs little. A dynamic scaling changes every entry with the length. */
  #grow(length: number): void {
    const dynamic = this.#options.scaling?.type === 'dynamic';
    if (dynamic ? length === this.#length : length <= this.#length) return;
    const target = dynamic ? length : Math.max(length, 2 * this.#length, 64);
    const { cos, sin } = rotaryTables(this.#options, target);
    this.dispose();
    this.#cos = this.#runtime.tensor(cos);
    this.#sin = this.#runtime.tensor(sin);
    this.#length = target;
  }
}
