// Products of all pictures with all texts, times the model's factor: a few numbers, for which there is no kernel.

import { power } from '../../math/elementary.js';
import type { BoundVector } from '../bound.js';
import type { Tape, Value } from '../tape.js';

/** exp(scale) * pictures . texts, [pictures, texts]. */
export function compareAll(tape: Tape, pictures: Value, texts: Value, scale: BoundVector): Value {
  const { channels } = pictures;
  const trained = pictures.trained || texts.trained || scale.gradient !== undefined;
  const y = tape.place(pictures.rows, texts.rows, trained);
  tape.scope.then(() => {
    const factor = power(Math.E, scale.tensor.data[0]!);
    const [p, t, to] = [pictures.tensor.data, texts.tensor.data, y.tensor.data];
    forAll(y, (i, j, at) => {
      let sum = 0;
      for (let c = 0; c < channels; c++) sum += p[i * channels + c]! * t[j * channels + c]!;
      to[at] = factor * sum;
    });
  });
  tape.note(y, (back) => {
    if (!back.has(y)) return;
    const upstream = back.tensorOf(y);
    const targets = [pictures, texts].map((value) => (value.trained ? back.toSome(value).address : 0));
    back.scope.then(() => {
      const factor = power(Math.E, scale.tensor.data[0]!);
      const floats = new Float32Array(back.scope.runtime.linearMemory.buffer);
      const [p, t, logits] = [pictures.tensor.data, texts.tensor.data, y.tensor.data];
      const dy = upstream.data;
      const [dPictures, dTexts] = targets.map((address) => address / 4) as [number, number];
      let dScale = 0;
      forAll(y, (i, j, at) => {
        dScale += dy[at]! * logits[at]!;
        for (let c = 0; c < channels; c++) {
          if (dPictures) floats[dPictures + i * channels + c]! += factor * dy[at]! * t[j * channels + c]!;
          if (dTexts) floats[dTexts + j * channels + c]! += factor * dy[at]! * p[i * channels + c]!;
        }
      });
      if (scale.gradient) scale.gradient.data[0]! += dScale;
    });
    back.end(y);
  });
  return y;
}

function forAll({ rows, channels }: Value, action: (row: number, column: number, at: number) => void): void {
  for (let i = 0; i < rows; i++) for (let j = 0; j < channels; j++) action(i, j, i * channels + j);
}
