// The public feed-forward layer.

import type { CallScope } from '../../runtime/call-scope.js';
import { checkOptions } from '../../runtime/checks.js';
import type { Runtime } from '../../runtime/runtime.js';
import { Pass } from '../pass.js';
import type { Rows } from '../pass.js';
import { FeedForwardLayer } from './bound-feed-forward.js';
import { describeFeedForward, FEED_FORWARD_NAMES } from './options.js';
import type { FeedForwardOptions } from './options.js';
import type { LayerDescription } from './layer.js';
import { RowLayer } from './row-layer.js';

/**
 * down(activation(up x)), or gated down(activation(gate x) * up x). Parameters: up.weight, up.bias, gate..., down....
 *
 * @see Vaswani et al. 2017; Shazeer 2020 (gates)
 *
 * @example
 * ```js
 * await runtime.load(model);
 * const layer = new FeedForward(runtime, { embedDim: 8, hiddenDim: 32, activation: 'silu', gated: true, bias: false });
 * layer.parameterNames; // ['up.weight', 'gate.weight', 'down.weight']
 * ```
 */
export class FeedForward extends RowLayer {
  readonly #layer: FeedForwardLayer;
  readonly #channels: number;
  /** @internal */
  readonly description: LayerDescription;

  /** @throws AttentionError INVALID_ARGUMENT */
  constructor(runtime: Runtime, options: FeedForwardOptions) {
    super(runtime);
    checkOptions(options, FEED_FORWARD_NAMES);
    const feedForward = describeFeedForward('', options);
    this.#layer = this.reserve((parameters) => new FeedForwardLayer(parameters, feedForward));
    this.#channels = options.embedDim;
    this.description = { channels: options.embedDim, feedForward };
  }

  /** @internal */
  protected override get channels(): number {
    return this.#channels;
  }

  /** @internal */
  protected override runRows(scope: CallScope, x: Rows, y: Rows): void {
    this.#layer.run(new Pass(scope, { batch: 1, length: x.rows, positions: [] }), x, y);
  }
}
