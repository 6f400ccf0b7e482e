// What a training reads in one step.

import { invalidArgument } from '../runtime/errors.js';
import type { TrainingForwardOptions, TrainingInputs } from './network.js';

/** Inputs, and what should come out. */
export interface Batch {
  /** Of a model what its `forward` takes, of a layer [..., channels]. */
  readonly inputs: TrainingInputs;
  /** A label for each row of the logits, for the cross entropy; a loss of one's own reads what it likes. */
  readonly labels?: Int32Array | readonly number[] | readonly (readonly number[] | Int32Array)[] | undefined;
  /** Options of the forward pass beside dropout: masks, the tokens of an encoder. */
  readonly options?: Omit<TrainingForwardOptions, 'dropout'> | undefined;
}

/** Labels in one row. */
export function labelsOf({ labels }: Batch): Int32Array | readonly number[] {
  if (labels === undefined) throw invalidArgument('labels', 'a label for each row of the logits', labels);
  if (labels instanceof Int32Array || typeof labels[0] === 'number' || labels.length === 0)
    return labels as Int32Array | readonly number[];
  return (labels as readonly (readonly number[] | Int32Array)[]).flatMap((row) => [...row]);
}

/** Tokens, or rows where there are none. */
export function tokensIn(batch: Batch): number {
  const inputs = batch.inputs as Partial<Record<string, unknown>> | undefined;
  const ids = inputs?.['inputIds'] as
    { readonly length?: number; readonly data?: { readonly length: number } } | undefined;
  if (ids?.data) return ids.data.length;
  if (Array.isArray(ids))
    return (ids as readonly { readonly length?: number }[]).reduce((sum, row) => sum + (row.length ?? 1), 0);
  if (ids?.length !== undefined) return ids.length;
  return batch.labels === undefined ? 0 : labelsOf(batch).length;
}
