// What programs see of `wasm-attention/worker-runtime`: compiled by test/types/types.test.ts, never run.

import * as main from 'wasm-attention';
import { causal, createWorkerRuntime } from 'wasm-attention/worker-runtime';
import type { WorkerAttentionResult, WorkerTensor } from 'wasm-attention/worker-runtime';

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;

/** Compiles only if the value has exactly the type. */
declare function has<Expected>(): <Actual>(
  value: Actual,
  ...equal: Equal<Actual, Expected> extends true ? [] : [never]
) => void;

type Floats = WorkerTensor<'float32'>;
declare const sometimes: boolean;

export async function program(signal: AbortSignal): Promise<void> {
  const runtime = await createWorkerRuntime({
    threads: 2,
    worker: new URL('https://example.org/worker.mjs'),
  });
  const q = await runtime.tensor(new Float32Array(4), [1, 1, 2, 2], { transfer: true });
  has<Floats>()(q);
  has<Float32Array>()(await q.read());
  has<WorkerTensor<'int32'>>()(await runtime.tensor(new Int32Array(4)));
  has<Uint8Array>()(await (await runtime.tensor([true])).read());
  has<Floats>()(await runtime.empty([2]));
  has<WorkerTensor<'bool'>>()(await runtime.empty([2], 'bool'));
  const anyKind: WorkerTensor = q;

  const plain = await runtime.scaledDotProductAttention(q, q, q);
  has<Floats>()(plain.output);
  has<undefined>()(plain.weights);
  const asked = await runtime.scaledDotProductAttention(q, q, q, {
    mask: [causal(), main.slidingWindow({ left: 2 })],
    returnWeights: true,
    returnStatistics: true,
    signal,
    read: true,
  });
  has<Floats>()(asked.weights);
  has<undefined>()(asked.logSumExp);
  has<Floats>()(asked.statistics);
  has<Float32Array>()(await asked.weights.read());
  const maybe = await runtime.scaledDotProductAttention(q, q, q, { returnLogSumExp: sometimes });
  has<Floats | undefined>()(maybe.logSumExp);
  const general: WorkerAttentionResult = asked;
  has<Floats | undefined>()(general.weights);

  has<Floats>()(
    await runtime.attentionWeights(q, q, { statistics: asked.statistics, region: { keys: [0, 1] } }),
  );
  has<Floats>()(await runtime.softmax({ data: [1, 2], shape: [2] }, { axis: 0 }));
  has<main.TopKeys>()(await runtime.topKeys(q, q, 2));
  has<Floats>()((await runtime.mergeAttention([{ output: q, logSumExp: q }])).logSumExp);
  has<Floats>()(await runtime.variableLengthAttention(q, q, q, { cumulativeQueries: [0, 1] }));
  const layer = await runtime.multiHeadAttention({ embedDim: 8, numHeads: 2, rotary: {} });
  has<Floats>()((await layer.forward(q, { averageWeights: true })).weights);
  has<undefined>()((await layer.forward(q)).weights);
  const cache = await runtime.keyValueCache({ numKeyValueHeads: 2, headDim: 4, storage: 'int8' });
  has<Floats>()((await cache.attend(0, q, { returnWeights: true })).weights);
  has<Floats>()((await layer.forward(q, { cache })).output);
  const bytes: Uint8Array = await cache.snapshot();
  const blob = new Blob([await cache.snapshot()]);
  q[Symbol.dispose]();
  plain[Symbol.dispose]();

  // @ts-expect-error: the name is not known
  await runtime.scaledDotProductAttention(q, q, q, { isCausal: true });
  // @ts-expect-error: the worker has one runtime
  await runtime.softmax(q, { runtime });
  // @ts-expect-error: nothing was asked for
  await plain.weights.read();
  // @ts-expect-error: internal
  void q.link;
  // @ts-expect-error: internal
  void q.number;
  // @ts-expect-error: made by `tensor`
  new main.Tensor();
  void [anyKind, bytes, blob];
}
