// What programs see of `wasm-attention`: compiled by test/types/types.test.ts, never run.

import * as api from 'wasm-attention';
import { createRuntime as createSlimRuntime, softmax as slimSoftmax } from 'wasm-attention/slim';
import type { DataType, MultiHeadAttentionOptions, TensorData, TensorLike } from 'wasm-attention';

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;

/** Compiles only if the value has exactly the type. */
declare function has<Expected>(): <Actual>(
  value: Actual,
  ...equal: Equal<Actual, Expected> extends true ? [] : [never]
) => void;

type Floats = api.Tensor<'float32'>;
declare const runtime: api.Runtime;
declare const q: Floats;
declare const weights: api.LinearWeights;
declare const layer: api.MultiHeadAttention;
declare const cache: api.KeyValueCache;
declare const sometimes: boolean;

// Tensors know the kind of their elements.
has<Floats>()(runtime.tensor([1, 2]));
has<Floats>()(runtime.tensor(new Float64Array(2), [2]));
has<api.Tensor<'int32'>>()(runtime.tensor(new Int32Array(2)));
has<api.Tensor<'bool'>>()(runtime.tensor([true]));
has<Floats>()(runtime.empty([2]));
has<api.Tensor<'bool'>>()(runtime.empty([2], 'bool'));
has<Floats>()(q.reshape([1]).transpose(0, 1).slice(0, 0, 1));
has<Float32Array>()(q.data);
has<Int32Array>()(runtime.empty([2], 'int32').data);
declare const unknownKind: api.Tensor;
has<TensorData>()(unknownKind.data);
const anyKind: api.Tensor = q;
const kinds: readonly DataType[] = [anyKind.dtype, q.dtype];

// Results are float32, and there if they were asked for.
const plain = api.scaledDotProductAttention(q, q, q);
has<Floats>()(plain.output);
has<undefined>()(plain.weights);
has<undefined>()(plain.logSumExp);
has<undefined>()(plain.statistics);
has<undefined>()(api.scaledDotProductAttention(q, q, q, { causal: true, returnWeights: false }).weights);
const asked = api.scaledDotProductAttention(q, q, q, {
  causal: 'lower-right',
  returnWeights: true,
  returnLogSumExp: true,
  returnStatistics: true,
});
has<Floats>()(asked.weights);
has<Floats>()(asked.logSumExp);
has<Floats>()(asked.statistics);
has<Float32Array>()(asked.weights.data);
const maybe = api.scaledDotProductAttention(q, q, q, { returnWeights: sometimes });
has<Floats | undefined>()(maybe.weights);
has<undefined>()(maybe.logSumExp);
const options: api.ScaledDotProductAttentionOptions = { returnWeights: true };
has<Floats | undefined>()(api.scaledDotProductAttention(q, q, q, options).weights);
const fixed = { window: { left: 3 }, returnWeights: true } as const;
has<Floats>()(api.scaledDotProductAttention(q, q, q, fixed).weights);
const general: api.AttentionResult = asked;
has<Floats | undefined>()(general.weights);

export async function asynchronous(signal: AbortSignal): Promise<void> {
  const result = await api.scaledDotProductAttentionAsync(q, q, q, { signal, returnWeights: true });
  has<Floats>()(result.weights);
  has<undefined>()(result.logSumExp);
  has<Floats>()((await api.mergeAttentionAsync([asked], { runtime, signal })).logSumExp);
  has<Floats>()(await api.linearAsync(q, weights));
  has<Floats>()((await layer.forwardAsync(q, { averageWeights: true, signal })).weights);
  has<Floats>()((await cache.attendAsync(0, q, { returnLogSumExp: true, signal })).logSumExp);
  has<api.TopKeys>()(await api.topKeysAsync(q, q, 2, { signal }));
  has<api.Runtime>()(await api.createRuntime({ threads: { count: 'auto', required: false } }));
  has<api.Runtime>()(await createSlimRuntime({ wasm: { simd: '/simd.wasm' }, deterministic: true }));
}

has<Floats>()(api.softmax(q, { axis: -1 }));
has<Floats>()(slimSoftmax(q));
has<Floats>()(
  api.attentionWeights(q, q, { ...fixed, statistics: asked.statistics, region: { heads: [0, 1] } }),
);
has<Floats>()(api.attentionEntropy(q, q, fixed));
has<Floats>()(api.receivedWeight(q, q, { queries: [0, 1] }));
has<Floats>()(api.linearAttention(q, q, q));
has<Floats>()(api.variableLengthAttention(q, q, q, { cumulativeQueries: [0, 1], causal: true }));
has<Floats>()(
  api.rotaryEmbedding(q, { scaling: { type: 'yarn', factor: 2, originalLength: 8, betaFast: undefined } }),
);
const merged = api.mergeAttention([asked, { output: q, logSumExp: q }]);
has<Floats>()(merged.logSumExp);
has<undefined>()(merged.weights);

has<Floats>()(layer.forward(q).output);
has<undefined>()(layer.forward(q).weights);
has<Floats>()(layer.forward(q, { returnWeights: true }).weights);
has<Floats>()(layer.forward(q, { averageWeights: true }).weights);
has<Floats>()(layer.forward(q, { returnWeights: sometimes, averageWeights: true }).weights);
has<Floats | undefined>()(layer.forward(q, { returnWeights: sometimes }).weights);
has<Floats>()(layer.forward(q, { cache, returnLogSumExp: true }).logSumExp);
has<Floats>()(cache.attend(0, q, { returnWeights: true }).weights);
has<undefined>()(cache.attend(0, q).logSumExp);

// Undefined stands for an option that is left out, everywhere.
const sizes: MultiHeadAttentionOptions = { embedDim: 8, numHeads: 2, bias: undefined, rotary: undefined };
api.scaledDotProductAttention(q, q, q, { causal: undefined, mask: undefined, returnWeights: undefined });
api.customMask({ keeps: () => true, block: undefined, perHead: undefined });
new api.MultiHeadAttention(runtime, { ...sizes, window: { left: undefined, right: 0 } });

// Inputs of other libraries.
const inputs: TensorLike[] = [
  q,
  { data: [1, 2], shape: [2] },
  { data: new Float32Array(2), dims: [2] },
  { data: new Uint16Array(2), dims: [2], type: 'float16' },
  { dataSync: () => new Float32Array(2), shape: [2] },
];
const bytes: Uint8Array = cache.snapshot();
const blob: Blob = new Blob([cache.snapshot()]);
const error = new api.AttentionError({ code: 'INVALID_ARGUMENT', argument: 'x' });
const code: api.AttentionErrorCode = error.code;
q[Symbol.dispose]();
asked[Symbol.dispose]();
runtime[Symbol.dispose]();

// @ts-expect-error: the name is not known
api.scaledDotProductAttention(q, q, q, { isCausal: true });
// @ts-expect-error: the name is not known
api.scaledDotProductAttention(q, q, q, { causal: true, returnWeight: true });
// @ts-expect-error: the name is not known, one level down
api.scaledDotProductAttention(q, q, q, { window: { lefft: 1 } });
// @ts-expect-error: only asynchronous forms take a signal
api.softmax(q, { signal: AbortSignal.abort() });
// @ts-expect-error: the name is not known
layer.forward(q, { returnWeigths: true });
// @ts-expect-error: not a kind of element
runtime.empty([1], 'float64');
// @ts-expect-error: nothing was asked for
plain.weights.data;
// @ts-expect-error: shapes are not to be written
q.shape[0] = 1;

// What is internal is not in the types.
// @ts-expect-error
runtime.kernels;
// @ts-expect-error
runtime.linearMemory;
// @ts-expect-error
runtime.threads;
// @ts-expect-error
runtime.copyOf;
// @ts-expect-error
q.address;
// @ts-expect-error
q.retain();
// @ts-expect-error
q.withLayout([1], [1]);
// @ts-expect-error
q.memory;
// @ts-expect-error
weights.packed;
// @ts-expect-error
cache.appendRows;
// @ts-expect-error
api.causal().recipe;
// @ts-expect-error
new api.Tensor();
// @ts-expect-error
new api.Runtime();
// @ts-expect-error
new api.AttentionResult();
// @ts-expect-error
new api.KeyValueCache(runtime, { numKeyValueHeads: 1, headDim: 1 }, {});
// @ts-expect-error
api.createRuntime({}, {});

export { anyKind, blob, bytes, code, inputs, kinds };
