// What callers give, kept for the way back.

import { checkInteger, checkOptions } from '../runtime/checks.js';
import { invalidArgument, shapeError } from '../runtime/errors.js';
import { checkDataType } from '../runtime/inputs.js';
import type { TensorLike } from '../runtime/inputs.js';
import { isTensor } from '../runtime/tensor.js';
import type { Tensor } from '../runtime/tensor.js';
import { DROPOUT_NAMES } from './network.js';
import type { Shaped, TrainingForwardOptions } from './network.js';
import { valueOf } from './tape.js';
import type { Tape, TapeDropout } from './tape.js';

/** A copy of what was given, which lives as long as the tape. */
export function kept(tape: Tape, argument: string, given: TensorLike): Tensor<'float32'> {
  const tensor = tape.scope.tensor(argument, given);
  checkDataType(argument, tensor, 'float32');
  const { shape } = tensor;
  const strides = shape.map((_, axis) => shape.slice(axis + 1).reduce((size, side) => size * side, 1));
  const copy = tape.memory(tensor.size).withLayout(shape, strides);
  if (tensor.size > 0) tape.scope.copy(tensor, copy);
  return copy;
}

/** Rows that are given, [..., channels]. */
export function rowsOf(
  tape: Tape,
  argument: string,
  given: TensorLike,
  channels: number,
  trained: boolean,
): Shaped {
  const copy = kept(tape, argument, given);
  const { shape, size } = copy;
  if (shape.length === 0 || shape.at(-1) !== channels)
    throw shapeError(argument, `[..., ${channels}]`, shape);
  const rows = copy.withLayout([size / channels, channels], [channels, 1]);
  return { value: valueOf(rows, trained), shape };
}

/** Masks and biases, which the way back reads once more: it shares the caller's tensors. */
export function held<Given>(tape: Tape, given: Given): Given {
  const shareOf = (each: unknown): unknown => {
    if (Array.isArray(each)) return each.map(shareOf);
    if (!isTensor(each)) return each;
    const shared = each.share();
    tape.keep(shared);
    return shared;
  };
  return shareOf(given) as Given;
}

/** What a call leaves out at random. */
export function dropoutOf({ dropout }: TrainingForwardOptions): TapeDropout | undefined {
  if (dropout === undefined) return undefined;
  checkOptions(dropout, DROPOUT_NAMES, {}, 'dropout');
  const { hidden = 0, attention = 0, seed } = dropout;
  for (const [name, rate] of Object.entries({ hidden, attention })) {
    if (!(typeof rate === 'number' && rate >= 0 && rate < 1))
      throw invalidArgument(`dropout.${name}`, 'a number from 0 to below 1', rate);
  }
  checkInteger('dropout.seed', seed, 0, Number.MAX_SAFE_INTEGER);
  return { hidden, attention, seed };
}
