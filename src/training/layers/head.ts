// What is computed from the last hidden state, kept for the way back: rows are chosen, and run through matrices and norms.

import { runEmbedding } from '../../ops/embedding/embedding.js';
import { runNorm } from '../../ops/norms/norm.js';
import { runMeanPooling } from '../../ops/rows/pooling.js';
import type { HeadDescription, HeadInput } from '../../model/description.js';
import { checkTokens, endTokens, firstToken, lastToken, tokenWeights } from '../../model/heads.js';
import type { PooledTokens } from '../../model/heads.js';
import type { SentenceDescription } from '../../model/sentence.js';
import type { Binder } from '../bound.js';
import type { Flow } from '../flow.js';
import { runEmbeddingBackward } from '../ops/embedding-backward.js';
import { runNormBackward } from '../ops/norm.js';
import { partsOfMeans, runPoolingBackward } from '../ops/pooling.js';
import type { Tape, Value } from '../tape.js';
import { activate } from './activation.js';
import { TrainedLinear } from './linear.js';
import { TrainedNorm } from './norm.js';

type Step = (tape: Tape, x: Value, factor: number) => Value;

export class TrainedHead {
  readonly name: HeadDescription['name'];
  readonly of: HeadDescription['of'];
  readonly #description: HeadDescription;
  readonly #steps: readonly Step[];

  constructor(binder: Binder, description: HeadDescription) {
    this.name = description.name;
    this.of = description.of;
    this.#description = description;
    this.#steps = description.steps.map((step): Step => {
      if (step.kind === 'norm') {
        const norm = new TrainedNorm(binder, step.norm);
        return (tape, x) => norm.run(tape, x);
      }
      const linear = new TrainedLinear(binder.matrix(step.matrix));
      const { activation } = step;
      return (tape, x, factor) => {
        const y = linear.run(tape, x, { factor });
        return activation ? activate(tape, y, activation) : y;
      };
    });
  }

  /** Runs rows through the steps. */
  run(tape: Tape, rows: Value): Value {
    const { factor = 1, softcap } = this.#description;
    const last = this.#steps.length - 1;
    const y = this.#steps.reduce((x, step, i) => step(tape, x, i === last ? factor : 1), rows);
    return softcap ? activate(tape, y, { softcap }) : y;
  }

  /** The rows of the hidden state [batch, length, channels] that the head reads. */
  choose(flow: Flow, hidden: Value, input: HeadInput, tokens: PooledTokens): Value {
    const { tape, batch, length } = flow;
    if (input === 'tokens') return hidden;
    checkTokens(flow);
    switch (input) {
      case 'first':
      case 'second':
        return gather(tape, hidden, batch, (b) => b * length + (input === 'first' ? 0 : 1));
      case 'mean':
        return mean(flow, hidden, tokens);
      case 'firstAndMean':
        return firstAndMean(flow, hidden);
      default: {
        const ends =
          input === 'last'
            ? (b: number) => b * length + lastToken(tokens, b, length)
            : endTokens(input, this.#description.endTokenId!, tokens.ids!, length);
        return gather(tape, hidden, batch, ends);
      }
    }
  }
}

/** What becomes of the last hidden state of a sentence encoder. */
export class TrainedSentence {
  readonly #description: SentenceDescription;
  readonly #dense: readonly TrainedLinear[];

  constructor(binder: Binder, description: SentenceDescription) {
    this.#description = description;
    this.#dense = description.dense.map(({ matrix }) => new TrainedLinear(binder.matrix(matrix)));
  }

  run(flow: Flow, hidden: Value, tokens: PooledTokens): Value {
    const { tape, batch, length } = flow;
    const { pooling, dense, normalize } = this.#description;
    checkTokens(flow);
    const pooled =
      pooling === 'mean'
        ? mean(flow, hidden, tokens)
        : gather(
            tape,
            hidden,
            batch,
            (b) => b * length + (pooling === 'last' ? lastToken : firstToken)(tokens, b, length),
          );
    const y = dense.reduce((x, { activation }, i) => {
      const product = this.#dense[i]!.run(tape, x);
      return activation ? activate(tape, product, activation) : product;
    }, pooled);
    return normalize ? toUnitLength(tape, y) : y;
  }
}

/** Rows, divided by their lengths. */
export function toUnitLength(tape: Tape, x: Value): Value {
  const y = tape.place(x.rows, x.channels, x.trained);
  if (x.rows === 0) return y;
  const norm = { channels: x.channels, epsilon: 1e-12 };
  runNorm(tape.scope, 'l2', x, y, norm);
  tape.note(y, (back) => {
    const dy = back.of(y);
    if (!dy) return;
    const { adding, ...dx } = back.to(x);
    runNormBackward(back.scope, 'l2', x, dy, norm, { dx, adding });
    back.end(y);
  });
  return y;
}

/** One row of each batch row. */
function gather(tape: Tape, x: Value, batch: number, rowOf: (b: number) => number): Value {
  const ids = Int32Array.from({ length: batch }, (_, b) => rowOf(b));
  const y = tape.place(batch, x.channels, x.trained);
  if (batch === 0) return y;
  const table = { address: x.address, channels: x.channels, packed: false };
  runEmbedding(tape.scope, tape.scope.integers(ids), batch, table, y);
  tape.note(y, (back) => {
    const dy = back.of(y);
    if (!dy) return;
    const { address } = back.toSome(x);
    runEmbeddingBackward(back.scope, back.scope.integers(ids), dy, { ...table, address });
    back.end(y);
  });
  return y;
}

/** Means over tokens that are no padding. */
function mean(flow: Flow, x: Value, tokens: PooledTokens): Value {
  const { tape, batch, length } = flow;
  const { channels } = x;
  const y = tape.place(batch, channels, x.trained);
  if (batch === 0) return y;
  const weights = tokenWeights(tokens, batch, length);
  runMeanPooling(tape.scope, x, batch, length, channels, weights && tape.scope.floats(weights), y.address);
  tape.note(y, (back) => {
    const dy = back.of(y);
    if (!dy) return;
    const { adding, ...dx } = back.to(x);
    const parts = partsOfMeans(weights, batch, length);
    runPoolingBackward(back.scope, dy, parts, length, channels, { dx, adding });
    back.end(y);
  });
  return y;
}

/** The first token beside the mean of those after it. */
function firstAndMean(flow: Flow, x: Value): Value {
  const { tape, batch, length } = flow;
  const { channels } = x;
  const y = tape.place(batch, 2 * channels, x.trained);
  const one = { address: y.address, rowBytes: channels * 4 };
  const ids = Int32Array.from({ length: batch }, (_, b) => b * length);
  const table = { address: x.address, channels, packed: false };
  if (batch === 0) return y;
  const { scope } = tape;
  runEmbedding(scope, scope.integers(ids), batch, table, { ...one, rowBytes: y.rowBytes });
  for (let b = 0; b < batch; b++) {
    const rest = { address: x.address + (b * length + 1) * x.rowBytes, rowBytes: x.rowBytes };
    runMeanPooling(scope, rest, 1, length - 1, channels, undefined, y.address + (2 * b + 1) * channels * 4);
  }
  tape.note(y, (back) => {
    const dy = back.of(y);
    if (!dy) return;
    const { adding, ...dx } = back.to(x);
    const rows = { rowBytes: dy.rowBytes, address: dy.address };
    const rest = { ...rows, address: rows.address + channels * 4 };
    const first = Float32Array.from({ length: batch * length }, (_, i) => (i % length === 0 ? 1 : 0));
    const others = first.map((part) => (1 - part) / (length - 1));
    runPoolingBackward(back.scope, rows, first, length, channels, { dx, adding });
    runPoolingBackward(back.scope, rest, others, length, channels, { dx, adding: true });
    back.end(y);
  });
  return y;
}
