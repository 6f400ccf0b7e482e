// Random numbers of a training, as a function of its seed and of the step: a training that was stopped and goes on elsewhere draws
// the same ones, and so does every engine.

import { checkInteger } from '../runtime/checks.js';
import { logarithm, sineAndCosine } from '../math/elementary.js';
import { philox } from '../math/philox.js';

/**
 * A stream of random numbers that depends on its seed and step only, and on nothing of the engine.
 *
 * @see Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3" (Philox)
 *
 * @example
 * ```js
 * const random = new Random(1, 7); // the seventh step of a training with seed 1
 * random.uniform(); // >= 0, < 1
 * random.integer(6); // 0, 1, 2, 3, 4 or 5
 * random.shuffle(['a', 'b', 'c']).length; // 3
 * ```
 */
export class Random {
  readonly #key: readonly [number, number];
  readonly #step: readonly [number, number];
  #drawn = 0;
  #words: number[] = [];

  /**
   * @param seed an integer from 0 to 2^53 - 1
   * @param step an integer from 0 to 2^53 - 1. Default 0
   * @throws AttentionError INVALID_ARGUMENT
   */
  constructor(seed: number, step = 0) {
    checkInteger('seed', seed, 0, Number.MAX_SAFE_INTEGER);
    checkInteger('step', step, 0, Number.MAX_SAFE_INTEGER);
    this.#key = wordsOf(seed);
    this.#step = wordsOf(step);
  }

  /** A number of [0, 1) with 53 random bits. */
  uniform(): number {
    const high = this.#word();
    return ((high >>> 5) * 2 ** 26 + (this.#word() >>> 6)) / 2 ** 53;
  }

  /** An integer from 0 to below `count`, each as likely as the others: those that would favour some are drawn again. */
  integer(count: number): number {
    checkInteger('count', count, 1, 2 ** 32);
    const limit = 2 ** 32 - (2 ** 32 % count);
    let word = this.#word();
    while (word >= limit) word = this.#word();
    return word % count;
  }

  /** A number of the standard normal distribution (Box and Muller 1958). */
  normal(): number {
    const radius = Math.sqrt(-2 * logarithm(1 - this.uniform()));
    return radius * sineAndCosine(2 * Math.PI * this.uniform()).cosine;
  }

  /** One of a list. */
  choose<Item>(items: readonly Item[]): Item {
    return items[this.integer(items.length)]!;
  }

  /** A copy in random order. */
  shuffle<Item>(items: readonly Item[]): Item[] {
    const shuffled = [...items];
    for (let last = shuffled.length - 1; last > 0; last--) {
      const other = this.integer(last + 1);
      [shuffled[last], shuffled[other]] = [shuffled[other]!, shuffled[last]!];
    }
    return shuffled;
  }

  #word(): number {
    if (this.#words.length === 0) {
      const drawn = wordsOf(this.#drawn++);
      this.#words = philox([...drawn, ...this.#step], this.#key).reverse();
    }
    return this.#words.pop()!;
  }
}

/** The lower and the upper word of an integer. */
function wordsOf(integer: number): [number, number] {
  return [integer >>> 0, Math.floor(integer / 2 ** 32)];
}
