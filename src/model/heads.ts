// What is computed from the last hidden state: logits, poolers, classifiers. A head chooses rows, and runs them through matrices
// and norms.

import { runEmbedding } from '../ops/embedding/embedding.js';
import { runFusedLinear } from '../ops/linear/fused-linear.js';
import type { LinearWeights } from '../ops/linear/linear.js';
import { runMeanPooling } from '../ops/rows/pooling.js';
import { invalidArgument } from '../runtime/errors.js';
import type { ActivationName, HeadDescription, HeadInput } from './description.js';
import type { Parameters } from './parameters.js';
import { Norm } from './layers/bound-norm.js';
import type { Pass, Rows } from './pass.js';

/** Tokens of a call, as far as pooling needs them. */
export interface PooledTokens {
  readonly ids?: Int32Array | undefined;
  /** Tokens of each row. */
  readonly lengths?: Int32Array | undefined;
  /** 1 for tokens, [batch, length]. */
  readonly mask?: Uint8Array | undefined;
}

type Step =
  | { readonly weights: LinearWeights; readonly activation?: ActivationName | undefined }
  | { readonly norm: Norm };

export class Head {
  readonly name: HeadDescription['name'];
  readonly of: HeadDescription['of'];
  readonly #description: HeadDescription;
  readonly #steps: readonly Step[];

  constructor(parameters: Parameters, description: HeadDescription) {
    this.name = description.name;
    this.of = description.of;
    this.#description = description;
    this.#steps = description.steps.map((step) =>
      step.kind === 'norm'
        ? { norm: new Norm(parameters, step.norm) }
        : { weights: parameters.matrix(step.matrix), activation: step.activation },
    );
  }

  /** Channels of what comes out, of rows of so many. */
  channels(given: number): number {
    return this.#steps.reduce((width, step) => ('weights' in step ? step.weights.outFeatures : width), given);
  }

  /** Runs rows through the steps, to a target of `channels(...)` floats a row. */
  run(pass: Pass, rows: Chosen, target: Rows): void {
    const { scope } = pass;
    const last = this.#steps.length - 1;
    let from: Rows = rows;
    this.#steps.forEach((step, i) => {
      const width = 'weights' in step ? step.weights.outFeatures : step.norm.channels;
      const to = i === last ? target : pass.buffer(`head ${i % 2}`, width, rows.rows);
      if ('norm' in step) step.norm.run(scope, from, to);
      else {
        const { factor, softcap } = this.#description;
        const columns = { from: 0, to: width };
        const end =
          i === last
            ? { factor, ...(softcap && { activation: 'softcap' as const, parameter: softcap }) }
            : {};
        if (from.rows > 0)
          runFusedLinear(scope, from, step.weights, columns, to, { activation: step.activation, ...end });
      }
      from = { ...to, rows: rows.rows };
    });
    if (last < 0) copyRows(pass, rows, target);
  }

  /** The rows of the hidden state [batch, length, channels] that the head reads. */
  choose(pass: Pass, hidden: Chosen, input: HeadInput, tokens: PooledTokens): Chosen {
    const { channels } = hidden;
    const { batch, length } = pass;
    if (input !== 'tokens') checkTokens(pass);
    switch (input) {
      case 'tokens':
        return hidden;
      case 'first':
      case 'second': {
        const offset = input === 'first' ? 0 : hidden.rowBytes;
        return {
          address: hidden.address + offset,
          rowBytes: hidden.rowBytes * length,
          rows: batch,
          channels,
        };
      }
      case 'mean': {
        const pooled = pass.buffer('pooled', channels, batch);
        runMeanPooling(pass.scope, hidden, batch, length, channels, keptTokens(pass, tokens), pooled.address);
        return { ...pooled, channels };
      }
      case 'firstAndMean': {
        const pooled = pass.buffer('pooled', 2 * channels, batch);
        for (let b = 0; b < batch; b++) {
          const row = { ...hidden, address: hidden.address + b * length * hidden.rowBytes, rows: 1 };
          const at = pooled.address + b * pooled.rowBytes;
          copyRows(pass, row, { address: at, rowBytes: pooled.rowBytes });
          const rest = { ...row, address: row.address + row.rowBytes };
          runMeanPooling(pass.scope, rest, 1, length - 1, channels, undefined, at + channels * 4);
        }
        return { ...pooled, channels: 2 * channels };
      }
      default:
        return gather(pass, hidden, this.#ends(pass, input, tokens));
    }
  }

  /** One token of each row. */
  #ends({ batch, length }: Pass, input: 'last' | 'lastEnd' | 'end', tokens: PooledTokens): Int32Array {
    const rowOf =
      input === 'last'
        ? (b: number) => b * length + lastToken(tokens, b, length)
        : endTokens(input, this.#description.endTokenId!, tokens.ids!, length);
    return Int32Array.from({ length: batch }, (_, b) => rowOf(b));
  }
}

/** The row of the first or the last end token of a batch row; an error where there is none. */
export function endTokens(
  input: 'lastEnd' | 'end',
  endTokenId: number,
  ids: Int32Array,
  length: number,
): (b: number) => number {
  return (b) => {
    const row = b * length;
    const own = ids.subarray(row, row + length);
    // CLIP's first tokenizers have the end token as their highest id, and configs that say 2.
    const place =
      input === 'lastEnd'
        ? own.lastIndexOf(endTokenId)
        : own.indexOf(endTokenId === 2 ? Math.max(...own) : endTokenId);
    if (place < 0)
      throw invalidArgument(`inputIds[${b}]`, `the end token ${endTokenId}, which the model reads`, 'none');
    return row + place;
  };
}

/** The last token of a row that is no padding; the first one where all is. */
export function lastToken({ mask, lengths }: PooledTokens, b: number, length: number): number {
  const last = mask
    ? mask.subarray(b * length, (b + 1) * length).lastIndexOf(1)
    : (lengths?.[b] ?? length) - 1;
  return Math.max(0, last);
}

/** The first token of a row that is no padding; the first one where all is. */
export function firstToken({ mask }: PooledTokens, b: number, length: number): number {
  return Math.max(0, mask?.subarray(b * length, (b + 1) * length).indexOf(1) ?? 0);
}

/** Throws where there is no token to read. */
export function checkTokens({ batch, length }: Pick<Pass, 'batch' | 'length'>): void {
  if (batch > 0 && length === 0) throw invalidArgument('inputIds', 'at least one token', 'none');
}

/** Which tokens are meant, [batch, length] floats of 1 and 0; undefined where it is all of them. */
export function keptTokens(
  { scope, batch, length }: Pick<Pass, 'scope' | 'batch' | 'length'>,
  { lengths, mask }: PooledTokens,
): number | undefined {
  const weights = tokenWeights({ lengths, mask }, batch, length);
  return weights && scope.floats(weights);
}

/** 1 for tokens that are meant and 0 for others, [batch, length]; undefined where it is all of them. */
export function tokenWeights(
  { lengths, mask }: PooledTokens,
  batch: number,
  length: number,
): Float32Array | undefined {
  if (!lengths && !mask) return undefined;
  const isToken = (i: number) => (mask ? mask[i]! : i % length < lengths![Math.floor(i / length)]! ? 1 : 0);
  return Float32Array.from({ length: batch * length }, (_, i) => isToken(i));
}

/** Rows and the channels that count of each. */
export interface Chosen extends Rows {
  readonly channels: number;
}

/** Some rows, one after the other. */
export function gather(pass: Pass, from: Chosen, rows: Int32Array): Chosen {
  const { channels } = from;
  const gathered = pass.buffer('gathered', channels, rows.length);
  lookUp(pass, from, rows, gathered);
  return { ...gathered, channels };
}

/** Rows, copied. */
export function copyRows(pass: Pass, from: Chosen, target: Omit<Rows, 'rows'>): void {
  const step = from.rowBytes / 4 / from.channels;
  lookUp(
    pass,
    from,
    Int32Array.from({ length: from.rows }, (_, i) => i * step),
    target,
  );
}

function lookUp({ scope }: Pass, from: Chosen, rows: Int32Array, target: Omit<Rows, 'rows'>): void {
  if (rows.length === 0) return;
  const table = { address: from.address, channels: from.channels, packed: false };
  runEmbedding(scope, scope.integers(rows), rows.length, table, target);
}
