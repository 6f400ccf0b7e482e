// What a model is given, read and checked: token ids in the forms that tokenizers return, masks, positions.

import { positionsAfter } from '../ops/rotary/options.js';
import { AttentionError, describe, invalidArgument, shapeError } from '../runtime/errors.js';
import { integers } from '../runtime/checks.js';
import type { IntegerList } from '../runtime/checks.js';
import type { TensorLike } from '../runtime/inputs.js';
import type { TokenInput } from './description.js';
import type { Tokens } from './layers/input.js';

/**
 * Token ids, masks, ...: one list, a list of lists, or anything with data and a shape [batch, length] or [length], such as
 * the tensors that tokenizers return.
 */
export type TokenList =
  | IntegerList
  | readonly IntegerList[]
  | { readonly data: IntegerList; readonly shape: readonly number[] }
  | { readonly data: IntegerList; readonly dims: readonly number[] };

/**
 * What a model reads; which of it depends on the model. The names that tokenizers use (`input_ids`, `attention_mask`, ...) are
 * understood as well.
 */
export interface ModelInputs {
  /** Token ids, [batch, length]. Lists of different lengths are padded on the right. */
  readonly inputIds?: TokenList | undefined;
  /** 1 for tokens, 0 for padding, [batch, length]. Default: all are tokens. */
  readonly attentionMask?: TokenList | undefined;
  /** Segment of each token, [batch, length]. Default 0. */
  readonly tokenTypeIds?: TokenList | undefined;
  /** Position of each token, [batch, length]. Default 0, 1, ..., or what the model's family does. */
  readonly positionIds?: TokenList | undefined;
  /** Pictures as the model was trained with: scaled and normalised, [batch, channels, height, width]. */
  readonly pixelValues?: TensorLike | undefined;
  /** Log-mel spectrograms, [batch, melBins, frames]. */
  readonly inputFeatures?: TensorLike | undefined;
  /** Tokens of the decoder of a model that has both, [batch, length]. */
  readonly decoderInputIds?: TokenList | undefined;
  /** 1 for tokens of the decoder, 0 for padding. */
  readonly decoderAttentionMask?: TokenList | undefined;
}

const ALIASES: Readonly<Record<string, keyof ModelInputs>> = {
  input_ids: 'inputIds',
  attention_mask: 'attentionMask',
  token_type_ids: 'tokenTypeIds',
  position_ids: 'positionIds',
  pixel_values: 'pixelValues',
  input_features: 'inputFeatures',
  decoder_input_ids: 'decoderInputIds',
  decoder_attention_mask: 'decoderAttentionMask',
};

const NAMES: ReadonlySet<string> = new Set(Object.values(ALIASES));

/** Inputs by the names that this package uses; names that nobody knows are refused. */
export function namedInputs(inputs: unknown, allowed: readonly (keyof ModelInputs)[]): ModelInputs {
  if (inputs === null || typeof inputs !== 'object' || Array.isArray(inputs) || ArrayBuffer.isView(inputs))
    throw invalidArgument('inputs', `an object such as { ${allowed[0]} }`, inputs);
  const named: Record<string, unknown> = {};
  for (const [given, value] of Object.entries(inputs)) {
    if (value === undefined || value === null) continue;
    const name = Object.hasOwn(ALIASES, given) ? ALIASES[given]! : given;
    if (!NAMES.has(name) || !allowed.includes(name as keyof ModelInputs)) {
      throw new AttentionError({
        code: 'INVALID_ARGUMENT',
        argument: given,
        message: `${given}: this model does not read it; it reads ${allowed.join(', ')}`,
      });
    }
    named[name] = value;
  }
  return named;
}

/** Integers of [batch, length]. */
export interface Grid {
  readonly batch: number;
  readonly length: number;
  readonly values: Int32Array;
  /** Of lists of different lengths: how long they are. */
  readonly lengths?: Int32Array | undefined;
}

const LARGEST = 2 ** 31 - 1;

function isList(value: unknown): value is IntegerList {
  return ArrayBuffer.isView(value) || (Array.isArray(value) && typeof value[0] !== 'object');
}

/** @param ragged lists may have different lengths */
export function readGrid(argument: string, list: TokenList, ragged = false): Grid {
  if (isList(list)) return ofRows(argument, [integers(argument, list, 0, LARGEST)], false);
  if (Array.isArray(list)) {
    const rows = list.map((row, i) => integers(`${argument}[${i}]`, row as IntegerList, 0, LARGEST));
    return ofRows(argument, rows, ragged);
  }
  const given = (list ?? {}) as { data?: IntegerList; shape?: readonly number[]; dims?: readonly number[] };
  const shape = given.shape ?? given.dims;
  if (!Array.isArray(shape) || given.data === undefined)
    throw invalidArgument(argument, 'token ids: a list, a list of lists, or { data, shape }', list);
  const values = integers(argument, given.data, 0, LARGEST);
  const [batch, length] = shape.length === 1 ? [1, shape[0] as number] : (shape as [number, number]);
  const fits = shape.every((side) => Number.isInteger(side) && side >= 0) && batch * length === values.length;
  if (shape.length > 2 || shape.length < 1 || !fits)
    throw shapeError(argument, `[batch, length] of the ${values.length} elements`, shape);
  return { batch, length, values };
}

function ofRows(argument: string, rows: readonly Int32Array[], ragged: boolean): Grid {
  const length = rows.reduce((most, row) => Math.max(most, row.length), 0);
  const values = new Int32Array(rows.length * length);
  rows.forEach((row, b) => {
    if (!ragged && row.length !== length)
      throw shapeError(`${argument}[${b}]`, `${length} elements, as the others have`, [row.length]);
    values.set(row, b * length);
  });
  const lengths = Int32Array.from(rows, (row) => row.length);
  return { batch: rows.length, length, values, ...(lengths.some((l) => l !== length) && { lengths }) };
}

/** Tokens of a call, and which of them are padding. */
export interface ReadTokens extends Tokens {
  /** Tokens of each row, where padding comes after them; undefined where there is none. */
  readonly lengths?: Int32Array | undefined;
  /** 1 for tokens, where padding is elsewhere. */
  readonly mask?: Uint8Array | undefined;
  /** Whether the caller gave positions. */
  readonly own: boolean;
  /** Of rotations. */
  readonly rotations: readonly Int32Array[];
}

/** The inputs of a stack of tokens. `past`: tokens that a cache holds of each row. */
export function readTokens(
  input: TokenInput,
  names: { readonly ids: keyof ModelInputs; readonly mask: keyof ModelInputs },
  inputs: ModelInputs,
  past?: readonly number[],
): ReadTokens {
  const given = inputs[names.ids] as TokenList | undefined;
  if (given === undefined) {
    throw invalidArgument(names.ids, 'token ids, [batch, length]', given);
  }
  const grid = readGrid(names.ids, given, true);
  const { batch, length, values: ids } = grid;
  if (past && past.length !== batch)
    throw shapeError(names.ids, `a batch of ${past.length}, as the cache has`, [batch]);
  const same = (argument: keyof ModelInputs) => {
    const list = inputs[argument] as TokenList | undefined;
    if (list === undefined) return undefined;
    const { batch: rows, length: columns, values } = readGrid(argument, list, grid.lengths !== undefined);
    if (rows === batch && columns === length) return values;
    throw shapeError(argument, describe([batch, length]), [rows, columns]);
  };
  const padding = readPadding(names.mask, same(names.mask), grid);
  const types = input.types ? same('tokenTypeIds') : undefined;
  const own = names.ids === 'inputIds' ? same('positionIds') : undefined;
  return {
    batch,
    length,
    ids,
    types,
    ...padding,
    own: own !== undefined,
    positions: own ? ownPositions(input, own) : countPositions(input, grid, padding.mask, past),
    rotations: own
      ? Array.from({ length: batch }, (_, b) => own.slice(b * length, (b + 1) * length))
      : positionsAfter(past ?? new Array<number>(batch).fill(0), length),
  };
}

/** Where padding is: after the tokens of each row, or anywhere. */
export function readPadding(
  argument: string,
  mask: Int32Array | undefined,
  { batch, length, lengths }: Grid,
): { lengths?: Int32Array | undefined; mask?: Uint8Array | undefined } {
  if (!mask) return { lengths };
  const kept = new Int32Array(batch);
  let scattered = false;
  mask.forEach((value, i) => {
    const row = Math.floor(i / length);
    if (value !== 0 && value !== 1)
      throw invalidArgument(`${argument}[${i}]`, '1 (a token) or 0 (padding)', value);
    if (value === 0) return;
    scattered ||= kept[row] !== i - row * length;
    kept[row] = kept[row]! + 1;
  });
  if (scattered) return { mask: Uint8Array.from(mask) };
  return kept.every((count) => count === length) ? { lengths } : { lengths: kept };
}

/** Of learned positions that the caller gave: rows of a table that RoBERTa counts from its first row. */
function ownPositions({ positions }: TokenInput, own: Int32Array): Int32Array {
  return positions?.count === 'padding' ? own.map((row) => row - positions.offset) : own;
}

function countPositions(
  { positions, paddingId }: TokenInput,
  { batch, length, values }: Grid,
  mask: Uint8Array | undefined,
  past: readonly number[] | undefined,
): Int32Array {
  const counted = new Int32Array(batch * length);
  const counts = positions?.count ?? 'index';
  for (let b = 0; b < batch; b++) {
    let next = past?.[b] ?? 0;
    for (let i = b * length; i < (b + 1) * length; i++) {
      const padding = counts === 'padding' ? values[i] === paddingId : counts === 'mask' && mask?.[i] === 0;
      counted[i] = padding ? -1 : next++;
    }
  }
  return counted;
}
