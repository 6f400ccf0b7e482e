// A layer that is written under any naming scheme is found again.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { schemes } from '../../src/checkpoints/schemes.js';
import {
  errorOf,
  expectedOf,
  findProjections,
  layerOf,
  layoutOf,
  packedWriters,
  separate,
  under,
  withoutBiases,
  writers,
} from '../support/checkpoints.js';

describe.each(writers)('%s', (_scheme, write) => {
  const packed = packedWriters.some(([, other]) => other === write);
  const sizes = fc
    .record({
      numKeyValueHeads: fc.integer({ min: 1, max: 3 }),
      group: fc.integer({ min: 1, max: 3 }),
      headDim: fc.integer({ min: 1, max: 4 }),
      valueHeadDim: fc.integer({ min: 1, max: 4 }),
      embedDim: fc.integer({ min: 1, max: 7 }),
      kdim: fc.integer({ min: 1, max: 7 }),
      vdim: fc.integer({ min: 1, max: 7 }),
      outputDim: fc.option(fc.integer({ min: 1, max: 7 }), { nil: undefined }),
      bias: fc.boolean(),
    })
    .map(({ group, ...rest }) => ({ ...rest, numHeads: rest.numKeyValueHeads * group }))
    .map((layout) => (packed ? { ...layout, kdim: layout.embedDim, vdim: layout.embedDim } : layout))
    // A square pair of c_attn and c_proj reads both ways; no model has one.
    .filter(({ numHeads, numKeyValueHeads, headDim, valueHeadDim, embedDim }) => {
      return numHeads * headDim + numKeyValueHeads * (headDim + valueHeadDim) !== embedDim;
    });

  test('is recovered for layers of any sizes, under any prefix', () => {
    const prefixes = fc.constantFrom('', 'attn.', 'model.layers.0.self_attn.');
    fc.assert(
      fc.property(sizes, prefixes, (layout, prefix) => {
        const layer = layerOf(layout);
        const stateDict = layout.bias ? write(layer) : withoutBiases(write(layer));
        expect(findProjections(under(prefix, stateDict), layout)).toEqual(expectedOf(layer));
        expect(findProjections(under(prefix, stateDict), layout, prefix)).toEqual(expectedOf(layer));
      }),
      { numRuns: 40 },
    );
  });

  test('lacking biases means zeros', () => {
    const layer = layerOf(layoutOf());
    const found = findProjections(withoutBiases(write(layer)), layer.layout);
    const expected = expectedOf(layer);
    for (const role of ['query', 'key', 'value', 'output'] as const) {
      const { weight, bias } = expected[role];
      expect(found[role]).toEqual({ weight, bias: new Float32Array((bias as Float32Array).length) });
    }
  });

  test('with biases is refused by a layer without', () => {
    const layer = layerOf(layoutOf({ bias: false }));
    const error = errorOf(() => findProjections(write(layer), layer.layout));
    expect(error.code).toBe('INVALID_ARGUMENT');
    expect(error.message).toMatch(/^tensor ".*bias": expected no biases/);
  });

  test('has the shape of every tensor checked', () => {
    const layer = layerOf(layoutOf());
    for (const [name, { shape }] of Object.entries(write(layer))) {
      const longer = { data: new Float32Array(0), shape: [...(shape ?? []), 1] };
      const error = errorOf(() => findProjections({ ...write(layer), [name]: longer }, layer.layout));
      expect(error).toMatchObject({ code: 'INVALID_SHAPE', argument: `tensor "${name}"` });
      expect(error.received).toBe(`[${longer.shape.join(', ')}]`);
    }
  });

  test('is named when one of its weights is missing', () => {
    const layer = layerOf(layoutOf());
    const stateDict = under('deep.', withoutBiases(write(layer)));
    for (const name of Object.keys(stateDict)) {
      const { [name]: removed, ...rest } = stateDict;
      expect(removed).toBeDefined();
      const error = errorOf(() => findProjections(rest, layer.layout));
      expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', argument: 'stateDict' });
      for (const other of Object.keys(rest)) expect(error.received).toContain(`"${other}"`);
    }
  });

  test('is not touched', () => {
    const layer = layerOf(layoutOf());
    const stateDict = write(layer);
    findProjections(stateDict, layer.layout);
    expect(stateDict).toEqual(write(layer));
  });

  if (packed) {
    test('is refused where inputs have different sizes', () => {
      const layer = layerOf(layoutOf());
      const error = errorOf(() => findProjections(write(layer), { ...layer.layout, kdim: 5 }));
      expect(error).toMatchObject({ code: 'INVALID_SHAPE' });
      expect(error.expected).toContain('kdim 5');
    });
  }
});

test('every scheme has a writer for each name of its output', () => {
  const layer = layerOf(layoutOf());
  const written = writers.map(([, write]) => Object.keys(write(layer)));
  for (const { weights, outputs } of schemes()) {
    for (const output of outputs) {
      const wanted = [...weights, `${output}.weight`];
      const isWritten = written.some((names) => wanted.every((name) => names.includes(name)));
      expect(isWritten, wanted.join()).toBe(true);
    }
  }
});

test('Whisper has no key bias: it is zeros, the others are read', () => {
  const layer = layerOf(layoutOf());
  const { 'k_proj.bias': removed, ...stateDict } = separate('q_proj', 'k_proj', 'v_proj', 'out_proj')(layer);
  expect(removed).toBeDefined();
  const expected = expectedOf(layer);
  expect(findProjections(stateDict, layer.layout)).toEqual({
    ...expected,
    key: { weight: expected.key.weight, bias: new Float32Array(6) },
  });
});
