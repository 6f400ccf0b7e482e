// Norms, activations, softmax, rotary embedding and cross entropy among the cases of gradients: a function an operation, from what a
// case has to its outputs.

import { linear, LinearWeights, rotaryEmbedding, softmax } from 'wasm-attention';
import type { Runtime, Tensor } from 'wasm-attention';
import { gelu, layerNorm, quickGelu, relu, rmsNorm, silu, tanh } from 'wasm-attention/model';
import {
  activationBackward,
  crossEntropy,
  gatedActivationBackward,
  layerNormBackward,
  linearBackward,
  rmsNormBackward,
  rotaryEmbeddingBackward,
  softmaxBackward,
} from 'wasm-attention/training';

interface Values {
  readonly data: Float32Array | Int32Array | Uint8Array;
  readonly dims: readonly number[];
}

/** What of a case a function reads. */
interface RowCase {
  readonly options: Readonly<Record<string, never>>;
  readonly inputs: Readonly<Record<string, Values>>;
  readonly upstream: Readonly<Record<string, Values>>;
}

type Outputs = Record<string, ArrayLike<number>>;
type Operation = (runtime: Runtime, given: RowCase) => Outputs;

const tensorOf = (runtime: Runtime, values: Values | undefined) =>
  runtime.tensor(values!.data as Float32Array, values!.dims);

const layerNormCase: Operation = (runtime, { options, inputs, upstream }) => {
  const [x, dy] = [tensorOf(runtime, inputs.x), tensorOf(runtime, upstream.dout)];
  const [weight, bias, epsilon] = [inputs.weight, inputs.bias, options.eps];
  const gradients = layerNormBackward(x, dy, { weight, epsilon });
  return {
    out: layerNorm(x, { weight, bias, epsilon }).data,
    ...{ dx: gradients.input.data, dweight: gradients.weight.data, dbias: gradients.bias.data },
  };
};

const rmsNormCase: Operation = (runtime, { options, inputs, upstream }) => {
  const [x, dy] = [tensorOf(runtime, inputs.x), tensorOf(runtime, upstream.dout)];
  const own = { weight: inputs.weight, epsilon: options.eps, unitOffset: options.onePlusWeight };
  const gradients = rmsNormBackward(x, dy, own);
  return { out: rmsNorm(x, own).data, dx: gradients.input.data, dweight: gradients.weight.data };
};

const activations = {
  gelu: [gelu, 'gelu'],
  gelu_tanh: [(x: Tensor) => gelu(x, { approximate: 'tanh' }), 'geluTanh'],
  silu: [silu, 'silu'],
  quickGelu: [quickGelu, 'quickGelu'],
  tanh: [tanh, 'tanh'],
  relu: [relu, 'relu'],
} as const;
type Name = keyof typeof activations;

const activationCase =
  (name: Name): Operation =>
  (runtime, { options, inputs, upstream }) => {
    const [forward, activation] = activations[options.approximate === 'tanh' ? 'gelu_tanh' : name];
    const x = tensorOf(runtime, inputs.x);
    const dx = activationBackward(x, tensorOf(runtime, upstream.dout), { activation });
    return { out: forward(x).data, dx: dx.data };
  };

const softmaxCase: Operation = (runtime, { options, inputs, upstream }) => {
  const y = softmax(tensorOf(runtime, inputs.x), options);
  return { out: y.data, dx: softmaxBackward(y, tensorOf(runtime, upstream.dout), options).data };
};

const rotaryCase: Operation = (runtime, { options, inputs, upstream }) => {
  const { theta, rotaryDim, interleaved } = options;
  const { data, dims } = inputs.positions!;
  const length = dims[1]!;
  const positions = Array.from({ length: dims[0]! }, (_, b) =>
    (data as Int32Array).slice(b * length, (b + 1) * length),
  );
  const own = { base: theta, rotaryDim, interleaved, positions };
  return {
    out: rotaryEmbedding(tensorOf(runtime, inputs.x), own).data,
    dx: rotaryEmbeddingBackward(tensorOf(runtime, upstream.dout), own).data,
  };
};

const gatedMlpCase: Operation = (runtime, { options, inputs, upstream }) => {
  const weightsOf = (name: string) => new LinearWeights(runtime, inputs[`${name}_proj.weight`] as never);
  const [gateWeights, upWeights, downWeights] = ['gate', 'up', 'down'].map(weightsOf) as [
    LinearWeights,
    LinearWeights,
    LinearWeights,
  ];
  const [forward, activation] = activations[options.activation as unknown as Name];
  const x = tensorOf(runtime, inputs.x);
  const [gate, up] = [linear(x, gateWeights), linear(x, upWeights)];
  const active = forward(gate);
  const product = runtime.tensor(
    active.data.map((value, i) => value * up.data[i]!),
    gate.shape,
  );
  const down = linearBackward(product, downWeights, tensorOf(runtime, upstream.dout));
  const gated = gatedActivationBackward(gate, up, down.input, { activation });
  const [ofGate, ofUp] = [linearBackward(x, gateWeights, gated.gate), linearBackward(x, upWeights, gated.up)];
  return {
    out: linear(product, downWeights).data,
    dx: ofGate.input.data.map((value, i) => value + ofUp.input.data[i]!),
    'dgate_proj.weight': ofGate.weight.data,
    'dup_proj.weight': ofUp.weight.data,
    'ddown_proj.weight': down.weight.data,
  };
};

const crossEntropyCase: Operation = (runtime, { options, inputs, upstream }) => {
  const dout = upstream.dout!.data;
  const reduction = options.reduction as 'mean' | 'sum' | 'none' | undefined;
  const { loss, gradient, perToken } = crossEntropy(
    tensorOf(runtime, inputs.x),
    inputs.labels!.data as Int32Array,
    {
      ...{ ignoreIndex: options.ignore_index, labelSmoothing: options.label_smoothing, reduction },
      ...(reduction === 'none'
        ? { tokenFactors: { data: dout as Float32Array, shape: [dout.length] } }
        : { factor: dout[0] }),
    },
  );
  return { out: reduction === 'none' ? perToken!.data : [loss], dx: gradient!.data };
};

export const operations: Readonly<Record<string, Operation>> = {
  layerNorm: layerNormCase,
  rmsNorm: rmsNormCase,
  gelu: activationCase('gelu'),
  silu: activationCase('silu'),
  quickGelu: activationCase('quickGelu'),
  tanh: activationCase('tanh'),
  relu: activationCase('relu'),
  softmax: softmaxCase,
  rotaryEmbedding: rotaryCase,
  gatedMlp: gatedMlpCase,
  crossEntropy: crossEntropyCase,
};
