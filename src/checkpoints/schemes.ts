// How the authors of checkpoints name and pack the projections of an attention layer. Touch: a new naming scheme is an entry of
// `schemes`, a part of a layer that must not be left aside one of `changesTheMeaning`; nothing else knows of either.

/**
 * How the rows of query, key and value share one packed tensor.
 *
 * - `concatenated`: all query rows, then all key rows, then all value rows.
 * - `grouped`: for each key/value head the rows of its query heads, of itself as key and of itself as value.
 *   With as many key/value heads as query heads that is [heads, 3, headDim]; with a single one it equals
 *   `concatenated`.
 */
export type Packing = 'concatenated' | 'grouped';

export interface Scheme {
  /** Whose names these are, for error messages. */
  readonly name: string;
  /** Weight names of query, key and value, or the one name of the packed weight. */
  readonly weights: readonly string[];
  /** Bias names of the same. Every bias may be absent. */
  readonly biases: readonly string[];
  /** Alternative names of the output projection's module. */
  readonly outputs: readonly string[];
  readonly packing: Packing;
  /** `conv1d` weights are [in, out] as in GPT-2, `linear` ones [out, in]. */
  readonly orientation: 'linear' | 'conv1d';
}

type SchemeDetails = Partial<Pick<Scheme, 'packing' | 'orientation'>>;

/**
 * Every naming scheme that is understood. Names are relative to a common prefix; rows may share names as long
 * as the shapes tell them apart.
 *
 * Two checkpoints that names and shapes cannot tell from others are read as their more common namesake:
 * ChatGLM (concatenates its `query_key_value`) as GPT-NeoX, and GPT-BigCode with all heads (groups its
 * `c_attn`) as nanoGPT. Renaming their tensors to those of a row with the right packing loads them.
 *
 * A function, so that bundlers see that a program without layers does not need it.
 */
export const schemes = (): readonly Scheme[] => [
  tensors('PyTorch nn.MultiheadAttention', ['in_proj_weight'], ['in_proj_bias'], ['out_proj']),
  tensors(
    'PyTorch nn.MultiheadAttention with kdim or vdim',
    ['q_proj_weight', 'k_proj_weight', 'v_proj_weight'],
    ['in_proj_bias'],
    ['out_proj'],
  ),
  modules(
    'Llama, OPT, BART, CLIP, Whisper, Phi',
    ['q_proj', 'k_proj', 'v_proj'],
    ['o_proj', 'out_proj', 'dense'],
  ),
  modules('BERT, RoBERTa', ['self.query', 'self.key', 'self.value'], ['output.dense']),
  modules('Hugging Face ViT', ['attention.query', 'attention.key', 'attention.value'], ['output.dense']),
  modules('ALBERT, openai/whisper', ['query', 'key', 'value'], ['output.dense', 'dense', 'out', 'out_proj']),
  modules('DistilBERT, XLM', ['q_lin', 'k_lin', 'v_lin'], ['out_lin']),
  modules('T5, MPNet', ['q', 'k', 'v'], ['o']),
  modules('consolidated Llama', ['wq', 'wk', 'wv'], ['wo']),
  modules('diffusers', ['to_q', 'to_k', 'to_v'], ['to_out.0']),
  modules('GPT-2', ['c_attn'], ['c_proj'], { orientation: 'conv1d' }),
  modules('nanoGPT, Qwen 1, multi-query GPT-BigCode', ['c_attn'], ['c_proj']),
  modules('GPT-NeoX, BLOOM, Falcon', ['query_key_value'], ['dense'], { packing: 'grouped' }),
  modules('InternLM2', ['wqkv'], ['wo'], { packing: 'grouped' }),
  modules('timm, BLIP', ['qkv'], ['proj', 'projection']),
  modules('Phi-3', ['qkv_proj'], ['o_proj']),
  modules('MPT, ModernBERT', ['Wqkv'], ['out_proj', 'Wo']),
];

/** Neighbours of the projections that change the result: leaving them out would be silently wrong. */
export const changesTheMeaning = (): ReadonlyMap<string, string> =>
  new Map([
    ['bias_k', 'no extra key (add_bias_kv)'],
    ['bias_v', 'no extra value (add_bias_kv)'],
    ['q_bias', 'biases beside their weights'],
    ['v_bias', 'biases beside their weights'],
    ...['q_norm', 'k_norm', 'q_layernorm', 'k_layernorm', 'norm_q', 'norm_k'].map(
      (name) => [`${name}.weight`, 'no normalisation of queries and keys'] as const,
    ),
  ]);

function tensors(
  name: string,
  weights: readonly string[],
  biases: readonly string[],
  outputs: readonly string[],
  details: SchemeDetails = {},
): Scheme {
  return { name, weights, biases, outputs, packing: 'concatenated', orientation: 'linear', ...details };
}

/** A scheme of PyTorch modules, each of which has a `weight` and perhaps a `bias`. */
function modules(
  name: string,
  inputs: readonly string[],
  outputs: readonly string[],
  details?: SchemeDetails,
): Scheme {
  const weights = inputs.map((module) => `${module}.weight`);
  const biases = inputs.map((module) => `${module}.bias`);
  return tensors(name, weights, biases, outputs, details);
}
