// Seeded random numbers for tests and benchmarks: the same seed gives the same sequence in every run.
//
// Integers and uniform numbers are exact arithmetic and so identical in every engine. Normal and heavy-tailed
// numbers go through Math.log and Math.cos, whose last bit an engine may choose: where tests compare bits
// across engines, they must draw uniform numbers.

/** How a sequence of numbers is spread. */
export type Distribution = 'uniform' | 'normal' | 'heavy-tailed';

/** xoshiro128** on 32-bit words; splitmix32 fills its state, so that neighbouring seeds are unrelated. */
export class Random {
  readonly #state: Uint32Array;

  constructor(seed: number) {
    this.#state = Uint32Array.from({ length: 4 }, (_, k) => splitmix32(seed, k + 1));
  }

  /** The next 32 random bits, as an unsigned integer. */
  bits(): number {
    const state = this.#state;
    const result = Math.imul(rotateLeft(Math.imul(state[1]!, 5), 7), 9) >>> 0;
    const shifted = state[1]! << 9;
    state[2]! ^= state[0]!;
    state[3]! ^= state[1]!;
    state[1]! ^= state[2]!;
    state[0]! ^= state[3]!;
    state[2]! ^= shifted;
    state[3] = rotateLeft(state[3]!, 11);
    return result;
  }

  /** Uniform in [minimum, maximum), with 53 random bits. */
  uniform(minimum = 0, maximum = 1): number {
    const high = this.bits() >>> 5;
    const low = this.bits() >>> 6;
    return minimum + (maximum - minimum) * ((high * 2 ** 26 + low) / 2 ** 53);
  }

  /** An integer in minimum..maximum, both included. */
  integer(minimum: number, maximum: number): number {
    return Math.floor(this.uniform(minimum, maximum + 1));
  }

  /** True with the given probability. */
  boolean(probability = 0.5): boolean {
    return this.uniform() < probability;
  }

  /** Standard normal (Box-Muller). */
  normal(): number {
    // 1 - u keeps the logarithm away from 0.
    const radius = Math.sqrt(-2 * Math.log(1 - this.uniform()));
    return radius * Math.cos(2 * Math.PI * this.uniform());
  }

  /** Student's t with 3 degrees of freedom: mostly small, now and then far out, as real activations are. */
  heavyTailed(): number {
    const normal = this.normal();
    const chiSquared = this.normal() ** 2 + this.normal() ** 2 + this.normal() ** 2;
    return normal / Math.sqrt(chiSquared / 3);
  }

  /** One number of a distribution: uniform in [-1, 1), standard normal or heavy-tailed. */
  draw(distribution: Distribution): number {
    if (distribution === 'uniform') return this.uniform(-1, 1);
    return distribution === 'normal' ? this.normal() : this.heavyTailed();
  }

  /** `length` numbers of a distribution, rounded to float32. */
  array(length: number, distribution: Distribution = 'normal'): Float32Array {
    const array = new Float32Array(length);
    for (let k = 0; k < length; k++) array[k] = this.draw(distribution);
    return array;
  }
}

/** `length` float32 numbers that depend on the seed alone; a longer array of that seed begins with them. */
export function seededArray(
  seed: number,
  length: number,
  distribution: Distribution = 'normal',
): Float32Array {
  return new Random(seed).array(length, distribution);
}

/** The step-th output of splitmix32. */
function splitmix32(seed: number, step: number): number {
  let z = (seed + Math.imul(step, 0x9e3779b9)) | 0;
  z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
  z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
  return (z ^ (z >>> 15)) >>> 0;
}

function rotateLeft(value: number, count: number): number {
  return ((value << count) | (value >>> (32 - count))) >>> 0;
}
