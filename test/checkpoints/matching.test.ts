import { describe, expect, test } from 'vitest';
import { findLayer } from '../../src/checkpoints/matching.js';
import {
  concatenated,
  errorOf,
  expectedOf,
  findProjections,
  layerOf,
  layoutOf,
  linear,
  llama,
  separate,
  torchPacked,
  transposed,
  under,
  untouchable,
  vector,
} from '../support/checkpoints.js';
import type { StateDict } from '../support/checkpoints.js';

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
