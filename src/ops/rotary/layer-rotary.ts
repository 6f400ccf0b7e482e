// Rotary embedding of a layer or a cache: tables of cos and sin that grow with the longest position seen.

import { checkRotaryDim, placeRows, readPositions, rotaryTables } from './rotary.js';
import type { PlacedRotary, Positions, RotaryOptions } from './rotary.js';
import type { CallScope } from '../../runtime/call-scope.js';
import type { Runtime } from '../../runtime/runtime.js';
import type { Tensor } from '../../runtime/tensor.js';

/** Positions the tables may have; rows for later ones are computed in each call, so that memory stays bounded. */
const MOST_ROWS = 1 << 16;

export class LayerRotary {
  readonly rotaryDim: number;
  readonly interleaved: boolean;
  readonly #runtime: Runtime;
  readonly #options: RotaryOptions & { rotaryDim: number };
  #length = 0;
  #cos: Tensor | undefined;
  #sin: Tensor | undefined;

  constructor(runtime: Runtime, options: RotaryOptions, headDim: number) {
    this.#runtime = runtime;
    this.rotaryDim = checkRotaryDim(options.rotaryDim, headDim);
    this.interleaved = options.interleaved ?? false;
    this.#options = { ...options, rotaryDim: this.rotaryDim };
    rotaryTables(this.#options, 1);
  }

  /** What rotations at these positions read; lives as long as the scope. */
  place(scope: CallScope, positions: Positions | undefined, batch: number, length: number): PlacedRotary {
    const given = readPositions({ positions }, batch, length);
    const positionsBatchStride = given.perRow ? length * 4 : 0;
    if (given.highest >= MOST_ROWS)
      return { ...placeRows(scope, this.#options, given), positionsBatchStride };
    this.#grow(given.highest + 1);
    const [cos, sin] = [scope.use(this.#cos!).address, scope.use(this.#sin!).address];
    return { positions: scope.integers(given.all), positionsBatchStride, cos, sin };
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
    const target = dynamic ? length : Math.min(MOST_ROWS, Math.max(length, 2 * this.#length, 64));
    const { cos, sin } = rotaryTables(this.#options, target);
    const newCos = this.#runtime.copyOf(cos);
    let newSin: Tensor;
    try {
      newSin = this.#runtime.copyOf(sin);
    } catch (error) {
      newCos.dispose();
      throw error;
    }
    this.dispose();
    [this.#cos, this.#sin, this.#length] = [newCos, newSin, target];
  }
}
