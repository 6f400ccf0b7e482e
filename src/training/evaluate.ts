// How well a network does on texts that it is not trained with.

import { checkOptions } from '../runtime/checks.js';
import { AttentionError, invalidArgument } from '../runtime/errors.js';
import type { Tensor } from '../runtime/tensor.js';
import { crossEntropyAsync } from './losses/cross-entropy.js';
import type { Batch } from './batch.js';
import { labelsOf } from './batch.js';
import type { Network } from './network.js';
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
  /** How many labels count. */
  readonly count: number;
}

/**
 * Loss and accuracy over batches, without gradients and without dropout. Needs the kernels of `wasm-attention/training`.
 *
 * @param network a model with logits, or a `Trainable` of one, whose adapters then count
 * @param batches as `data` of `train` gives them
 * @throws AttentionError as `forward` and `crossEntropy` do
 *
 * @example
 * ```js
 * await runtime.load(training);
 * const { loss, accuracy } = await evaluate(gpt2, [{ inputs: { inputIds: [[5, 6, 7]] }, labels: [6, 7, 8] }]);
 * loss > 0 && accuracy <= 1; // true
 * ```
 */
export async function evaluate(
  network: Network | Trainable,
  batches: Iterable<Batch> | AsyncIterable<Batch>,
  options: EvaluateOptions = {},
): Promise<Evaluation> {
  checkOptions(options, { ignoreIndex: 1, signal: 1 });
  const { ignoreIndex = -100, signal } = options;
  if (!(network instanceof Trainable) && !('built' in network))
    throw invalidArgument('network', 'a Model, or a Trainable', network);
  const passing = signal && { signal };
  let [sum, right, count] = [0, 0, 0];
  for await (const batch of batches) {
    const output =
      network instanceof Trainable
        ? await network.forwardAsync(batch.inputs, { ...batch.options, ...passing })
        : await network.forwardAsync(batch.inputs as never, { ...passing });
    try {
      const logits = (output as { logits?: Tensor<'float32'> }).logits;
      if (!logits)
        throw new AttentionError({
          code: 'UNSUPPORTED',
          argument: 'network',
          expected: 'a model with logits',
        });
      const labels = labelsOf(batch);
      const found = await crossEntropyAsync(logits, labels, {
        ...{ ignoreIndex, reduction: 'sum', returnGradient: false },
        ...passing,
      });
      sum += found.loss;
      count += found.count;
      right += countRight(logits, labels, ignoreIndex);
    } finally {
      output.dispose();
    }
  }
  return { loss: count === 0 ? 0 : sum / count, accuracy: count === 0 ? 0 : right / count, count };
}

/** Labels that count and have the largest logit; of equal ones the first. */
function countRight(logits: Tensor<'float32'>, labels: ArrayLike<number>, ignoreIndex: number): number {
  const { data } = logits;
  const classes = logits.shape.at(-1)!;
  let right = 0;
  for (let row = 0; row < labels.length; row++) {
    const label = labels[row]!;
    if (label === ignoreIndex) continue;
    let best = 0;
    for (let index = 1; index < classes; index++)
      if (data[row * classes + index]! > data[row * classes + best]!) best = index;
    if (best === label) right++;
  }
  return right;
}
