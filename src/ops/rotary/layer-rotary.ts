// Rotary embedding of a layer or a cache: tables of cos and sin that grow with the longest position seen.

import { checkRotaryDim, placeRows, readPositions, rotateInPlace, runTables } from './rotary.js';
import type { PlacedRotary, Positions } from './rotary.js';
import { computeFrequencies } from './frequencies.js';
import type { RotaryOptions } from './options.js';
import type { AppendRotary } from '../cache/append.js';
import type { CallScope } from '../../runtime/call-scope.js';
import type { Tensor } from '../../runtime/tensor.js';

/** Positions the tables may have; rows for later ones are computed in each call, so that memory stays bounded. */
const MOST_ROWS = 1 << 16;

export class LayerRotary {
  readonly rotaryDim: number;
  readonly interleaved: boolean;
  readonly #options: RotaryOptions & { rotaryDim: number };
  /** [cos and sin, positions, pairs] */
  #tables: Tensor | undefined;
  #disposed = false;

  constructor(options: RotaryOptions, headDim: number) {
    this.rotaryDim = checkRotaryDim(options.rotaryDim, headDim);
    this.interleaved = options.interleaved ?? false;
    this.#options = { ...options, rotaryDim: this.rotaryDim };
    computeFrequencies({ ...this.#options, length: 1 });
  }

  /** What rotations at these positions read; lives as long as the scope. */
  place(scope: CallScope, positions: Positions | undefined, batch: number, length: number): PlacedRotary {
    const given = readPositions({ positions }, batch, length);
    const positionsBatchStride = given.perRow ? length * 4 : 0;
    if (given.highest >= MOST_ROWS)
      return { ...placeRows(scope, this.#options, given), positionsBatchStride };
    const tables = scope.use(this.#tablesOf(scope, given.highest + 1));
    const cos = tables.address;
    return {
      positions: scope.integers(given.all),
      positionsBatchStride,
      cos,
      sin: cos + tables.strides[0]! * 4,
    };
  }

  /** Rotates [batch, heads, length, channels] in place. */
  rotate(scope: CallScope, x: Tensor, placed: PlacedRotary): void {
    rotateInPlace(scope, x, placed, this.rotaryDim, this.interleaved);
  }

  /** The rotation of each row's keys on their way into a cache. */
  ofRows({ cos, sin, positions, positionsBatchStride }: PlacedRotary): (row: number) => AppendRotary {
    const { rotaryDim, interleaved } = this;
    return (row) => ({
      positions: positions + row * positionsBatchStride,
      cos,
      sin,
      pairs: rotaryDim / 2,
      interleaved,
    });
  }

  dispose(): void {
    this.#disposed = true;
    this.#tables?.dispose();
  }

  /** Those there are, or longer ones, which others see when they are computed: calls may wait for their turn, or fail. */
  #tablesOf(scope: CallScope, length: number): Tensor {
    const dynamic = this.#options.scaling?.type === 'dynamic';
    const known = this.#tables;
    const held = known && !known.disposed ? known.shape[1]! : 0;
    // A dynamic scaling changes every entry with the length.
    if (known && (dynamic ? length === held : length <= held)) return known;
    // By doubling, so that a growing text costs little.
    const rows = dynamic ? length : Math.min(MOST_ROWS, Math.max(length, 2 * held, 64));
    const made = scope.makeApart([2, rows, this.rotaryDim / 2]);
    runTables(scope, this.#options, length, 0, rows, made.address);
    scope.then(() => {
      this.#tables?.dispose();
      this.#tables = made;
      if (this.#disposed) made.dispose();
    });
    return made;
  }
}
