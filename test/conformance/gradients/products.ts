// Products, embeddings and optimisers among the cases of gradients: a function an operation, from what a case has to its outputs.

import { linear, LinearWeights } from 'wasm-attention';
import type { Runtime } from 'wasm-attention';
import { embedding } from 'wasm-attention/model';
import {
  AdamW,
  clipGradients,
  embeddingBackward,
  linearBackward,
  SGD,
  trainableTensors,
} from 'wasm-attention/training';

interface Values {
  readonly data: Float32Array | Int32Array | Uint8Array;
  readonly dims: readonly number[];
}

/** What of a case a function reads. */
export interface ProductCase {
  readonly options: Readonly<Record<string, unknown>>;
  readonly inputs: Readonly<Record<string, Values>>;
  readonly upstream: Readonly<Record<string, Values>>;
}

export type Outputs = Record<string, ArrayLike<number>>;

type Floats = Values & { readonly data: Float32Array };
const floats = (values: Values | undefined) => values as Floats;

function linearCase(runtime: Runtime, { inputs, upstream }: ProductCase): Outputs {
  const x = floats(inputs.x);
  const weights = new LinearWeights(runtime, floats(inputs.weight), floats(inputs.bias));
  const { input, weight, bias } = linearBackward(x, weights, floats(upstream.dout));
  return { out: linear(x, weights).data, dx: input.data, dweight: weight.data, dbias: bias.data };
}

function embeddingCase(runtime: Runtime, { inputs, upstream }: ProductCase): Outputs {
  const table = floats(inputs.weight);
  const ids = inputs.ids as Values & { readonly data: Int32Array };
  const gradient = runtime.tensor(floats(upstream.dout).data, upstream.dout!.dims);
  return {
    out: embedding(ids, table, { runtime }).data,
    dweight: embeddingBackward(ids, table.dims[0]!, gradient).data,
  };
}

interface OptimiserOptions {
  readonly optimiser: 'AdamW' | 'SGD';
  readonly lr: number;
  readonly lrs?: readonly number[];
  readonly betas?: readonly [number, number];
  readonly eps?: number;
  readonly weight_decay?: number;
  readonly momentum?: number;
  readonly nesterov?: boolean;
  readonly clipNorm?: number;
}

/** Values after every fifth step, and the norms of the gradients of each. */
function optimiserCase(runtime: Runtime, { options, inputs, upstream }: ProductCase): Outputs {
  const given = options as unknown as OptimiserOptions;
  const tensors = Object.fromEntries(
    Object.entries(inputs).map(([name, { data, dims }]) => [
      name,
      { value: runtime.tensor(data as Float32Array, dims), gradient: runtime.empty(dims) },
    ]),
  );
  const trainable = trainableTensors(runtime, tensors);
  const { lr, lrs, weight_decay: weightDecay = 0, betas, eps: epsilon, momentum, nesterov } = given;
  const common = { learningRate: lrs ? (step: number) => lrs[step - 1]! : lr, weightDecay };
  const optimizer =
    given.optimiser === 'AdamW'
      ? new AdamW(trainable, { ...common, betas, epsilon })
      : new SGD(trainable, { ...common, momentum, nesterov });
  const outputs: Outputs = {};
  const norms: number[] = [];
  const steps = Object.values(upstream)[0]!.dims[0]!;
  for (let step = 1; step <= steps; step++) {
    for (const [name, { gradient }] of Object.entries(tensors)) {
      const { data } = floats(upstream[`d${name}`]);
      gradient.data.set(data.subarray((step - 1) * gradient.size, step * gradient.size));
    }
    if (given.clipNorm !== undefined) norms.push(clipGradients(trainable, given.clipNorm));
    optimizer.step();
    if (step % 5 > 0) continue;
    for (const [name, { value }] of Object.entries(tensors))
      outputs[`${name}.step${step}`] = value.data.slice();
  }
  optimizer.dispose();
  return given.clipNorm === undefined ? outputs : { ...outputs, norms };
}

/** By the operation of a case. */
export const operations: Readonly<Record<string, (runtime: Runtime, given: ProductCase) => Outputs>> = {
  linear: linearCase,
  embedding: embeddingCase,
  optimiser: optimiserCase,
};
