// What enters the first block, kept for the way back: embedded tokens, patches of pictures, frames of sound.

import { runEmbedding } from '../../ops/embedding/embedding.js';
import { runConvolution } from '../../ops/linear/convolution.js';
import type { Tensor } from '../../runtime/tensor.js';
import type { FrameInput, PatchInput, TokenInput } from '../../model/description.js';
import { checkRows } from '../../model/layers/input.js';
import { checkFrames, checkPictures, framesAfter, pictureTokens } from '../../model/layers/signals.js';
import type { Tokens } from '../../model/layers/input.js';
import type { Binder, BoundMatrix, BoundTable, BoundVector } from '../bound.js';
import { runConvolutionBackward } from '../ops/convolution-backward.js';
import { runEmbeddingBackward } from '../ops/embedding-backward.js';
import type { Backward, Tape, Value } from '../tape.js';
import { runActivationBackward } from '../ops/activation.js';
import { runActivation } from '../../ops/activations/activations.js';
import { TrainedLinear } from './linear.js';
import { bindNorm } from './norm.js';
import type { TrainedNorm } from './norm.js';

/** Rows that are looked up and added to others. */
interface Lookup {
  readonly argument: string;
  readonly bound: BoundTable;
  readonly ids: Int32Array;
  readonly factor?: number | undefined;
}

/** Sum of rows of tables. */
function lookUp(tape: Tape, rows: number, channels: number, lookups: readonly Lookup[], base?: Value): Value {
  const trained = lookups.some(({ bound }) => bound.gradient) || (base?.trained ?? false);
  const y = tape.place(rows, channels, trained);
  const { scope } = tape;
  if (base && rows > 0) scope.copy(base.tensor, y.tensor);
  lookups.forEach(({ argument, bound, ids, factor = 1 }, i) => {
    const { table } = bound;
    checkRows(argument, ids, table.rows);
    const place = { address: table.tensor.address, channels: table.channels, packed: table.packed };
    runEmbedding(scope, scope.integers(ids), rows, place, y, { factor, add: i > 0 || base !== undefined });
  });
  tape.note(y, (back) => {
    const dy = back.of(y);
    if (!dy) return;
    for (const { bound, ids, factor = 1 } of lookups) {
      const { table, gradient } = bound;
      if (!gradient) continue;
      const place = { address: gradient.address, channels, packed: table.packed };
      runEmbeddingBackward(back.scope, back.scope.integers(ids), dy, place, factor);
    }
    if (base) back.pass(y, base);
    else back.end(y);
  });
  return y;
}

export class TrainedTokenEmbedding {
  readonly #input: TokenInput;
  readonly #table: BoundTable;
  readonly #types: BoundTable | undefined;
  readonly #positions: BoundTable | undefined;
  readonly #norm: TrainedNorm | undefined;
  readonly #projection: TrainedLinear | undefined;

  constructor(binder: Binder, input: TokenInput) {
    this.#input = input;
    this.#table = binder.table(input.table);
    this.#types = input.types && binder.table(input.types);
    this.#positions = input.positions && binder.table(input.positions.table);
    this.#norm = bindNorm(binder, input.norm);
    this.#projection = input.projection && new TrainedLinear(binder.matrix(input.projection));
  }

  run(tape: Tape, { ids, types, positions }: Tokens): Value {
    const rows = ids.length;
    const { offset = 0, afterProjection = false } = this.#input.positions ?? {};
    const places: Lookup[] = this.#positions
      ? [
          {
            argument: 'positionIds',
            bound: this.#positions,
            ids: offset === 0 ? positions : positions.map((position) => position + offset),
          },
        ]
      : [];
    let x = lookUp(tape, rows, this.#table.table.channels, [
      { argument: 'inputIds', bound: this.#table, ids, factor: this.#input.factor },
      ...(this.#types
        ? [{ argument: 'tokenTypeIds', bound: this.#types, ids: types ?? new Int32Array(rows) }]
        : []),
      ...(afterProjection ? [] : places),
    ]);
    if (this.#norm) x = this.#norm.run(tape, x);
    if (this.#projection) x = this.#projection.run(tape, x);
    return afterProjection ? lookUp(tape, rows, x.channels, places, x) : x;
  }
}

/** Rows of a vector that stand for one another in every batch row: tokens before the patches, positions. */
function addToRows(
  tape: Tape,
  vector: BoundVector,
  count: number,
  x: Value,
  first: number,
  add: boolean,
): void {
  const ids = tape.scope.integers(Int32Array.from({ length: count }, (_, i) => i));
  const place = { address: vector.tensor.address, channels: x.channels, packed: false };
  const target = { address: x.address + first * x.rowBytes, rowBytes: x.rowBytes };
  runEmbedding(tape.scope, ids, count, place, target, { add });
}

/** Their gradients: sums over the batch. */
function backToRows(
  back: Backward,
  { gradient }: BoundVector,
  count: number,
  x: Value,
  first: number,
  batch: number,
  tokens: number,
): void {
  if (!gradient || x.rows === 0) return;
  const dy = back.of(x)!;
  const place = { address: gradient.address, channels: x.channels, packed: false };
  const ids = back.scope.integers(Int32Array.from({ length: count }, (_, i) => i));
  for (let b = 0; b < batch; b++) {
    const address = dy.address + (b * tokens + first) * dy.rowBytes;
    runEmbeddingBackward(back.scope, ids, { address, rowBytes: dy.rowBytes, rows: count }, place);
  }
}

/** Patches of pictures, each a row. */
export class TrainedPatchEmbedding {
  readonly #input: PatchInput;
  readonly #bound: BoundMatrix;
  readonly #first: readonly BoundVector[];
  readonly #positions: BoundVector;
  readonly #norm: TrainedNorm | undefined;

  constructor(binder: Binder, input: PatchInput) {
    this.#input = input;
    this.#bound = binder.matrix(input.projection);
    this.#first = input.first.map((source) => binder.vector(source));
    this.#positions = binder.vector(input.positions);
    this.#norm = bindNorm(binder, input.norm);
  }

  get tokens(): number {
    return pictureTokens(this.#input);
  }

  /** @param pixels [batch, channels, height, width] */
  run(tape: Tape, pixels: Tensor<'float32'>): Value {
    checkPictures(this.#input, pixels);
    const { scope } = tape;
    const { patchSize } = this.#input;
    const { tokens } = this;
    const { weights, gradient } = this.#bound;
    const first = this.#first.length;
    const batch = pixels.shape[0]!;
    const trained = [this.#bound, this.#positions, ...this.#first].some((bound) => bound.gradient);
    const x = tape.place(batch * tokens, weights.outFeatures, trained);
    const shape = { kernel: patchSize, stride: patchSize, padding: [0, 0] as const };
    const rowsOf = (address: number, b: number) => ({
      address: address + (b * tokens + first) * x.rowBytes,
      rowBytes: x.rowBytes,
    });
    for (let b = 0; b < batch; b++) {
      this.#first.forEach((token, i) => addToRows(tape, token, 1, x, b * tokens + i, false));
      runConvolution(scope, pixels.slice(0, b, b + 1), weights, shape, rowsOf(x.address, b), {});
      addToRows(tape, this.#positions, tokens, x, b * tokens, true);
    }
    tape.note(x, (back) => {
      const dy = back.of(x);
      if (!dy) return;
      this.#first.forEach((token, i) => backToRows(back, token, 1, x, i, batch, tokens));
      backToRows(back, this.#positions, tokens, x, 0, batch, tokens);
      for (let b = 0; b < batch && gradient; b++) {
        runConvolutionBackward(back.scope, {
          picture: pixels.slice(0, b, b + 1),
          weights,
          geometry: shape,
          dy: { ...rowsOf(dy.address, b), rows: tokens - first },
          gradient: gradient.address,
        });
      }
      back.end(x);
    });
    return this.#norm ? this.#norm.run(tape, x) : x;
  }
}

/** Whisper's: convolutions over frames, each a row in the end. */
export class TrainedFrameEmbedding {
  readonly #input: FrameInput;
  readonly #convolutions: readonly BoundMatrix[];
  readonly #positions: BoundVector;

  constructor(binder: Binder, input: FrameInput) {
    this.#input = input;
    this.#convolutions = input.convolutions.map(({ matrix }) => binder.matrix(matrix));
    this.#positions = binder.vector(input.positions);
  }

  /** Rows that so many frames become. */
  lengthOf(frames: number): number {
    return framesAfter(this.#input, frames);
  }

  /** @param features [batch, melBins, frames] */
  run(tape: Tape, features: Tensor<'float32'>): Value {
    const { melBins, convolutions } = this.#input;
    const channels = this.#convolutions.at(-1)!.weights.outFeatures;
    const length = checkFrames(this.#input, features, this.#positions.tensor.size / channels);
    const [batch, , frames] = features.shape as [number, number, number];
    let x: Value | undefined;
    convolutions.forEach((_, i) => {
      const before = x;
      const rowsBefore = before ? before.rows / Math.max(1, batch) : frames;
      /** What the convolution reads of one sound: the rows that came out before are its frames, whose channels follow each other. */
      const from = (b: number, tensor = before?.tensor) =>
        tensor && before
          ? tensor.withLayout(
              [1, before.channels, 1, rowsBefore],
              [0, 1, 0, before.channels],
              b * rowsBefore * before.channels,
            )
          : features
              .slice(0, b, b + 1)
              .withLayout([1, melBins, 1, frames], [0, features.strides[1]!, 0, features.strides[2]!]);
      x = this.#convolve(tape, i, before, rowsBefore, from, batch);
    });
    const y = tape.place(batch * length, channels, x!.trained || this.#positions.gradient !== undefined);
    if (y.rows > 0) tape.scope.copy(x!.tensor, y.tensor);
    for (let b = 0; b < batch; b++) addToRows(tape, this.#positions, length, y, b * length, true);
    tape.note(y, (back) => {
      if (!back.has(y)) return;
      backToRows(back, this.#positions, length, y, 0, batch, length);
      back.pass(y, x!);
    });
    return y;
  }

  /** activation(convolution), of what lies in x before, or of the sound itself. */
  #convolve(
    tape: Tape,
    i: number,
    x: Value | undefined,
    frames: number,
    from: (b: number, tensor?: Tensor<'float32'>) => Tensor<'float32'>,
    batch: number,
  ): Value {
    const { kernel, stride, padding, activation } = this.#input.convolutions[i]!;
    const { weights, gradient } = this.#convolutions[i]!;
    const rows = Math.floor((frames + 2 * padding - kernel) / stride) + 1;
    const trained = gradient !== undefined || (x?.trained ?? false);
    const sums = tape.place(batch * rows, weights.outFeatures, trained);
    const y = tape.place(batch * rows, weights.outFeatures, trained);
    const shape = { kernel: [1, kernel], stride: [1, stride], padding: [0, padding] } as const;
    const rowsOf = (address: number, b: number) => ({
      address: address + b * rows * sums.rowBytes,
      rowBytes: sums.rowBytes,
    });
    for (let b = 0; b < batch; b++)
      runConvolution(tape.scope, from(b), weights, shape, rowsOf(sums.address, b), {});
    if (sums.rows > 0)
      runActivation(tape.scope, activation, sums.address, y.address, sums.rows * sums.channels);
    tape.note(y, (back) => {
      const dy = back.of(y);
      if (!dy) return;
      const { adding, ...dx } = back.to(sums);
      runActivationBackward(back.scope, activation, sums, dy, sums.channels, { dx, adding });
      back.end(y);
      const inner = back.of(sums)!;
      const before = x?.trained ? back.tensorOf(x) : undefined;
      for (let b = 0; b < batch; b++) {
        runConvolutionBackward(back.scope, {
          picture: from(b),
          weights,
          geometry: shape,
          dy: { ...rowsOf(inner.address, b), rows },
          dx: before && { picture: from(b, before) },
          gradient: gradient?.address,
        });
      }
      back.end(sums);
    });
    return y;
  }
}
