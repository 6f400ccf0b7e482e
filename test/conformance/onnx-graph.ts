// Runs the small graphs that modify scores and weights in ONNX's FlexAttention cases. Every tensor is float64
// and truth values are 0 and 1, so Cast has nothing to do: the graphs only cast to wider types.

import { halfToNumber } from './onnx-cases.js';

export interface GraphTensor {
  dims: readonly number[];
  data: Float64Array;
}

/** A graph as the cases spell it: lines `name = Op(argument, ...)`, constants as little-endian hex. */
export interface OnnxGraph {
  graph: readonly string[];
  inputs: readonly string[];
  outputs: readonly string[];
  constants?: Readonly<Record<string, string>>;
}

type Operator = (...tensors: GraphTensor[]) => GraphTensor;

/** Applies a graph of one input and one output. */
export function runGraph(
  { graph, inputs, outputs, constants = {} }: OnnxGraph,
  input: GraphTensor,
): GraphTensor {
  const tensors = new Map(Object.entries(constants).map(([name, hex]) => [name, decodeConstant(hex)]));
  tensors.set(inputs[0] ?? '', input);
  const tensorOf = (name: string): GraphTensor => {
    const tensor = tensors.get(name);
    if (tensor === undefined) throw new Error(`the graph has no tensor ${name}`);
    return tensor;
  };
  for (const line of graph) {
    const { result, operator, names } = parseLine(line);
    tensors.set(result, operator(...names.map(tensorOf)));
  }
  return tensorOf(outputs[0] ?? '');
}

function parseLine(line: string): { result: string; operator: Operator; names: string[] } {
  const [, result = '', name = '', list = ''] = /^\s*(\w+)\s*=\s*(\w+)\((.*)\)\s*$/.exec(line) ?? [];
  const operator = OPERATORS[name];
  if (operator === undefined) throw new Error(`unknown operator in the graph: ${line}`);
  const names = list.split(',').map((argument) => argument.trim());
  return { result, operator, names: names.filter((argument) => argument !== '' && !argument.includes('=')) };
}

/**
 * A constant's type and shape are not written down. Two bytes are a half, four a float32; longer ones are
 * int64, unless that gives no plausible size or index, then float64. One number is a scalar, more a vector.
 */
function decodeConstant(hex: string): GraphTensor {
  const bytes = Uint8Array.from(Buffer.from(hex, 'hex'));
  const view = new DataView(bytes.buffer);
  if (bytes.length === 2) return scalar(halfToNumber(view.getUint16(0, true)));
  if (bytes.length % 8 !== 0) return vector(bytes.length / 4, (k) => view.getFloat32(4 * k, true));
  const integers = vector(bytes.length / 8, (k) => Number(view.getBigInt64(8 * k, true)));
  if (integers.data.every((integer) => Math.abs(integer) < 2 ** 32)) return integers;
  return vector(bytes.length / 8, (k) => view.getFloat64(8 * k, true));
}

function scalar(value: number): GraphTensor {
  return { dims: [], data: Float64Array.of(value) };
}

function vector(length: number, value: (index: number) => number): GraphTensor {
  return { dims: length === 1 ? [] : [length], data: Float64Array.from({ length }, (_, k) => value(k)) };
}

const OPERATORS: Readonly<Record<string, Operator>> = {
  Add: elementwise((a, b) => a + b),
  Sub: elementwise((a, b) => a - b),
  Mul: elementwise((a, b) => a * b),
  Div: elementwise((a, b) => a / b),
  Pow: elementwise((a, b) => a ** b),
  Min: elementwise((a, b) => Math.min(a, b)),
  Max: elementwise((a, b) => Math.max(a, b)),
  Less: elementwise((a, b) => Number(a < b)),
  LessOrEqual: elementwise((a, b) => Number(a <= b)),
  Greater: elementwise((a, b) => Number(a > b)),
  GreaterOrEqual: elementwise((a, b) => Number(a >= b)),
  Equal: elementwise((a, b) => Number(a === b)),
  And: elementwise((a, b) => Number(a !== 0 && b !== 0)),
  Or: elementwise((a, b) => Number(a !== 0 || b !== 0)),
  Where: elementwise((condition, a, b) => (condition !== 0 ? a : b)),
  Not: elementwise((a) => Number(a === 0)),
  Neg: elementwise((a) => -a),
  Abs: elementwise((a) => Math.abs(a)),
  Exp: elementwise((a) => Math.exp(a)),
  Sqrt: elementwise((a) => Math.sqrt(a)),
  Tanh: elementwise((a) => Math.tanh(a)),
  Sigmoid: elementwise((a) => 1 / (1 + Math.exp(-a))),
  Relu: elementwise((a) => Math.max(a, 0)),
  Cast: (tensor) => tensor,
  CastLike: (tensor) => tensor,
  Identity: (tensor) => tensor,
  Shape: (tensor) => ({ dims: [tensor.dims.length], data: Float64Array.from(tensor.dims) }),
  Gather: (tensor, index) => scalar(tensor.data.at(index.data[0]!)!),
  Range: (start, limit, step) => range(start.data[0]!, limit.data[0]!, step.data[0]!),
  Reshape: (tensor, shape) => reshape(tensor, Array.from(shape.data)),
  Unsqueeze: (tensor, axes) => unsqueeze(tensor, Array.from(axes.data)),
  Expand: (tensor, shape) => broadcast(tensor, broadcastDims([tensor.dims, Array.from(shape.data)])),
};

function elementwise(operation: (a: number, b: number, c: number) => number): Operator {
  return (...tensors) => {
    const dims = broadcastDims(tensors.map((tensor) => tensor.dims));
    const [a, b = a, c = a] = tensors.map((tensor) => broadcast(tensor, dims).data);
    return { dims, data: a!.map((value, k) => operation(value, b![k]!, c![k]!)) };
  };
}

function broadcastDims(shapes: (readonly number[])[]): number[] {
  const rank = Math.max(...shapes.map((dims) => dims.length));
  return Array.from({ length: rank }, (_, axis) => {
    const sizes = shapes.map((dims) => dims[axis - rank + dims.length] ?? 1);
    return sizes.find((size) => size !== 1) ?? 1;
  });
}

/** Repeats axes of 1, aligned from the right. */
function broadcast(tensor: GraphTensor, dims: readonly number[]): GraphTensor {
  const missing = dims.length - tensor.dims.length;
  const length = dims.reduce((product, dim) => product * dim, 1);
  const data = Float64Array.from({ length }, (_, index) => {
    let rest = index;
    let source = 0;
    let stride = 1;
    for (let axis = dims.length - 1; axis >= 0; axis--) {
      const size = tensor.dims[axis - missing] ?? 1;
      if (size !== 1) source += (rest % dims[axis]!) * stride;
      stride *= size;
      rest = Math.floor(rest / dims[axis]!);
    }
    return tensor.data[source]!;
  });
  return { dims, data };
}

function range(start: number, limit: number, step: number): GraphTensor {
  const length = Math.max(0, Math.ceil((limit - start) / step));
  return { dims: [length], data: Float64Array.from({ length }, (_, k) => start + k * step) };
}

function reshape({ data }: GraphTensor, shape: readonly number[]): GraphTensor {
  const known = shape.reduce((product, dim) => (dim === -1 ? product : product * dim), 1);
  return { dims: shape.map((dim) => (dim === -1 ? data.length / known : dim)), data };
}

function unsqueeze({ dims, data }: GraphTensor, axes: readonly number[]): GraphTensor {
  const rank = dims.length + axes.length;
  const added = new Set(axes.map((axis) => (axis < 0 ? axis + rank : axis)));
  const rest = [...dims];
  return { dims: Array.from({ length: rank }, (_, axis) => (added.has(axis) ? 1 : rest.shift()!)), data };
}
