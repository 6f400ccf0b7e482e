// `using`, where the compiler's library knows it: compiled by test/types/types.test.ts, never run.

import { createRuntime, MultiHeadAttention, scaledDotProductAttention } from 'wasm-attention';
import { createWorkerRuntime } from 'wasm-attention/worker-runtime';

export async function program(): Promise<number> {
  using runtime = await createRuntime();
  using q = runtime.empty([1, 1, 2, 4]);
  using result = scaledDotProductAttention(q, q, q);
  using layer = new MultiHeadAttention(runtime, { embedDim: 8, numHeads: 2 });
  using remote = await createWorkerRuntime();
  using far = await remote.softmax({ data: [1], shape: [1] });
  return result.output.data[0]! + layer.parameterCount + far.size;
}
