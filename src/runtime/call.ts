// The two ways to run an operation (operation.ts) on this thread.
//
//   callNow      steps run where they stand
//   callAsync    steps go on a list, and run in slices of a few milliseconds between turns of the event loop

import { nextTurn } from '../platform/turns.js';
import { checkOptions } from './checks.js';
import type { Names, NamesOf } from './checks.js';
import { invalidArgument } from './errors.js';
import { CallScope } from './call-scope.js';
import type { Step } from './call-scope.js';
import { runtimeAmong } from './operation.js';
import type { Operation } from './operation.js';
import type { Runtime } from './runtime.js';
import type { TensorScope } from './tidy.js';
import { runTiles } from './tiles.js';
import type { Work } from './tiles.js';

/** How far a call has come, in rough counts of arithmetic: only the ratio says something. */
export interface Progress {
  /** Work that is behind. */
  readonly done: number;
  /** Work in all, the same in every report of a call. */
  readonly total: number;
}

/** What the asynchronous form of every operation takes beside the operation's own options. */
export interface AsyncOptions {
  /**
   * Ends the call: it rejects with the signal's reason after the slice at hand, some milliseconds of work. What it held
   * is freed; an `output` that the caller gave has undefined content.
   */
  readonly signal?: AbortSignal | undefined;
  /** To which the results belong: see `tidyAsync`. */
  readonly scope?: TensorScope | undefined;
  /** Called after every slice, and at the end with `done` equal to `total`. */
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

const ASYNC_NAMES = { signal: 1, onProgress: 1, scope: 1 } satisfies NamesOf<AsyncOptions>;

/** Runs an operation to its end. */
export function callNow<Inputs extends readonly unknown[], Options extends object, Result>(
  operation: Operation<Inputs, Options, Result>,
  inputs: NoInfer<Inputs>,
  options: Options,
): Result {
  return runInScope(
    findRuntime(operation, inputs, options),
    (scope) => operation.run(scope, inputs, options),
    [inputs, options],
  );
}

/**
 * Runs the body of an operation, or of a constructor, to its end.
 *
 * @param given the caller's arguments, among which there may be views of linear memory: see `LinearMemory.given`
 */
export function runInScope<Result>(
  runtime: Runtime,
  body: (scope: CallScope) => Result,
  given?: readonly unknown[],
): Result {
  const scope = new CallScope(runtime);
  let succeeded = false;
  try {
    const result = prepare(scope, body, given);
    succeeded = true;
    return result;
  } finally {
    scope.end(succeeded);
  }
}

/** Checks and prepares at once, then works in slices. Tensors disposed meanwhile live on until the call is over. */
export async function callAsync<Inputs extends readonly unknown[], Options extends object, Result>(
  operation: Operation<Inputs, Options, Result>,
  inputs: NoInfer<Inputs>,
  options: Options & AsyncOptions,
): Promise<Result> {
  const runtime = findRuntime(operation, inputs, options, ASYNC_NAMES);
  checkAsyncOptions(options);
  options.signal?.throwIfAborted();
  const steps: Step[] = [];
  const scope = new CallScope(runtime, steps, options.scope);
  let succeeded = false;
  try {
    const result = prepare(scope, () => operation.run(scope, inputs, options), [inputs, options]);
    await runSteps(scope, steps, options);
    succeeded = true;
    return result;
  } finally {
    scope.end(succeeded);
  }
}

/** Checks the names of the options on the way. */
function findRuntime<Inputs extends readonly unknown[], Options extends object>(
  operation: Operation<Inputs, Options, unknown>,
  inputs: Inputs,
  options: Options,
  more?: Names,
): Runtime {
  checkOptions(options, operation.options, more);
  return operation.runtime?.(inputs, options) ?? runtimeAmong(inputs, options);
}

function prepare<Result>(
  scope: CallScope,
  body: (scope: CallScope) => Result,
  given: readonly unknown[] | undefined,
): Result {
  const { linearMemory } = scope.runtime;
  linearMemory.given.push(given);
  try {
    return body(scope);
  } finally {
    linearMemory.given.pop();
  }
}

/** Throws unless the signal and the listener are what they should be. */
export function checkAsyncOptions({ signal, onProgress }: AsyncOptions): void {
  if (signal !== undefined && typeof signal?.throwIfAborted !== 'function') {
    throw invalidArgument('signal', 'an AbortSignal', signal);
  }
  if (onProgress !== undefined && typeof onProgress !== 'function') {
    throw invalidArgument('onProgress', 'a function', onProgress);
  }
}

/** Milliseconds of a slice: well below a frame, far above the cost of a turn of the event loop. */
const SLICE = 6;

async function runSteps(
  scope: CallScope,
  steps: readonly Step[],
  { signal, onProgress }: AsyncOptions,
): Promise<void> {
  let total = 0;
  for (const step of steps) if (typeof step !== 'function') total += step.cost;
  let done = 0;
  let end = performance.now() + SLICE;
  let worked = false;
  const turn = async () => {
    onProgress?.({ done, total });
    await nextTurn();
    signal?.throwIfAborted();
    scope.check();
    end = performance.now() + SLICE;
    worked = false;
  };
  for (const step of steps) {
    if (typeof step === 'function') {
      if (performance.now() >= end) await turn();
      step();
      continue;
    }
    for (let from = 0; from < step.tiles;) {
      // A tile that does not fit into what is left of a slice waits for the next one, and has that for itself.
      let fits = tilesIn(scope.runtime, step, end - performance.now());
      if (fits < 1 && worked) {
        await turn();
        fits = tilesIn(scope.runtime, step, SLICE);
      }
      const to = Math.min(step.tiles, from + Math.max(1, fits));
      runTimed(scope.runtime, step, from, to);
      worked = true;
      done += (step.cost * (to - from)) / step.tiles;
      from = to;
    }
  }
  onProgress?.({ done: total, total });
}

/** Cost per millisecond of each kernel, learned from the clock. */
const rates = new WeakMap<Runtime, Map<string, number>>();
/** Where learning begins: low, because engines start with slow code. */
const FIRST_RATE = 5e6;

/** Tiles that are expected to be done in `time` milliseconds. */
function tilesIn(runtime: Runtime, work: Work, time: number): number {
  const rate = rates.get(runtime)?.get(work.kernel) ?? FIRST_RATE;
  return Math.floor((time * rate * work.tiles) / work.cost);
}

/** Runs tiles and learns how fast they go. */
function runTimed(runtime: Runtime, work: Work, from: number, to: number): void {
  const start = performance.now();
  runTiles(runtime, work, from, to);
  const elapsed = performance.now() - start;
  // Shorter times are below what the clocks of browsers can tell.
  if (elapsed < 1) return;
  const known = rates.get(runtime) ?? new Map<string, number>();
  rates.set(runtime, known.set(work.kernel, (work.cost * (to - from)) / work.tiles / elapsed));
}
