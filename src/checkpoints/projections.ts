// The four projections of a layer: which tensors they are made of under a naming scheme, and how those become four matrices.

import { sizeOf } from '../runtime/layout.js';
import type { Packing, Scheme } from './schemes.js';
import { valuesOf } from './state-dict.js';
import type { StateDict } from './state-dict.js';

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

/** One linear map, `y = weight x + bias`. The arrays may be views of the checkpoint's own. */
export interface Projection {
  /** [out, in], row-major. */
  readonly weight: Float32Array;
  /** [out]; present exactly if the layer has biases; zeros where the checkpoint has none. */
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

/** A scheme whose weights are all there under a prefix. */
export interface Match {
  readonly scheme: Scheme;
  readonly prefix: string;
  readonly output: string;
}

/** A tensor that a match is made of, by its full name, and the shape it must have. */
export interface Part {
  readonly name: string;
  readonly shape: readonly number[];
}

const roles = ['query', 'key', 'value'] as const;
type Role = (typeof roles)[number];
type RowRange = readonly [from: number, to: number];

export function weightParts({ scheme, prefix, output }: Match, layout: ProjectionLayout): Part[] {
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

export function biasParts({ scheme, prefix, output }: Match, layout: ProjectionLayout): Part[] {
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

export function readProjections(
  stateDict: StateDict,
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
  stateDict: StateDict,
  parts: readonly Part[],
  { orientation, packing }: Scheme,
  layout: ProjectionLayout,
): Float32Array[] {
  const matrices = parts.map((part) => {
    const values = Object.hasOwn(stateDict, part.name)
      ? valuesOf(stateDict, part.name, part.shape)
      : new Float32Array(sizeOf(part.shape));
    return orientation === 'conv1d' && part.shape.length === 2 ? transpose(values, part.shape) : values;
  });
  if (matrices.length === 4) return matrices;
  const [packed, output] = matrices as [Float32Array, Float32Array];
  const width = packed.length / totalRows(layout);
  const ranges = packedRows(packing, layout);
  return [...roles.map((role) => takeRows(packed, width, ranges[role])), output];
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
