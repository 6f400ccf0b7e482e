// One call of a stack of blocks: its tokens, the temporary memory that blocks use one after the other, and what the caller wants to
// see of it. Blocks write to nothing else.

import type { KeyValueCache } from '../cache/key-value-cache.js';
import type { AttentionOptions } from '../ops/attention/options.js';
import type { AttentionRecord } from '../ops/attention/record.js';
import type { LayerRotary } from '../ops/rotary/layer-rotary.js';
import type { PlacedRotary, Positions } from '../ops/rotary/rotary.js';
import type { CallScope } from '../runtime/call-scope.js';
import type { Tensor } from '../runtime/tensor.js';

/** Rows of floats in linear memory. */
export interface Rows {
  readonly address: number;
  readonly rowBytes: number;
  readonly rows: number;
}

/** Which keys are no padding: the first ones of each batch row, or those that a mask [batch, 1, 1, keys] keeps. */
export interface KeptKeys {
  readonly keyLengths?: Int32Array | undefined;
  readonly mask?: AttentionOptions['mask'];
}

/** A cache in use. */
export interface CachedKeys {
  readonly cache: KeyValueCache;
  /** Tokens that each row has now, the rest of a row is padding. */
  readonly counts: Int32Array;
}

/** Tokens of an encoder, for cross-attention: their hidden states, or their keys and values in a cache. */
export interface Context extends KeptKeys {
  readonly mask?: Tensor<'bool'> | undefined;
  readonly length: number;
  readonly hidden?: Rows | undefined;
  readonly cached?: KeyValueCache | undefined;
}

/** Changes an attention on its way: ablations (measures/ablation.ts). */
export interface Intervention {
  /** Which keys queries see. */
  keep(kept: KeptKeys): KeptKeys;
  /** What heads gave, [batch, length, heads * headDim], is changed in place before the output projection reads it. */
  change(pass: Pass, merged: Tensor<'float32'>): void;
}

/** What a caller may want to see of each attention, or change. */
export interface Wanted {
  readonly returnRecord?: boolean | undefined;
  readonly returnWeights?: boolean | undefined;
  /** In the attention of a block, that over the context if it is `cross`. */
  readonly intervene?: ((layer: number, cross?: boolean) => Intervention | undefined) | undefined;
}

export interface Seen {
  readonly records: AttentionRecord[];
  readonly weights: Tensor<'float32'>[];
}

export class Pass {
  readonly scope: CallScope;
  readonly batch: number;
  /** Tokens of each batch row, padding included. */
  readonly length: number;
  readonly wanted: Wanted;
  readonly kept: KeptKeys;
  readonly cached: CachedKeys | undefined;
  readonly context: Context | undefined;
  /** Position of each token, [batch][length] or the same for all. */
  readonly positions: Positions;
  readonly self: Seen = { records: [], weights: [] };
  readonly cross: Seen = { records: [], weights: [] };
  readonly #buffers = new Map<string, Tensor<'float32'>>();
  readonly #placed = new Map<LayerRotary, PlacedRotary>();

  constructor(
    scope: CallScope,
    { batch, length, positions }: Pick<Pass, 'batch' | 'length' | 'positions'>,
    more: Partial<Pick<Pass, 'wanted' | 'kept' | 'cached' | 'context'>> = {},
  ) {
    this.scope = scope;
    this.batch = batch;
    this.length = length;
    this.positions = positions;
    this.wanted = more.wanted ?? {};
    this.kept = more.kept ?? {};
    this.cached = more.cached;
    this.context = more.context;
  }

  get rows(): number {
    return this.batch * this.length;
  }

  /** Rows of so many floats, which the next one to ask for them by that name overwrites. */
  buffer(name: string, channels: number, rows = this.rows): Rows & { readonly tensor: Tensor<'float32'> } {
    let tensor = this.#buffers.get(name);
    if (!tensor || tensor.size < rows * channels) {
      tensor = this.scope.temporary([rows * channels]);
      this.#buffers.set(name, tensor);
    }
    return { address: tensor.address, rowBytes: channels * 4, rows, tensor };
  }

  /** Rows that a record may keep: of their own if there is one. */
  keptRows(name: string, channels: number, length = this.length): Tensor<'float32'> {
    const shape = [this.batch, length, channels];
    if (this.wanted.returnRecord) return this.scope.temporary(shape);
    const { tensor } = this.buffer(name, channels, this.batch * length);
    return tensor.withLayout(shape, [length * channels, channels, 1]);
  }

  /** What rotations at the positions of the tokens read. */
  rotation(rotary: LayerRotary): PlacedRotary {
    const known = this.#placed.get(rotary);
    if (known) return known;
    const placed = rotary.place(this.scope, this.positions, this.batch, this.length);
    this.#placed.set(rotary, placed);
    return placed;
  }
}
