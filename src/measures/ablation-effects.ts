// What a model loses with its heads and edges: the change of the loss of each token.

import { Model } from '../model/model.js';
import type { ModelInputs } from '../model/inputs.js';
import type { ModelOutput } from '../model/output.js';
import { callAsync, callNow } from '../runtime/call.js';
import type { AsyncOptions, Progress } from '../runtime/call.js';
import { checkInstance } from '../runtime/checks.js';
import type { NamesOf } from '../runtime/checks.js';
import { AttentionError, invalidArgument } from '../runtime/errors.js';
import type { Operation } from '../runtime/operation.js';
import { interventionsOf } from './ablation.js';
import type { Ablation } from './ablation.js';
import { labelsOfRows, lossesOf } from './losses.js';
import type { Labels, TokenLosses } from './losses.js';

/** Options of `ablationEffects`. */
export interface AblationEffectsOptions {
  /** What the logits should say, one label a row of them; -100 does not count. Default, of decoders: the next tokens. */
  readonly labels?: Labels | undefined;
}

/** What an ablation changes. */
export interface AblationEffect {
  /** Mean loss without what was taken out, in nats. */
  readonly loss: number;
  /** By how much it is above the loss of the whole model. */
  readonly change: number;
  /** The same of each row of logits; NaN where no label counts. */
  readonly changePerToken: Float64Array;
}

/** Losses of a model, and what ablations change. */
export interface AblationEffects {
  /** Mean loss of the whole model over the labels that count, in nats; NaN where none does. */
  readonly loss: number;
  /** Loss of each row of logits, [batch, length], or [batch] of a classifier; NaN where no label counts. */
  readonly lossPerToken: Float64Array;
  /** Of each ablation, in their order. */
  readonly effects: readonly AblationEffect[];
}

/** A model's losses, and the output that they are of. */
interface Measured {
  readonly output: ModelOutput;
  readonly losses: TokenLosses;
}

const lossOperation: Operation<
  [model: Model, inputs: ModelInputs, ablation: Ablation],
  AblationEffectsOptions,
  Measured
> = {
  inputs: ['model', 'inputs', 'ablation'],
  options: { labels: 1 } satisfies NamesOf<AblationEffectsOptions>,
  runtime: ([model]) => model.runtime,
  run(scope, [model, inputs, ablation], { labels }) {
    const interveneIn = interventionsOf(model, 'ablation', ablation);
    const output = model.run(scope, inputs, { interveneIn });
    const { logits } = output;
    if (!logits) {
      throw new AttentionError({
        code: 'UNSUPPORTED',
        argument: 'model',
        expected: 'a model with logits; of others compare what ablate returns',
        received: `${model.family} without a head`,
      });
    }
    return { output, losses: lossesOf(scope, logits, labelsOfRows(model, inputs, labels, logits)) };
  },
};

/** Throws before anything is computed; returns the whole model first. */
function readAblations(model: Model, ablations: readonly Ablation[]): Ablation[] {
  checkInstance('model', model, Model);
  if (!Array.isArray(ablations)) throw invalidArgument('ablations', 'a list of ablations', ablations);
  (ablations as readonly Ablation[]).forEach((ablation, i) =>
    interventionsOf(model, `ablations[${i}]`, ablation),
  );
  return [{}, ...(ablations as readonly Ablation[])];
}

/** The losses, without the output they are of. */
function taken({ output, losses }: Measured): TokenLosses {
  output.dispose();
  return losses;
}

function compared([whole, ...others]: readonly TokenLosses[]): AblationEffects {
  const { mean: loss, perToken: lossPerToken } = whole!;
  const effects = others.map(({ mean, perToken }) => ({
    loss: mean,
    change: mean - loss,
    changePerToken: perToken.map((own, i) => own - lossPerToken[i]!),
  }));
  return { loss, lossPerToken, effects };
}

/**
 * How much a model loses with each ablation: the change of its loss, token by token. One forward pass for the whole model and one for each
 * ablation; of a list of all heads the changes say which of them matter.
 *
 * @param ablations what is taken out, of each pass anew
 * @throws AttentionError INVALID_ARGUMENT, INVALID_SHAPE, INVALID_DTYPE, INVALID_STATE, UNSUPPORTED, DISPOSED, OUT_OF_MEMORY
 * @see Michel et al. 2019
 *
 * @example
 * ```js
 * const inputs = { inputIds: [[5, 6, 7, 5, 6, 7]] };
 * const ablations = [{ heads: [{ layer: 0, head: 1 }] }, { edges: [{ layer: 1, queries: 5, keys: [0, 3] }] }];
 * const { loss, effects } = ablationEffects(gpt2, inputs, ablations);
 * effects.length; // 2
 * effects[0].changePerToken.length; // 6: nats by which each token's loss grew, NaN for the last, which nothing follows
 * ```
 */
export function ablationEffects(
  model: Model,
  inputs: ModelInputs,
  ablations: readonly Ablation[],
  options: AblationEffectsOptions = {},
): AblationEffects {
  return compared(
    readAblations(model, ablations).map((ablation) =>
      taken(callNow(lossOperation, [model, inputs, ablation], options)),
    ),
  );
}

/**
 * {@link ablationEffects} in slices of some milliseconds between turns of the event loop: the same numbers, and the page lives on.
 *
 * @example
 * ```js
 * const every = gpt2.description.stack.blocks.flatMap(({ attention }, layer) =>
 *   Array.from({ length: attention.heads }, (_, head) => ({ heads: [{ layer, head, by: 'mean' }] })),
 * );
 * const { effects } = await ablationEffectsAsync(gpt2, { inputIds: [[5, 6, 7, 5]] }, every);
 * effects.length; // 4
 * ```
 */
export async function ablationEffectsAsync(
  model: Model,
  inputs: ModelInputs,
  ablations: readonly Ablation[],
  options: AblationEffectsOptions & AsyncOptions = {},
): Promise<AblationEffects> {
  const list = readAblations(model, ablations);
  const losses: TokenLosses[] = [];
  const onProgress = ({ done, total }: Progress) =>
    options.onProgress!({ done: losses.length + (total > 0 ? done / total : 1), total: list.length });
  const own = { ...options, ...(typeof options.onProgress === 'function' && { onProgress }) };
  for (const ablation of list)
    losses.push(taken(await callAsync(lossOperation, [model, inputs, ablation], own)));
  return compared(losses);
}
