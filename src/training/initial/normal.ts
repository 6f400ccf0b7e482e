// Normally distributed numbers without a state: the i-th of them is a function of a key and a counter, with the same bits in every
// engine. Box and Muller's transform of Philox' words, two numbers of two words each:
//
//   words a, b -> radius = sqrt(-2 ln((a + 1/2) / 2^32)), angle = 2 pi b / 2^32 -> radius cos(angle), radius sin(angle)

import { logarithm, sineAndCosine } from '../../math/elementary.js';
import { philox } from '../../math/philox.js';

const STEP = 1 / 2 ** 32;

/** Which numbers are meant: key and upper half of the counter, and the first number, a multiple of four. */
interface Place {
  readonly key: readonly [number, number];
  readonly stream: readonly [number, number];
  readonly from: number;
}

/** Fills with numbers of a normal distribution around zero. */
export function fillNormal(target: Float32Array, deviation: number, { key, stream, from }: Place): void {
  for (let i = 0; i < target.length; i += 4) {
    const block = (from + i) / 4;
    const words = philox([block % 2 ** 32, Math.floor(block / 2 ** 32), ...stream], key);
    for (let pair = 0; pair < 4; pair += 2) {
      const radius = deviation * Math.sqrt(-2 * logarithm((words[pair]! + 0.5) * STEP));
      const { sine, cosine } = sineAndCosine(2 * Math.PI * STEP * words[pair + 1]!);
      target[i + pair] = radius * cosine;
      target[i + pair + 1] = radius * sine;
    }
  }
}
