// Sentence embeddings: the modules that sentence-transformers puts after an encoder.

import type { FolderModule } from '../checkpoints/folder.js';
import { checkInteger } from '../runtime/checks.js';
import { AttentionError, describe, invalidArgument } from '../runtime/errors.js';
import { runFusedLinear } from '../ops/linear/fused-linear.js';
import type { LinearWeights } from '../ops/linear/linear.js';
import { runNorm } from '../ops/norms/norm.js';
import { runMeanPooling } from '../ops/rows/pooling.js';
import type { Tensor } from '../runtime/tensor.js';
import type { ActivationName, MatrixDescription } from './description.js';
import { checkTokens, copyRows, firstToken, gather, keptTokens, lastToken } from './heads.js';
import type { Chosen, PooledTokens } from './heads.js';
import type { Parameters } from './parameters.js';
import type { Pass, Rows } from './pass.js';

/** What becomes of the last hidden state, in order. */
export interface SentenceDescription {
  /** Mean over tokens, the first token, or the last one. */
  readonly pooling: 'mean' | 'first' | 'last';
  /** Dense layers after it. */
  readonly dense: readonly {
    readonly matrix: MatrixDescription;
    readonly activation?: ActivationName | undefined;
  }[];
  /** To a length of one. */
  readonly normalize: boolean;
}

export class SentencePooling {
  readonly description: SentenceDescription;
  readonly #dense: readonly LinearWeights[];

  constructor(parameters: Parameters, description: SentenceDescription) {
    this.description = description;
    this.#dense = description.dense.map(({ matrix }) => parameters.matrix(matrix));
  }

  /** [batch, channels] of rows [batch, length, channels]. */
  run(pass: Pass, hidden: Chosen, tokens: PooledTokens): Tensor<'float32'> {
    const { scope, batch } = pass;
    const { dense, normalize } = this.description;
    let rows: Rows = this.#pool(pass, hidden, tokens);
    dense.forEach(({ activation }, i) => {
      const weights = this.#dense[i]!;
      const target = pass.buffer(`dense ${i}`, weights.outFeatures, batch);
      runFusedLinear(scope, rows, weights, { from: 0, to: weights.outFeatures }, target, { activation });
      rows = target;
    });
    const channels = rows.rowBytes / 4;
    const result = scope.make([batch, channels]);
    const to = { address: result.address, rowBytes: rows.rowBytes, rows: batch };
    if (normalize) runNorm(scope, 'l2', rows, to, { channels, epsilon: 1e-12 });
    else copyRows(pass, { ...rows, channels }, to);
    return result;
  }

  #pool(pass: Pass, hidden: Chosen, tokens: PooledTokens): Rows {
    const { scope, batch, length } = pass;
    const { pooling } = this.description;
    const { channels } = hidden;
    checkTokens(pass);
    if (pooling === 'mean') {
      const pooled = pass.buffer('sentence', channels, batch);
      runMeanPooling(scope, hidden, batch, length, channels, keptTokens(pass, tokens), pooled.address);
      return pooled;
    }
    return gather(
      pass,
      hidden,
      Int32Array.from(
        { length: batch },
        (_, b) => b * length + (pooling === 'last' ? lastToken : firstToken)(tokens, b, length),
      ),
    );
  }
}

const POOLINGS: Readonly<Record<string, SentenceDescription['pooling']>> = {
  pooling_mode_mean_tokens: 'mean',
  pooling_mode_cls_token: 'first',
  pooling_mode_lasttoken: 'last',
  mean: 'mean',
  cls: 'first',
  lasttoken: 'last',
};

const ACTIVATIONS: Readonly<Record<string, ActivationName | undefined>> = {
  Identity: undefined,
  Tanh: 'tanh',
  ReLU: 'relu',
  GELU: 'gelu',
  SiLU: 'silu',
};

/**
 * What the modules after a model do, with places for their weights. Those of a dense layer are tensors of a file of its own: their
 * names begin with its path.
 *
 * @throws AttentionError UNSUPPORTED for modules and settings that would change the result
 */
export function sentenceOf(modules: readonly FolderModule[]): (parameters: Parameters) => SentencePooling {
  const description = describeSentence(modules);
  return (parameters) => new SentencePooling(parameters, description);
}

function describeSentence(modules: readonly FolderModule[]): SentenceDescription {
  let pooling: SentenceDescription['pooling'] | undefined;
  let normalize = false;
  const dense: { matrix: MatrixDescription; activation?: ActivationName | undefined }[] = [];
  if (!Array.isArray(modules)) throw invalidArgument('modules', 'the list that modules.json holds', modules);
  modules.forEach((module: FolderModule, i) => {
    const kind = String(module?.type).split('.').at(-1);
    const argument = `modules[${i}]`;
    if (kind === 'Transformer' || kind === 'Dropout') return;
    if (kind === 'Pooling' && pooling === undefined) pooling = poolingOf(argument, module.config ?? {});
    else if (kind === 'Dense' && pooling !== undefined) dense.push(denseOf(argument, module));
    else if (kind === 'Normalize' && pooling !== undefined) normalize = true;
    else throw unsupported(argument, 'Transformer, Pooling, then Dense or Normalize', module?.type);
  });
  if (pooling === undefined) throw unsupported('modules', 'one of them to be Pooling', 'none');
  return { pooling, dense, normalize };
}

function poolingOf(
  argument: string,
  config: Readonly<Record<string, unknown>>,
): SentenceDescription['pooling'] {
  const named = config['pooling_mode'];
  const modes =
    named === undefined
      ? Object.keys(config).filter((name) => name.startsWith('pooling_mode_') && config[name] === true)
      : [named as string];
  const pooling = modes.length === 1 && Object.hasOwn(POOLINGS, modes[0]!) ? POOLINGS[modes[0]!] : undefined;
  if (pooling) return pooling;
  throw unsupported(argument, 'one way of pooling: mean, cls or lasttoken', modes.join(', '));
}

function denseOf(argument: string, { path, config = {} }: FolderModule) {
  const { in_features: inFeatures, out_features: outFeatures, bias = true, activation_function } = config;
  for (const [name, size] of Object.entries({ inFeatures, outFeatures }))
    checkInteger(`${argument}.config.${name}`, size, 1, 2 ** 24);
  const name = (typeof activation_function === 'string' ? activation_function : 'Tanh').split('.').at(-1)!;
  if (!Object.hasOwn(ACTIVATIONS, name))
    throw unsupported(`${argument}.config.activation_function`, Object.keys(ACTIVATIONS).join(', '), name);
  const shape = [outFeatures as number, inFeatures as number];
  const matrix: MatrixDescription = {
    inFeatures: inFeatures as number,
    outFeatures: outFeatures as number,
    parts: [
      {
        weight: { name: `${path}/linear.weight`, shape },
        ...(bias === true && { bias: { name: `${path}/linear.bias`, shape: [shape[0]!] } }),
      },
    ],
  };
  return { matrix, activation: ACTIVATIONS[name] };
}

function unsupported(argument: string, expected: string, received: unknown): AttentionError {
  return new AttentionError({ code: 'UNSUPPORTED', argument, expected, received: describe(received) });
}
