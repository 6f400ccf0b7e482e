// How well a network does on texts that it is not trained with.

import { argmaxAsync } from '../ops/rows/argmax.js';
import { checkAsyncOptions } from '../runtime/call.js';
import { checkInteger, checkOptions } from '../runtime/checks.js';
import type { NamesOf } from '../runtime/checks.js';
import { AttentionError, invalidArgument } from '../runtime/errors.js';
import type { Tensor } from '../runtime/tensor.js';
import type { ModelInputs } from '../model/inputs.js';
import type { Model } from '../model/model.js';
import { checkBatch, countOf, IGNORED, labelsOf } from './batch.js';
import type { Batch } from './batch.js';
import { crossEntropyAsync } from './losses/cross-entropy.js';
import { training as pack } from './pack.js';
import { Trainable } from './trainable.js';

/** Options of `evaluate`. */
export interface EvaluateOptions {
  /** The label that marks what does not count. Default -100. */
  readonly ignoreIndex?: number | undefined;
  /** Ends the call; nothing stays. */
  readonly signal?: AbortSignal | undefined;
}

/** What `evaluate` finds. */
export interface Evaluation {
  /** The mean over all labels that count, in nats. */
  readonly loss: number;
  /** The part of the labels that count for which the largest logit is the label's. */
  readonly accuracy: number;
  /** Labels that count. */
  readonly tokens: number;
}

const EVALUATE_NAMES = { ignoreIndex: 1, signal: 1 } satisfies NamesOf<EvaluateOptions>;

/**
 * Loss and accuracy over batches, without gradients and without dropout, in slices between turns of the event loop.
 *
 * @param network a model with logits, or a `Trainable` of one, whose adapters then count
 * @param batches as `data` of `train` gives them
 * @throws AttentionError INVALID_ARGUMENT, UNSUPPORTED of a model without logits, and what `forward` and `crossEntropy` throw
 *
 * @example
 * ```js
 * const batches = [{ inputs: { inputIds: [[5, 6, 7]] }, labels: [[6, 7, -100]] }];
 * const { loss, accuracy, tokens } = await evaluate(gpt2, batches);
 * loss > 0 && accuracy <= 1; // true
 * tokens; // 2
 * ```
 */
export async function evaluate(
  network: Model | Trainable,
  batches: Iterable<Batch> | AsyncIterable<Batch>,
  options: EvaluateOptions = {},
): Promise<Evaluation> {
  checkOptions(options, EVALUATE_NAMES);
  checkAsyncOptions(options);
  const { ignoreIndex = IGNORED, signal } = options;
  checkInteger('ignoreIndex', ignoreIndex, -(2 ** 31), 2 ** 31 - 1);
  const isModel = typeof network === 'object' && network !== null && 'built' in network;
  if (!isModel && !(network instanceof Trainable))
    throw invalidArgument('network', 'a Model, or a Trainable', network);
  if (
    typeof batches !== 'object' ||
    batches === null ||
    !(Symbol.iterator in batches || Symbol.asyncIterator in batches)
  )
    throw invalidArgument('batches', 'a list of batches, or another iterable', batches);
  await network.runtime.load(pack);
  let [loss, right, tokens] = [0, 0, 0];
  for await (const batch of batches) {
    checkBatch('batch', batch);
    const labels = labelsOf(batch, ignoreIndex);
    const output =
      network instanceof Trainable
        ? await network.forwardAsync(batch.inputs, { ...batch.options, signal })
        : await network.forwardAsync(batch.inputs as ModelInputs, { signal });
    try {
      const { logits } = output as { readonly logits?: Tensor<'float32'> };
      if (!logits)
        throw new AttentionError({
          code: 'UNSUPPORTED',
          argument: 'network',
          expected: 'a model with logits',
        });
      const asked = { ignoreIndex, reduction: 'sum', returnGradient: false, signal } as const;
      loss += (await crossEntropyAsync(logits, labels, asked)).loss;
      tokens += countOf(labels, ignoreIndex);
      const best = await argmaxAsync(logits, { signal });
      best.data.forEach((label, row) => (right += label === labels[row] && label !== ignoreIndex ? 1 : 0));
      best.dispose();
    } finally {
      output.dispose();
    }
  }
  const share = 1 / Math.max(1, tokens);
  return { loss: loss * share, accuracy: right * share, tokens };
}
