// Whole models for the suite of bits: a small decoder like Llama and a small encoder like BERT, with weights from integers alone.

import type { Random } from './reference/random.js';

type Library = typeof import('wasm-attention') & typeof import('wasm-attention/model');

interface Tensors {
  readonly [name: string]: readonly number[];
}

const LLAMA = {
  model_type: 'llama',
  architectures: ['LlamaForCausalLM'],
  ...{ vocab_size: 61, hidden_size: 42, intermediate_size: 70, num_hidden_layers: 2, head_dim: 12 },
  ...{ num_attention_heads: 6, num_key_value_heads: 2, hidden_act: 'silu', rms_norm_eps: 1e-5 },
  ...{ max_position_embeddings: 256, rope_theta: 10000, tie_word_embeddings: false },
  rope_scaling: {
    ...{ rope_type: 'llama3', factor: 8, low_freq_factor: 1, high_freq_factor: 4 },
    original_max_position_embeddings: 32,
  },
};

const BERT = {
  model_type: 'bert',
  architectures: ['BertModel'],
  ...{ vocab_size: 61, hidden_size: 36, intermediate_size: 50, num_hidden_layers: 2, num_attention_heads: 3 },
  ...{ hidden_act: 'gelu', layer_norm_eps: 1e-12, max_position_embeddings: 64, type_vocab_size: 2 },
};

const layers = (make: (layer: number) => Tensors): Tensors => ({ ...make(0), ...make(1) });

const llamaTensors: Tensors = {
  'model.embed_tokens.weight': [61, 42],
  'model.norm.weight': [42],
  'lm_head.weight': [61, 42],
  ...layers((layer) => {
    const own = `model.layers.${layer}.`;
    return {
      [`${own}input_layernorm.weight`]: [42],
      [`${own}post_attention_layernorm.weight`]: [42],
      [`${own}self_attn.q_proj.weight`]: [72, 42],
      [`${own}self_attn.k_proj.weight`]: [24, 42],
      [`${own}self_attn.v_proj.weight`]: [24, 42],
      [`${own}self_attn.o_proj.weight`]: [42, 72],
      [`${own}mlp.gate_proj.weight`]: [70, 42],
      [`${own}mlp.up_proj.weight`]: [70, 42],
      [`${own}mlp.down_proj.weight`]: [42, 70],
    };
  }),
};

const withBias = (name: string, ...shape: number[]): Tensors => ({
  [`${name}.weight`]: shape,
  [`${name}.bias`]: shape.slice(0, 1),
});

const bertTensors: Tensors = {
  'embeddings.word_embeddings.weight': [61, 36],
  'embeddings.position_embeddings.weight': [64, 36],
  'embeddings.token_type_embeddings.weight': [2, 36],
  ...withBias('embeddings.LayerNorm', 36),
  ...withBias('pooler.dense', 36, 36),
  ...layers((layer) => {
    const own = `encoder.layer.${layer}.`;
    return {
      ...withBias(`${own}attention.self.query`, 36, 36),
      ...withBias(`${own}attention.self.key`, 36, 36),
      ...withBias(`${own}attention.self.value`, 36, 36),
      ...withBias(`${own}attention.output.dense`, 36, 36),
      ...withBias(`${own}attention.output.LayerNorm`, 36),
      ...withBias(`${own}intermediate.dense`, 50, 36),
      ...withBias(`${own}output.dense`, 36, 50),
      ...withBias(`${own}output.LayerNorm`, 36),
    };
  }),
};

/** A file of tensors from -0.5 to 0.5, those of norms from 0.5 to 1.5. */
function fileOf({ writeSafetensors }: Library, random: Random, tensors: Tensors): Promise<Uint8Array> {
  return writeSafetensors(
    Object.entries(tensors).map(([name, shape]) => {
      const size = shape.reduce((product, length) => product * length, 1);
      const shift = /norm\.weight$/i.test(name) ? 0.5 : -0.5;
      const data = random.array(size, 'uniform').map((x) => 0.5 * x + 0.5 + shift);
      return [name, { dtype: 'F32', shape, data }] as const;
    }),
  );
}

/** Records what the models give. */
export async function modelBits(
  library: Library,
  random: Random,
  record: (name: string, result: { data: ArrayBufferView }) => void,
): Promise<void> {
  const { createRuntime, loadModel } = library;
  const runtime = await createRuntime({ build: 'simd' });
  const families = [library.llama, library.bert];
  const ids = (count: number) => Array.from({ length: count }, () => random.integer(0, 60));

  const llama = await loadModel({
    ...{ config: LLAMA, weights: await fileOf(library, random, llamaTensors), runtime, families },
  });
  const prompts = [ids(40), ids(17)];
  const whole = llama.forward({ inputIds: prompts }, { returnWeights: true });
  record('llama, hidden state of a long text', whole.lastHiddenState!.slice(0, 0, 1));
  record('llama, logits of a long text', whole.logits!.slice(0, 0, 1));
  record('llama, weights', whole.attentions![1]!);
  const steps: number[] = [];
  const options = { maxNewTokens: 10, stopTokens: [], temperature: 0.9, topP: 0.95, seed: 5 };
  for await (const { tokens, logProbabilities } of llama.generate({ inputIds: prompts }, options))
    steps.push(...tokens, ...logProbabilities);
  record('llama, drawn tokens and their probabilities', { data: Float64Array.from(steps) });
  llama.dispose();

  const bert = await loadModel({
    ...{ config: BERT, weights: await fileOf(library, random, bertTensors), runtime, families },
  });
  const text = bert.forward({
    inputIds: [ids(33)],
    tokenTypeIds: [Array.from({ length: 33 }, (_, i) => Number(i > 15))],
  });
  record('bert, hidden state', text.lastHiddenState!);
  record('bert, pooled', text.poolerOutput!);
  bert.dispose();
  runtime.dispose();
}
