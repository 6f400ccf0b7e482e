// Transformers of published families in float64, in plain loops over nested arrays: what tests hold src/model against. Knows nothing of
// src/: names of tensors and what settings mean are written down here a second time, after each family's own model code. Weights come
// from whoever is asked for them by name and shape, so that a run is also the list of what its checkpoint has to hold.

/* eslint-disable @typescript-eslint/no-explicit-any, @typescript-eslint/no-unsafe-assignment, @typescript-eslint/no-unsafe-argument,
   @typescript-eslint/no-unsafe-return, @typescript-eslint/no-unsafe-member-access -- a config is any JSON */

type Row = number[];
type Rows = Row[];
/** Numbers in arrays of arrays. */
export type Nested = number | readonly Nested[];

/** What a tensor is for: random ones are drawn accordingly. */
export type Kind = 'matrix' | 'bias' | 'norm' | 'table';

export interface WeightSource {
  /** Row-major values. */
  tensor(name: string, shape: readonly number[], kind: Kind): ArrayLike<number>;
}

/** One row of a batch. */
export interface RowInputs {
  readonly input_ids?: readonly number[];
  readonly attention_mask?: readonly number[];
  readonly token_type_ids?: readonly number[];
  readonly position_ids?: readonly number[];
  /** [channels][height][width] */
  readonly pixel_values?: number[][][];
  /** [bins][frames] */
  readonly input_features?: number[][];
  readonly decoder_input_ids?: readonly number[];
}

type Config = Readonly<Record<string, any>>;
type Outputs = Record<string, Nested>;

// Parts

const range = <Item>(count: number, make: (i: number) => Item): Item[] =>
  Array.from({ length: count }, (_, i) => make(i));
const dot = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
};
const add = (a: Rows, b: Rows): Rows => a.map((row, i) => row.map((value, c) => value + b[i]![c]!));
const timesVector = (a: Rows, factors: Row): Rows =>
  a.map((row) => row.map((value, c) => value * factors[c]!));

/** Abramowitz and Stegun's series and continued fraction: full float64 precision is not needed, 1e-13 is. */
function erf(x: number): number {
  const a = Math.abs(x);
  if (a < 3) {
    let [term, sum] = [a, a];
    for (let n = 1; n < 120; n++) {
      term *= (-a * a) / n;
      sum += term / (2 * n + 1);
    }
    return (Math.sign(x) * 2 * sum) / Math.sqrt(Math.PI);
  }
  let fraction = 0;
  for (let n = 60; n > 0; n--) fraction = n / 2 / (a + fraction);
  return Math.sign(x) * (1 - Math.exp(-a * a) / (Math.sqrt(Math.PI) * (a + fraction)));
}

const geluTanh = (x: number): number =>
  0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
const silu = (x: number): number => x / (1 + Math.exp(-x));
const ACTIVATIONS: Record<string, (x: number) => number> = {
  gelu: (x) => 0.5 * x * (1 + erf(x / Math.SQRT2)),
  gelu_new: geluTanh,
  gelu_fast: geluTanh,
  gelu_pytorch_tanh: geluTanh,
  relu: (x) => Math.max(0, x),
  silu,
  swish: silu,
  quick_gelu: (x) => x / (1 + Math.exp(-1.702 * x)),
  tanh: Math.tanh,
};

function activate(x: Rows, name: string): Rows {
  const activation = ACTIVATIONS[name];
  if (!activation) throw new Error(`no activation ${name}`);
  return x.map((row) => row.map(activation));
}

/** The weights under a prefix, and what is done with them. */
class Module {
  constructor(
    readonly source: WeightSource,
    readonly prefix = '',
  ) {}

  under(prefix: string): Module {
    return new Module(this.source, this.prefix + prefix);
  }

  vector(name: string, length: number, kind: Kind): Row {
    return Array.from(this.source.tensor(this.prefix + name, [length], kind));
  }

  table(name: string, rows: number, columns: number, kind: Kind = 'table', leading: number[] = []): Rows {
    const data = this.source.tensor(this.prefix + name, [...leading, rows, columns], kind);
    return range(rows, (r) => range(columns, (c) => data[r * columns + c]!));
  }

  linear(name: string, x: Rows, outputs: number, bias = true): Rows {
    const weight = this.table(`${name}.weight`, outputs, x[0]!.length, 'matrix');
    return product(x, weight, bias ? this.vector(`${name}.bias`, outputs, 'bias') : undefined);
  }

  /** Weights [in, out]. */
  conv1d(name: string, x: Rows, outputs: number): Rows {
    const stored = this.table(`${name}.weight`, x[0]!.length, outputs, 'matrix');
    const weight = range(outputs, (o) => stored.map((row) => row[o]!));
    return product(x, weight, this.vector(`${name}.bias`, outputs, 'bias'));
  }

  layerNorm(name: string, x: Rows, epsilon: number, parts: 'both' | 'weight' | 'none' = 'both'): Rows {
    const channels = x[0]!.length;
    const weight = parts === 'none' ? undefined : this.vector(`${name}.weight`, channels, 'norm');
    const bias = parts === 'both' ? this.vector(`${name}.bias`, channels, 'bias') : undefined;
    return x.map((row) => {
      const mean = row.reduce((sum, value) => sum + value, 0) / channels;
      const variance = row.reduce((sum, value) => sum + (value - mean) ** 2, 0) / channels;
      return row.map(
        (value, c) =>
          ((value - mean) / Math.sqrt(variance + epsilon)) * (weight?.[c] ?? 1) + (bias?.[c] ?? 0),
      );
    });
  }

  rmsNorm(name: string, x: Rows, epsilon: number, offset = 0): Rows {
    const weight = this.vector(`${name}.weight`, x[0]!.length, 'norm');
    return x.map((row) => {
      const root = Math.sqrt(dot(row, row) / row.length + epsilon);
      return row.map((value, c) => (value / root) * (weight[c]! + offset));
    });
  }
}

const product = (x: Rows, weight: Rows, bias?: Row): Rows =>
  x.map((row) => weight.map((w, o) => dot(row, w) + (bias?.[o] ?? 0)));

interface Attention {
  readonly heads: number;
  readonly keyHeads?: number;
  readonly scale: number;
  readonly keep: (query: number, key: number) => boolean;
  readonly bias?: ((head: number, query: number, key: number) => number) | undefined;
  readonly softcap?: number | undefined;
}

/** Queries, keys and values of all heads beside each other; what comes out lies so, too. */
function attend(
  q: Rows,
  k: Rows,
  v: Rows,
  { heads, keyHeads = heads, scale, keep, bias, softcap }: Attention,
): { out: Rows; weights: Nested } {
  const dim = q[0]!.length / heads;
  const part = (row: Row, head: number): Row => row.slice(head * dim, (head + 1) * dim);
  const out = q.map((): Row => []);
  const weights = range(heads, (head) => {
    const own = Math.floor(head / (heads / keyHeads));
    return q.map((query, i) => {
      const scores = k.map((key, j) => {
        if (!keep(i, j)) return -Infinity;
        const score = scale * dot(part(query, head), part(key, own));
        return (softcap ? softcap * Math.tanh(score / softcap) : score) + (bias?.(head, i, j) ?? 0);
      });
      const most = Math.max(...scores);
      const powers = scores.map((score) => Math.exp(score - (most === -Infinity ? 0 : most)));
      const sum = powers.reduce((total, power) => total + power, 0);
      const row = powers.map((power) => (sum > 0 ? power / sum : 0));
      out[i]!.push(
        ...range(dim, (c) => row.reduce((total, weight, j) => total + weight * v[j]![own * dim + c]!, 0)),
      );
      return row;
    });
  });
  return { out, weights };
}

/** Angles per position: frequencies of pairs, and a factor on sines and cosines. */
interface Frequencies {
  readonly inverse: Row;
  readonly factor: number;
}

function frequencies(
  dim: number,
  base: number,
  scaling: Config | undefined,
  longest: number,
  length: number,
): Frequencies {
  const plain = (by: number): Row => range(dim / 2, (i) => by ** (-(2 * i) / dim));
  const type = scaling?.['rope_type'] ?? scaling?.['type'] ?? 'default';
  const inverse = plain(base);
  const factor = scaling?.['factor'];
  switch (type) {
    case 'default':
      return { inverse, factor: 1 };
    case 'linear':
      return { inverse: inverse.map((f) => f / factor), factor: 1 };
    case 'dynamic': {
      const seen = Math.max(length, longest);
      return {
        inverse: plain(base * ((factor * seen) / longest - (factor - 1)) ** (dim / (dim - 2))),
        factor: 1,
      };
    }
    case 'llama3': {
      const {
        low_freq_factor: low,
        high_freq_factor: high,
        original_max_position_embeddings: old,
      } = scaling as any;
      return {
        inverse: inverse.map((f) => {
          const wave = (2 * Math.PI) / f;
          if (wave < old / high) return f;
          if (wave > old / low) return f / factor;
          const smooth = (old / wave - low) / (high - low);
          return ((1 - smooth) * f) / factor + smooth * f;
        }),
        factor: 1,
      };
    }
    case 'yarn': {
      const old = scaling!['original_max_position_embeddings'] ?? longest;
      const turns = (rotations: number): number =>
        (dim * Math.log(old / (rotations * 2 * Math.PI))) / (2 * Math.log(base));
      const from = Math.max(Math.floor(turns(scaling!['beta_fast'] ?? 32)), 0);
      const to = Math.min(Math.ceil(turns(scaling!['beta_slow'] ?? 1)), dim - 1);
      const span = to === from ? 0.001 : to - from;
      const { attention_factor: given, mscale, mscale_all_dim: all } = scaling as any;
      const growth = (by: number): number => (factor <= 1 ? 1 : 0.1 * by * Math.log(factor) + 1);
      return {
        inverse: inverse.map((f, i) => {
          const ramp = Math.min(1, Math.max(0, (i - from) / span));
          return (f / factor) * ramp + f * (1 - ramp);
        }),
        factor: given ?? (mscale && all ? growth(mscale) / growth(all) : growth(1)),
      };
    }
    default:
      throw new Error(`no rotary scaling ${type}`);
  }
}

/** Rotates the first channels of each head: pairs half of them apart, or neighbours. */
function rotate(
  x: Rows,
  heads: number,
  positions: readonly number[],
  { inverse, factor }: Frequencies,
  neighbours = false,
): Rows {
  const dim = x[0]!.length / heads;
  const half = inverse.length;
  return x.map((row, i) => {
    const out = [...row];
    for (let head = 0; head < heads; head++) {
      inverse.forEach((frequency, pair) => {
        const first = head * dim + (neighbours ? 2 * pair : pair);
        const second = first + (neighbours ? 1 : half);
        const [cos, sin] = [
          Math.cos(positions[i]! * frequency) * factor,
          Math.sin(positions[i]! * frequency) * factor,
        ];
        out[first] = row[first]! * cos - row[second]! * sin;
        out[second] = row[second]! * cos + row[first]! * sin;
      });
    }
    return out;
  });
}

/** Norm of each head's channels by itself. */
function byHead(x: Rows, heads: number, norm: (rows: Rows) => Rows): Rows {
  const dim = x[0]!.length / heads;
  return x.map((row) => norm(range(heads, (h) => row.slice(h * dim, (h + 1) * dim))).flat());
}

/** Three matrices one after the other in each head's channels. */
function unpackHeads(x: Rows, heads: number): [Rows, Rows, Rows] {
  const dim = x[0]!.length / heads / 3;
  const pick = (which: number): Rows =>
    x.map((row) => range(heads, (h) => row.slice((3 * h + which) * dim, (3 * h + which + 1) * dim)).flat());
  return [pick(0), pick(1), pick(2)];
}

const columns = (x: Rows, from: number, to: number): Rows => x.map((row) => row.slice(from, to));

/** T5's and MPNet's buckets of distances. */
function bucket(distance: number, buckets: number, most: number, both: boolean): number {
  let [result, far, count] = [0, -distance, buckets];
  if (both) {
    count = Math.floor(buckets / 2);
    if (far < 0) result += count;
    far = Math.abs(far);
  } else far = Math.max(far, 0);
  const exact = Math.floor(count / 2);
  if (far < exact) return result + far;
  const large = exact + Math.trunc((Math.log(far / exact) / Math.log(most / exact)) * (count - exact));
  return result + Math.min(large, count - 1);
}

const maskOf = ({ attention_mask: mask, input_ids: ids = [] }: RowInputs): readonly number[] =>
  mask ?? ids.map(() => 1);

/** What one run leaves behind, by the names that expected.json uses. */
class Trace {
  readonly outputs: Outputs = {};
  constructor(readonly prefix = '') {}
  state(layer: number, x: Rows): void {
    this.outputs[`${this.prefix}hidden_states.${layer}`] = x.map((row) => [...row]);
  }
  weights(layer: number, weights: Nested): void {
    this.outputs[`${this.prefix}attentions.${layer}`] = weights;
  }
  last(x: Rows): void {
    this.outputs[`${this.prefix}last_hidden_state`] = x;
  }
}

/** The heads of decoders. */
function decoderHead(
  config: Config,
  root: Module,
  x: Rows,
  inputs: RowInputs,
  head: { name: string; table: Rows; tied: boolean; bias?: boolean; softcap?: number },
): Outputs {
  const architecture: string = config['architectures']?.[0] ?? '';
  const labels = Object.keys(config['id2label'] ?? { 0: 0, 1: 1 }).length;
  if (architecture.endsWith('ForSequenceClassification')) {
    const last = maskOf(inputs).lastIndexOf(1);
    return { logits: root.linear('score', [x[last]!], labels, false)[0]! };
  }
  if (architecture.endsWith('ForTokenClassification')) {
    const name = /^(GPT2|Bloom|GPTNeoX)/.test(architecture) ? 'classifier' : 'score';
    return { logits: root.linear(name, x, labels) };
  }
  if (architecture.endsWith('ForQuestionAnswering')) return spans(root.linear('qa_outputs', x, 2));
  if (!/(LMHeadModel|ForCausalLM)$/.test(architecture)) return {};
  const logits = head.tied
    ? product(
        x,
        head.table,
        head.bias ? root.vector(`${head.name}.bias`, head.table.length, 'bias') : undefined,
      )
    : root.linear(head.name, x, head.table.length, head.bias ?? false);
  const { softcap } = head;
  return {
    logits: softcap ? logits.map((row) => row.map((value) => softcap * Math.tanh(value / softcap))) : logits,
  };
}

const spans = (logits: Rows): Outputs => ({
  start_logits: logits.map((row) => row[0]!),
  end_logits: logits.map((row) => row[1]!),
});

// Families

const SLIDING = 'sliding_attention';

/** Llama, Mistral, Qwen 2 and 3, OLMo 2, Gemma 2 and 3. */
function llamaKin(config: Config, root: Module, inputs: RowInputs): Outputs {
  const type: string = config['model_type'];
  const gemma = type.startsWith('gemma');
  const base = /(ForCausalLM|Classification|QuestionAnswering)$/.test(config['architectures'][0])
    ? root.under('model.')
    : root;
  const { hidden_size: width, num_attention_heads: heads, num_hidden_layers: layers } = config as any;
  const keyHeads: number = config['num_key_value_heads'] ?? heads;
  const dim: number = config['head_dim'] ?? (gemma ? 256 : type === 'qwen3' ? 128 : width / heads);
  const epsilon: number = config['rms_norm_eps'];
  const offset = gemma ? 1 : 0;
  const ids = inputs.input_ids!;
  const mask = maskOf(inputs);
  const positions = inputs.position_ids ?? ids.map((_, i) => i);
  const table = base.table('embed_tokens.weight', config['vocab_size'], width);
  let x = ids.map((id) => table[id]!.map((value) => value * (gemma ? Math.sqrt(width) : 1)));
  const window = config['sliding_window'] as number | undefined;
  const slides = (layer: number): boolean => {
    const listed = config['layer_types'] as string[] | undefined;
    if (listed) return listed[layer] === SLIDING;
    if (type === 'mistral') return window != null;
    if (type.startsWith('qwen'))
      return config['use_sliding_window'] === true && layer >= config['max_window_layers'];
    if (type === 'gemma2') return (layer + 1) % 2 !== 0;
    if (type === 'gemma3_text') return (layer + 1) % config['sliding_window_pattern'] !== 0;
    return false;
  };
  const longest: number = config['max_position_embeddings'];
  const length = Math.max(...positions) + 1;
  const far = frequencies(
    dim,
    config['rope_theta'] ?? 10000,
    config['rope_scaling'] ?? undefined,
    longest,
    length,
  );
  const near =
    type === 'gemma3_text'
      ? frequencies(dim, config['rope_local_base_freq'], undefined, longest, length)
      : far;
  const trace = new Trace();
  const qkvBias = type === 'qwen2' || config['attention_bias'] === true;
  const outputBias = type !== 'qwen2' && config['attention_bias'] === true;
  const activation: string = (gemma ? config['hidden_activation'] : config['hidden_act']) ?? 'silu';
  for (let layer = 0; layer < layers; layer++) {
    trace.state(layer, x);
    const block = base.under(`layers.${layer}.`);
    const norm = (name: string, rows: Rows): Rows => block.rmsNorm(name, rows, epsilon, offset);
    const entered = type === 'olmo2' ? x : norm('input_layernorm', x);
    let q = block.linear('self_attn.q_proj', entered, heads * dim, qkvBias);
    let k = block.linear('self_attn.k_proj', entered, keyHeads * dim, qkvBias);
    const v = block.linear('self_attn.v_proj', entered, keyHeads * dim, qkvBias);
    if (type === 'qwen3' || type === 'gemma3_text') {
      q = byHead(q, heads, (rows) => norm('self_attn.q_norm', rows));
      k = byHead(k, keyHeads, (rows) => norm('self_attn.k_norm', rows));
    } else if (type === 'olmo2') {
      q = norm('self_attn.q_norm', q);
      k = norm('self_attn.k_norm', k);
    }
    const angles = slides(layer) ? near : far;
    const { out, weights } = attend(
      rotate(q, heads, positions, angles),
      rotate(k, keyHeads, positions, angles),
      v,
      {
        ...{ heads, keyHeads, softcap: config['attn_logit_softcapping'] ?? undefined },
        scale: 1 / Math.sqrt(gemma ? config['query_pre_attn_scalar'] : dim),
        keep: (i, j) => j <= i && mask[j] === 1 && (!slides(layer) || j > i - window!),
      },
    );
    trace.weights(layer, weights);
    let branch = block.linear('self_attn.o_proj', out, width, outputBias);
    if (gemma || type === 'olmo2') branch = norm('post_attention_layernorm', branch);
    x = add(x, branch);
    const second =
      type === 'olmo2' ? x : norm(gemma ? 'pre_feedforward_layernorm' : 'post_attention_layernorm', x);
    const mlp = block.under('mlp.');
    const mlpBias = config['mlp_bias'] === true;
    const inner: number = config['intermediate_size'];
    const gate = activate(mlp.linear('gate_proj', second, inner, mlpBias), activation);
    const up = mlp.linear('up_proj', second, inner, mlpBias);
    branch = mlp.linear(
      'down_proj',
      gate.map((row, i) => row.map((value, c) => value * up[i]![c]!)),
      width,
      mlpBias,
    );
    if (gemma || type === 'olmo2') branch = norm('post_feedforward_layernorm', branch);
    x = add(x, branch);
  }
  x = base.rmsNorm('norm', x, epsilon, offset);
  trace.last(x);
  const head = {
    name: 'lm_head',
    table,
    tied: config['tie_word_embeddings'] ?? gemma,
    softcap: config['final_logit_softcapping'] ?? undefined,
  };
  return { ...trace.outputs, ...decoderHead(config, root, x, inputs, head) };
}

/** GPT-2, GPT-J, GPT-NeoX, Phi, BLOOM, OPT: decoders with layer norms; and GPT-2 without feed-forward layers. */
function gptKin(config: Config, root: Module, inputs: RowInputs): Outputs {
  const attentionOnly = config['model_type'] === 'attention_only';
  const type: string = attentionOnly ? 'gpt2' : config['model_type'];
  const positionKind = attentionOnly ? (config['position_embedding'] ?? 'learned') : undefined;
  const get = (...names: string[]): any =>
    names.map((name) => config[name]).find((value) => value !== undefined && value !== null);
  const hasHead = /(LMHeadModel|ForCausalLM|Classification|QuestionAnswering)$/.test(
    config['architectures'][0],
  );
  const prefix = { gpt_neox: 'gpt_neox.', phi: 'model.', opt: 'model.decoder.' }[type] ?? 'transformer.';
  const base = hasHead ? root.under(prefix) : type === 'opt' ? root.under('decoder.') : root;
  const width: number = get('hidden_size', 'n_embd');
  const heads: number = get('num_attention_heads', 'n_head');
  const layers: number = get('num_hidden_layers', 'n_layer');
  const epsilon: number = type === 'opt' ? 1e-5 : get('layer_norm_eps', 'layer_norm_epsilon');
  const inner: number = get('intermediate_size', 'n_inner', 'ffn_dim') ?? 4 * width;
  const activation: string = type === 'bloom' ? 'gelu_new' : get('hidden_act', 'activation_function');
  const dim = width / heads;
  const ids = inputs.input_ids!;
  const mask = maskOf(inputs);
  const positions = inputs.position_ids ?? ids.map((_, i) => i);
  const length = Math.max(...positions) + 1;
  const embedded: number = type === 'opt' ? config['word_embed_proj_dim'] : width;
  const embedName =
    { gpt2: 'wte', gptj: 'wte', gpt_neox: 'embed_in', bloom: 'word_embeddings' }[type] ?? 'embed_tokens';
  const table = base.table(`${embedName}.weight`, config['vocab_size'], embedded);
  let x = ids.map((id) => table[id]!);
  const parts = config['layer_norm_elementwise_affine'] === false ? 'none' : 'both';
  const normBefore = config['do_layer_norm_before'] ?? true;
  const biases = config['enable_bias'] ?? true;
  if (type === 'gpt2' && (positionKind ?? 'learned') === 'learned') {
    const places = base.table('wpe.weight', config['n_positions'], width);
    x = add(
      x,
      positions.map((position) => places[position]!),
    );
  }
  if (type === 'bloom') x = base.layerNorm('word_embeddings_layernorm', x, epsilon);
  if (type === 'opt') {
    const places = base.table('embed_positions.weight', config['max_position_embeddings'] + 2, width);
    let count = 0;
    const rows = mask.map((kept) => (kept ? places[++count + 1]! : places[1]!));
    if (embedded !== width) x = base.linear('project_in', x, width, false);
    x = add(x, rows);
  }
  const usualShare = attentionOnly ? 1 : type === 'phi' ? 0.5 : 0.25;
  const share = get('rotary_pct', 'partial_rotary_factor') ?? usualShare;
  const rotated = type === 'gptj' ? config['rotary_dim'] : Math.trunc(dim * share);
  const theta: number = type === 'gptj' ? 10000 : (get('rotary_emb_base', 'rope_theta') ?? 10000);
  const angles = frequencies(
    rotated,
    theta,
    config['rope_scaling'] ?? undefined,
    config['max_position_embeddings'],
    length,
  );
  const turn = (rows: Rows, count: number): Rows =>
    ['gptj', 'gpt_neox', 'phi'].includes(type) || positionKind === 'rotary'
      ? rotate(rows, count, positions, angles, type === 'gptj')
      : rows;
  const slopes = alibiSlopes(heads);
  let seen = 0;
  const counted = mask.map((kept) => (kept ? seen++ : 0));
  const trace = new Trace();
  for (let layer = 0; layer < layers; layer++) {
    trace.state(layer, x);
    const block = base.under(`${['gpt_neox', 'phi', 'opt'].includes(type) ? 'layers' : 'h'}.${layer}.`);
    const [firstNorm, secondNorm] = {
      gpt2: ['ln_1', 'ln_2'],
      gptj: ['ln_1', ''],
      opt: ['self_attn_layer_norm', 'final_layer_norm'],
    }[type] ?? ['input_layernorm', 'post_attention_layernorm'];
    const first = (rows: Rows): Rows => block.layerNorm(firstNorm!, rows, epsilon, parts);
    const second = (rows: Rows): Rows => block.layerNorm(secondNorm!, rows, epsilon, parts);
    const entered = normBefore ? first(x) : x;
    const keyHeads: number = type === 'phi' ? (config['num_key_value_heads'] ?? heads) : heads;
    let q: Rows, k: Rows, v: Rows;
    const packedBias = type !== 'gpt_neox' || (config['attention_bias'] ?? true);
    if (type === 'gpt2') {
      const all = block.conv1d('attn.c_attn', entered, 3 * width);
      [q, k, v] = [
        columns(all, 0, width),
        columns(all, width, 2 * width),
        columns(all, 2 * width, 3 * width),
      ];
    } else if (type === 'gpt_neox' || type === 'bloom') {
      const name = type === 'bloom' ? 'self_attention' : 'attention';
      [q, k, v] = unpackHeads(block.linear(`${name}.query_key_value`, entered, 3 * width, packedBias), heads);
    } else {
      const own = block.under(type === 'gptj' ? 'attn.' : 'self_attn.');
      const bias = type !== 'gptj' && biases;
      q = own.linear('q_proj', entered, width, bias);
      k = own.linear('k_proj', entered, keyHeads * dim, bias);
      v = own.linear('v_proj', entered, keyHeads * dim, bias);
      if (config['qk_layernorm']) {
        q = byHead(q, heads, (rows) => own.layerNorm('q_layernorm', rows, epsilon));
        k = byHead(k, keyHeads, (rows) => own.layerNorm('k_layernorm', rows, epsilon));
      }
    }
    let scale = config['scale_attn_weights'] === false ? 1 : 1 / Math.sqrt(dim);
    if (config['scale_attn_by_inverse_layer_idx']) scale /= layer + 1;
    const { out, weights } = attend(turn(q, heads), turn(k, keyHeads), v, {
      ...{ heads, keyHeads, scale },
      keep: (i, j) => j <= i && mask[j] === 1,
      bias: type === 'bloom' ? (head, _, j) => slopes[head]! * counted[j]! : undefined,
    });
    trace.weights(layer, weights);
    const output = {
      gpt2: 'attn.c_proj',
      gptj: 'attn.out_proj',
      gpt_neox: 'attention.dense',
      phi: 'self_attn.dense',
      bloom: 'self_attention.dense',
      opt: 'self_attn.out_proj',
    }[type]!;
    const attention =
      type === 'gpt2'
        ? block.conv1d(output, out, width)
        : block.linear(output, out, width, type !== 'gptj' && packedBias && biases);
    const [upName, downName] = {
      gpt2: ['mlp.c_fc', 'mlp.c_proj'],
      gptj: ['mlp.fc_in', 'mlp.fc_out'],
      phi: ['mlp.fc1', 'mlp.fc2'],
      opt: ['fc1', 'fc2'],
    }[type] ?? ['mlp.dense_h_to_4h', 'mlp.dense_4h_to_h'];
    const feed = (rows: Rows): Rows => {
      if (type === 'gpt2')
        return block.conv1d(downName!, activate(block.conv1d(upName!, rows, inner), activation), width);
      return block.linear(
        downName!,
        activate(block.linear(upName!, rows, inner, biases), activation),
        width,
        biases,
      );
    };
    if (attentionOnly) x = add(x, attention);
    else if (type === 'gptj' || type === 'phi') x = add(add(attention, feed(entered)), x);
    else if (type === 'gpt_neox' && (config['use_parallel_residual'] ?? true))
      x = add(add(attention, feed(second(x))), x);
    else if (config['apply_residual_connection_post_layernorm']) {
      const normed = second(add(attention, entered));
      x = add(feed(normed), normed);
    } else if (normBefore) {
      x = add(x, attention);
      x = add(x, feed(second(x)));
    } else {
      x = first(add(x, attention));
      x = second(add(x, feed(x)));
    }
  }
  const lastNorm =
    { gpt2: 'ln_f', gptj: 'ln_f', bloom: 'ln_f', phi: 'final_layernorm' }[type] ?? 'final_layer_norm';
  if (type !== 'opt' || (normBefore && !config['_remove_final_layer_norm']))
    x = base.layerNorm(lastNorm, x, epsilon, parts);
  if (embedded !== width) x = base.linear('project_out', x, embedded, false);
  trace.last(x);
  const tied: boolean = config['tie_word_embeddings'] ?? ['gpt2', 'bloom', 'opt'].includes(type);
  const head = {
    name: type === 'gpt_neox' ? 'embed_out' : 'lm_head',
    table,
    tied,
    bias: type === 'gptj' || type === 'phi',
  };
  return { ...trace.outputs, ...decoderHead(config, root, x, inputs, head) };
}

function alibiSlopes(heads: number): Row {
  const power = 2 ** Math.floor(Math.log2(heads));
  const base = 2 ** -(2 ** -(Math.log2(power) - 3));
  const slopes = range(power, (i) => base ** (i + 1));
  const more = 2 ** -(2 ** -(Math.log2(2 * power) - 3));
  return [...slopes, ...range(Math.min(power, heads - power), (i) => more ** (2 * i + 1))];
}

/** BERT, RoBERTa, DistilBERT, ALBERT, MPNet. */
function bertKin(config: Config, root: Module, inputs: RowInputs): Outputs {
  const type: string = config['model_type'];
  const architecture: string = config['architectures'][0];
  const isBare = /^(Bert|Roberta|MPNet|Albert|DistilBert)Model$/.test(architecture);
  const base = isBare ? root : root.under(`${type}.`);
  const width: number = config['dim'] ?? config['hidden_size'];
  const heads: number = config['n_heads'] ?? config['num_attention_heads'];
  const layers: number = config['n_layers'] ?? config['num_hidden_layers'];
  const inner: number = config['hidden_dim'] ?? config['intermediate_size'];
  const activation: string = config['activation'] ?? config['hidden_act'];
  const epsilon: number = type === 'distilbert' ? 1e-12 : config['layer_norm_eps'];
  const ids = inputs.input_ids!;
  const mask = maskOf(inputs);
  const embeddings = base.under('embeddings.');
  const narrow: number = type === 'albert' ? config['embedding_size'] : width;
  const table = embeddings.table('word_embeddings.weight', config['vocab_size'], narrow);
  const padding = type === 'mpnet' ? 1 : config['pad_token_id'];
  let place = type === 'roberta' || type === 'mpnet' ? padding : -1;
  const positions =
    inputs.position_ids ??
    ids
      .map((id) => (place >= 0 ? (id === padding ? padding : ++place) : -1))
      .map((position, i) => (position < 0 ? i : position));
  const places = embeddings.table('position_embeddings.weight', config['max_position_embeddings'], narrow);
  let x = ids.map((id, i) => table[id]!.map((value, c) => value + places[positions[i]!]![c]!));
  if (config['type_vocab_size'] && type !== 'mpnet' && type !== 'distilbert') {
    const types = embeddings.table('token_type_embeddings.weight', config['type_vocab_size'], narrow);
    x = x.map((row, i) => row.map((value, c) => value + types[inputs.token_type_ids?.[i] ?? 0]![c]!));
  }
  x = embeddings.layerNorm('LayerNorm', x, epsilon);
  if (type === 'albert') x = base.linear('encoder.embedding_hidden_mapping_in', x, width);
  const relative =
    type === 'mpnet'
      ? base.table('encoder.relative_attention_bias.weight', config['relative_attention_num_buckets'], heads)
      : undefined;
  const [qName, kName, vName, oName, attentionNorm, up, down, lastNorm] = (
    {
      distilbert: [
        'attention.q_lin',
        'attention.k_lin',
        'attention.v_lin',
        'attention.out_lin',
        'sa_layer_norm',
        'ffn.lin1',
        'ffn.lin2',
        'output_layer_norm',
      ],
      albert: [
        'attention.query',
        'attention.key',
        'attention.value',
        'attention.dense',
        'attention.LayerNorm',
        'ffn',
        'ffn_output',
        'full_layer_layer_norm',
      ],
      mpnet: [
        'attention.attn.q',
        'attention.attn.k',
        'attention.attn.v',
        'attention.attn.o',
        'attention.LayerNorm',
        'intermediate.dense',
        'output.dense',
        'output.LayerNorm',
      ],
    } as Record<string, string[]>
  )[type] ?? [
    'attention.self.query',
    'attention.self.key',
    'attention.self.value',
    'attention.output.dense',
    'attention.output.LayerNorm',
    'intermediate.dense',
    'output.dense',
    'output.LayerNorm',
  ];
  const trace = new Trace();
  const causal = config['is_decoder'] === true;
  const names = range(layers, (layer) => {
    if (type === 'distilbert') return [`transformer.layer.${layer}.`];
    if (type !== 'albert') return [`encoder.layer.${layer}.`];
    const group = Math.floor(layer / (layers / config['num_hidden_groups']));
    return range(
      config['inner_group_num'],
      (i) => `encoder.albert_layer_groups.${group}.albert_layers.${i}.`,
    );
  }).flat();
  names.forEach((name, layer) => {
    trace.state(layer, x);
    const block = base.under(name);
    const [q, k, v] = [qName, kName, vName].map((each) => block.linear(each!, x, width)) as [
      Rows,
      Rows,
      Rows,
    ];
    const { out, weights } = attend(q, k, v, {
      heads,
      scale: 1 / Math.sqrt(width / heads),
      keep: (i, j) => mask[j] === 1 && (!causal || j <= i),
      bias: relative && ((head, i, j) => relative[bucket(j - i, 32, 128, true)]![head]!),
    });
    trace.weights(layer, weights);
    x = block.layerNorm(attentionNorm!, add(block.linear(oName!, out, width), x), epsilon);
    x = block.layerNorm(
      lastNorm!,
      add(block.linear(down!, activate(block.linear(up!, x, inner), activation), width), x),
      epsilon,
    );
  });
  trace.last(x);
  const outputs = trace.outputs;
  const labels = Object.keys(config['id2label'] ?? { 0: 0, 1: 1 }).length;
  const poolerName = type === 'albert' ? 'pooler' : 'pooler.dense';
  const pool = (): Rows => activate(base.linear(poolerName, [x[0]!], width), 'tanh');
  const pooled =
    type !== 'distilbert' &&
    (isBare ||
      (/(PreTraining|SequenceClassification|NextSentencePrediction)$/.test(architecture) &&
        !/^(Roberta|MPNet)/.test(architecture)))
      ? pool()
      : undefined;
  if (pooled) outputs['pooler_output'] = pooled[0]!;
  const words = (): Rows => {
    const [dense, norm, decoder, bias] = (
      {
        distilbert: ['vocab_transform', 'vocab_layer_norm', 'vocab_projector', 'vocab_projector.bias'],
        albert: ['predictions.dense', 'predictions.LayerNorm', 'predictions.decoder', 'predictions.bias'],
        bert: [
          'cls.predictions.transform.dense',
          'cls.predictions.transform.LayerNorm',
          'cls.predictions.decoder',
          'cls.predictions.bias',
        ],
      } as Record<string, string[]>
    )[type] ?? ['lm_head.dense', 'lm_head.layer_norm', 'lm_head.decoder', 'lm_head.bias'];
    const own = type === 'roberta' || type === 'mpnet' ? 'gelu' : activation;
    const hidden = root.layerNorm(norm!, activate(root.linear(dense!, x, narrow), own), epsilon);
    const weight =
      (config['tie_word_embeddings'] ?? true)
        ? table
        : root.table(`${decoder}.weight`, table.length, narrow, 'matrix');
    return product(hidden, weight, root.vector(bias!, table.length, 'bias'));
  };
  if (/(MaskedLM|LMHeadModel)$/.test(architecture)) outputs['logits'] = words();
  if (architecture.endsWith('PreTraining')) {
    outputs['prediction_logits'] = words();
    outputs[type === 'albert' ? 'sop_logits' : 'seq_relationship_logits'] = root.linear(
      type === 'albert' ? 'sop_classifier.classifier' : 'cls.seq_relationship',
      pooled!,
      2,
    )[0]!;
  }
  if (architecture.endsWith('NextSentencePrediction'))
    outputs['logits'] = root.linear('cls.seq_relationship', pooled!, 2)[0]!;
  if (architecture.endsWith('TokenClassification')) outputs['logits'] = root.linear('classifier', x, labels);
  if (architecture.endsWith('QuestionAnswering'))
    Object.assign(outputs, spans(root.linear('qa_outputs', x, 2)));
  if (architecture.endsWith('SequenceClassification')) {
    const first = [x[0]!];
    if (type === 'distilbert')
      outputs['logits'] = root.linear(
        'classifier',
        activate(root.linear('pre_classifier', first, width), 'relu'),
        labels,
      )[0]!;
    else if (type === 'roberta' || type === 'mpnet')
      outputs['logits'] = root.linear(
        'classifier.out_proj',
        activate(root.linear('classifier.dense', first, width), 'tanh'),
        labels,
      )[0]!;
    else outputs['logits'] = root.linear('classifier', pooled!, labels)[0]!;
  }
  return outputs;
}

function modernBert(config: Config, root: Module, inputs: RowInputs): Outputs {
  const architecture: string = config['architectures'][0];
  const base = architecture === 'ModernBertModel' ? root : root.under('model.');
  const {
    hidden_size: width,
    num_attention_heads: heads,
    intermediate_size: inner,
    norm_eps: epsilon,
  } = config as any;
  const parts = config['norm_bias'] ? 'both' : 'weight';
  const mask = maskOf(inputs);
  const positions = inputs.position_ids ?? mask.map((_, i) => i);
  const table = base.table('embeddings.tok_embeddings.weight', config['vocab_size'], width);
  let x = base.layerNorm(
    'embeddings.norm',
    inputs.input_ids!.map((id) => table[id]!),
    epsilon,
    parts,
  );
  const trace = new Trace();
  for (let layer = 0; layer < config['num_hidden_layers']; layer++) {
    trace.state(layer, x);
    const block = base.under(`layers.${layer}.`);
    const near = layer % config['global_attn_every_n_layers'] !== 0;
    const entered = layer === 0 ? x : block.layerNorm('attn_norm', x, epsilon, parts);
    const all = block.linear('attn.Wqkv', entered, 3 * width, config['attention_bias']);
    const theta: number = near
      ? (config['local_rope_theta'] ?? config['global_rope_theta'])
      : config['global_rope_theta'];
    const angles = frequencies(width / heads, theta, undefined, 0, 0);
    const half = Math.floor(config['local_attention'] / 2);
    const { out, weights } = attend(
      rotate(columns(all, 0, width), heads, positions, angles),
      rotate(columns(all, width, 2 * width), heads, positions, angles),
      columns(all, 2 * width, 3 * width),
      {
        heads,
        scale: 1 / Math.sqrt(width / heads),
        keep: (i, j) => mask[j] === 1 && (!near || Math.abs(i - j) <= half),
      },
    );
    trace.weights(layer, weights);
    x = add(x, block.linear('attn.Wo', out, width, config['attention_bias']));
    const both = block.linear(
      'mlp.Wi',
      block.layerNorm('mlp_norm', x, epsilon, parts),
      2 * inner,
      config['mlp_bias'],
    );
    const gate = activate(columns(both, 0, inner), config['hidden_activation']);
    const hidden = gate.map((row, i) => row.map((value, c) => value * both[i]![inner + c]!));
    x = add(x, block.linear('mlp.Wo', hidden, width, config['mlp_bias']));
  }
  x = base.layerNorm('final_norm', x, epsilon, parts);
  trace.last(x);
  const outputs = trace.outputs;
  const labels = Object.keys(config['id2label'] ?? { 0: 0, 1: 1 }).length;
  const head = (rows: Rows): Rows =>
    root.layerNorm(
      'head.norm',
      activate(
        root.linear('head.dense', rows, width, config['classifier_bias']),
        config['classifier_activation'],
      ),
      epsilon,
      parts,
    );
  if (architecture.endsWith('MaskedLM')) {
    const weight = config['tie_word_embeddings']
      ? table
      : root.table('decoder.weight', table.length, width, 'matrix');
    outputs['logits'] = product(
      head(x),
      weight,
      config['decoder_bias'] ? root.vector('decoder.bias', table.length, 'bias') : undefined,
    );
  }
  if (architecture.endsWith('TokenClassification'))
    outputs['logits'] = root.linear('classifier', head(x), labels);
  if (architecture.endsWith('SequenceClassification')) {
    const kept = x.filter((_, i) => mask[i] === 1);
    const mean = range(width, (c) => kept.reduce((sum, row) => sum + row[c]!, 0) / kept.length);
    outputs['logits'] = root.linear(
      'classifier',
      head([config['classifier_pooling'] === 'mean' ? mean : x[0]!]),
      labels,
    )[0]!;
  }
  return outputs;
}

/** A stack of T5: relative positions of its first layer, RMS norms before sublayers. */
function t5Stack(
  config: Config,
  stack: Module,
  trace: Trace,
  x: Rows,
  mask: readonly number[],
  encoded?: { x: Rows; mask: readonly number[]; cross: Outputs },
): Rows {
  const {
    d_model: width,
    num_heads: heads,
    d_kv: dim,
    d_ff: inner,
    layer_norm_epsilon: epsilon,
  } = config as any;
  const buckets: number = config['relative_attention_num_buckets'];
  const most: number = config['relative_attention_max_distance'] ?? 128;
  const table = stack.table('block.0.layer.0.SelfAttention.relative_attention_bias.weight', buckets, heads);
  const projection: string = config['feed_forward_proj'];
  const gated = projection.startsWith('gated-');
  const activation = projection === 'gated-gelu' ? 'gelu_new' : projection.replace('gated-', '');
  const layers: number = encoded
    ? (config['num_decoder_layers'] ?? config['num_layers'])
    : config['num_layers'];
  for (let layer = 0; layer < layers; layer++) {
    trace.state(layer, x);
    const sublayer = (number: number): Module => stack.under(`block.${layer}.layer.${number}.`);
    const own = sublayer(0);
    const project = (module: Module, name: string, rows: Rows): Rows =>
      module.linear(name, rows, heads * dim, false);
    const entered = own.rmsNorm('layer_norm', x, epsilon);
    const self = own.under('SelfAttention.');
    const { out, weights } = attend(
      project(self, 'q', entered),
      project(self, 'k', entered),
      project(self, 'v', entered),
      {
        ...{ heads, scale: 1 },
        keep: (i, j) => mask[j] === 1 && (!encoded || j <= i),
        bias: (head, i, j) => table[bucket(j - i, buckets, most, !encoded)]![head]!,
      },
    );
    trace.weights(layer, weights);
    x = add(x, self.linear('o', out, width, false));
    if (encoded) {
      const cross = sublayer(1).under('EncDecAttention.');
      const normed = sublayer(1).rmsNorm('layer_norm', x, epsilon);
      const seen = attend(
        project(cross, 'q', normed),
        project(cross, 'k', encoded.x),
        project(cross, 'v', encoded.x),
        {
          ...{ heads, scale: 1 },
          keep: (_, j) => encoded.mask[j] === 1,
        },
      );
      encoded.cross[`cross_attentions.${layer}`] = seen.weights;
      x = add(x, cross.linear('o', seen.out, width, false));
    }
    const last = sublayer(encoded ? 2 : 1);
    const normed = last.rmsNorm('layer_norm', x, epsilon);
    const dense = last.under('DenseReluDense.');
    let hidden = activate(dense.linear(gated ? 'wi_0' : 'wi', normed, inner, false), activation);
    if (gated) {
      const other = dense.linear('wi_1', normed, inner, false);
      hidden = hidden.map((row, i) => row.map((value, c) => value * other[i]![c]!));
    }
    x = add(x, dense.linear('wo', hidden, width, false));
  }
  x = stack.rmsNorm('final_layer_norm', x, epsilon);
  trace.last(x);
  return x;
}

function t5(config: Config, root: Module, inputs: RowInputs): Outputs {
  const architecture: string = config['architectures'][0];
  const width: number = config['d_model'];
  const table = root.table('shared.weight', config['vocab_size'], width);
  const embed = (ids: readonly number[]): Rows => ids.map((id) => table[id]!);
  const mask = maskOf(inputs);
  const alone = architecture === 'T5EncoderModel';
  const encoder = new Trace(alone ? '' : 'encoder_');
  const encoded = t5Stack(config, root.under('encoder.'), encoder, embed(inputs.input_ids!), mask);
  if (alone) return encoder.outputs;
  const decoder = new Trace('decoder_');
  const cross: Outputs = {};
  const ids = inputs.decoder_input_ids!;
  const x = t5Stack(
    config,
    root.under('decoder.'),
    decoder,
    embed(ids),
    ids.map(() => 1),
    { x: encoded, mask, cross },
  );
  const outputs = { ...encoder.outputs, ...decoder.outputs, ...cross };
  if (architecture === 'T5Model') return outputs;
  const tied: boolean = config['tie_word_embeddings'] ?? true;
  const logits = tied
    ? product(
        x.map((row) => row.map((value) => value / Math.sqrt(width))),
        table,
      )
    : root.linear('lm_head', x, table.length, false);
  return { ...outputs, logits };
}

/** BART's blocks, and with norms before the sublayers Whisper's. */
function bartStack(
  config: Config,
  stack: Module,
  trace: Trace,
  x: Rows,
  mask: readonly number[],
  name: 'encoder' | 'decoder',
  encoded?: { x: Rows; mask: readonly number[]; cross: Outputs },
): Rows {
  const whisper = config['model_type'] === 'whisper';
  const width: number = config['d_model'];
  const heads: number = config[`${name}_attention_heads`];
  const inner: number = config[`${name}_ffn_dim`];
  const around = (block: Module, norm: string, rows: Rows, sublayer: (rows: Rows) => Rows): Rows =>
    whisper
      ? add(rows, sublayer(block.layerNorm(norm, rows, 1e-5)))
      : block.layerNorm(norm, add(rows, sublayer(rows)), 1e-5);
  const attention = (
    module: Module,
    from: Rows,
    over: Rows,
    keep: Attention['keep'],
    see: (weights: Nested) => void,
  ): Rows => {
    const [q, k, v] = [
      module.linear('q_proj', from, width),
      module.linear('k_proj', over, width, !whisper),
      module.linear('v_proj', over, width),
    ];
    const { out, weights } = attend(q, k, v, { heads, scale: 1 / Math.sqrt(width / heads), keep });
    see(weights);
    return module.linear('out_proj', out, width);
  };
  for (let layer = 0; layer < config[`${name}_layers`]; layer++) {
    trace.state(layer, x);
    const block = stack.under(`layers.${layer}.`);
    const keep = (i: number, j: number): boolean => mask[j] === 1 && (!encoded || j <= i);
    x = around(block, 'self_attn_layer_norm', x, (rows) =>
      attention(block.under('self_attn.'), rows, rows, keep, (weights) => trace.weights(layer, weights)),
    );
    if (encoded) {
      x = around(block, 'encoder_attn_layer_norm', x, (rows) =>
        attention(
          block.under('encoder_attn.'),
          rows,
          encoded.x,
          (_, j) => encoded.mask[j] === 1,
          (weights) => (encoded.cross[`cross_attentions.${layer}`] = weights),
        ),
      );
    }
    x = around(block, 'final_layer_norm', x, (rows) =>
      block.linear('fc2', activate(block.linear('fc1', rows, inner), config['activation_function']), width),
    );
  }
  if (whisper) x = stack.layerNorm('layer_norm', x, 1e-5);
  trace.last(x);
  return x;
}

function bart(config: Config, root: Module, inputs: RowInputs): Outputs {
  const architecture: string = config['architectures'][0];
  const base = architecture === 'BartModel' ? root : root.under('model.');
  const width: number = config['d_model'];
  const table = base.table('shared.weight', config['vocab_size'], width);
  const factor = config['scale_embedding'] ? Math.sqrt(width) : 1;
  const embed = (stack: Module, ids: readonly number[]): Rows => {
    const places = stack.table('embed_positions.weight', config['max_position_embeddings'] + 2, width);
    return stack.layerNorm(
      'layernorm_embedding',
      ids.map((id, i) => table[id]!.map((value, c) => value * factor + places[i + 2]![c]!)),
      1e-5,
    );
  };
  const mask = maskOf(inputs);
  const [encoder, decoder] = [base.under('encoder.'), base.under('decoder.')];
  const traces = [new Trace('encoder_'), new Trace('decoder_')] as const;
  const encoded = bartStack(config, encoder, traces[0], embed(encoder, inputs.input_ids!), mask, 'encoder');
  const ids = inputs.decoder_input_ids!;
  const cross: Outputs = {};
  const x = bartStack(
    config,
    decoder,
    traces[1],
    embed(decoder, ids),
    ids.map(() => 1),
    'decoder',
    { x: encoded, mask, cross },
  );
  const outputs = { ...traces[0].outputs, ...traces[1].outputs, ...cross };
  if (architecture === 'BartModel') return outputs;
  if (architecture.endsWith('QuestionAnswering'))
    return { ...outputs, ...spans(root.linear('qa_outputs', x, 2)) };
  if (architecture.endsWith('SequenceClassification')) {
    const end = x[ids.lastIndexOf(config['eos_token_id'])]!;
    const labels = Object.keys(config['id2label'] ?? { 0: 0, 1: 1, 2: 2 }).length;
    return {
      ...outputs,
      logits: root.linear(
        'classification_head.out_proj',
        activate(root.linear('classification_head.dense', [end], width), 'tanh'),
        labels,
      )[0]!,
    };
  }
  return {
    ...outputs,
    logits: product(x, table, [...root.table('final_logits_bias', 1, table.length, 'bias')[0]!]),
  };
}

/** Over columns of [channels][frames], three at a time. */
function convolve(module: Module, name: string, x: Rows, outputs: number, stride: number): Rows {
  const bins = x.length;
  const frames = x[0]!.length;
  const weight = module.source.tensor(`${module.prefix}${name}.weight`, [outputs, bins, 3], 'matrix');
  const bias = module.vector(`${name}.bias`, outputs, 'bias');
  return range(outputs, (o) =>
    range(Math.floor((frames - 1) / stride) + 1, (t) => {
      let sum = bias[o]!;
      for (let c = 0; c < bins; c++)
        for (let k = 0; k < 3; k++) sum += (x[c]![t * stride + k - 1] ?? 0) * weight[(o * bins + c) * 3 + k]!;
      return sum;
    }),
  );
}

function whisper(config: Config, root: Module, inputs: RowInputs): Outputs {
  const architecture: string = config['architectures'][0];
  const base = architecture === 'WhisperModel' ? root : root.under('model.');
  const width: number = config['d_model'];
  const [encoder, decoder] = [base.under('encoder.'), base.under('decoder.')];
  const first = activate(convolve(encoder, 'conv1', inputs.input_features!, width, 1), 'gelu');
  const second = activate(convolve(encoder, 'conv2', first, width, 2), 'gelu');
  const frames = encoder.table('embed_positions.weight', config['max_source_positions'], width);
  const sound = frames.map((row, t) => row.map((value, c) => value + second[c]![t]!));
  const traces = [new Trace('encoder_'), new Trace('decoder_')] as const;
  const all = sound.map(() => 1);
  const encoded = bartStack(config, encoder, traces[0], sound, all, 'encoder');
  const table = decoder.table('embed_tokens.weight', config['vocab_size'], width);
  const places = decoder.table('embed_positions.weight', config['max_target_positions'], width);
  const ids = inputs.decoder_input_ids!;
  const cross: Outputs = {};
  const embedded = ids.map((id, i) => table[id]!.map((value, c) => value + places[i]![c]!));
  const x = bartStack(
    config,
    decoder,
    traces[1],
    embedded,
    ids.map(() => 1),
    'decoder',
    { x: encoded, mask: all, cross },
  );
  const outputs = { ...traces[0].outputs, ...traces[1].outputs, ...cross };
  return architecture === 'WhisperModel' ? outputs : { ...outputs, logits: product(x, table) };
}

/** Encoders of pictures: ViT, DeiT, DINOv2. */
function vitKin(config: Config, root: Module, inputs: RowInputs): Outputs {
  const type: string = config['model_type'];
  const architecture: string = config['architectures'][0];
  const base = architecture.endsWith('Model') ? root : root.under(`${type}.`);
  const width: number = config['hidden_size'];
  const embeddings = base.under('embeddings.');
  const first = (type === 'deit' ? ['cls_token', 'distillation_token'] : ['cls_token']).map(
    (name) => embeddings.table(name, 1, width, 'table', [1])[0]!,
  );
  const patches = patchRows(config, inputs.pixel_values!, embeddings, width);
  const bias = embeddings.vector('patch_embeddings.projection.bias', width, 'bias');
  const tokens = [...first, ...patches.map((row) => row.map((value, c) => value + bias[c]!))];
  let x = add(tokens, embeddings.table('position_embeddings', tokens.length, width, 'table', [1]));
  const trace = new Trace();
  const dino = type === 'dinov2';
  const [beforeAttention, beforeFeed] = dino ? ['norm1', 'norm2'] : ['layernorm_before', 'layernorm_after'];
  const [up, down] = dino ? ['mlp.fc1', 'mlp.fc2'] : ['intermediate.dense', 'output.dense'];
  const heads: number = config['num_attention_heads'];
  const epsilon: number = config['layer_norm_eps'];
  const inner: number = dino ? Math.trunc(width * config['mlp_ratio']) : config['intermediate_size'];
  for (let layer = 0; layer < config['num_hidden_layers']; layer++) {
    trace.state(layer, x);
    const block = base.under(`encoder.layer.${layer}.`);
    const entered = block.layerNorm(beforeAttention, x, epsilon);
    const qkvBias = config['qkv_bias'] ?? true;
    const [q, k, v] = ['query', 'key', 'value'].map((name) =>
      block.linear(`attention.attention.${name}`, entered, width, qkvBias),
    ) as [Rows, Rows, Rows];
    const { out, weights } = attend(q, k, v, {
      heads,
      scale: 1 / Math.sqrt(width / heads),
      keep: () => true,
    });
    trace.weights(layer, weights);
    const scaled = (name: string, rows: Rows): Rows =>
      dino ? timesVector(rows, block.vector(name, width, 'norm')) : rows;
    x = add(x, scaled('layer_scale1.lambda1', block.linear('attention.output.dense', out, width)));
    const normed = block.layerNorm(beforeFeed, x, epsilon);
    let fed: Rows;
    if (dino && config['use_swiglu_ffn']) {
      const hidden = Math.floor((Math.trunc((inner * 2) / 3) + 7) / 8) * 8;
      const both = block.linear('mlp.weights_in', normed, 2 * hidden);
      fed = block.linear(
        'mlp.weights_out',
        both.map((row) => range(hidden, (c) => silu(row[c]!) * row[hidden + c]!)),
        width,
      );
    } else fed = block.linear(down, activate(block.linear(up, normed, inner), config['hidden_act']), width);
    x = add(x, scaled('layer_scale2.lambda1', fed));
  }
  trace.state(config['num_hidden_layers'], x);
  x = base.layerNorm('layernorm', x, epsilon);
  trace.last(x);
  const outputs = trace.outputs;
  const labels = Object.keys(config['id2label'] ?? { 0: 0, 1: 1 }).length;
  if (dino) outputs['pooler_output'] = x[0]!;
  else if (architecture.endsWith('Model'))
    outputs['pooler_output'] = activate(
      base.linear('pooler.dense', [x[0]!], config['pooler_output_size'] ?? width),
      config['pooler_act'] ?? 'tanh',
    )[0]!;
  if (architecture.endsWith('WithTeacher')) {
    const [own, distilled] = [
      root.linear('cls_classifier', [x[0]!], labels)[0]!,
      root.linear('distillation_classifier', [x[1]!], labels)[0]!,
    ];
    Object.assign(outputs, {
      cls_logits: own,
      distillation_logits: distilled,
      logits: own.map((value, i) => (value + distilled[i]!) / 2),
    });
  } else if (architecture.endsWith('ImageClassification')) {
    const rest = x.slice(1);
    const mean = range(width, (c) => rest.reduce((sum, row) => sum + row[c]!, 0) / rest.length);
    outputs['logits'] = root.linear('classifier', [dino ? [...x[0]!, ...mean] : x[0]!], labels)[0]!;
  }
  return outputs;
}

/** Products of patches with their matrix, in rows of the picture. */
function patchRows(
  config: Config,
  pixels: number[][][],
  module: Module,
  width: number,
  name = 'patch_embeddings.projection.weight',
): Rows {
  const both = (value: number | number[]): [number, number] =>
    Array.isArray(value) ? (value as [number, number]) : [value, value];
  const [height, breadth] = both(config['image_size']);
  const [high, wide] = both(config['patch_size']);
  const channels: number = config['num_channels'] ?? 3;
  const weight = module.source.tensor(module.prefix + name, [width, channels, high, wide], 'matrix');
  const size = channels * high * wide;
  return range(Math.floor(height / high), (row) =>
    range(Math.floor(breadth / wide), (column) => {
      const patch: Row = [];
      for (let c = 0; c < channels; c++)
        for (let y = 0; y < high; y++)
          for (let i = 0; i < wide; i++) patch.push(pixels[c]![row * high + y]![column * wide + i]!);
      return range(width, (o) =>
        range(size, (i) => weight[o * size + i]! * patch[i]!).reduce((sum, value) => sum + value, 0),
      );
    }),
  ).flat();
}

const FAMILIES: Record<string, (config: Config, root: Module, inputs: RowInputs) => Outputs> = {
  ...Object.fromEntries(
    ['llama', 'mistral', 'qwen2', 'qwen3', 'olmo2', 'gemma2', 'gemma3_text'].map((type) => [type, llamaKin]),
  ),
  ...Object.fromEntries(
    ['gpt2', 'attention_only', 'gptj', 'gpt_neox', 'phi', 'bloom', 'opt'].map((type) => [type, gptKin]),
  ),
  ...Object.fromEntries(['bert', 'roberta', 'distilbert', 'albert', 'mpnet'].map((type) => [type, bertKin])),
  ...Object.fromEntries(['vit', 'deit', 'dinov2'].map((type) => [type, vitKin])),
  modernbert: modernBert,
  t5,
  bart,
  whisper,
};

/** Whether there is a reference of a config's family. */
export const hasReference = (config: unknown): boolean =>
  Object.hasOwn(FAMILIES, (config as Config)['model_type']);

/** What a model of this config gives for one row of a batch, by the names that expected.json uses. */
export function referenceModel(config: unknown, weights: WeightSource, inputs: RowInputs): Outputs {
  return FAMILIES[(config as Config)['model_type']]!(config as Config, new Module(weights), inputs);
}
