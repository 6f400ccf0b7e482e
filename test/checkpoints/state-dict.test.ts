// Tests of src/checkpoints/state-dict.ts: a layer is written under every naming scheme and must be found again.
// Touch: a new scheme wants a writer here, made after the scheme's own model and not after our reader.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import {
  findLayer,
  type AttentionProjections,
  type Projection,
  type ProjectionLayout,
  type StateDictTensor,
} from '../../src/checkpoints/state-dict.js';
import { AttentionError } from '../../src/runtime/errors.js';

type StateDict = Record<string, StateDictTensor>;

const findProjections = (...given: Parameters<typeof findLayer>): AttentionProjections =>
  findLayer(...given).projections;

type Matrix = readonly (readonly number[])[];

/** One linear map as rows of numbers, so that the writers below share no code with what they test. */
interface Linear {
  readonly weight: Matrix;
  readonly bias: readonly number[];
}

interface Layer {
  readonly layout: ProjectionLayout;
  readonly query: Linear;
  readonly key: Linear;
  readonly value: Linear;
  readonly output: Linear;
}

/** Of integers up to 2048 in size, which halves hold. */
function bitsOfHalf(x: number): number {
  if (x === 0) return 0;
  const exponent = Math.floor(Math.log2(Math.abs(x)));
  return (x < 0 ? 0x8000 : 0) + ((exponent + 15) << 10) + (Math.abs(x) / 2 ** exponent - 1) * 1024;
}

function layoutOf(changes: Partial<ProjectionLayout> = {}): ProjectionLayout {
  const embedDim = changes.embedDim ?? 6;
  return {
    embedDim,
    numHeads: 4,
    numKeyValueHeads: 2,
    headDim: 3,
    valueHeadDim: 2,
    kdim: embedDim,
    vdim: embedDim,
    bias: true,
    ...changes,
  };
}

/** Numbers that are all different and exact in half precision up to 2048, so that no mix-up can go unseen. */
function layerOf(layout: ProjectionLayout): Layer {
  let next = 1;
  const linear = (rows: number, columns: number): Linear => ({
    weight: Array.from({ length: rows }, () => Array.from({ length: columns }, () => next++)),
    bias: Array.from({ length: rows }, () => -next++),
  });
  const { embedDim, kdim, vdim, numHeads, numKeyValueHeads, headDim, valueHeadDim, outputDim } = layout;
  return {
    layout,
    query: linear(numHeads * headDim, embedDim),
    key: linear(numKeyValueHeads * headDim, kdim),
    value: linear(numKeyValueHeads * valueHeadDim, vdim),
    output: linear(outputDim ?? embedDim, numHeads * valueHeadDim),
  };
}

function matrix(rows: Matrix): StateDictTensor {
  return { data: Float32Array.from(rows.flat()), shape: [rows.length, rows[0]?.length ?? 0] };
}

function transposed(rows: Matrix): StateDictTensor {
  const columns = (rows[0] ?? []).map((_, column) => rows.map((row) => row[column] as number));
  return matrix(columns);
}

function vector(items: readonly number[]): StateDictTensor {
  return { data: Float32Array.from(items), shape: [items.length] };
}

function linear(name: string, { weight, bias }: Linear, orient = matrix): StateDict {
  return { [`${name}.weight`]: orient(weight), [`${name}.bias`]: vector(bias) };
}

function stack(parts: readonly Linear[]): Linear {
  return { weight: parts.flatMap((part) => part.weight), bias: parts.flatMap((part) => part.bias) };
}

/** [heads, (queries of the group, key, value), channels]: GPT-NeoX, BLOOM, Falcon, InternLM2. */
function interleave({ layout, query, key, value }: Layer): Linear {
  const { numHeads, numKeyValueHeads, headDim, valueHeadDim } = layout;
  const group = numHeads / numKeyValueHeads;
  const head = ({ weight, bias }: Linear, index: number, size: number): Linear => ({
    weight: weight.slice(index * size, (index + 1) * size),
    bias: bias.slice(index * size, (index + 1) * size),
  });
  const parts = Array.from({ length: numKeyValueHeads }, (_, index) => [
    ...Array.from({ length: group }, (__, member) => head(query, index * group + member, headDim)),
    head(key, index, headDim),
    head(value, index, valueHeadDim),
  ]);
  return stack(parts.flat());
}

function separate(query: string, key: string, value: string, output: string): (layer: Layer) => StateDict {
  return (layer) => ({
    ...linear(query, layer.query),
    ...linear(key, layer.key),
    ...linear(value, layer.value),
    ...linear(output, layer.output),
  });
}

function concatenated(inputs: string, output: string, orient = matrix): (layer: Layer) => StateDict {
  return (layer) => ({
    ...linear(inputs, stack([layer.query, layer.key, layer.value]), orient),
    ...linear(output, layer.output, orient),
  });
}

function grouped(inputs: string, output: string): (layer: Layer) => StateDict {
  return (layer) => ({ ...linear(inputs, interleave(layer)), ...linear(output, layer.output) });
}

function torchPacked(layer: Layer): StateDict {
  const { weight, bias } = stack([layer.query, layer.key, layer.value]);
  return {
    in_proj_weight: matrix(weight),
    in_proj_bias: vector(bias),
    ...linear('out_proj', layer.output),
  };
}

function torchSeparate(layer: Layer): StateDict {
  return {
    q_proj_weight: matrix(layer.query.weight),
    k_proj_weight: matrix(layer.key.weight),
    v_proj_weight: matrix(layer.value.weight),
    in_proj_bias: vector(stack([layer.query, layer.key, layer.value]).bias),
    ...linear('out_proj', layer.output),
  };
}

const unpackedWriters: [scheme: string, write: (layer: Layer) => StateDict][] = [
  ['PyTorch, separate', torchSeparate],
  ['Llama', separate('q_proj', 'k_proj', 'v_proj', 'o_proj')],
  ['OPT, BART, CLIP, Whisper', separate('q_proj', 'k_proj', 'v_proj', 'out_proj')],
  ['Phi', separate('q_proj', 'k_proj', 'v_proj', 'dense')],
  ['BERT', separate('self.query', 'self.key', 'self.value', 'output.dense')],
  ['ViT', separate('attention.query', 'attention.key', 'attention.value', 'output.dense')],
  ['BERT, without self', separate('query', 'key', 'value', 'output.dense')],
  ['ALBERT', separate('query', 'key', 'value', 'dense')],
  ['openai/whisper', separate('query', 'key', 'value', 'out')],
  ['DistilBERT', separate('q_lin', 'k_lin', 'v_lin', 'out_lin')],
  ['T5', separate('q', 'k', 'v', 'o')],
  ['consolidated Llama', separate('wq', 'wk', 'wv', 'wo')],
  ['diffusers', separate('to_q', 'to_k', 'to_v', 'to_out.0')],
];
const packedWriters: typeof unpackedWriters = [
  ['PyTorch, packed', torchPacked],
  ['GPT-2', concatenated('c_attn', 'c_proj', transposed)],
  ['nanoGPT', concatenated('c_attn', 'c_proj')],
  ['GPT-NeoX, BLOOM, Falcon', grouped('query_key_value', 'dense')],
  ['InternLM2', grouped('wqkv', 'wo')],
  ['timm', concatenated('qkv', 'proj')],
  ['BLIP', concatenated('qkv', 'projection')],
  ['Phi-3', concatenated('qkv_proj', 'o_proj')],
  ['MPT', concatenated('Wqkv', 'out_proj')],
  ['ModernBERT', concatenated('Wqkv', 'Wo')],
];
const writers = [...unpackedWriters, ...packedWriters];

function expectedOf(layer: Layer): AttentionProjections {
  const flat = ({ weight, bias }: Linear): Projection => ({
    weight: Float32Array.from(weight.flat()),
    ...(layer.layout.bias ? { bias: Float32Array.from(bias) } : {}),
  });
  return {
    query: flat(layer.query),
    key: flat(layer.key),
    value: flat(layer.value),
    output: flat(layer.output),
  };
}

function withoutBiases(stateDict: StateDict): StateDict {
  return Object.fromEntries(Object.entries(stateDict).filter(([name]) => !name.endsWith('bias')));
}

function under(prefix: string, stateDict: StateDict): StateDict {
  return Object.fromEntries(Object.entries(stateDict).map(([name, tensor]) => [prefix + name, tensor]));
}

/** Tensors that must never be touched: reading their values throws. */
function untouchable(...names: string[]): StateDict {
  const tensor: StateDictTensor = {
    shape: [1],
    get data(): unknown {
      throw new Error('read a tensor that does not belong to the layer');
    },
  };
  return Object.fromEntries(names.map((name) => [name, tensor]));
}

function errorOf(action: () => unknown): AttentionError {
  try {
    action();
  } catch (error) {
    expect(error).toBeInstanceOf(AttentionError);
    return error as AttentionError;
  }
  throw new Error('expected an error, none was thrown');
}

const llama = separate('q_proj', 'k_proj', 'v_proj', 'o_proj');

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

describe('where the layer is', () => {
  const layer = layerOf(layoutOf());
  const expected = expectedOf(layer);
  const bert = separate('self.query', 'self.key', 'self.value', 'output.dense');

  test('unrelated tensors are never read', () => {
    const others = untouchable(
      'mlp.c_proj.weight',
      'layer.0.output.dense.weight',
      'attention.bias',
      'wte.weight',
    );
    const stateDict = { ...others, ...under('layer.0.attention.', bert(layer)) };
    expect(findProjections(stateDict, layer.layout)).toEqual(expected);
  });

  test('the mask buffers of old GPT-2 files are no biases', () => {
    const gpt2 = concatenated('c_attn', 'c_proj', transposed)(layer);
    const stateDict = under('h.0.attn.', { ...gpt2, ...untouchable('bias', 'masked_bias') });
    expect(findProjections(stateDict, layer.layout)).toEqual(expected);
  });

  test('a prefix may end anywhere above the layer, with or without its dot', () => {
    const stateDict = {
      ...under('bert.layer.1.attention.', bert(layer)),
      ...under('bert.layer.10.attention.', bert(layerOf(layoutOf({ embedDim: 5 })))),
    };
    const prefixes = ['bert.layer.1', 'bert.layer.1.', 'bert.layer.1.attention', 'bert.layer.1.attention.'];
    for (const prefix of prefixes) {
      expect(findProjections(stateDict, layer.layout, prefix)).toEqual(expected);
    }
  });

  test('a layer right at the prefix comes before those deeper inside', () => {
    const inner = under('adapter.', llama(layerOf(layoutOf({ embedDim: 5 }))));
    const stateDict = { ...llama(layer), ...inner };
    expect(findProjections(stateDict, layer.layout)).toEqual(expected);
    expect(findProjections(under('attn.', stateDict), layer.layout, 'attn')).toEqual(expected);
  });

  test('several layers are an error that lists their prefixes', () => {
    const many = Array.from({ length: 12 }, (_, index) => under(`layers.${index}.self_attn.`, llama(layer)));
    const stateDict = Object.assign({}, ...many) as StateDict;
    const error = errorOf(() => findProjections(stateDict, layer.layout));
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', argument: 'prefix' });
    expect(error.received).toContain('12 layers in stateDict: "layers.0.self_attn.", "layers.1.self_attn."');
    expect(error.received).toContain('and 4 more');

    const decoder = { ...under('0.self_attn.', llama(layer)), ...under('0.encoder_attn.', llama(layer)) };
    const inside = errorOf(() => findProjections(decoder, layer.layout, '0'));
    expect(inside.received).toBe('2 layers under "0.": "0.self_attn.", "0.encoder_attn."');
  });

  test('two schemes at one place are an error that names both', () => {
    const stateDict = { ...llama(layer), ...separate('q', 'k', 'v', 'o')(layer) };
    const error = errorOf(() => findProjections(stateDict, layer.layout));
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', argument: 'stateDict' });
    expect(error.received).toMatch(
      /Llama.*"q_proj.weight".*"o_proj.weight".* and T5.*"q.weight".*"o.weight"/,
    );
    expect(
      errorOf(() => findProjections({ ...llama(layer), ...linear('dense', layer.output) }, layer.layout))
        .received,
    ).toMatch(/"o_proj.weight".* and .*"dense.weight"/);
  });

  test('no scheme is an error that names what is there and what was tried', () => {
    const stateDict = { 'mlp.up.weight': vector([1]), 'attn.wild.weight': vector([1]) };
    const error = errorOf(() => findProjections(stateDict, layer.layout));
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', argument: 'stateDict' });
    expect(error.received).toBe('"mlp.up.weight", "attn.wild.weight"');
    expect(error.expected).toMatch(/nn\.MultiheadAttention.*GPT-2.*ModernBERT/);

    const elsewhere = errorOf(() => findProjections(llama(layer), layer.layout, 'layers.3'));
    expect(elsewhere).toMatchObject({ argument: 'prefix', received: 'no tensors' });
    expect(elsewhere.expected).toContain('under "layers.3."');
  });

  test('an incomplete scheme is named with what it lacks', () => {
    const { 'o_proj.weight': removed, ...rest } = llama(layer);
    expect(removed).toBeDefined();
    const error = errorOf(() => findProjections(under('a.', rest), layer.layout));
    expect(error.received).toMatch(/; for Llama.* this lacks "a\.o_proj\.weight"$/);
  });
});

describe('what a tensor is', () => {
  const layer = layerOf(layoutOf());

  test.each([
    ['dims', (tensor: StateDictTensor) => ({ dims: tensor.shape, data: tensor.data })],
    [
      'float64',
      (tensor: StateDictTensor) => ({ ...tensor, data: Float64Array.from(tensor.data as Float32Array) }),
    ],
    ['numbers', (tensor: StateDictTensor) => ({ ...tensor, data: Array.from(tensor.data as Float32Array) })],
    ['dataSync', ({ shape, data }: StateDictTensor) => ({ shape, data: () => 0, dataSync: () => data })],
    [
      'halves',
      ({ shape, data }: StateDictTensor) => ({
        ...{ dims: shape, type: 'float16', data: Uint16Array.from(data as Float32Array, bitsOfHalf) },
      }),
    ],
  ])('may be given with %s', (_form, convert) => {
    const entries = Object.entries(llama(layer)).map(([name, tensor]) => [name, convert(tensor)] as const);
    expect(findProjections(Object.fromEntries(entries), layer.layout)).toEqual(expectedOf(layer));
  });

  test('values are views where nothing moves', () => {
    const separated = llama(layer);
    const found = findProjections(separated, layer.layout);
    expect(found.query.weight).toBe(separated['q_proj.weight']?.data);

    const packed = torchPacked(layer);
    const { key } = findProjections(packed, layer.layout);
    expect(key.weight.buffer).toBe((packed['in_proj_weight']?.data as Float32Array).buffer);
  });

  test.each([
    ['integers', { data: new Int8Array(72), shape: [12, 6] }, 'INVALID_DTYPE', 'Int8Array(72)'],
    ['bits of halves', { data: new Uint16Array(72), shape: [12, 6] }, 'INVALID_DTYPE', 'Uint16Array(72)'],
    ['text', { data: ['1'], shape: [12, 6] }, 'INVALID_DTYPE', 'Array(1)'],
    ['nothing', { data: undefined, shape: [12, 6] }, 'INVALID_ARGUMENT', '{ data, shape }'],
    ['too few values', { data: new Float32Array(71), shape: [12, 6] }, 'INVALID_SHAPE', '71'],
    ['no shape', { data: new Float32Array(72) }, 'INVALID_ARGUMENT', '{ data }'],
    ['a negative shape', { data: new Float32Array(72), shape: [-12, -6] }, 'INVALID_ARGUMENT', '[-12, -6]'],
    ['null', null as unknown as StateDictTensor, 'INVALID_ARGUMENT', 'null'],
    [
      'a bare array',
      new Float32Array(72) as unknown as StateDictTensor,
      'INVALID_ARGUMENT',
      'Float32Array(72)',
    ],
  ])('is not %s', (_kind, tensor, code, received) => {
    const stateDict = { ...llama(layer), 'q_proj.weight': tensor };
    const error = errorOf(() => findProjections(stateDict, layer.layout));
    expect(error).toMatchObject({ code, argument: 'tensor "q_proj.weight"', received });
  });

  test.each([[undefined], [null], ['text'], [3]])('a checkpoint is not %j', (value) => {
    const error = errorOf(() => findProjections(value as unknown as StateDict, layer.layout));
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', argument: 'stateDict' });
  });

  test('a prefix is text', () => {
    const error = errorOf(() => findProjections(llama(layer), layer.layout, 3 as unknown as string));
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', argument: 'prefix', received: '3' });
  });
});

describe('what would be silently wrong is refused', () => {
  const layer = layerOf(layoutOf());

  test.each([
    ['bias_k', torchPacked],
    ['bias_v', torchPacked],
    ['q_norm.weight', llama],
    ['k_norm.weight', concatenated('qkv', 'proj')],
    ['q_layernorm.weight', separate('q_proj', 'k_proj', 'v_proj', 'dense')],
    ['norm_q.weight', separate('to_q', 'to_k', 'to_v', 'to_out.0')],
    ['q_bias', concatenated('qkv', 'proj')],
  ])('%s', (name, write) => {
    const stateDict = under('attn.', { ...write(layer), ...untouchable(name) });
    const error = errorOf(() => findProjections(stateDict, layer.layout));
    expect(error).toMatchObject({ code: 'UNSUPPORTED', received: `tensor "attn.${name}"` });
  });

  test('but not if it belongs to another layer', () => {
    const stateDict = { ...llama(layer), ...untouchable('other.q_norm.weight') };
    expect(findProjections(stateDict, layer.layout)).toEqual(expectedOf(layer));
  });
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

describe('what is left aside', () => {
  const layer = layerOf(layoutOf());
  const others = {
    ...under('a.norm.', { weight: { data: [1], shape: [1] }, bias: { data: [1], shape: [1] } }),
    ...untouchable('a.rotary.inv_freq'),
  };

  test('are names that belong to none of the projections', () => {
    const stateDict = { ...under('a.', llama(layer)), ...others };
    expect(findLayer(stateDict, layer.layout).leftAside).toEqual(Object.keys(others));
    expect(findLayer(under('a.', llama(layer)), layer.layout).leftAside).toEqual([]);
    expect(findLayer(under('a.', torchPacked(layer)), layer.layout).leftAside).toEqual([]);
  });

  test('is said of what is under the prefix only, which is all that is looked at', () => {
    const elsewhere = { ...under('aa.', llama(layer)), ...untouchable('b.norm.weight') };
    const stateDict = { ...elsewhere, ...under('a.', llama(layer)), ...others };
    for (const prefix of ['a', 'a.']) {
      expect(findLayer(stateDict, layer.layout, prefix).leftAside).toEqual(Object.keys(others));
    }
    expect(findLayer(under('model.', stateDict), layer.layout, 'model.a').leftAside).toHaveLength(3);
  });
});

test('names from prototypes are not tensors', () => {
  const layer = layerOf(layoutOf());
  const stateDict = Object.create(llama(layer)) as StateDict;
  expect(errorOf(() => findProjections(stateDict, layer.layout)).received).toBe('no tensors');
});
