// A `MultiHeadAttention`, kept for the way back. Its projections lie in one matrix, or in three where keys or values have another
// width than queries; over a context the one matrix is multiplied with both, and what is not wanted of it is left aside.

import type { MultiHeadAttention } from '../../layers/multi-head-attention.js';
import { AttentionError, invalidArgument, shapeError } from '../../runtime/errors.js';
import type { TensorLike } from '../../runtime/inputs.js';
import type { Source } from '../../model/description.js';
import type { Binder, BoundMatrix } from '../bound.js';
import { Flow } from '../flow.js';
import { held, rowsOf } from '../given.js';
import type { Ran, Shaped, TrainedNetwork, TrainingForwardOptions, TrainingInputs } from '../network.js';
import type { Tape, Value } from '../tape.js';
import { asTheyLie, TrainedScores } from './attention.js';
import { TrainedLinear } from './linear.js';

type Name = 'q' | 'k' | 'v' | 'out';

/** Weight and bias of a projection, by PyTorch's names. */
function sources(name: Name, rows: number, inFeatures: number, bias: boolean) {
  const weight: Source = { name: `${name}_proj.weight`, shape: [rows, inFeatures] };
  return { weight, ...(bias && { bias: { name: `${name}_proj.bias`, shape: [rows] } }) };
}

export class TrainedMultiHeadAttention implements TrainedNetwork {
  readonly #layer: MultiHeadAttention;
  readonly #packed: MultiHeadAttention['parts']['packed'];
  readonly #bound = new Map<BoundMatrix['weights'], TrainedLinear>();
  readonly #scores: TrainedScores;

  constructor(binder: Binder, layer: MultiHeadAttention) {
    const { packed, scores, rotary } = layer.parts;
    const { embedDim, kdim, vdim, outputDim, bias, numHeads, numKeyValueHeads } = layer.layout;
    const { headDim, valueHeadDim } = layer.layout;
    this.#layer = layer;
    this.#packed = packed;
    const parts = [
      { part: packed.query, ...sources('q', numHeads * headDim, embedDim, bias) },
      { part: packed.key, ...sources('k', numKeyValueHeads * headDim, kdim, bias) },
      { part: packed.value, ...sources('v', numKeyValueHeads * valueHeadDim, vdim, bias) },
      {
        part: { weights: packed.output, from: 0 },
        ...sources('out', outputDim, numHeads * valueHeadDim, bias),
      },
    ];
    for (const weights of packed.all) {
      const own = parts.filter(({ part }) => part.weights === weights);
      const placed = own.map(({ part, ...named }) => ({ ...named, firstOut: part.from }));
      this.#bound.set(weights, new TrainedLinear(binder.fill(placed, weights)));
    }
    this.#scores = new TrainedScores(
      {
        heads: numHeads,
        keyValueHeads: numKeyValueHeads,
        headDim,
        valueHeadDim,
        options: scores,
        rotary,
      },
      binder.site(),
    );
  }

  run(tape: Tape, given: TrainingInputs, options: TrainingForwardOptions, wantsInput: boolean): Ran {
    if (this.#layer.parts.packed !== this.#packed)
      throw new AttentionError({
        code: 'INVALID_STATE',
        message: 'the layer has loaded other weights: make another Trainable',
      });
    const { embedDim, kdim, vdim, numHeads, numKeyValueHeads, headDim, valueHeadDim } = this.#layer.layout;
    const read = (argument: string, tensor: TensorLike, channels: number) => {
      const shaped = rowsOf(tape, argument, tensor, channels, wantsInput);
      if (shaped.shape.length === 2 || shaped.shape.length === 3) return shaped;
      throw shapeError(argument, `[batch, length, ${channels}] or [length, ${channels}]`, shaped.shape);
    };
    const x = read('x', given as TensorLike, embedDim);
    const context = options.context === undefined ? x : read('context', options.context, kdim);
    const valueContext =
      options.valueContext === undefined ? context : read('valueContext', options.valueContext, vdim);
    const [batch, length] = [1, ...x.shape].slice(-3) as [number, number];
    const keys = checkContext('context', context, batch);
    if (checkContext('valueContext', valueContext, batch) !== keys)
      throw shapeError('valueContext', `[${batch}, ${keys}, ${vdim}]`, valueContext.shape);
    if (this.#layer.parts.rotary && context !== x)
      throw invalidArgument('context', 'none beside a rotary embedding', options.context);
    const { positions, keyLengths } = options;
    const flow = new Flow(tape, {
      batch,
      length,
      positions: positions ?? Int32Array.from({ length }, (_, i) => i),
      kept: () => ({}),
      context: undefined,
    });
    const { query, key, value, output } = this.#packed;
    const products = new Map<string, Value>();
    /** Each matrix is multiplied with the same rows once. */
    const project = (weights: BoundMatrix['weights'], rows: Shaped) => {
      const name = `${this.#packed.all.indexOf(weights)} ${[x, context, valueContext].indexOf(rows)}`;
      const known = products.get(name) ?? this.#bound.get(weights)!.run(tape, rows.value);
      products.set(name, known);
      return known;
    };
    const places = (part: typeof query, rows: Shaped, heads: number, dim: number, count: number) => ({
      product: project(part.weights, rows),
      length: count,
      heads,
      from: part.from,
      step: dim,
      partial: part.to - part.from < part.weights.outFeatures,
    });
    const heads = {
      query: this.#scores.prepare(flow, 'query', places(query, x, numHeads, headDim, length)),
      key: this.#scores.prepare(flow, 'key', places(key, context, numKeyValueHeads, headDim, keys)),
      value: asTheyLie(flow, valueHeadDim, places(value, valueContext, numKeyValueHeads, valueHeadDim, keys)),
    };
    const mask = held(tape, options.mask);
    const bias = held(tape, options.bias);
    const { queryOffset, causal } = options;
    const trained = [...products.values()].some((product) => product.trained);
    const merged = this.#scores.attend(flow, heads, trained, () => ({
      ...(mask !== undefined && { mask }),
      ...(bias !== undefined && { bias }),
      ...(keyLengths !== undefined && { keyLengths }),
      ...(queryOffset !== undefined && { queryOffset }),
      ...(causal !== undefined && { causal }),
    }));
    const y = this.#bound.get(output)!.run(tape, merged);
    return {
      inputs: {
        x,
        ...(context !== x && { context }),
        ...(valueContext !== context && { valueContext }),
      },
      outputs: { output: { value: y, shape: x.shape } },
    };
  }

  dispose(): void {} // the rotation is the layer's own
}

/** Keys of a context. */
function checkContext(argument: string, { shape }: Shaped, batch: number): number {
  const [rows, keys, channels] = [1, ...shape].slice(-3) as [number, number, number];
  if (rows === batch) return keys;
  throw shapeError(argument, `[${batch}, keys, ${channels}]`, shape);
}
