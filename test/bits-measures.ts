// Measures for the suite of bits: what heads of random layers do, of records and of weights as numbers, and rollouts of both. Only types
// are imported from the package, and nothing of Node: it runs in pages and in workers too.

import { Random } from './reference/random.js';

/** The package, and its entry `measures`. */
export type MeasuresLibrary = typeof import('wasm-attention') & typeof import('wasm-attention/measures');

const TOKENS = 90;

/** The hash of every result is recorded under its name. */
export async function measuresBits(
  {
    attentionRollout,
    attentionWeights,
    createRuntime,
    headMeasures,
    scaledDotProductAttention,
  }: MeasuresLibrary,
  record: (name: string, result: { data: ArrayBufferView }) => void,
): Promise<void> {
  const runtime = await createRuntime({ build: 'simd' });
  const random = new Random(48);
  const tensor = (heads: number) =>
    runtime.tensor(
      random.array(heads * TOKENS * 8, 'uniform').map((x) => 6 * x - 3),
      [1, heads, TOKENS, 8],
    );
  const records = [0, 1].map(() => {
    const [q, k] = [tensor(4), tensor(2)];
    return scaledDotProductAttention(q, k, k, { causal: true, returnRecord: true }).record;
  });
  const weights = records.map((each) => attentionWeights(each));
  const inputIds = Array.from({ length: TOKENS }, () => random.integer(0, 25));
  for (const [name, layers] of [
    ['records', records],
    ['weights', weights],
  ] as const) {
    const heads = headMeasures(layers, { inputIds, maxDistance: 4, runtime });
    const numbers = heads.flatMap(
      ({ previousToken, firstToken, diagonal, duplicateToken, induction, ...more }) => [
        ...[previousToken, firstToken, diagonal, duplicateToken, induction, more.entropy],
        ...more.distanceProfile,
      ],
    );
    record(`head measures, ${name}`, { data: Float64Array.from(numbers) });
    record(`rollout, ${name}, rows`, attentionRollout(layers, { outputs: [TOKENS - 1, [3, 40]] }));
    record(`rollout, ${name}, columns`, attentionRollout(layers, { inputs: [0, [3, 40]] }));
  }
  runtime.dispose();
}
