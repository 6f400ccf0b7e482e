// Learning rates as functions of the step. They enter the bits of what is trained, so they are made of functions that every engine
// computes alike.

import { sineAndCosine } from '../math/elementary.js';
import { checkInteger, checkObject } from '../runtime/checks.js';
import { invalidArgument } from '../runtime/errors.js';

/** A learning rate for each step; the first step is 1. */
export type Schedule = (step: number) => number;

/** Throws unless this is a learning rate. */
export function checkRate(argument: string, rate: unknown): number {
  if (typeof rate === 'number' && Number.isFinite(rate) && rate >= 0) return rate;
  throw invalidArgument(argument, 'a finite number, at least 0', rate);
}

/** A schedule, or one of the same rate at every step. */
export function scheduleOf(argument: string, given: number | Schedule): Schedule {
  if (typeof given === 'function') return given;
  const rate = checkRate(argument, given);
  return () => rate;
}

/**
 * The same rate at every step.
 *
 * @throws AttentionError INVALID_ARGUMENT
 *
 * @example
 * ```js
 * constant(0.1)(7); // 0.1
 * ```
 */
export function constant(rate: number): Schedule {
  return scheduleOf('rate', checkRate('rate', rate));
}

/** Options of `linearWarmup`. */
export interface WarmupOptions {
  /** Steps until the whole rate is reached. */
  readonly steps: number;
}

/**
 * A rate that grows in even steps to that which `after` begins with, and then goes on as `after` does: its step 0 is the last one of
 * the warm-up.
 *
 * @param after a rate, or a schedule
 * @throws AttentionError INVALID_ARGUMENT
 *
 * @example
 * ```js
 * const rate = linearWarmup(cosine(1, { steps: 4 }), { steps: 2 });
 * rate(1); // 0.5
 * rate(2); // 1
 * rate(4); // 0.5: half of the cosine's way
 * ```
 */
export function linearWarmup(after: number | Schedule, { steps }: WarmupOptions): Schedule {
  const rest = scheduleOf('after', after);
  checkInteger('steps', steps, 0, Number.MAX_SAFE_INTEGER);
  return (step) => (step < steps ? (rest(0) * step) / steps : rest(step - steps));
}

/** Options of `cosine`. */
export interface CosineOptions {
  /** Steps until the least rate is reached, which then stays. */
  readonly steps: number;
  /** Default 0. */
  readonly least?: number | undefined;
}

/**
 * A rate that falls from `most` to the least along half a wave of the cosine: slowly at first and at the end.
 *
 * @throws AttentionError INVALID_ARGUMENT
 *
 * @example
 * ```js
 * const rate = cosine(0.2, { steps: 100, least: 0.1 });
 * rate(0); // 0.2
 * rate(100); // 0.1
 * rate(1000); // 0.1
 * ```
 */
export function cosine(most: number, options: CosineOptions): Schedule {
  checkRate('most', most);
  checkObject('options', options);
  const { steps, least = 0 } = options;
  checkInteger('steps', steps, 1, Number.MAX_SAFE_INTEGER);
  checkRate('least', least);
  return (step) => {
    if (step >= steps) return least;
    const { cosine } = sineAndCosine((Math.PI * step) / steps);
    return least + ((most - least) * (1 + cosine)) / 2;
  };
}
