// ONNX models in memory. protobufjs, which onnxruntime-web brings along, encodes the few messages of
// onnx.proto that a graph needs; the field numbers are those of ONNX. (The onnx-proto package is tied to an
// old protobufjs.)

import protobuf from 'protobufjs';

const { root } = protobuf.parse(
  `
  syntax = "proto3";
  message Attribute { string name = 1; float f = 2; int64 i = 3; repeated int64 ints = 8; int32 type = 20; }
  message Node {
    repeated string input = 1; repeated string output = 2; string name = 3; string op_type = 4;
    repeated Attribute attribute = 5; string domain = 7;
  }
  message Tensor { repeated int64 dims = 1; int32 data_type = 2; string name = 8; bytes raw_data = 9; }
  message Dimension { int64 dim_value = 1; }
  message Shape { repeated Dimension dim = 1; }
  message TensorType { int32 elem_type = 1; Shape shape = 2; }
  message Type { TensorType tensor_type = 1; }
  message ValueInfo { string name = 1; Type type = 2; }
  message Graph {
    repeated Node node = 1; string name = 2; repeated Tensor initializer = 5;
    repeated ValueInfo input = 11; repeated ValueInfo output = 12;
  }
  message OperatorSet { string domain = 1; int64 version = 2; }
  message Model { int64 ir_version = 1; string producer_name = 2; Graph graph = 7; repeated OperatorSet opset_import = 8; }
`,
  { keepCase: true },
);

const Model = root.lookupType('Model');

/** Field numbers of AttributeProto.AttributeType and TensorProto.DataType. */
const FLOAT_ATTRIBUTE = 1;
const INT_ATTRIBUTE = 2;
const INTS_ATTRIBUTE = 7;
const FLOAT_TENSOR = 1;
const INT32_TENSOR = 6;
const INT64_TENSOR = 7;

/** @param {string} name @param {number | number[] | { float: number }} value */
function attribute(name, value) {
  if (Array.isArray(value)) return { name, ints: value, type: INTS_ATTRIBUTE };
  if (typeof value === 'object') return { name, f: value.float, type: FLOAT_ATTRIBUTE };
  return { name, i: value, type: INT_ATTRIBUTE };
}

/** @param {string} name @param {number[]} dims @param {number} [type] */
const valueInfo = (name, dims, type = FLOAT_TENSOR) => ({
  name,
  type: {
    tensor_type: { elem_type: type, shape: { dim: dims.map((size) => ({ dim_value: size })) } },
  },
});

/** A graph under construction: every operator returns the name of its output. */
export class GraphBuilder {
  /** @type {object[]} */
  #nodes = [];
  /** @type {object[]} */
  #constants = [];
  /** @type {object[]} */
  #inputs = [];
  #names = 0;

  /** @param {string} name @param {number[]} dims */
  input(name, dims) {
    this.#inputs.push(valueInfo(name, dims));
    return name;
  }

  /** @param {string} name @param {number[]} dims */
  integerInput(name, dims) {
    this.#inputs.push(valueInfo(name, dims, INT32_TENSOR));
    return name;
  }

  /** @param {number[]} dims @param {Float32Array | Int32Array | BigInt64Array} data */
  constant(dims, data) {
    const name = `constant${this.#names++}`;
    const type =
      data instanceof Float32Array ? FLOAT_TENSOR : data instanceof Int32Array ? INT32_TENSOR : INT64_TENSOR;
    const raw = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    this.#constants.push({ name, dims, data_type: type, raw_data: raw });
    return name;
  }

  /** A shape, an axis or any list of integers. @param {number[]} values */
  integers(values) {
    return this.constant([values.length], BigInt64Array.from(values, BigInt));
  }

  /** @param {number} value */
  scalar(value) {
    return this.constant([], Float32Array.of(value));
  }

  /**
   * @param {string} operator
   * @param {string[]} inputs '' leaves an optional input out
   * @param {Record<string, number | number[] | { float: number }>} [attributes]
   * @param {{ domain?: string, outputs?: number }} [options]
   * @returns {string[]} names of the outputs
   */
  apply(operator, inputs, attributes = {}, { domain = '', outputs = 1 } = {}) {
    const names = Array.from({ length: outputs }, () => `value${this.#names++}`);
    this.#nodes.push({
      op_type: operator,
      name: names[0],
      input: inputs,
      output: names,
      attribute: Object.entries(attributes).map(([name, value]) => attribute(name, value)),
      domain,
    });
    return names;
  }

  /**
   * @param {string} output
   * @param {number[]} dims
   * @param {[string, number[]][]} more further outputs
   * @returns {Uint8Array} the model file
   */
  encode(output, dims, more = []) {
    const model = {
      ir_version: 10,
      producer_name: 'wasm-attention-bench',
      graph: {
        name: 'graph',
        node: this.#nodes,
        initializer: this.#constants,
        input: this.#inputs,
        output: [valueInfo(output, dims), ...more.map(([name, shape]) => valueInfo(name, shape))],
      },
      opset_import: [
        { domain: '', version: 23 },
        { domain: 'com.microsoft', version: 1 },
      ],
    };
    return Model.encode(model).finish();
  }
}
