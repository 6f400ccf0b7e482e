// Which token comes next: penalties, temperature, cuts, and a random number that is a function of seed, step and row. All of it is
// float64 from basic operations, so that the same logits and seed give the same token in every engine.

import { logarithm } from '../../math/elementary.js';
import { exponential } from '../../math/exponential.js';
import { uniform } from '../../math/philox.js';
import { checkInteger, checkOptions, integers } from '../../runtime/checks.js';
import type { NamesOf } from '../../runtime/checks.js';
import { AttentionError, invalidArgument } from '../../runtime/errors.js';

/** How the next token is chosen. */
export interface SamplingOptions {
  /**
   * Logits are divided by it: below 1 sharpens, above 1 flattens, 0 takes the most probable token. Default 0; 1 where topK, topP,
   * minP or a seed is given.
   */
  readonly temperature?: number | undefined;
  /** Only so many of the most probable tokens are drawn from. Default all. */
  readonly topK?: number | undefined;
  /** Of these, only the most probable ones that together have at least this probability. Default 1, all. */
  readonly topP?: number | undefined;
  /** Of these, only those at least this times as probable as the most probable one. Default 0, all. */
  readonly minP?: number | undefined;
  /** An integer from 0 to 2^53 - 1: the same gives the same tokens. Default another one for each token. */
  readonly seed?: number | undefined;
  /** Logits of tokens that the text has: positive ones are divided by it, negative ones multiplied. Default 1. */
  readonly repetitionPenalty?: number | undefined;
  /** Taken off the logits of tokens that the text has. Default 0. */
  readonly presencePenalty?: number | undefined;
  /** Taken off for each time that the text has the token. Default 0. */
  readonly frequencyPenalty?: number | undefined;
}

export const SAMPLING_NAMES = {
  temperature: 1,
  topK: 1,
  topP: 1,
  minP: 1,
  seed: 1,
  repetitionPenalty: 1,
  presencePenalty: 1,
  frequencyPenalty: 1,
} satisfies NamesOf<SamplingOptions>;

/** A token, and how probable it was. */
export interface ChosenToken {
  /** Its id. */
  readonly token: number;
  /** Natural logarithm of its probability by the logits as they were given: before penalties, temperature and cuts. */
  readonly logProbability: number;
}

/** Options of `sampleToken`. */
export interface SampleTokenOptions extends SamplingOptions {
  /** The text so far, for penalties. Default none. */
  readonly tokens?: readonly number[] | undefined;
  /** With the seed, makes the random number: which token of the text it is. Default 0. */
  readonly step?: number | undefined;
  /** The same of texts beside each other. Default 0. */
  readonly row?: number | undefined;
}

/**
 * Chooses a token from the logits of all of them.
 *
 * @param logits a number for each token, of which -Infinity removes one
 * @throws AttentionError INVALID_ARGUMENT, also of logits that hold NaN or nothing but -Infinity
 *
 * @example
 * ```js
 * sampleToken([1, 3, 2]).token; // 1
 * sampleToken([1, 3, 2], { temperature: 0.7, topP: 0.5, seed: 4 }).token; // 1
 * ```
 */
export function sampleToken(logits: ArrayLike<number>, options: SampleTokenOptions = {}): ChosenToken {
  checkOptions(options, SAMPLING_NAMES, { tokens: 1, step: 1, row: 1 });
  const { tokens, step = 0, row = 0, ...sampling } = options;
  if (typeof logits !== 'object' || typeof (logits as typeof logits | null)?.length !== 'number')
    throw invalidArgument('logits', 'a list of numbers', logits);
  if (Array.isArray(logits) && logits.some((value) => typeof value !== 'number'))
    throw invalidArgument('logits', 'a list of numbers', logits);
  const text = integers('tokens', tokens ?? [], 0, 2 ** 31 - 1);
  checkInteger('step', step, 0, 2 ** 32 - 1);
  checkInteger('row', row, 0, 2 ** 32 - 1);
  checkSampling(sampling);
  return chooseToken(Float32Array.from(logits), text, sampling, step, row);
}

/** Throws unless all values make sense. Names are the caller's to check. */
export function checkSampling(options: SamplingOptions): void {
  const { temperature, topK, topP, minP, seed, repetitionPenalty, presencePenalty, frequencyPenalty } =
    options;
  checkNumber('temperature', temperature, 'a finite number, at least 0', (x) => x >= 0);
  if (topK !== undefined) checkInteger('topK', topK, 1, 2 ** 31 - 1);
  checkNumber('topP', topP, 'a number above 0, at most 1', (x) => x > 0 && x <= 1);
  checkNumber('minP', minP, 'a number from 0 to 1', (x) => x >= 0 && x <= 1);
  if (seed !== undefined) checkInteger('seed', seed, 0, Number.MAX_SAFE_INTEGER);
  checkNumber('repetitionPenalty', repetitionPenalty, 'a finite number above 0', (x) => x > 0);
  checkNumber('presencePenalty', presencePenalty, 'a finite number', () => true);
  checkNumber('frequencyPenalty', frequencyPenalty, 'a finite number', () => true);
}

function checkNumber(
  argument: string,
  value: number | undefined,
  expected: string,
  holds: (value: number) => boolean,
): void {
  if (value === undefined || (Number.isFinite(value) && holds(value))) return;
  throw invalidArgument(argument, expected, value);
}

/** {@link sampleToken} with everything checked. The logits stay as they are. */
export function chooseToken(
  logits: Float32Array,
  tokens: ArrayLike<number>,
  options: SamplingOptions,
  step: number,
  row: number,
): ChosenToken {
  const { topK, topP, minP, seed } = options;
  const isDrawn = topK !== undefined || topP !== undefined || minP !== undefined || seed !== undefined;
  const { temperature = isDrawn ? 1 : 0 } = options;
  const given = largest(logits);
  const penalized = withPenalties(logits, tokens, options);
  const best = penalized === logits ? given : largest(penalized);
  const token =
    temperature === 0 ? best : draw(penalized, best, temperature, options, random(seed, step, row));
  const [own, most] = [logits[token]!, logits[given]!];
  return { token, logProbability: (own === most ? 0 : own - most) - logarithm(sumOfPowers(logits, most)) };
}

/** The place of the largest, the first of equal ones. */
function largest(values: Float32Array): number {
  let [best, most] = [-1, -Infinity];
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    if (value > most) [best, most] = [i, value];
    else if (value !== value) throw noLogits(`NaN at ${i}`);
  }
  if (best < 0) throw noLogits(`${values.length} of -Infinity`);
  return best;
}

function noLogits(received: string): AttentionError {
  return new AttentionError({
    code: 'INVALID_ARGUMENT',
    argument: 'logits',
    expected: 'numbers, not all of them -Infinity',
    received,
  });
}

/** The logits themselves where nothing is asked for. */
function withPenalties(
  logits: Float32Array,
  tokens: ArrayLike<number>,
  { repetitionPenalty = 1, presencePenalty = 0, frequencyPenalty = 0 }: SamplingOptions,
): Float32Array {
  if (repetitionPenalty === 1 && presencePenalty === 0 && frequencyPenalty === 0) return logits;
  const counts = new Map<number, number>();
  for (let i = 0; i < tokens.length; i++) counts.set(tokens[i]!, (counts.get(tokens[i]!) ?? 0) + 1);
  const penalized = logits.slice();
  for (const [token, count] of counts) {
    const logit = logits[token];
    if (logit === undefined) continue;
    const repeated = logit > 0 ? logit / repetitionPenalty : logit * repetitionPenalty;
    penalized[token] = repeated - presencePenalty - frequencyPenalty * count;
  }
  return penalized;
}

function random(seed: number | undefined, step: number, row: number): number {
  return seed === undefined
    ? Math.random()
    : uniform([step, row, 0, 0], [seed >>> 0, Math.floor(seed / 2 ** 32)]);
}

/** The sum of e^(x - most). */
function sumOfPowers(values: Float32Array, most: number): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i] === most ? 1 : exponential(values[i]! - most);
  return sum;
}

/** A token with the probability that is left to it, where `chance` is a number of [0, 1). */
function draw(
  logits: Float32Array,
  best: number,
  temperature: number,
  { topK = Infinity, topP = 1, minP = 0 }: SamplingOptions,
  chance: number,
): number {
  // Weights: probabilities in parts of the largest.
  const most = logits[best]!;
  const weights = new Float64Array(logits.length);
  let total = 0;
  for (let token = 0; token < weights.length; token++) {
    const logit = logits[token]!;
    total += weights[token] = logit === most ? 1 : exponential((logit - most) / temperature);
  }
  const isRanked = topK < logits.length || topP < 1;
  const tokens = isRanked ? nucleus(logits, weights, total, topK, topP) : undefined;
  const kept = (i: number): number => {
    const weight = weights[tokens ? tokens[i]! : i]!;
    return weight >= minP ? weight : 0;
  };
  const count = tokens ? tokens.length : logits.length;
  let mass = 0;
  for (let i = 0; i < count; i++) mass += kept(i);
  let last = 0;
  for (let i = 0, sum = 0; i < count && sum <= chance * mass; i++) {
    const weight = kept(i);
    sum += weight;
    if (weight > 0) last = i;
  }
  return tokens ? tokens[last]! : last;
}

/** The `topK` most probable tokens, and of them the first that have `topP` of their mass together: the most probable one first. */
function nucleus(
  logits: Float32Array,
  weights: Float64Array,
  total: number,
  topK: number,
  topP: number,
): readonly number[] {
  // Tokens below the bound are not needed: all of them together have less than 1 - topP, or there are topK others.
  let bound = ((1 - topP) * total) / weights.length;
  if (topK < weights.length) {
    bound = 1;
    while (bound > 0 && !hasAtLeast(topK, weights, bound)) bound *= bound > 1e-300 ? 1 / 8 : 0;
  }
  const ranked = ranks(logits, (token) => weights[token]! >= bound);
  const tokens: number[] = [];
  const [least, most] = [Math.max(0, ranked.length - topK), ranked.length];
  let mass = 0;
  for (let i = most - 1; i >= least; i--) {
    const token = tokenOf(ranked[i]!);
    tokens.push(token);
    mass += weights[token]!;
  }
  const enough = topP * (topK < weights.length ? mass : total);
  let sum = 0;
  const end = tokens.findIndex((token) => (sum += weights[token]!) >= enough);
  return topP < 1 && end >= 0 ? tokens.slice(0, end + 1) : tokens;
}

function hasAtLeast(count: number, weights: Float64Array, bound: number): boolean {
  let found = 0;
  for (let token = 0; token < weights.length; token++) if (weights[token]! >= bound) found++;
  return found >= count;
}

/** More than any vocabulary has. */
const PLACES = 2 ** 21;

/**
 * Logits and their tokens, each pair as one number: sorted without a function, the largest logit last, and of equal ones that of the
 * first token.
 */
function ranks(logits: Float32Array, isWanted: (token: number) => boolean): Float64Array {
  const bits = new Int32Array(logits.buffer, logits.byteOffset, logits.length);
  const pairs = new Float64Array(logits.length);
  let count = 0;
  for (let token = 0; token < logits.length; token++) {
    if (!isWanted(token)) continue;
    const word = bits[token]!;
    // The bits of a float without its sign rise with it; both zeros are 0.
    pairs[count++] = (word < 0 ? -(word & 0x7fffffff) : word) * PLACES - token;
  }
  return pairs.subarray(0, count).sort();
}

function tokenOf(pair: number): number {
  return Math.ceil(pair / PLACES) * PLACES - pair;
}
