// Finds the attention projections in a checkpoint, whatever its authors called and packed them.
// Touch: naming schemes (rows of `schemes`), refusals (`changesTheMeaning`). File formats belong elsewhere.

import { AttentionError, describe, invalidArgument, shapeError } from '../runtime/errors.js';
import { checkDataType, checkTensor, dataAndShape } from '../runtime/inputs.js';
import { runtimeOf } from '../runtime/runtime.js';
import { isTensor } from '../runtime/tensor.js';

/** What is known of the layer whose weights are looked for; sizes in channels. */
export interface ProjectionLayout {
  /** Channels of the query input. */
  readonly embedDim: number;
  /** Query heads. */
  readonly numHeads: number;
  /** Key and value heads; divides `numHeads`. */
  readonly numKeyValueHeads: number;
  /** Channels per head of queries and keys. */
  readonly headDim: number;
  /** Channels per head of values. */
  readonly valueHeadDim: number;
  /** Channels of the key input. */
  readonly kdim: number;
  /** Channels of the value input. */
  readonly vdim: number;
  /** Whether the projections have biases. */
  readonly bias: boolean;
  /** Channels of the layer's output; default `embedDim`. */
  readonly outputDim?: number | undefined;
}

/** A tensor of a checkpoint: a `Tensor` with any strides, or one of any other library, as operations take it. */
export interface StateDictTensor {
  /** Row-major values, as many as the product of the shape: float16, float32, float64 or an array of numbers. */
  readonly data?: unknown;
  /** The shape, outermost axis first; or `dims`. */
  readonly shape?: readonly number[] | undefined;
  /** The shape, as libraries of ONNX call it. */
  readonly dims?: readonly number[] | undefined;
}

/** One linear map, `y = weight x + bias`. The arrays may be views of the checkpoint's own. */
export interface Projection {
  /** [out, in], row-major. */
  readonly weight: Float32Array;
  /** [out]; there exactly if the layer has biases, zeros where the checkpoint has none. */
  readonly bias?: Float32Array;
}

/** The four projections of an attention layer; rows of query, key and value go head by head. */
export interface AttentionProjections {
  /** [numHeads * headDim, embedDim] */
  readonly query: Projection;
  /** [numKeyValueHeads * headDim, kdim] */
  readonly key: Projection;
  /** [numKeyValueHeads * valueHeadDim, vdim] */
  readonly value: Projection;
  /** [outputDim, numHeads * valueHeadDim] */
  readonly output: Projection;
}

/**
 * How the rows of query, key and value share one packed tensor.
 *
 * - `concatenated`: all query rows, then all key rows, then all value rows.
 * - `grouped`: for each key/value head the rows of its query heads, of itself as key and of itself as value.
 *   With as many key/value heads as query heads that is [heads, 3, headDim]; with a single one it equals
 *   `concatenated`.
 */
type Packing = 'concatenated' | 'grouped';

interface Scheme {
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
const schemes = (): readonly Scheme[] => [
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
const changesTheMeaning = (): ReadonlyMap<string, string> =>
  new Map([
    ['bias_k', 'no extra key (add_bias_kv)'],
    ['bias_v', 'no extra value (add_bias_kv)'],
    ['q_bias', 'biases beside their weights'],
    ['v_bias', 'biases beside their weights'],
    ...['q_norm', 'k_norm', 'q_layernorm', 'k_layernorm', 'norm_q', 'norm_k'].map(
      (name) => [`${name}.weight`, 'no normalisation of queries and keys'] as const,
    ),
  ]);

/** A scheme whose weights are all there under a prefix. */
interface Match {
  readonly scheme: Scheme;
  readonly prefix: string;
  readonly output: string;
}

/** A tensor that a match is made of, by its full name, and the shape it must have. */
interface Part {
  readonly name: string;
  readonly shape: readonly number[];
}

const roles = ['query', 'key', 'value'] as const;
type Role = (typeof roles)[number];
type RowRange = readonly [from: number, to: number];

const mostListed = 8;

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

/** An attention layer in a checkpoint. */
export interface FoundLayer {
  readonly projections: AttentionProjections;
  /** Names under the prefix that belong to none of them. */
  readonly leftAside: readonly string[];
}

/**
 * Finds the projections of one attention layer in a checkpoint and brings them into one form.
 *
 * Understood are the names of PyTorch's `nn.MultiheadAttention`, of the Hugging Face model families (Llama,
 * OPT, BART, CLIP, Whisper, Phi, BERT, ViT, ALBERT, DistilBERT, T5, GPT-2, GPT-NeoX, BLOOM, Falcon,
 * InternLM2, MPT, ModernBERT) and of timm, nanoGPT and diffusers. Names that belong to none of the
 * projections are left aside, except those of parts that would change the result.
 *
 * A missing bias counts as zeros, because many models have some and not others. Nothing is written to the
 * checkpoint, and what needs no rearranging is returned as a view of it.
 *
 * @param stateDict tensors by name; their `data` is read only if they belong to the layer.
 * @param layout the layer's sizes; every tensor's shape is checked against them.
 * @param prefix what the layer's names begin with, with or without the dot at its end. The layer may also be
 *   deeper inside, as long as it is the only one there. Default: the whole checkpoint, which must then hold
 *   one attention.
 * @throws AttentionError `INVALID_ARGUMENT` if no scheme fits, more than one does, several layers are
 *   possible, a bias is there for a layer without biases, or a tensor is not one; `INVALID_SHAPE`,
 *   `INVALID_DTYPE` for a tensor of another shape or kind; `UNSUPPORTED` if the checkpoint's layer has a part
 *   that this one cannot have.
 */
export function findLayer(
  stateDict: Readonly<Record<string, StateDictTensor>>,
  layout: ProjectionLayout,
  prefix?: string,
): FoundLayer {
  const beginning = normalizePrefix(prefix);
  const names = listNames(stateDict, beginning);
  const match = chooseMatch(stateDict, findMatches(names), layout, beginning, names);
  refuseOtherMeaning(match.prefix, names);
  const problem = findProblem(stateDict, match, layout);
  if (problem !== undefined) throw problem;
  const projections = readProjections(stateDict, match, layout);
  const leftAside = new Set(names);
  for (const { name } of [...weightParts(match, layout), ...biasParts(match, layout)]) leftAside.delete(name);
  return { projections, leftAside: [...leftAside] };
}

/** The names under the prefix: a checkpoint has many more. */
function listNames(stateDict: unknown, prefix: string): ReadonlySet<string> {
  if (typeof stateDict !== 'object' || stateDict === null) {
    throw invalidArgument('stateDict', 'an object of tensors by name', stateDict);
  }
  return new Set(Object.keys(stateDict).filter((name) => name.startsWith(prefix)));
}

function normalizePrefix(prefix: unknown): string {
  if (prefix === undefined || prefix === '') return '';
  if (typeof prefix !== 'string') {
    throw invalidArgument('prefix', 'a string', prefix);
  }
  return prefix.endsWith('.') ? prefix : `${prefix}.`;
}

function findMatches(names: ReadonlySet<string>): Match[] {
  return schemes().flatMap((scheme) =>
    prefixesOf(scheme.weights[0] as string, names)
      .filter((prefix) => scheme.weights.every((weight) => names.has(prefix + weight)))
      .flatMap((prefix) =>
        scheme.outputs
          .filter((output) => names.has(`${prefix}${output}.weight`))
          .map((output) => ({ scheme, prefix, output })),
      ),
  );
}

/** What stands before `ending` in every name that ends with it, up to a dot or the beginning of the name. */
function prefixesOf(ending: string, names: ReadonlySet<string>): string[] {
  const dotted = `.${ending}`;
  return [...names]
    .filter((name) => name === ending || name.endsWith(dotted))
    .map((name) => name.slice(0, name.length - ending.length));
}

function chooseMatch(
  stateDict: Readonly<Record<string, StateDictTensor>>,
  matches: readonly Match[],
  layout: ProjectionLayout,
  prefix: string,
  names: ReadonlySet<string>,
): Match {
  const inside = matches.filter((match) => match.prefix.startsWith(prefix));
  const prefixes = [...new Set(inside.map((match) => match.prefix))];
  if (prefixes.length === 0) throw noMatchError(prefix, names);
  const chosen = prefixes.includes(prefix) ? prefix : prefixes[0];
  if (prefixes.length > 1 && chosen !== prefix) throw severalLayersError(prefix, prefixes);

  const candidates = inside.filter((match) => match.prefix === chosen);
  const fitting = candidates.filter((match) => findProblem(stateDict, match, layout) === undefined);
  if (fitting.length > 1) throw ambiguousError(fitting);
  // Where nothing fits, the likeliest one is returned for its problem to be reported.
  return (fitting[0] ?? candidates.find(beginsToFit) ?? candidates[0]) as Match;

  function beginsToFit(match: Match): boolean {
    const [first] = weightParts(match, layout);
    return findShapeProblem(stateDict, first as Part, match.scheme) === undefined;
  }
}

function noMatchError(prefix: string, names: ReadonlySet<string>): AttentionError {
  const inside = [...names];
  const tried = schemes()
    .map((scheme) => `${scheme.name} (${scheme.weights[0]})`)
    .join('; ');
  const closest = describeClosest(inside);
  const where = prefix === '' ? '' : ` under ${describe(prefix)}`;
  return new AttentionError({
    code: 'INVALID_ARGUMENT',
    argument: prefix === '' ? 'stateDict' : 'prefix',
    expected: `the weights of an attention layer${where}, named as in one of: ${tried}`,
    received: (inside.length === 0 ? 'no tensors' : listSome(inside)) + closest,
  });
}

/** The scheme that lacks the fewest weights, most likely what was meant; empty if none has any. */
function describeClosest(names: readonly string[]): string {
  const present = new Set(names);
  let best: { scheme: Scheme; prefix: string; missing: string[] } | undefined;
  for (const scheme of schemes()) {
    const required = [...scheme.weights, `${scheme.outputs[0]}.weight`];
    for (const prefix of new Set(required.flatMap((name) => prefixesOf(name, present)))) {
      const missing = required.filter((name) => !present.has(prefix + name));
      // A lone output projection says nothing: too many kinds of layers have one of that name.
      const anchored = scheme.weights.some((weight) => present.has(prefix + weight));
      if (anchored && missing.length < (best?.missing.length ?? Infinity)) best = { scheme, prefix, missing };
    }
  }
  if (best === undefined) return '';
  return `; for ${best.scheme.name} this lacks ${listSome(best.missing.map((name) => best.prefix + name))}`;
}

function severalLayersError(prefix: string, prefixes: readonly string[]): AttentionError {
  const where = prefix === '' ? 'in stateDict' : `under ${describe(prefix)}`;
  return new AttentionError({
    code: 'INVALID_ARGUMENT',
    argument: 'prefix',
    expected: `one that leaves a single attention layer`,
    received: `${prefixes.length} layers ${where}: ${listSome(prefixes)}`,
  });
}

function ambiguousError(matches: readonly Match[]): AttentionError {
  const found = matches.map(({ scheme, prefix, output }) => {
    const keys = [...scheme.weights, `${output}.weight`].map((name) => prefix + name);
    return `${scheme.name} (${keys.map((key) => describe(key)).join(', ')})`;
  });
  return new AttentionError({
    code: 'INVALID_ARGUMENT',
    argument: 'stateDict',
    expected: 'the weights of one attention layer in one naming scheme',
    received: `tensors that fit ${found.join(' and ')}`,
  });
}

function listSome(names: readonly string[]): string {
  const shown = names.slice(0, mostListed).map((name) => describe(name));
  return shown.join(', ') + (names.length > mostListed ? ` and ${names.length - mostListed} more` : '');
}

function refuseOtherMeaning(prefix: string, names: ReadonlySet<string>): void {
  for (const [name, expected] of changesTheMeaning()) {
    if (!names.has(prefix + name)) continue;
    throw new AttentionError({
      code: 'UNSUPPORTED',
      argument: 'stateDict',
      expected: `a layer with ${expected}`,
      received: tensorLabel(prefix + name),
    });
  }
}

/** Why a match cannot be read for this layer, or undefined if it can. Looks at shapes, never at values. */
function findProblem(
  stateDict: Readonly<Record<string, StateDictTensor>>,
  match: Match,
  layout: ProjectionLayout,
): AttentionError | undefined {
  return (
    findInputProblem(match, layout) ??
    firstOf(weightParts(match, layout), (part) => findShapeProblem(stateDict, part, match.scheme)) ??
    firstOf(
      biasParts(match, layout).filter((part) => Object.hasOwn(stateDict, part.name)),
      (part) => findBiasProblem(part, layout) ?? findShapeProblem(stateDict, part, match.scheme),
    )
  );
}

function firstOf<Item, Found>(
  items: readonly Item[],
  find: (item: Item) => Found | undefined,
): Found | undefined {
  for (const item of items) {
    const found = find(item);
    if (found !== undefined) return found;
  }
  return undefined;
}

function findInputProblem({ scheme, prefix }: Match, layout: ProjectionLayout): AttentionError | undefined {
  const { embedDim, kdim, vdim } = layout;
  if (scheme.weights.length > 1 || (kdim === embedDim && vdim === embedDim)) return undefined;
  return new AttentionError({
    code: 'INVALID_SHAPE',
    argument: tensorLabel(prefix + (scheme.weights[0] as string)),
    expected: `one weight each for inputs of embedDim ${embedDim}, kdim ${kdim} and vdim ${vdim}`,
    received: 'a packed one, whose inputs all have the same size',
  });
}

function findBiasProblem({ name }: Part, layout: ProjectionLayout): AttentionError | undefined {
  if (layout.bias) return undefined;
  return new AttentionError({
    code: 'INVALID_ARGUMENT',
    argument: tensorLabel(name),
    expected: 'no biases, since the layer was made with bias: false',
    received: 'one; make the layer with bias: true to use it, or leave the tensor out to drop it',
  });
}

function findShapeProblem(
  stateDict: Readonly<Record<string, StateDictTensor>>,
  { name, shape }: Part,
  scheme: Scheme,
): AttentionError | undefined {
  const received = shapeOf(stateDict, name);
  if (received.length === shape.length && received.every((size, axis) => size === shape[axis]))
    return undefined;
  return shapeError(tensorLabel(name), `shape ${describe(shape)} (named as in ${scheme.name})`, received);
}

function weightParts({ scheme, prefix, output }: Match, layout: ProjectionLayout): Part[] {
  const rows = rowCounts(layout);
  const { embedDim, kdim, vdim, numHeads, valueHeadDim, outputDim = embedDim } = layout;
  const columns = { query: embedDim, key: kdim, value: vdim };
  const orient = (shape: number[]): number[] => (scheme.orientation === 'conv1d' ? shape.reverse() : shape);
  const inputs =
    scheme.weights.length === 1
      ? [[totalRows(layout), embedDim]]
      : roles.map((role) => [rows[role], columns[role]]);
  return [
    ...inputs.map((shape, index) => ({
      name: prefix + (scheme.weights[index] as string),
      shape: orient(shape),
    })),
    { name: `${prefix}${output}.weight`, shape: orient([outputDim, numHeads * valueHeadDim]) },
  ];
}

function biasParts({ scheme, prefix, output }: Match, layout: ProjectionLayout): Part[] {
  const rows = rowCounts(layout);
  const inputs = scheme.biases.length === 1 ? [totalRows(layout)] : roles.map((role) => rows[role]);
  return [
    ...inputs.map((size, index) => ({ name: prefix + (scheme.biases[index] as string), shape: [size] })),
    { name: `${prefix}${output}.bias`, shape: [layout.outputDim ?? layout.embedDim] },
  ];
}

function rowCounts({
  numHeads,
  numKeyValueHeads,
  headDim,
  valueHeadDim,
}: ProjectionLayout): Record<Role, number> {
  return {
    query: numHeads * headDim,
    key: numKeyValueHeads * headDim,
    value: numKeyValueHeads * valueHeadDim,
  };
}

function totalRows(layout: ProjectionLayout): number {
  const { query, key, value } = rowCounts(layout);
  return query + key + value;
}

/** Which rows of a packed tensor belong to query, key and value, in the order of their heads. */
function packedRows(packing: Packing, layout: ProjectionLayout): Record<Role, RowRange[]> {
  const groups = packing === 'grouped' ? layout.numKeyValueHeads : 1;
  const rows = rowCounts(layout);
  const ranges: Record<Role, RowRange[]> = { query: [], key: [], value: [] };
  let from = 0;
  for (let group = 0; group < groups; group++) {
    for (const role of roles) {
      const to = from + rows[role] / groups;
      ranges[role].push([from, to]);
      from = to;
    }
  }
  return ranges;
}

function readProjections(
  stateDict: Readonly<Record<string, StateDictTensor>>,
  match: Match,
  layout: ProjectionLayout,
): AttentionProjections {
  const weights = readParts(stateDict, weightParts(match, layout), match.scheme, layout);
  if (!layout.bias) {
    const [query, key, value, output] = weights.map((weight) => ({ weight })) as Four<Projection>;
    return { query, key, value, output };
  }
  const biases = readParts(stateDict, biasParts(match, layout), match.scheme, layout);
  const pairs = weights.map((weight, index) => ({ weight, bias: biases[index] as Float32Array }));
  const [query, key, value, output] = pairs as Four<Projection>;
  return { query, key, value, output };
}

type Four<Item> = [query: Item, key: Item, value: Item, output: Item];

/** The values of query, key, value and output from two parts (packed, output) or four. */
function readParts(
  stateDict: Readonly<Record<string, StateDictTensor>>,
  parts: readonly Part[],
  { orientation, packing }: Scheme,
  layout: ProjectionLayout,
): Float32Array[] {
  const matrices = parts.map((part) => {
    const values = Object.hasOwn(stateDict, part.name) ? valuesOf(stateDict, part) : zeros(part.shape);
    return orientation === 'conv1d' && part.shape.length === 2 ? transpose(values, part.shape) : values;
  });
  if (matrices.length === 4) return matrices;
  const [packed, output] = matrices as [Float32Array, Float32Array];
  const width = packed.length / totalRows(layout);
  const ranges = packedRows(packing, layout);
  return [...roles.map((role) => takeRows(packed, width, ranges[role])), output];
}

function zeros(shape: readonly number[]): Float32Array {
  return new Float32Array(productOf(shape));
}

/** From [in, out] to [out, in]. */
function transpose(values: Float32Array, [inputs, outputs]: readonly number[]): Float32Array {
  const rows = inputs as number;
  const columns = outputs as number;
  const result = new Float32Array(values.length);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      result[column * rows + row] = values[row * columns + column] as number;
    }
  }
  return result;
}

/** Rows of a matrix one after another; a view where they already stand so. */
function takeRows(matrix: Float32Array, width: number, ranges: readonly RowRange[]): Float32Array {
  const pieces = ranges.map(([from, to]) => matrix.subarray(from * width, to * width));
  if (pieces.length === 1) return pieces[0] as Float32Array;
  const result = new Float32Array(pieces.reduce((length, piece) => length + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    result.set(piece, at);
    at += piece.length;
  }
  return result;
}

function shapeOf(stateDict: Readonly<Record<string, StateDictTensor>>, name: string): readonly number[] {
  const tensor: unknown = stateDict[name];
  const { shape, dims } = (tensor ?? {}) as Partial<StateDictTensor>;
  const sizes: unknown = shape ?? dims;
  if (Array.isArray(sizes) && sizes.every((size) => Number.isSafeInteger(size) && size >= 0))
    return sizes as number[];
  throw invalidArgument(
    tensorLabel(name),
    'a tensor with data and a shape (or dims) of integers >= 0',
    sizes ?? tensor,
  );
}

function valuesOf(stateDict: Readonly<Record<string, StateDictTensor>>, { name, shape }: Part): Float32Array {
  const values = floatsOf(tensorLabel(name), stateDict[name]);
  if (values.length === productOf(shape)) return values;
  throw new AttentionError({
    code: 'INVALID_SHAPE',
    argument: tensorLabel(name),
    expected: `${productOf(shape)} values for shape ${describe(shape)}`,
    received: `${values.length}`,
  });
}

/** Integers are refused: in a checkpoint they are quantized values or the bits of another type. */
function floatsOf(label: string, tensor: unknown): Float32Array {
  if (isTensor(tensor)) {
    checkDataType(label, checkTensor(label, tensor, runtimeOf(tensor)), 'float32');
    return tensor.toFloat32Array();
  }
  const data: unknown = dataAndShape(label, tensor).data;
  const kind = Object.prototype.toString.call(data);
  if (kind === '[object Float32Array]') return data as Float32Array;
  if (kind === '[object Float64Array]' || kind === '[object Float16Array]' || isListOfNumbers(data)) {
    return Float32Array.from(data as ArrayLike<number>);
  }
  throw new AttentionError({
    code: 'INVALID_DTYPE',
    argument: label,
    expected: 'data as a Float32Array, Float64Array, Float16Array or an array of numbers',
    received: describe(data),
  });
}

function isListOfNumbers(data: unknown): boolean {
  return Array.isArray(data) && data.every((item) => typeof item === 'number');
}

function productOf(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

function tensorLabel(name: string): string {
  return `tensor ${describe(name)}`;
}
