// A model's forward pass without some of its heads or edges.

import { Model, modelOperation } from '../model/model.js';
import type { ModelForwardOptions } from '../model/model.js';
import type { ModelInputs } from '../model/inputs.js';
import type { ModelOutput } from '../model/output.js';
import { callAsync, callNow } from '../runtime/call.js';
import type { AsyncOptions } from '../runtime/call.js';
import { checkInstance } from '../runtime/checks.js';
import type { Operation } from '../runtime/operation.js';
import { interventionsOf } from './ablation.js';
import type { Ablation } from './ablation.js';

const ablateOperation: Operation<
  [model: Model, inputs: ModelInputs, ablation: Ablation],
  ModelForwardOptions,
  ModelOutput
> = {
  inputs: ['model', 'inputs', 'ablation'],
  options: modelOperation.options,
  runtime: ([model]) => checkInstance('model', model, Model).runtime,
  run: (scope, [model, inputs, ablation], options) =>
    model.run(scope, inputs, { ...options, interveneIn: interventionsOf(model, 'ablation', ablation) }),
};

/**
 * `model.forward` without some heads or edges. A head's output is replaced before the output projection reads it: by zeros, or by its mean
 * over the tokens of the call. An edge is a query that may not see a key: it is masked before the softmax, so that the keys that are left
 * share its weight. Nothing of the size of all tokens by all is made. All other heads of the layer keep their bits; records show what was
 * computed, so that the output of a head that was taken out is what stood in for it.
 *
 * @returns what `model.forward` returns with the same options
 * @throws AttentionError INVALID_ARGUMENT, INVALID_SHAPE, INVALID_DTYPE, INVALID_STATE, DISPOSED, OUT_OF_MEMORY
 * @see Michel et al. 2019 (heads by zero); Wang et al. 2022 (by their mean); Geva et al. 2023 (attention knockout: edges)
 *
 * @example
 * ```js
 * const inputs = { inputIds: [[5, 6, 7]] };
 * const headless = ablate(gpt2, inputs, { heads: [{ layer: 1, head: 0, by: 'mean' }] });
 * headless.logits.shape; // [1, 3, 16]
 * const edges = [{ layer: 0, queries: 2, keys: [0, 2] }]; // of all heads: the last token sees only itself
 * ablate(gpt2, inputs, { edges }, { returnRecord: true }).records.length; // 2
 * ```
 */
export function ablate(
  model: Model,
  inputs: ModelInputs,
  ablation: Ablation,
  options: ModelForwardOptions = {},
): ModelOutput {
  return callNow(ablateOperation, [model, inputs, ablation], options);
}

/**
 * {@link ablate} in slices of some milliseconds between turns of the event loop: the same bits, and the page lives on.
 *
 * @example
 * ```js
 * const { logits } = await ablateAsync(gpt2, { inputIds: [[5, 6, 7]] }, { heads: [{ layer: 0, head: 1 }] });
 * logits.shape; // [1, 3, 16]
 * ```
 */
export function ablateAsync(
  model: Model,
  inputs: ModelInputs,
  ablation: Ablation,
  options: ModelForwardOptions & AsyncOptions = {},
): Promise<ModelOutput> {
  return callAsync(ablateOperation, [model, inputs, ablation], options);
}
