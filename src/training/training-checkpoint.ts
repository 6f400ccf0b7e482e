// A training as a file: weights under their names, what the optimiser remembers under `optimizer.`, adapters under `adapters.`, all
// float32; step, seed and kind of the optimiser in the metadata, and a sum over everything that tells where a byte has changed. Loaded
// when it is asked for. Touch: what the file holds, and how it is compared with what it is read for.

import { openCheckpoint } from '../checkpoints/checkpoint.js';
import type { Checkpoint } from '../checkpoints/checkpoint.js';
import type { FileSource } from '../checkpoints/source.js';
import { writeSafetensors } from '../checkpoints/write-safetensors.js';
import type { TensorToWrite } from '../checkpoints/write-safetensors.js';
import { nextTurn } from '../platform/turns.js';
import { runInScope } from '../runtime/call.js';
import { AttentionError, describe, invalidArgument } from '../runtime/errors.js';
import { sameShape, sizeOf } from '../runtime/layout.js';
import type { KeptValues } from './kept-values.js';
import type { Optimizer } from './optimizers.js';
import type { Trainable } from './trainable.js';

/** What a training is made of. */
interface Trained {
  readonly learner: Trainable;
  readonly optimizer: Optimizer;
  readonly seed: number;
}

/** Everything that changes, by its name in the file. */
function keptOf({ learner, optimizer }: Trained): [name: string, values: KeptValues][] {
  const named = (prefix: string, all: readonly KeptValues[]) =>
    all.map((kept): [string, KeptValues] => [prefix + kept.name, kept]);
  return [
    ...named('', learner.kept),
    ...named('optimizer.', optimizer.kept),
    ...named('adapters.', learner.keptAdapters),
  ];
}

/** Milliseconds between turns of the event loop. */
const SLICE = 12;

export async function writeCheckpoint(trained: Trained, step: number): Promise<Uint8Array> {
  const { seed, optimizer } = trained;
  const tensors: [string, TensorToWrite & { data: Float32Array }][] = [];
  let turn = performance.now();
  for (const [name, kept] of keptOf(trained)) {
    tensors.push([name, { dtype: 'F32', shape: kept.shape, data: kept.read() }]);
    if (performance.now() - turn < SLICE) continue;
    await nextTurn();
    turn = performance.now();
  }
  const metadata = { format: 'pt', step: `${step}`, seed: `${seed}`, optimizer: optimizer.kind };
  const checksum = checksumOf(metadata, tensors);
  return writeSafetensors(tensors, { metadata: { ...metadata, checksum } });
}

/**
 * Goes on from a checkpoint; nothing is written before all of it was read and compared.
 *
 * @param check throws where the training has ended meanwhile
 * @returns the step it was made after
 */
export async function readCheckpoint(
  source: FileSource,
  trained: Trained,
  check: () => void,
  signal: AbortSignal | undefined,
): Promise<number> {
  const opened = await open(source, signal);
  try {
    const kept = new Map(keptOf(trained));
    compare(opened, kept, trained);
    const read = await valuesIn(opened);
    const { checksum, ...metadata } = opened.metadata;
    if (checksum !== checksumOf(metadata, read))
      throw mismatch('the file is damaged: its values are not those that were written');
    check();
    writeAll(kept, read, trained.learner);
    return Number(metadata['step']);
  } finally {
    await opened.close();
  }
}

async function open(source: FileSource, signal: AbortSignal | undefined): Promise<Checkpoint> {
  try {
    return await openCheckpoint(source, signal ? { signal } : {});
  } catch (error) {
    // What callers know as `resume` are weights there.
    if (!(error instanceof AttentionError) || error.code !== 'INVALID_ARGUMENT') throw error;
    throw invalidArgument('resume', 'a safetensors file: bytes, a Blob or an address', source);
  }
}

/** Throws unless it is the checkpoint of this training. */
function compare(
  { metadata, tensors }: Checkpoint,
  kept: ReadonlyMap<string, KeptValues>,
  { seed, optimizer }: Trained,
): void {
  const step = Number(metadata['step']);
  if (metadata['checksum'] === undefined || !Number.isSafeInteger(step) || step < 0)
    throw mismatch('it is not one of a training');
  const wrong: string[] = [];
  const compareTexts = (what: string, found: string | undefined, expected: string) => {
    if (found !== expected) wrong.push(`its ${what} is ${found} in place of ${expected}`);
  };
  compareTexts('seed', metadata['seed'], `${seed}`);
  compareTexts('optimiser', metadata['optimizer'], optimizer.kind);
  for (const [name, { shape }] of kept) {
    const found = tensors.get(name);
    if (!found) wrong.push(`${name} ${describe(shape)} is missing`);
    else if (found.dtype !== 'F32' || !sameShape(found.shape, shape))
      wrong.push(`${name} is ${found.dtype} ${describe(found.shape)} in place of F32 ${describe(shape)}`);
  }
  for (const name of tensors.keys())
    if (!kept.has(name)) wrong.push(`the training has nothing that is called ${name}`);
  if (wrong.length > 0) throw mismatch(wrong.join('\n  '));
}

const mismatch = (what: string) =>
  new AttentionError({
    code: 'INVALID_FILE',
    argument: 'resume',
    message: `resume: the checkpoint is not that of this training: ${what}`,
  });

async function valuesIn(
  opened: Checkpoint,
): Promise<[string, { shape: readonly number[]; data: Float32Array }][]> {
  const read = new Map(
    [...opened.tensors].map(([name, { shape }]) => [name, { shape, data: new Float32Array(sizeOf(shape)) }]),
  );
  for await (const { name, from, bytes } of opened.pieces())
    new Uint8Array(read.get(name)!.data.buffer).set(bytes, from * 4);
  return [...read];
}

/** Floats. */
const SPARE = 4096;

/** Without a turn in between: nobody sees one half of it. */
function writeAll(
  kept: ReadonlyMap<string, KeptValues>,
  read: readonly (readonly [string, { readonly data: Float32Array }])[],
  { runtime }: Trainable,
): void {
  // Memory for the largest, and more than anything else that writing needs, is there, or nothing is written.
  const most = Math.max(...read.map(([, { data }]) => data.byteLength));
  runInScope(runtime, (scope) => void scope.temporary([most / 4 + SPARE]));
  for (const [name, { data }] of read) kept.get(name)!.write(data);
}

/**
 * A sum over metadata, names, shapes and values: each step of it (FNV-1a over words) can be undone, so that no change of a single word
 * goes unseen.
 */
function checksumOf(
  metadata: Readonly<Record<string, string>>,
  tensors: readonly (readonly [
    name: string,
    { readonly shape: readonly number[]; readonly data: Float32Array },
  ])[],
): string {
  let sum = 0x811c9dc5;
  const add = (words: Iterable<number>) => {
    for (const word of words) sum = Math.imul(sum ^ word, 0x01000193);
  };
  const texts = Object.entries(metadata).sort(([a], [b]) => (a < b ? -1 : 1));
  add(new TextEncoder().encode(JSON.stringify(texts)));
  for (const [name, { shape, data }] of tensors) {
    add(new TextEncoder().encode(JSON.stringify([name, shape])));
    const words = new Uint32Array(data.buffer, data.byteOffset, data.length);
    for (let i = 0; i < words.length; i++) sum = Math.imul(sum ^ words[i]!, 0x01000193);
  }
  return (sum >>> 0).toString(16).padStart(8, '0');
}
