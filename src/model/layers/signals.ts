// What enters the first block of a model that reads no tokens: patches of pictures, frames of sound.

import { runConvolution } from '../../ops/linear/convolution.js';
import { runEmbedding } from '../../ops/embedding/embedding.js';
import type { LinearWeights } from '../../ops/linear/linear.js';
import { AttentionError, shapeError } from '../../runtime/errors.js';
import type { CallScope } from '../../runtime/call-scope.js';
import type { Tensor } from '../../runtime/tensor.js';
import type { FrameInput, PatchInput } from '../description.js';
import type { Parameters } from '../parameters.js';
import type { Rows } from '../pass.js';
import { bindNorm } from './bound-norm.js';
import type { Norm } from './bound-norm.js';

/** Makes rows of a tensor. */
export interface SignalInput {
  /** What the tensor is called among the inputs. */
  readonly argument: 'pixelValues' | 'inputFeatures';
  /** What its axes are. */
  readonly shape: string;
  /** Rows of each batch row. */
  lengthOf(signals: Tensor): number;
  /** Writes the rows that enter the first block. */
  run(scope: CallScope, signals: Tensor<'float32'>, x: Rows): void;
}

export function signalInput(parameters: Parameters, input: PatchInput | FrameInput): SignalInput {
  return input.kind === 'patches'
    ? new PatchEmbedding(parameters, input)
    : new FrameEmbedding(parameters, input);
}

/** Patches of pictures, each a row. */
class PatchEmbedding implements SignalInput {
  readonly argument = 'pixelValues';
  readonly shape = '[batch, channels, height, width]';
  readonly #length: number;
  readonly #input: PatchInput;
  readonly #weights: LinearWeights;
  readonly #first: readonly Tensor<'float32'>[];
  readonly #positions: Tensor<'float32'>;
  readonly #norm: Norm | undefined;

  constructor(parameters: Parameters, input: PatchInput) {
    this.#input = input;
    this.#length = pictureTokens(input);
    this.#weights = parameters.matrix(input.projection);
    this.#first = input.first.map((source) => parameters.vector(source)!);
    this.#positions = parameters.vector(input.positions)!;
    this.#norm = bindNorm(parameters, input.norm);
  }

  lengthOf(): number {
    return this.#length;
  }

  /** @param pixels [batch, channels, height, width] */
  run(scope: CallScope, pixels: Tensor<'float32'>, x: Rows): void {
    checkPictures(this.#input, pixels);
    const { patchSize } = this.#input;
    const batch = pixels.shape[0]!;
    const first = this.#first.length;
    for (let b = 0; b < batch; b++) {
      const row = x.address + b * this.#length * x.rowBytes;
      this.#first.forEach((token, i) => addRows(scope, token, 1, row + i * x.rowBytes, x.rowBytes, false));
      const one = pixels.slice(0, b, b + 1);
      runConvolution(
        scope,
        one,
        this.#weights,
        { kernel: patchSize, stride: patchSize, padding: [0, 0] },
        { address: row + first * x.rowBytes, rowBytes: x.rowBytes },
        {},
      );
      addRows(scope, this.#positions, this.#length, row, x.rowBytes);
    }
    this.#norm?.run(scope, x, x);
  }
}

/** Rows that a picture becomes. */
export function pictureTokens({ imageSize, patchSize, first }: PatchInput): number {
  return Math.floor(imageSize[0] / patchSize[0]) * Math.floor(imageSize[1] / patchSize[1]) + first.length;
}

/** Throws for pictures of another size. */
export function checkPictures({ channels, imageSize }: PatchInput, { shape }: Tensor<'float32'>): void {
  const expected = [channels, ...imageSize];
  if (shape.length === 4 && expected.every((size, axis) => size === shape[axis + 1])) return;
  throw shapeError('pixelValues', `[batch, ${expected.join(', ')}]`, shape);
}

/** Whisper's: convolutions over frames, each a row in the end. */
class FrameEmbedding implements SignalInput {
  readonly argument = 'inputFeatures';
  readonly shape = '[batch, melBins, frames]';
  readonly #input: FrameInput;
  readonly #convolutions: readonly LinearWeights[];
  readonly #positions: Tensor<'float32'>;
  readonly #channels: number;

  constructor(parameters: Parameters, input: FrameInput) {
    this.#input = input;
    this.#convolutions = input.convolutions.map(({ matrix }) => parameters.matrix(matrix));
    this.#channels = this.#convolutions.at(-1)!.outFeatures;
    this.#positions = parameters.vector(input.positions)!;
  }

  lengthOf({ shape: [, , frames = 0] }: Tensor): number {
    return framesAfter(this.#input, frames);
  }

  /** @param features [batch, melBins, frames] */
  run(scope: CallScope, features: Tensor<'float32'>, x: Rows): void {
    const { melBins, convolutions } = this.#input;
    const length = checkFrames(this.#input, features, this.#positions.size / this.#channels);
    const [batch, , frames] = features.shape as [number, number, number];
    for (let b = 0; b < batch; b++) {
      let view = features
        .slice(0, b, b + 1)
        .withLayout([1, melBins, 1, frames], [0, features.strides[1]!, 0, features.strides[2]!]);
      convolutions.forEach(({ kernel, stride, padding, activation }, i) => {
        const weights = this.#convolutions[i]!;
        const last = i === convolutions.length - 1;
        const width = Math.floor((view.shape[3]! + 2 * padding - kernel) / stride) + 1;
        const target = last ? undefined : scope.temporary([width, weights.outFeatures]);
        const address = target?.address ?? x.address + b * length * x.rowBytes;
        runConvolution(
          scope,
          view,
          weights,
          { kernel: [1, kernel], stride: [1, stride], padding: [0, padding] },
          { address, rowBytes: weights.outFeatures * 4 },
          { activation },
        );
        // The rows that came out are the frames of the next one: channels follow each other.
        if (target)
          view = target.withLayout([1, weights.outFeatures, 1, width], [0, 1, 0, weights.outFeatures]);
      });
      addRows(scope, this.#positions, length, x.address + b * length * x.rowBytes, x.rowBytes);
    }
  }
}

/** Rows that so many frames become. */
export function framesAfter({ convolutions }: FrameInput, frames: number): number {
  const length = convolutions.reduce(
    (before, { kernel, stride, padding }) => Math.floor((before + 2 * padding - kernel) / stride) + 1,
    frames,
  );
  return Math.max(0, length);
}

/** Throws for sound of another form or length; returns the rows that it becomes. */
export function checkFrames(input: FrameInput, { shape }: Tensor<'float32'>, known: number): number {
  const [, bins, frames = 0] = shape;
  if (shape.length !== 3 || bins !== input.melBins)
    throw shapeError('inputFeatures', `[batch, ${input.melBins}, frames]`, shape);
  const length = framesAfter(input, frames);
  if (length === known) return length;
  throw new AttentionError({
    code: 'INVALID_SHAPE',
    argument: 'inputFeatures',
    expected: `frames that become the ${known} positions the model knows: pad or cut the sound`,
    received: `${frames} frames, which become ${length}`,
  });
}

/** Adds row i of a table to row i, or copies it there. */
function addRows(
  scope: CallScope,
  table: Tensor<'float32'>,
  rows: number,
  address: number,
  rowBytes: number,
  add = true,
): void {
  const ids = scope.integers(Int32Array.from({ length: rows }, (_, i) => i));
  const place = { address: table.address, channels: rowBytes / 4, packed: false };
  runEmbedding(scope, ids, rows, place, { address, rowBytes }, { add });
}
