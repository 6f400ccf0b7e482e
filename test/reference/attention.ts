// A float64 reference of the whole attention semantics, written to be read: one row at a time, no blocking,
// nothing from src/. The package's results are judged by it, and it is itself judged by ONNX's data.

export type NumericArray = ArrayLike<number>;

/** One value for every batch row, or one per batch row. */
type PerBatch = number | readonly number[];

/** A function of batch row, query head, query and key. */
type ScoreFunction<Result> = (batch: number, head: number, query: number, key: number) => Result;

/** Contiguous query [B,Hq,S,D], key [B,Hk,T,D] and value [B,Hk,T,Dv]. */
export interface AttentionInputs {
  query: NumericArray;
  key: NumericArray;
  value: NumericArray;
  batch: number;
  queryHeads: number;
  keyHeads: number;
  queries: number;
  keys: number;
  headDim: number;
  valueHeadDim: number;
}

export interface AttentionOptions {
  /** Factor on q.k; 1/sqrt(headDim) when absent. */
  scale?: number | undefined;
  /** c * tanh(score / c) on the scaled score; 0 or absent: none. */
  softcap?: number | undefined;
  /** Query i sees key j when j <= i + offset. Absent: not causal. */
  causalOffset?: PerBatch | undefined;
  /** Query i sees that many keys left and right of its own position i + offset; an absent side is open. */
  window?: { left?: number | undefined; right?: number | undefined } | undefined;
  /** The window lies around i + this. `causalOffset`, else 0, when absent. */
  windowOffset?: PerBatch | undefined;
  /** Keys at or beyond the length of their batch row are removed. */
  keyLengths?: readonly number[] | undefined;
  /** True attends. */
  booleanMask?: ScoreFunction<boolean> | undefined;
  /** Added after the bias; -Infinity removes the key, a finite value never does. */
  floatMask?: ScoreFunction<number> | undefined;
  /** Added after the softcap (ALiBi, relative positions); -Infinity removes the key. */
  bias?: ScoreFunction<number> | undefined;
  /** One more logit per query head that takes part in the softmax and has no value. */
  sinks?: NumericArray | undefined;
  /** Any further rule; true attends. */
  predicate?: ScoreFunction<boolean> | undefined;
}

/** The scores [B,Hq,S,T] at three points of their way. */
interface ScoreStages {
  /** scale * q.k of every pair, also of those that a mask removes later. */
  scaled: Float64Array;
  /** After the softcap, still of every pair. */
  capped: Float64Array;
  /** After bias and masks: what the softmax sees. Removed keys are -Infinity. */
  masked: Float64Array;
}

export interface AttentionResult {
  /** [B,Hq,S,Dv] */
  output: Float64Array;
  /** [B,Hq,S,T]; a removed key has weight 0 in every row, in a NaN row too. */
  weights: Float64Array;
  /** [B,Hq,S], natural log, sinks included; -Infinity for a row without keys and sink. */
  logSumExp: Float64Array;
  /** Computed when first asked for, because attention itself never looks at a removed key. */
  readonly scores: ScoreStages;
}

/**
 * Attention in the order scale, softcap, bias, masks, softmax with sinks, weighted sum.
 *
 * A key whose masks remove it is not read at all. A key whose score ends at -Infinity by itself counts as
 * removed too: its weight could only be zero, and zero times an infinite value must not turn a row into NaN.
 */
export function referenceAttention(inputs: AttentionInputs, options: AttentionOptions = {}): AttentionResult {
  checkSizes(inputs);
  const { queryHeads, queries, keys, valueHeadDim } = inputs;
  const rows = inputs.batch * queryHeads * queries;
  const output = new Float64Array(rows * valueHeadDim);
  const weights = new Float64Array(rows * keys);
  const logSumExp = new Float64Array(rows);

  for (let row = 0; row < rows; row++) {
    const query = row % queries;
    const head = Math.floor(row / queries) % queryHeads;
    const batch = Math.floor(row / (queries * queryHeads));
    const scores = maskedScores(inputs, options, batch, head, query);
    const softmax = softmaxRow(scores, options.sinks?.[head]);
    logSumExp[row] = softmax.logSumExp;
    weights.set(softmax.weights, row * keys);
    output.set(weightedSum(inputs, batch, head, scores, softmax.weights), row * valueHeadDim);
  }

  let scores: ScoreStages | undefined;
  return {
    output,
    weights,
    logSumExp,
    get scores() {
      return (scores ??= scoreStages(inputs, options));
    },
  };
}

function checkSizes(inputs: AttentionInputs): void {
  const { batch, queryHeads, keyHeads, queries, keys, headDim, valueHeadDim } = inputs;
  if (queryHeads % keyHeads !== 0) throw new RangeError(`${queryHeads} query heads do not share ${keyHeads}`);
  checkLength('query', inputs.query, batch * queryHeads * queries * headDim);
  checkLength('key', inputs.key, batch * keyHeads * keys * headDim);
  checkLength('value', inputs.value, batch * keyHeads * keys * valueHeadDim);
}

function checkLength(name: string, array: NumericArray, expected: number): void {
  if (array.length !== expected)
    throw new RangeError(`${name} has ${array.length} numbers, expected ${expected}`);
}

/** What the softmax of one query sees: a score per key, -Infinity where the key is removed. */
function maskedScores(
  inputs: AttentionInputs,
  options: AttentionOptions,
  batch: number,
  head: number,
  query: number,
): Float64Array {
  return Float64Array.from({ length: inputs.keys }, (_, key) => {
    if (isRemoved(options, batch, head, query, key)) return -Infinity;
    const scaled = scaledScore(inputs, options, batch, head, query, key);
    const bias = options.bias?.(batch, head, query, key) ?? 0;
    const mask = options.floatMask?.(batch, head, query, key) ?? 0;
    const score = softcapped(scaled, options.softcap);
    if (bias === 0 && mask === 0) return score;
    return Math.abs(score) + Math.abs(bias) + Math.abs(mask) < Infinity
      ? bounded(score + bias + mask)
      : score + bias + mask;
  });
}

/**
 * Where biased scores and sinks end, as documented: the largest float32, in base 2. A finite bias beyond it, such as PyTorch's
 * finfo.min, does not remove its key.
 */
const LARGEST_SCORE = (2 - 2 ** -23) * 2 ** 127 * Math.LN2;

function bounded(score: number): number {
  return Math.max(-LARGEST_SCORE, Math.min(score, LARGEST_SCORE));
}

function isRemoved(
  options: AttentionOptions,
  batch: number,
  head: number,
  query: number,
  key: number,
): boolean {
  const { keyLengths, booleanMask, predicate, floatMask, bias } = options;
  if (keyLengths !== undefined && key >= keyLengths[batch]!) return true;
  if (!isInCausalRange(options, batch, query, key) || !isInWindow(options, batch, query, key)) return true;
  if (booleanMask !== undefined && !booleanMask(batch, head, query, key)) return true;
  if (predicate !== undefined && !predicate(batch, head, query, key)) return true;
  return floatMask?.(batch, head, query, key) === -Infinity || bias?.(batch, head, query, key) === -Infinity;
}

function isInCausalRange(
  { causalOffset }: AttentionOptions,
  batch: number,
  query: number,
  key: number,
): boolean {
  return causalOffset === undefined || key <= query + ofBatch(causalOffset, batch);
}

function isInWindow(options: AttentionOptions, batch: number, query: number, key: number): boolean {
  if (options.window === undefined) return true;
  const { left = Infinity, right = Infinity } = options.window;
  const position = query + ofBatch(options.windowOffset ?? options.causalOffset ?? 0, batch);
  return position - left <= key && key <= position + right;
}

function ofBatch(value: PerBatch, batch: number): number {
  return typeof value === 'number' ? value : value[batch]!;
}

function scaledScore(
  inputs: AttentionInputs,
  options: AttentionOptions,
  batch: number,
  head: number,
  query: number,
  key: number,
): number {
  const { queryHeads, queries, headDim } = inputs;
  const queryStart = ((batch * queryHeads + head) * queries + query) * headDim;
  const keyStart = keyRow(inputs, batch, head, key) * headDim;
  let product = 0;
  for (let d = 0; d < headDim; d++) product += inputs.query[queryStart + d]! * inputs.key[keyStart + d]!;
  return product * (options.scale ?? 1 / Math.sqrt(headDim));
}

/** The row of [B,Hk,T] that a query head reads: neighbouring query heads share a key/value head. */
function keyRow(inputs: AttentionInputs, batch: number, head: number, key: number): number {
  const keyHead = Math.floor(head / (inputs.queryHeads / inputs.keyHeads));
  return (batch * inputs.keyHeads + keyHead) * inputs.keys + key;
}

function softcapped(score: number, softcap = 0): number {
  return softcap > 0 ? softcap * Math.tanh(score / softcap) : score;
}

function softmaxRow(scores: Float64Array, given = -Infinity): { weights: Float64Array; logSumExp: number } {
  const sink = Number.isFinite(given) ? bounded(given) : given;
  // Math.max gives NaN when any score is NaN, which is how a NaN reaches its whole row.
  const maximum = scores.reduce((largest, score) => Math.max(largest, score), sink);
  const weights = new Float64Array(scores.length);
  if (maximum === -Infinity) return { weights, logSumExp: -Infinity };
  const sum = scores.reduce((total, score) => total + Math.exp(score - maximum), Math.exp(sink - maximum));
  scores.forEach((score, key) => {
    if (score !== -Infinity) weights[key] = Math.exp(score - maximum) / sum;
  });
  return { weights, logSumExp: maximum + Math.log(sum) };
}

function weightedSum(
  inputs: AttentionInputs,
  batch: number,
  head: number,
  scores: Float64Array,
  weights: Float64Array,
): Float64Array {
  const { keys, valueHeadDim } = inputs;
  const sum = new Float64Array(valueHeadDim);
  for (let key = 0; key < keys; key++) {
    if (scores[key] === -Infinity) continue;
    const start = keyRow(inputs, batch, head, key) * valueHeadDim;
    for (let d = 0; d < valueHeadDim; d++) sum[d]! += weights[key]! * inputs.value[start + d]!;
  }
  return sum;
}

function scoreStages(inputs: AttentionInputs, options: AttentionOptions): ScoreStages {
  const { batch, queryHeads, queries, keys } = inputs;
  const scaled = new Float64Array(batch * queryHeads * queries * keys);
  const masked = new Float64Array(scaled.length);
  let index = 0;
  for (let b = 0; b < batch; b++) {
    for (let h = 0; h < queryHeads; h++) {
      for (let i = 0; i < queries; i++) {
        masked.set(maskedScores(inputs, options, b, h, i), index);
        for (let j = 0; j < keys; j++) scaled[index++] = scaledScore(inputs, options, b, h, i, j);
      }
    }
  }
  return { scaled, capped: scaled.map((score) => softcapped(score, options.softcap)), masked };
}

/** Softmax along one axis. A line of nothing but -Infinity gives zeros, as an empty attention row does. */
export function referenceSoftmax(input: NumericArray, dims: readonly number[], axis = -1): Float64Array {
  const along = axis < 0 ? axis + dims.length : axis;
  const length = dims[along]!;
  const stride = dims.slice(along + 1).reduce((product, dim) => product * dim, 1);
  const output = new Float64Array(input.length);
  for (let line = 0; line < input.length / length; line++) {
    const start = Math.floor(line / stride) * stride * length + (line % stride);
    const scores = Float64Array.from({ length }, (_, k) => input[start + k * stride]!);
    softmaxRow(scores).weights.forEach((weight, k) => (output[start + k * stride] = weight));
  }
  return output;
}

/** A projection: weight [outFeatures, inFeatures] row-major, as PyTorch keeps it, and an optional bias. */
export interface Linear {
  weight: NumericArray;
  bias?: NumericArray | undefined;
}

/** input [rows, inFeatures] times the transposed weight, plus the bias: [rows, outFeatures]. */
export function referenceLinear(
  input: NumericArray,
  { weight, bias }: Linear,
  { rows, inFeatures, outFeatures }: { rows: number; inFeatures: number; outFeatures: number },
): Float64Array {
  checkLength('input', input, rows * inFeatures);
  checkLength('weight', weight, outFeatures * inFeatures);
  const output = new Float64Array(rows * outFeatures);
  for (let row = 0; row < rows; row++) {
    for (let out = 0; out < outFeatures; out++) {
      let sum = bias?.[out] ?? 0;
      for (let k = 0; k < inFeatures; k++)
        sum += input[row * inFeatures + k]! * weight[out * inFeatures + k]!;
      output[row * outFeatures + out] = sum;
    }
  }
  return output;
}

export interface RotaryOptions {
  /** How many channels of each head turn; the rest pass through. All of them when absent or 0. */
  rotaryDim?: number | undefined;
  /** Pair channel 2i with 2i + 1 instead of i with i + rotaryDim / 2. */
  interleaved?: boolean | undefined;
  /** Pair p turns by position * base^(-2p / rotaryDim); 10000 when absent. */
  base?: number | undefined;
  /** The position of each token; its index when absent. */
  positions?: ((batch: number, token: number) => number) | undefined;
  /** The cosine and sine of each pair, where a table decides instead of base and positions. */
  table?: ((batch: number, token: number, pair: number) => { cos: number; sin: number }) | undefined;
}

/** Rotary embedding of contiguous [B,H,L,D]: every pair (a, b) -> (a cos - b sin, a sin + b cos). */
export function referenceRotary(
  input: NumericArray,
  sizes: { batch: number; heads: number; length: number; headDim: number },
  options: RotaryOptions = {},
): Float64Array {
  const { heads, length, headDim } = sizes;
  checkLength('input', input, sizes.batch * heads * length * headDim);
  const rotaryDim = options.rotaryDim || headDim;
  const output = Float64Array.from(input);
  for (let row = 0; row < sizes.batch * heads * length; row++) {
    const token = row % length;
    const batch = Math.floor(row / (length * heads));
    for (let pair = 0; pair < rotaryDim / 2; pair++) {
      const { cos, sin } = rotation(options, rotaryDim, batch, token, pair);
      const first = row * headDim + (options.interleaved ? 2 * pair : pair);
      const second = first + (options.interleaved ? 1 : rotaryDim / 2);
      output[first] = input[first]! * cos - input[second]! * sin;
      output[second] = input[first]! * sin + input[second]! * cos;
    }
  }
  return output;
}

function rotation(
  options: RotaryOptions,
  rotaryDim: number,
  batch: number,
  token: number,
  pair: number,
): { cos: number; sin: number } {
  if (options.table !== undefined) return options.table(batch, token, pair);
  const position = options.positions?.(batch, token) ?? token;
  const angle = position * Math.pow(options.base ?? 10000, (-2 * pair) / rotaryDim);
  return { cos: Math.cos(angle), sin: Math.sin(angle) };
}

/** [B,L,H*D] -> [B,H,L,D] */
export function splitHeads(
  input: NumericArray,
  { batch, heads, length, headDim }: { batch: number; heads: number; length: number; headDim: number },
): Float64Array {
  checkLength('input', input, batch * heads * length * headDim);
  const output = new Float64Array(input.length);
  for (let index = 0; index < input.length; index++) {
    const channel = index % headDim;
    const head = Math.floor(index / headDim) % heads;
    const token = Math.floor(index / (headDim * heads)) % length;
    const row = Math.floor(index / (headDim * heads * length));
    output[((row * heads + head) * length + token) * headDim + channel] = input[index]!;
  }
  return output;
}

/** [B,H,L,D] -> [B,L,H*D]: splitting with the roles of head and token exchanged. */
export function mergeHeads(
  input: NumericArray,
  { batch, heads, length, headDim }: { batch: number; heads: number; length: number; headDim: number },
): Float64Array {
  return splitHeads(input, { batch, heads: length, length: heads, headDim });
}

export interface MultiHeadSizes {
  batch: number;
  queries: number;
  /** The number of keys; `queries` when absent. */
  keys?: number | undefined;
  /** Features of a query token. */
  embedDim: number;
  /** Features of a key token; `embedDim` when absent. */
  keyDim?: number | undefined;
  /** Features of a value token; `embedDim` when absent. */
  valueDim?: number | undefined;
  /** Features of an output token; `embedDim` when absent. */
  outputDim?: number | undefined;
  queryHeads: number;
  /** `queryHeads` when absent. */
  keyHeads?: number | undefined;
  /** `embedDim / queryHeads` when absent. */
  headDim?: number | undefined;
  /** `headDim` when absent. */
  valueHeadDim?: number | undefined;
}

export interface MultiHeadWeights {
  query: Linear;
  key: Linear;
  value: Linear;
  output: Linear;
}

export interface MultiHeadOptions extends AttentionOptions {
  queryRotary?: RotaryOptions | undefined;
  keyRotary?: RotaryOptions | undefined;
}

/**
 * A whole attention layer: projections, rotary embedding, attention, output projection. Tokens are
 * [batch, length, features]; without key the layer attends to its queries, without value to its keys.
 */
export function referenceMultiHead(
  tokens: { query: NumericArray; key?: NumericArray | undefined; value?: NumericArray | undefined },
  weights: MultiHeadWeights,
  sizes: MultiHeadSizes,
  options: MultiHeadOptions = {},
): { output: Float64Array; attention: AttentionResult } {
  const { batch, queries, embedDim, queryHeads } = sizes;
  const { keys = queries, keyDim = embedDim, valueDim = embedDim, outputDim = embedDim } = sizes;
  const { keyHeads = queryHeads, headDim = embedDim / queryHeads, valueHeadDim = headDim } = sizes;
  const keyTokens = tokens.key ?? tokens.query;
  const valueTokens = tokens.value ?? keyTokens;
  const querySizes = { batch, heads: queryHeads, length: queries, headDim };
  const keySizes = { batch, heads: keyHeads, length: keys, headDim };
  const valueSizes = { ...keySizes, headDim: valueHeadDim };

  const query = projectHeads(tokens.query, weights.query, embedDim, querySizes);
  const key = projectHeads(keyTokens, weights.key, keyDim, keySizes);
  const attention = referenceAttention(
    {
      query: options.queryRotary ? referenceRotary(query, querySizes, options.queryRotary) : query,
      key: options.keyRotary ? referenceRotary(key, keySizes, options.keyRotary) : key,
      value: projectHeads(valueTokens, weights.value, valueDim, valueSizes),
      batch,
      queryHeads,
      keyHeads,
      queries,
      keys,
      headDim,
      valueHeadDim,
    },
    options,
  );
  const merged = mergeHeads(attention.output, { ...querySizes, headDim: valueHeadDim });
  const projection = { rows: batch * queries, inFeatures: queryHeads * valueHeadDim, outFeatures: outputDim };
  return { output: referenceLinear(merged, weights.output, projection), attention };
}

function projectHeads(
  tokens: NumericArray,
  linear: Linear,
  inFeatures: number,
  sizes: { batch: number; heads: number; length: number; headDim: number },
): Float64Array {
  const projection = {
    rows: sizes.batch * sizes.length,
    inFeatures,
    outFeatures: sizes.heads * sizes.headDim,
  };
  return splitHeads(referenceLinear(tokens, linear, projection), sizes);
}
