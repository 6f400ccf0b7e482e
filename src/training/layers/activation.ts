// Activations, kept for the way back.

import { runActivation } from '../../ops/activations/activations.js';
import type { ActivationName } from '../../ops/activations/names.js';
import { runActivationBackward, runGatedBackward, runGatedForward } from '../ops/activation.js';
import type { Tape, Value } from '../tape.js';

/** activation(x). A softcap c is c * tanh(x / c). */
export function activate(
  tape: Tape,
  x: Value,
  activation: ActivationName | { readonly softcap: number },
): Value {
  const y = tape.place(x.rows, x.channels, x.trained);
  if (x.rows === 0) return y;
  runActivation(tape.scope, activation, x.address, y.address, x.rows * x.channels);
  tape.note(y, (back) => {
    const dy = back.of(y);
    if (!dy) return;
    const { adding, ...dx } = back.to(x);
    runActivationBackward(back.scope, activation, x, dy, x.channels, { dx, adding });
    back.end(y);
  });
  return y;
}

/** activation(gate) * up. */
export function gate(tape: Tape, activation: ActivationName, gate: Value, up: Value): Value {
  const y = tape.place(up.rows, up.channels, gate.trained || up.trained);
  if (up.rows === 0) return y;
  runGatedForward(tape.scope, activation, gate, up, y, up.channels);
  tape.note(y, (back) => {
    const dy = back.of(y);
    if (!dy) return;
    // Both are read by nothing else.
    runGatedBackward(back.scope, activation, gate, up, dy, up.channels, {
      dGate: back.to(gate),
      dUp: back.to(up),
    });
    back.end(y);
  });
  return y;
}
