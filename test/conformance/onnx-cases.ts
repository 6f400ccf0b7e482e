// The ONNX project's backend cases for attention and its neighbours: where they lie, their tensors as
// numbers, and when a result counts as equal. Nothing of them is copied into this repository.

import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { onnxCasesFile, requirements } from '../support/requirements.mjs';

export type OnnxDataType = 'float32' | 'float64' | 'float16' | 'bool' | 'int64';

/** Row-major numbers. Half precision is widened to float32, which holds each of its values exactly. */
export interface OnnxTensor {
  dtype: OnnxDataType;
  dims: readonly number[];
  data: Float32Array | Float64Array | Uint8Array | BigInt64Array;
}

export interface OnnxCase {
  name: string;
  domain: string;
  op: string;
  opset: number;
  attributes: Readonly<Record<string, unknown>>;
  inputs: Readonly<Record<string, OnnxTensor>>;
  outputs: Readonly<Record<string, OnnxTensor>>;
  features: readonly string[];
}

interface StoredTensor {
  dtype: OnnxDataType;
  dims: number[];
  b64: string;
}

interface StoredCase {
  name: string;
  domain: string;
  op: string;
  opset: number;
  attrs?: Record<string, unknown>;
  inputs: Record<string, StoredTensor>;
  outputs: Record<string, StoredTensor>;
  features?: string[];
}

/**
 * All cases, or null where the project stands without them. A file that WASM_ATTENTION_CONFORMANCE names must
 * exist: whoever names one wants it run, not skipped.
 */
export function loadOnnxCases(): OnnxCase[] | null {
  if (!requirements['ONNX-cases']!.isMet()) return null;
  const { cases } = JSON.parse(readFileSync(resolve(onnxCasesFile()), 'utf8')) as { cases: StoredCase[] };
  return cases.map(decodeCase);
}

function decodeCase({ attrs = {}, inputs, outputs, features = [], ...rest }: StoredCase): OnnxCase {
  return {
    ...rest,
    attributes: attrs,
    inputs: decodeTensors(inputs),
    outputs: decodeTensors(outputs),
    features,
  };
}

function decodeTensors(tensors: Record<string, StoredTensor>): Record<string, OnnxTensor> {
  return Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name, decodeTensor(tensor)]));
}

function decodeTensor({ dtype, dims, b64 }: StoredTensor): OnnxTensor {
  return { dtype, dims, data: decodeNumbers(dtype, Uint8Array.from(Buffer.from(b64, 'base64'))) };
}

/** Little-endian bytes (as every machine this runs on stores numbers) to numbers. */
export function decodeNumbers(dtype: OnnxDataType, bytes: Uint8Array<ArrayBuffer>): OnnxTensor['data'] {
  switch (dtype) {
    case 'float32':
      return new Float32Array(bytes.buffer);
    case 'float64':
      return new Float64Array(bytes.buffer);
    case 'float16':
      return Float32Array.from(new Uint16Array(bytes.buffer), halfToNumber);
    case 'bool':
      return bytes;
    case 'int64':
      return new BigInt64Array(bytes.buffer);
    default:
      throw new TypeError(`unknown data type ${String(dtype)}`);
  }
}

/** The exact value of an IEEE half: 1 sign, 5 exponent and 10 fraction bits. */
export function halfToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
}

/** Any tensor's numbers as float64. */
export function numbersOf(tensor: Pick<OnnxTensor, 'data'>): Float64Array {
  return Float64Array.from(tensor.data as ArrayLike<number | bigint>, Number);
}

/** A tensor that the case must have. */
export function requiredTensor(tensors: Readonly<Record<string, OnnxTensor>>, name: string): OnnxTensor {
  const tensor = tensors[name];
  if (tensor === undefined) throw new Error(`the case has no tensor ${name}`);
  return tensor;
}

/** A numeric attribute, or its default where the node does not set it. */
export function numberAttribute(onnxCase: OnnxCase, name: string, otherwise: number): number {
  const value = onnxCase.attributes[name] ?? otherwise;
  if (typeof value !== 'number') throw new TypeError(`attribute ${name} of ${onnxCase.name} is not a number`);
  return value;
}

export interface Tolerance {
  absolute: number;
  relative: number;
}

/** What a result of this type must meet; truth values and integers must be equal. */
export function toleranceOf(dtype: OnnxDataType): Tolerance {
  if (dtype === 'float16') return { absolute: 2e-3, relative: 2e-3 };
  if (dtype === 'float32' || dtype === 'float64') return { absolute: 1e-5, relative: 1e-4 };
  return { absolute: 0, relative: 0 };
}

export interface Comparison {
  equal: boolean;
  /** The largest absolute difference of finite elements. */
  maximumError: number;
  /** What differs first, for a test's message; empty when equal. */
  message: string;
}

/** |actual - expected| <= absolute + relative * |expected| everywhere; shapes, infinities and NaN equal. */
export function compare(
  actual: { dims: readonly number[]; data: ArrayLike<number | bigint> },
  expected: OnnxTensor,
  tolerance: Tolerance = toleranceOf(expected.dtype),
): Comparison {
  const expectedNumbers = numbersOf(expected);
  if (actual.dims.join() !== expected.dims.join() || actual.data.length !== expectedNumbers.length) {
    const shape = `[${actual.dims.join()}] of ${actual.data.length}`;
    const message = `shape ${shape}, expected [${expected.dims.join()}]`;
    return { equal: false, maximumError: NaN, message };
  }
  let maximumError = 0;
  let message = '';
  expectedNumbers.forEach((wanted, index) => {
    const got = Number(actual.data[index]);
    const error = difference(got, wanted);
    if (Number.isFinite(error)) maximumError = Math.max(maximumError, error);
    const isClose = error <= tolerance.absolute + tolerance.relative * finiteMagnitude(wanted);
    if (!isClose && message === '') message = `element ${index} is ${got}, expected ${wanted}`;
  });
  return { equal: message === '', maximumError, message };
}

function difference(actual: number, expected: number): number {
  if (Object.is(actual, expected)) return 0;
  return Number.isFinite(actual) && Number.isFinite(expected) ? Math.abs(actual - expected) : Infinity;
}

/** An infinite expectation must not make the tolerance infinite. */
function finiteMagnitude(value: number): number {
  return Number.isFinite(value) ? Math.abs(value) : 0;
}
