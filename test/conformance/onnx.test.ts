// The package judged by ONNX's own data, through the adapters in examples/onnx, on every build.

import { expect, it } from 'vitest';
import { scaledDotProductAttention, softmax } from 'wasm-attention';
import type { Runtime } from 'wasm-attention';
import { onnxAttention } from '../../examples/onnx/attention.mjs';
import { onnxRotaryEmbedding } from '../../examples/onnx/rotary.mjs';
import { eachBuild } from '../support/runtimes.js';
import {
  CASES_ABSENT,
  compare,
  loadOnnxCases,
  numberAttribute,
  numbersOf,
  toleranceOf,
} from './onnx-cases.js';
import type { OnnxCase } from './onnx-cases.js';
import { runGraph } from './onnx-graph.js';
import type { OnnxGraph } from './onnx-graph.js';
import { mapOnnxAttention } from './onnx-mapping.js';

type Outputs = Partial<Record<string, { dims: readonly number[]; data: ArrayLike<number> }>>;

/** Inputs as the adapters take them: bytes for booleans, floats for every other kind of number. */
function plainInputs({ inputs }: OnnxCase): never {
  return Object.fromEntries(
    Object.entries(inputs).map(([name, tensor]) => [
      name,
      { dims: tensor.dims, data: tensor.dtype === 'bool' ? tensor.data : numbersOf(tensor) },
    ]),
  ) as never;
}

function runAttention(runtime: Runtime, onnxCase: OnnxCase): Outputs {
  const scores = 'qk_matmul_output' in onnxCase.outputs;
  return onnxAttention(runtime, plainInputs(onnxCase), onnxCase.attributes, { scores });
}

function runRotary(runtime: Runtime, onnxCase: OnnxCase): Outputs {
  return onnxRotaryEmbedding(runtime, plainInputs(onnxCase), onnxCase.attributes);
}

function runSoftmax(runtime: Runtime, onnxCase: OnnxCase): Outputs {
  const input = Object.values(onnxCase.inputs)[0]!;
  const data = Float32Array.from(numbersOf(input));
  const result = softmax(
    { data, shape: [...input.dims] },
    { axis: numberAttribute(onnxCase, 'axis', -1), runtime },
  );
  return Object.fromEntries(
    Object.keys(onnxCase.outputs).map((name) => [name, { dims: input.dims, data: result.data }]),
  );
}

/**
 * A score_mod that only adds (biases, ALiBi) is a bias: what it makes of scores of zero. Others are told apart by trying:
 * they are not additive where two scores do not move alike.
 */
function runFlexAttention(runtime: Runtime, onnxCase: OnnxCase): Outputs | undefined {
  const attention = mapOnnxAttention(onnxCase);
  const graph = onnxCase.attributes['score_mod'] as OnnxGraph | undefined;
  if (onnxCase.attributes['prob_mod'] !== undefined) return undefined;
  const dims = [attention.batch, attention.queryHeads, attention.queries, attention.keys];
  const size = dims.reduce((product, length) => product * length, 1);
  const scoresOf = (score: number) =>
    graph
      ? Array.from(numbersOf(runGraph(graph, { dims, data: new Float64Array(size).fill(score) }) as never))
      : [];
  const base = scoresOf(0);
  const moved = scoresOf(1);
  const twice = scoresOf(2);
  const options: Record<string, unknown> = { runtime, scale: attention.scale };
  const slope = base.length > 0 ? moved[0]! - base[0]! : 1;
  const linear = base.every(
    (score, i) =>
      Math.abs(moved[i]! - score - slope) < 1e-6 && Math.abs(twice[i]! - score - 2 * slope) < 1e-6,
  );
  const finite = base.map((score, i) => (score === -Infinity || moved[i] === -Infinity ? -Infinity : score));
  const masked = finite.some((score) => score === -Infinity);
  if (linear || masked) {
    options['scale'] = attention.scale * (masked ? 1 : slope);
    if (graph) options['bias'] = { data: Float32Array.from(finite), shape: dims };
  } else {
    // c * tanh(s / c): the softcap is where large scores end.
    const cap = scoresOf(1e9)[0]!;
    if (!(Math.abs(moved[0]! - cap * Math.tanh(1 / cap)) < 1e-6)) return undefined;
    options['softcap'] = cap;
  }
  const { Q, K, V } = onnxCase.inputs;
  const input = (tensor: typeof Q) => ({
    data: Float32Array.from(numbersOf(tensor!)),
    shape: [...tensor!.dims],
  });
  const { output } = scaledDotProductAttention(input(Q), input(K), input(V), options);
  return { Y: { dims: output.shape, data: output.data } };
}

const RUNNERS: Record<string, (runtime: Runtime, onnxCase: OnnxCase) => Outputs | undefined> = {
  Attention: runAttention,
  FlexAttention: runFlexAttention,
  RotaryEmbedding: runRotary,
  Softmax: runSoftmax,
};

const cases = loadOnnxCases();

await eachBuild('ONNX cases', (runtime) => {
  if (cases === null) it.skip(CASES_ABSENT);
  for (const onnxCase of cases ?? []) {
    const run = RUNNERS[onnxCase.op];
    if (run === undefined) {
      it.skip(`${onnxCase.name} (not covered: ${onnxCase.op} is outside this package)`);
      continue;
    }
    it(onnxCase.name, (context) => {
      const used = runtime.memory.used;
      const actual = run(runtime, onnxCase);
      if (actual === undefined) {
        context.skip('its modifier is not one that the options can say');
        return;
      }
      for (const [name, expected] of Object.entries(onnxCase.outputs)) {
        const output = actual[name];
        if (output === undefined) throw new Error(`the adapter gives no ${name}`);
        expect(compare(output, expected, toleranceOf(expected.dtype)).message, name).toBe('');
      }
      if (onnxCase.op === 'Attention') expect(runtime.memory.used).toBe(used);
    });
  }
});
