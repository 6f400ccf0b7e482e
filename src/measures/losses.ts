// Losses of logits, a token at a time: -log of the probability that their softmax gives a label. In float64 from basic operations, so that
// every engine gives the same.

import { logarithm } from '../math/elementary.js';
import { exponential } from '../math/exponential.js';
import { readGrid } from '../model/inputs.js';
import type { ModelInputs, TokenList } from '../model/inputs.js';
import type { Model } from '../model/model.js';
import type { CallScope } from '../runtime/call-scope.js';
import { integers } from '../runtime/checks.js';
import type { IntegerList } from '../runtime/checks.js';
import { describe, invalidArgument, shapeError } from '../runtime/errors.js';
import type { Tensor } from '../runtime/tensor.js';

/** The label of what does not count, as `crossEntropy` has it. */
const IGNORED = -100;

const LARGEST = 2 ** 31 - 1;

/** Logits that are read between two turns of the event loop. */
const LOGITS_AT_ONCE = 2 ** 18;

/**
 * One label for each row of logits: a list, a list of lists of which shorter ones are padded on the right, or anything with data and a shape.
 * -100 does not count.
 */
export type Labels = TokenList;

/** Labels of rows of logits; what a decoder is to say next, if none are given. */
export function labelsOfRows(
  model: Model,
  inputs: ModelInputs,
  given: Labels | undefined,
  logits: Tensor,
): Int32Array {
  const classes = logits.shape.at(-1)!;
  const rows = logits.shape.slice(0, -1);
  const labels = given === undefined ? nextTokens(model, inputs, logits) : readLabels(given, rows);
  labels.forEach((label, i) => {
    if (label !== IGNORED && (label < 0 || label >= classes))
      throw invalidArgument(`labels[${i}]`, `a class from 0 to ${classes - 1}, or ${IGNORED}`, label);
  });
  return labels;
}

function nextTokens({ description: { kind } }: Model, inputs: ModelInputs, { shape }: Tensor): Int32Array {
  if (shape.length !== 3 || (kind !== 'decoder' && kind !== 'encoder-decoder'))
    throw invalidArgument(
      'labels',
      'a label for each row of logits, as the model does not say the next token',
      undefined,
    );
  const named = inputs as Readonly<Record<string, TokenList | undefined>>;
  const [ids, mask] =
    kind === 'decoder' ? ['input_ids', 'attention_mask'] : ['decoder_input_ids', 'decoder_attention_mask'];
  const read = (name: string) => {
    const inCamelCase = name.replaceAll(/_(.)/g, (_, letter: string) => letter.toUpperCase());
    const list = named[inCamelCase] ?? named[name];
    return list && readGrid(name, list, true);
  };
  const [grid, padding] = [read(ids)!, read(mask)];
  const { length, values, lengths } = grid;
  const isToken = (i: number) =>
    (!lengths || i % length < lengths[Math.floor(i / length)]!) && (!padding || padding.values[i] === 1);
  return values.map((_, i) =>
    i % length < length - 1 && isToken(i) && isToken(i + 1) ? values[i + 1]! : IGNORED,
  );
}

function readLabels(given: Labels, rows: readonly number[]): Int32Array {
  const read = (argument: string, list: unknown) => integers(argument, list as IntegerList, IGNORED, LARGEST);
  const expected = `${describe(rows)}, a label for each row of logits`;
  const { data = given } = given as { readonly data?: unknown };
  const size = rows.reduce((product, side) => product * side, 1);
  if (!Array.isArray(data) || typeof data[0] !== 'object') {
    const labels = read('labels', data);
    if (labels.length === size) return labels;
    throw shapeError('labels', expected, [labels.length]);
  }
  const labels = new Int32Array(size).fill(IGNORED);
  const width = size / rows[0]!;
  if (data.length !== rows[0]) throw shapeError('labels', expected, [data.length]);
  data.forEach((list, i) => {
    const row = read(`labels[${i}]`, list);
    if (row.length > width) throw shapeError(`labels[${i}]`, `at most ${width} labels`, [row.length]);
    labels.set(row, i * width);
  });
  return labels;
}

/** Losses of rows of logits. */
export interface TokenLosses {
  /** Of the rows that count; NaN where none does. */
  readonly mean: number;
  /** NaN of rows that do not count. */
  readonly perToken: Float64Array;
}

/** Losses of rows of logits, there when their turn has come. */
export function lossesOf(scope: CallScope, logits: Tensor<'float32'>, labels: Int32Array): TokenLosses {
  const classes = logits.shape.at(-1)!;
  const losses = { mean: NaN, perToken: new Float64Array(labels.length).fill(NaN) };
  let [sum, count] = [0, 0];
  const step = Math.max(1, Math.floor(LOGITS_AT_ONCE / classes));
  for (let from = 0; from < labels.length; from += step) {
    scope.then(() => {
      for (let row = from; row < Math.min(labels.length, from + step); row++) {
        if (labels[row] === IGNORED) continue;
        const loss = lossOf(logits.data.subarray(row * classes, (row + 1) * classes), labels[row]!);
        losses.perToken[row] = loss;
        sum += loss;
        count++;
      }
    });
  }
  scope.then(() => (losses.mean = count > 0 ? sum / count : NaN));
  return losses;
}

function lossOf(logits: Float32Array, label: number): number {
  let highest = -Infinity;
  for (const logit of logits) highest = Math.max(highest, logit);
  let sum = 0;
  for (const logit of logits) sum += exponential(logit - highest);
  return highest + logarithm(sum) - logits[label]!;
}
