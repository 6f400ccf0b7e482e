// What a training reads in one step, and how it is read: labels in one row, tokens counted.

import { checkOptions, integers } from '../runtime/checks.js';
import type { IntegerList, NamesOf } from '../runtime/checks.js';
import { invalidArgument } from '../runtime/errors.js';
import { sizeOf } from '../runtime/layout.js';
import type { TrainingForwardOptions, TrainingInputs } from './network.js';

/** A label that does not count. */
export const IGNORED = -100;

/** Inputs, and what should come out. */
export interface Batch {
  /** Of a model what its `forward` takes, of a layer [..., channels]. */
  readonly inputs: TrainingInputs;
  /**
   * A label for each row of the logits, for the cross entropy: in one list, or a list for each text, of which shorter ones are filled up
   * with -100, as their texts are padded. A loss of one's own reads what it likes.
   */
  readonly labels?: IntegerList | readonly IntegerList[] | undefined;
  /** Options of the forward pass beside dropout: masks, the tokens of an encoder. */
  readonly options?: Omit<TrainingForwardOptions, 'dropout'> | undefined;
}

const BATCH_NAMES = { inputs: 1, labels: 1, options: 1 } satisfies NamesOf<Batch>;

/** Throws unless it looks like a batch; its parts are checked by whoever reads them. */
export function checkBatch(argument: string, batch: unknown): asserts batch is Batch {
  checkOptions(batch, BATCH_NAMES, {}, argument);
}

/** The batches of a step: one, or a list of them. */
export function readBatches(given: Batch | readonly Batch[]): readonly Batch[] {
  const batches = (Array.isArray(given) ? given : [given]) as readonly Batch[];
  if (batches.length === 0)
    throw invalidArgument('data', 'a function that returns a batch, or several', given);
  for (const batch of batches) checkBatch('batch', batch);
  return batches;
}

/** Labels in one row; what fills up shorter texts does not count. */
export function labelsOf({ labels }: Batch, ignored = IGNORED): Int32Array {
  const isNested = Array.isArray(labels) && typeof labels[0] === 'object';
  if (!isNested) return integers('labels', labels as IntegerList, -(2 ** 31), 2 ** 31 - 1);
  const rows = (labels as readonly IntegerList[]).map((row, i) =>
    integers(`labels[${i}]`, row, -(2 ** 31), 2 ** 31 - 1),
  );
  const length = rows.reduce((most, row) => Math.max(most, row.length), 0);
  const all = new Int32Array(rows.length * length).fill(ignored);
  rows.forEach((row, i) => all.set(row, i * length));
  return all;
}

/** How many labels count. */
export function countOf(labels: Int32Array, ignored = IGNORED): number {
  let count = 0;
  for (const label of labels) if (label !== ignored) count++;
  return count;
}

/** Tokens that are read, of encoder and decoder; of a layer its rows, of pictures none. */
export function tokensIn({ inputs }: Batch): number {
  const given = inputs as unknown as Readonly<Record<string, unknown>>;
  const shape = given['shape'] ?? given['dims'];
  if (Array.isArray(shape)) return sizeOf((shape as number[]).slice(0, -1));
  const ids = ['inputIds', 'input_ids', 'decoderInputIds', 'decoder_input_ids'];
  return ids.reduce((sum, name) => sum + lengthOf(given[name]), 0);
}

function lengthOf(list: unknown): number {
  if (typeof list !== 'object' || list === null) return 0;
  if ('data' in list) return lengthOf(list.data);
  if (Array.isArray(list) && typeof list[0] === 'object')
    return (list as unknown[]).reduce<number>((sum, row) => sum + lengthOf(row), 0);
  return (list as { readonly length?: number }).length ?? 0;
}
