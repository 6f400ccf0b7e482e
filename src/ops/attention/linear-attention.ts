// Linear attention: a different function from softmax attention, not an approximation of the same one.

import { ELU, linearAttentionParameters, POSITIVE } from '../../../build/kernels.js';
import type { LinearAttentionParameters } from '../../../build/kernels.js';
import { callAsync, callNow } from '../../runtime/call.js';
import type { AsyncOptions } from '../../runtime/call.js';
import { integers } from '../../runtime/checks.js';
import type { IntegerList, NamesOf } from '../../runtime/checks.js';
import { AttentionError, invalidArgument, shapeError } from '../../runtime/errors.js';
import type { CallScope } from '../../runtime/call-scope.js';
import type { TensorLike } from '../../runtime/inputs.js';
import type { Operation } from '../../runtime/operation.js';
import { ParameterBlock } from '../../runtime/parameters.js';
import type { Runtime } from '../../runtime/runtime.js';
import type { Tensor } from '../../runtime/tensor.js';
import { attentionInput, placeTensor } from './plan.js';

/** phi: elu(x) + 1, which is never 0, or max(x, 0). */
export type FeatureMap = 'elu' | 'relu';

const linearBlock = /* @__PURE__ */ new ParameterBlock(linearAttentionParameters);

const FEATURE_MAPS: Readonly<Record<FeatureMap, number>> = { elu: ELU, relu: POSITIVE };

/** Options of `linearAttention`. */
export interface LinearAttentionOptions {
  /** What q and k are sent through. Default 'elu'. */
  readonly featureMap?: FeatureMap | undefined;
  /** Query i reads keys up to i; as many queries as keys. Default false. */
  readonly causal?: boolean | undefined;
  /** Keys at or beyond it are removed, per batch row; 0..keys. */
  readonly keyLengths?: IntegerList | undefined;
  /** Needed only if no input is a Tensor. */
  readonly runtime?: Runtime | undefined;
}

export const linearAttentionOperation: Operation<
  [query: TensorLike, key: TensorLike, value: TensorLike],
  LinearAttentionOptions,
  Tensor<'float32'>
> = {
  inputs: ['query', 'key', 'value'],
  options: { featureMap: 1, causal: 1, keyLengths: 1, runtime: 1 } satisfies NamesOf<LinearAttentionOptions>,
  run: attendLinearly,
};

/**
 * sum_j phi(q_i) . phi(k_j) v_j / sum_j phi(q_i) . phi(k_j): time and memory linear in the length. Results differ from
 * softmax attention; models must have been trained for it. A row whose denominator is 0 gives zeros.
 *
 * @param query [batch, heads, queries, headDim]
 * @param key   [batch, keyValueHeads, keys, headDim]
 * @param value [batch, keyValueHeads, keys, valueHeadDim]
 * @returns [batch, heads, queries, valueHeadDim]
 * @throws AttentionError INVALID_SHAPE, INVALID_DTYPE, INVALID_ARGUMENT, OUT_OF_MEMORY, before anything is written
 * @see Katharopoulos et al. 2020
 *
 * @example
 * ```js
 * linearAttention(q, k, v, { featureMap: 'elu', causal: true }).shape; // [1, 2, 5, 4]
 * ```
 */
export function linearAttention(
  query: TensorLike,
  key: TensorLike,
  value: TensorLike,
  options: LinearAttentionOptions = {},
): Tensor<'float32'> {
  return callNow(linearAttentionOperation, [query, key, value], options);
}

/**
 * {@link linearAttention} in slices of some milliseconds between turns of the event loop: the same bits, and the page lives on.
 *
 * @example
 * ```js
 * const output = await linearAttentionAsync(q, k, v, { signal: AbortSignal.timeout(5000) });
 * ```
 */
export function linearAttentionAsync(
  query: TensorLike,
  key: TensorLike,
  value: TensorLike,
  options: LinearAttentionOptions & AsyncOptions = {},
): Promise<Tensor<'float32'>> {
  return callAsync(linearAttentionOperation, [query, key, value], options);
}

function attendLinearly(
  scope: CallScope,
  [query, key, value]: readonly [TensorLike, TensorLike, TensorLike],
  options: LinearAttentionOptions,
): Tensor<'float32'> {
  const { featureMap = 'elu', causal = false } = options;
  if (!Object.keys(FEATURE_MAPS).includes(featureMap)) {
    throw invalidArgument('featureMap', "'elu' or 'relu'", featureMap);
  }
  const q = attentionInput(scope, 'query', query);
  const k = attentionInput(scope, 'key', key);
  const v = attentionInput(scope, 'value', value);
  const [batch, heads, queries, headDim] = q.shape as [number, number, number, number];
  const [, keyHeads, keys] = k.shape as [number, number, number, number];
  if (k.shape[0] !== batch || k.shape[3] !== headDim || keyHeads < 1 || heads % keyHeads !== 0) {
    throw shapeError('key', `[${batch}, a divisor of ${heads}, keys, ${headDim}]`, k.shape);
  }
  if (v.shape[0] !== batch || v.shape[1] !== keyHeads || v.shape[2] !== keys) {
    throw shapeError('value', `[${batch}, ${keyHeads}, ${keys}, valueHeadDim]`, v.shape);
  }
  if (causal && queries !== keys) {
    throw new AttentionError({
      code: 'INVALID_ARGUMENT',
      argument: 'causal',
      expected: 'as many queries as keys',
      received: `${queries} queries, ${keys} keys`,
    });
  }
  const lengths =
    options.keyLengths === undefined ? undefined : integers('keyLengths', options.keyLengths, 0, keys);
  if (lengths && lengths.length !== batch)
    throw shapeError('keyLengths', `one length per batch row (${batch})`, [lengths.length]);
  const valueHeadDim = v.shape[3]!;
  const output = scope.make([batch, heads, queries, valueHeadDim]);
  if (output.size === 0) return output;
  const { kernels, linearMemory } = scope.runtime;
  const tiles = batch * keyHeads;
  const parameters: LinearAttentionParameters = {
    ...placeTensor('query', q),
    ...placeTensor('key', k),
    ...placeTensor('value', v),
    ...placeTensor('output', output),
    queryHeads: heads,
    keyHeads,
    keys,
    headDim,
    valueHeadDim,
    states: scope.allocate(tiles * kernels.linearAttentionStateBytes(headDim, valueHeadDim)),
    keyLengths: lengths ? scope.integers(lengths) : 0,
    featureMap: FEATURE_MAPS[featureMap],
    causal: causal ? 1 : 0,
  };
  const rowCost = 8 * headDim * valueHeadDim;
  const run = (range: LinearAttentionParameters, rows: number) => {
    const block = scope.allocate(linearBlock.bytes);
    linearBlock.write(linearMemory, block, [parameters, range]);
    scope.run({
      kernel: 'linearAttention',
      args: [block],
      tiles,
      scratchBytes: 0,
      cost: tiles * rows * rowCost,
    });
  };
  const group = heads / keyHeads;
  forPieces(keys, rowCost * (causal ? 1 + group : 1), (keyFrom, keyTo) =>
    run({ keyFrom, keyTo }, (keyTo - keyFrom) * (causal ? 1 + group : 1)),
  );
  if (causal) return output;
  forPieces(queries, rowCost * group, (queryFrom, queryTo) =>
    run({ keyFrom: keys, keyTo: keys, queryFrom, queryTo }, (queryTo - queryFrom) * group),
  );
  return output;
}

/** Cost of a tile that a call can be aborted after: some milliseconds. */
const PIECE_COST = 1e8;

/** Calls `run` for pieces of [0, length), at least once. */
function forPieces(length: number, rowCost: number, run: (from: number, to: number) => void): void {
  const size = Math.max(1, Math.floor(PIECE_COST / rowCost));
  for (let from = 0; from === 0 || from < length; from += size) run(from, Math.min(length, from + size));
}
