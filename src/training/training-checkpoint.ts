// A training as a file: weights under their names, what the optimiser remembers under `optimizer.`, adapters under `adapters.`; step
// and seed in the metadata. Touch: what the file holds, and how it is compared with what it is read for.

import { openCheckpoint } from '../checkpoints/checkpoint.js';
import type { FileSource } from '../checkpoints/source.js';
import { writeSafetensors } from '../checkpoints/write-safetensors.js';
import type { TensorToWrite } from '../checkpoints/write-safetensors.js';
import { AttentionError, describe } from '../runtime/errors.js';
import { sameShape } from '../runtime/layout.js';
import type { Tensor } from '../runtime/tensor.js';
import type { Optimizer } from './optimizers.js';
import type { Trainable } from './trainable.js';

const OPTIMIZER = 'optimizer.';
const ADAPTERS = 'adapters.';

/** Where a training stands. */
interface Standing {
  readonly step: number;
  readonly seed: number;
}

export async function writeCheckpoint(
  learner: Trainable,
  optimizer: Optimizer,
  { step, seed }: Standing,
): Promise<Uint8Array> {
  const remembered = optimizer.state();
  const adapters = learner.adapterState();
  const ofTensors = (prefix: string, tensors: Readonly<Record<string, Tensor<'float32'>>>) =>
    Object.entries(tensors).map(([name, { shape, data }]): [string, TensorToWrite] => [
      prefix + name,
      { dtype: 'F32', shape, data },
    ]);
  try {
    return await writeSafetensors(
      [
        ...learner.allNames.map((name): [string, TensorToWrite] => [
          name,
          { dtype: 'F32', ...learner.value(name) },
        ]),
        ...ofTensors(OPTIMIZER, remembered),
        ...ofTensors(ADAPTERS, adapters),
      ],
      { metadata: { format: 'pt', step: `${step}`, seed: `${seed}`, optimizer: optimizer.constructor.name } },
    );
  } finally {
    for (const tensor of [...Object.values(remembered), ...Object.values(adapters)]) tensor.dispose();
  }
}

/**
 * Goes on from a checkpoint; nothing is written before all of it was compared.
 *
 * @returns the step it was made after
 */
export async function readCheckpoint(
  source: FileSource,
  learner: Trainable,
  optimizer: Optimizer,
  { seed, signal }: { readonly seed: number; readonly signal: AbortSignal | undefined },
): Promise<number> {
  const opened = await openCheckpoint(source, signal ? { signal } : {});
  const { tensors, metadata } = opened;
  const step = Number(metadata['step']);
  const wrong: string[] = [];
  if (!Number.isSafeInteger(step) || step < 0) wrong.push('it is not the checkpoint of a training');
  else if (metadata['seed'] !== `${seed}`)
    wrong.push(`it was made with the seed ${metadata['seed']} in place of ${seed}`);
  if (metadata['optimizer'] !== undefined && metadata['optimizer'] !== optimizer.constructor.name)
    wrong.push(`its optimiser is ${metadata['optimizer']} in place of ${optimizer.constructor.name}`);
  const names = learner.allNames;
  for (const name of names) {
    const found = tensors.get(name);
    const { shape } = learner.value(name);
    if (!found) wrong.push(`${name} ${describe(shape)} is missing`);
    else if (found.dtype !== 'F32' || !sameShape(found.shape, shape))
      wrong.push(`${name} is ${found.dtype} ${describe(found.shape)} in place of F32 ${describe(shape)}`);
  }
  const known = new Set(names);
  for (const name of tensors.keys())
    if (!known.has(name) && !name.startsWith(OPTIMIZER) && !name.startsWith(ADAPTERS))
      wrong.push(`the model has no use for ${name}`);
  if (wrong.length > 0)
    throw new AttentionError({
      code: 'INVALID_FILE',
      argument: 'resume',
      message: `resume: the checkpoint is not that of this training: ${wrong.join('; ')}`,
    });
  const read = new Map(
    [...tensors].map(([name, { shape, bytes }]) => [name, { shape, data: new Float32Array(bytes / 4) }]),
  );
  for await (const { name, from, bytes } of opened.pieces())
    new Uint8Array(read.get(name)!.data.buffer).set(bytes, from * 4);
  const under = (prefix: string) =>
    Object.fromEntries(
      [...read]
        .filter(([name]) => name.startsWith(prefix))
        .map(([name, tensor]) => [name.slice(prefix.length), tensor]),
    );
  learner.loadAdapters(under(ADAPTERS));
  optimizer.load(under(OPTIMIZER));
  for (const name of names) learner.write(name, read.get(name)!.data);
  return step;
}
