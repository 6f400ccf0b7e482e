// Low-rank adapters (LoRA): beside weights W that stay as they are, two narrow matrices are trained,
//
//   y = x W^T + b + (alpha / rank) * (x A^T) B^T        A [rank, inFeatures], B [outFeatures, rank]
//
// A begins with random numbers, B with zeros, so that at first nothing changes. Whoever computes the product of W, forward and back,
// calls `runForward` and `runBackward` of the adapter beside it, with the same rows; the factor lies on the narrow rows between the
// two, which the forward pass keeps for the way back:
//
//   narrow = (alpha / rank) * x A^T              y += narrow B^T
//   dB += dy^T narrow     d = (alpha / rank) * dy B     dA += d^T x     dx += d A
//
// After training `merge` adds the product of both to W, and the adapter is not needed any more; or it is saved apart (`state`).
//
// Source: Hu et al., LoRA: Low-Rank Adaptation of Large Language Models (2021). Names in states are those of PEFT.

import { PANEL } from '../../build/kernels.js';
import { uniform } from '../math/philox.js';
import type { Rows } from '../model/pass.js';
import { runFusedLinear } from '../ops/linear/fused-linear.js';
import { LinearWeights } from '../ops/linear/linear.js';
import { packPiece, unpackPiece } from '../ops/linear/packing.js';
import { runInScope } from '../runtime/call.js';
import type { CallScope } from '../runtime/call-scope.js';
import { checkInstance, checkInteger, checkObject, checkOptions } from '../runtime/checks.js';
import type { NamesOf } from '../runtime/checks.js';
import { Disposable } from '../runtime/disposable.js';
import { describe, invalidArgument, shapeError } from '../runtime/errors.js';
import { checkDataType } from '../runtime/inputs.js';
import type { TensorLike } from '../runtime/inputs.js';
import { sameShape } from '../runtime/layout.js';
import { roomFor } from '../runtime/rooms.js';
import type { Runtime } from '../runtime/runtime.js';
import type { Tensor } from '../runtime/tensor.js';
import { runAdd } from './ops/add.js';
import { runLinearBackward } from './ops/linear-backward.js';
import type { GradientRows } from './ops/linear-backward.js';
import { keptIn } from './kept-values.js';
import type { KeptValues } from './kept-values.js';
import type { TrainableParameter } from './parameter.js';

/** What low-rank adapters are made with. */
export interface AdapterOptions {
  /** Rows of the narrow matrix, usually 4 to 64. */
  readonly rank: number;
  /** The adapter's part of the result is multiplied by alpha / rank. Default: the rank. */
  readonly alpha?: number | undefined;
  /** Of the random numbers that the training begins with, an integer from 0 to 2^32 - 1. Default 0. */
  readonly seed?: number | undefined;
}

const ADAPTER_NAMES = { rank: 1, alpha: 1, seed: 1 } satisfies NamesOf<AdapterOptions>;

/** A narrow matrix, and its gradient laid out alike. */
interface Matrix {
  readonly name: string;
  readonly weights: LinearWeights;
  readonly gradient: Tensor<'float32'>;
}

/** An adapter of one linear layer. */
export class LowRankAdapter extends Disposable {
  readonly runtime: Runtime;
  readonly rank: number;
  /** alpha / rank. */
  readonly factor: number;
  readonly #down: Matrix;
  readonly #up: Matrix;

  /**
   * @param name   of the layer, such as 'model.layers.0.self_attn.q_proj'
   * @param number of the adapter among those of one seed: each begins with random numbers of its own
   * @throws AttentionError INVALID_ARGUMENT, OUT_OF_MEMORY
   */
  constructor(
    runtime: Runtime,
    name: string,
    { inFeatures, outFeatures }: Pick<LinearWeights, 'inFeatures' | 'outFeatures'>,
    options: AdapterOptions,
    number = 0,
  ) {
    super();
    checkOptions(options, ADAPTER_NAMES);
    const { rank, alpha = rank, seed = 0 } = options;
    checkInteger('rank', rank, 1, Math.min(inFeatures, outFeatures));
    checkInteger('seed', seed, 0, 2 ** 32 - 1);
    if (!(Number.isFinite(alpha) && alpha > 0)) throw invalidArgument('alpha', 'a number above 0', alpha);
    this.runtime = runtime;
    this.rank = rank;
    this.factor = alpha / rank;
    const bound = 1 / Math.sqrt(inFeatures);
    const random = Float32Array.from(
      { length: rank * inFeatures },
      (_, i) => bound * (2 * uniform([i, number, 0, 0], [seed, 0]) - 1),
    );
    const zeros = new Float32Array(outFeatures * rank);
    const made: { dispose(): void }[] = [];
    const matrix = (ending: string, data: Float32Array, shape: [number, number]): Matrix => {
      const weights = new LinearWeights(runtime, { data, shape });
      made.push(weights);
      const gradient = runInScope(runtime, (scope) => scope.makeApart(weights.packed.shape));
      made.push(gradient);
      gradient.data.fill(0);
      return { name: `${name}.${ending}.weight`, weights, gradient };
    };
    try {
      this.#down = matrix('lora_A', random, [rank, inFeatures]);
      this.#up = matrix('lora_B', zeros, [outFeatures, rank]);
    } catch (error) {
      for (const one of made) one.dispose();
      throw error;
    }
  }

  /** What optimisers change. */
  get parameters(): readonly TrainableParameter[] {
    return [this.#down, this.#up].map(({ name, weights, gradient }) => {
      const { inFeatures, outFeatures, packed } = weights;
      return {
        name,
        shape: [outFeatures, inFeatures],
        count: Math.ceil(outFeatures / PANEL) * PANEL * inFeatures,
        kind: 'panels',
        address: (scope) => scope.use(packed).address,
        gradientAddress: (scope) => scope.use(gradient).address,
      };
    });
  }

  /** @internal The gradient of one of both; undefined for another name. */
  gradient(name: string): { readonly data: Float32Array; readonly shape: readonly number[] } | undefined {
    const matrix = [this.#down, this.#up].find((one) => one.name === name);
    if (!matrix) return undefined;
    const { inFeatures, outFeatures } = matrix.weights;
    return runInScope(this.runtime, (scope) => {
      const tensor = scope.temporary([outFeatures, inFeatures]);
      const packed = { inFeatures, outFeatures, packed: matrix.gradient };
      unpackPiece(scope, packed, { address: tensor.address, dtype: 'F32' });
      return { data: tensor.toFloat32Array(), shape: tensor.shape };
    });
  }

  /** @internal Both matrices, for a checkpoint. */
  get kept(): KeptValues[] {
    return [this.#down, this.#up].map(({ name, weights: { inFeatures, outFeatures, packed } }) =>
      keptIn(this.runtime, name, { shape: [outFeatures, inFeatures], kind: 'panels' }, packed),
    );
  }

  /** Sets the gradients to zero. */
  zeroGradients(): void {
    for (const { gradient } of [this.#down, this.#up]) gradient.data.fill(0);
  }

  /**
   * @internal y += (alpha / rank) * (x A^T) B^T.
   *
   * @param narrow `rank` floats for each row of x, written: `runBackward` reads them
   */
  runForward(scope: CallScope, x: Rows, narrow: Rows, y: Omit<Rows, 'rows'>): void {
    if (x.rows === 0) return;
    const [down, up] = [this.#down.weights, this.#up.weights];
    runFusedLinear(scope, x, down, { from: 0, to: this.rank }, narrow, { factor: this.factor });
    runFusedLinear(scope, narrow, up, { from: 0, to: up.outFeatures }, y, { residual: y });
  }

  /**
   * @internal Adds to the gradients of both matrices, and to that of x if it is wanted.
   *
   * @param narrow as `runForward` left it
   * @param dx     to which the adapter's part is always added
   */
  runBackward(
    scope: CallScope,
    { x, narrow, dy, dx }: { x: Rows; narrow: Rows; dy: Rows; dx?: Omit<GradientRows, 'adding'> | undefined },
  ): void {
    if (dy.rows === 0) return;
    const { rank, factor } = this;
    const between = roomFor(scope, 'narrow gradients', dy.rows * rank);
    const d = { address: between.address, rowBytes: rank * 4, rows: dy.rows };
    runLinearBackward(scope, {
      ...{ x: narrow, weights: this.#up.weights, dy },
      dx: { ...d, factor },
      gradient: scope.use(this.#up.gradient).address,
    });
    runLinearBackward(scope, {
      ...{ x, weights: this.#down.weights, dy: d },
      dx: dx && { ...dx, adding: true },
      gradient: scope.use(this.#down.gradient).address,
    });
  }

  /**
   * Adds the adapter's matrix, (alpha / rank) * B A, to weights, or to some of their rows: they then compute by themselves what they
   * computed with it. The adapter begins anew: B is zero.
   *
   * @throws AttentionError INVALID_ARGUMENT, INVALID_SHAPE, OUT_OF_MEMORY, DISPOSED, before anything is written
   */
  merge(weights: LinearWeights, firstOut = 0): void {
    checkInstance('weights', weights, LinearWeights);
    const { rank, factor } = this;
    const { inFeatures } = this.#down.weights;
    const { outFeatures } = this.#up.weights;
    if (weights.inFeatures !== inFeatures || weights.outFeatures < firstOut + outFeatures) {
      const shape = [weights.outFeatures, weights.inFeatures];
      throw shapeError('weights', describe([outFeatures, inFeatures]), shape);
    }
    runInScope(this.runtime, (scope) => {
      // The sum over the ranks of columns of B times rows of A is what a gradient is: the sum over rows of dY times those of X. That
      // of a bias comes with it, and goes again.
      const packed = scope.use(weights.packed);
      const bias = packed.data.slice(-Math.ceil(weights.outFeatures / PANEL) * PANEL);
      const rows = (width: number) => {
        const { address, data } = scope.temporary([rank, width]);
        data.fill(0);
        return { address, rowBytes: width * 4, rows: rank };
      };
      const [x, columns, dy] = [rows(inFeatures), rows(outFeatures), rows(weights.outFeatures)];
      unpackPiece(scope, this.#down.weights, { address: x.address, dtype: 'F32' });
      unpackPiece(scope, this.#up.weights, { address: columns.address, dtype: 'F32', transposed: true });
      runAdd(scope, columns, { ...dy, address: dy.address + firstOut * 4 }, outFeatures, factor);
      runLinearBackward(scope, { x, weights, dy, gradient: packed.address });
      scope.then(() => {
        packed.data.set(bias, packed.size - bias.length);
        this.#up.weights.packed.data.fill(0);
      });
    });
  }

  /**
   * Both matrices by the names that PEFT gives them, A [rank, inFeatures] and B [outFeatures, rank]: to be saved apart.
   *
   * @returns new tensors, which are the caller's
   * @throws AttentionError OUT_OF_MEMORY, DISPOSED
   */
  state(): Readonly<Record<string, Tensor<'float32'>>> {
    return runInScope(this.runtime, (scope) =>
      Object.fromEntries(
        [this.#down, this.#up].map(({ name, weights }) => {
          const tensor = scope.make([weights.outFeatures, weights.inFeatures]);
          unpackPiece(scope, weights, { address: tensor.address, dtype: 'F32' });
          return [name, tensor];
        }),
      ),
    );
  }

  /**
   * Goes on from matrices of `state`; names beside its own are those of other adapters.
   *
   * @throws AttentionError INVALID_ARGUMENT (a name that is missing), INVALID_SHAPE, INVALID_DTYPE, OUT_OF_MEMORY, DISPOSED, before
   *   anything is written
   */
  load(state: Readonly<Record<string, TensorLike>>): void {
    checkObject('state', state);
    runInScope(
      this.runtime,
      (scope) => {
        const given = [this.#down, this.#up].map(({ name, weights }) => {
          const argument = `state.${name}`;
          if (!Object.hasOwn(state, name)) throw invalidArgument(argument, 'a tensor', undefined);
          const tensor = scope.tensor(argument, state[name]!);
          checkDataType(argument, tensor, 'float32');
          const shape = [weights.outFeatures, weights.inFeatures];
          if (!sameShape(tensor.shape, shape)) throw shapeError(argument, describe(shape), tensor.shape);
          return { weights, tensor: scope.contiguous(tensor) };
        });
        for (const { weights, tensor } of given) {
          packPiece(scope, weights, { address: tensor.address, dtype: 'F32' });
        }
      },
      [state],
    );
  }

  /** Frees both matrices and their gradients. Safe to repeat. */
  dispose(): void {
    for (const { weights, gradient } of [this.#down, this.#up]) {
      weights.dispose();
      gradient.dispose();
    }
  }
}
