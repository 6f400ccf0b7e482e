// Elements that are left out at random, kept for the way back by nothing but a seed: the same call leaves out the same of gradients.

import type { Flow } from '../flow.js';
import { runAdd } from '../ops/add.js';
import { runDropout } from '../ops/dropout.js';
import type { Tape, Value } from '../tape.js';

/** x / (1 - rate), or 0; x itself where nothing is left out. */
export function drop({ tape, dropout }: Flow, x: Value, site: number): Value {
  if (!dropout || dropout.hidden === 0 || x.rows === 0) return x;
  const given = { rate: dropout.hidden, seed: dropout.seed, site };
  const y = tape.place(x.rows, x.channels, x.trained);
  runDropout(tape.scope, x, y, x.channels, given);
  tape.note(y, (back) => {
    const dy = back.of(y);
    if (!dy) return;
    runDropout(back.scope, dy, dy, x.channels, given);
    back.pass(y, x);
  });
  return y;
}

/** x + residual. */
export function add(tape: Tape, x: Value, residual: Value): Value {
  const y = tape.place(x.rows, x.channels, x.trained || residual.trained);
  if (x.rows === 0) return y;
  tape.scope.copy(residual.tensor, y.tensor);
  runAdd(tape.scope, x, y, x.channels);
  tape.note(y, (back) => {
    const dy = back.of(y);
    if (!dy) return;
    if (x.trained) runAdd(back.scope, dy, back.toSome(x), x.channels);
    back.pass(y, residual);
  });
  return y;
}
