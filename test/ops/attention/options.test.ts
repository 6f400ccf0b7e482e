import { expect, it } from 'vitest';
import { attentionWeights, linearAttention, receivedWeight, scaledDotProductAttention } from 'wasm-attention';
import { eachBuild } from '../../support/runtimes.js';

await eachBuild('options of attention', (runtime) => {
  it('are refused by name where they make no sense or do not fit', () => {
    const x = runtime.tensor(new Float32Array(12), [1, 1, 3, 4]);
    const call = (options: object) => () => scaledDotProductAttention(x, x, x, options);
    const { used } = runtime.memory;
    for (const nothing of [0, null, '', false]) {
      expect(call({ keyLengths: nothing })).toThrow(/keyLengths: expected/);
      expect(call({ window: nothing })).toThrow(/window: expected/);
      expect(call({ relativePositionBias: nothing })).toThrow(/relativePositionBias: expected/);
      expect(() => linearAttention(x, x, x, { keyLengths: nothing as never })).toThrow(
        /keyLengths: expected/,
      );
    }
    for (const region of [5, null, 'all', false]) {
      expect(() => attentionWeights(x, x, { region: region as never })).toThrow(/^region: expected/);
    }
    for (const range of [null, 0, [1], [0, 1, 2], [2, 1], [0, NaN], '01', [0, 4]]) {
      const region = { keys: range } as never;
      expect(() => attentionWeights(x, x, { region })).toThrow(/^region.keys: expected \[from, to\]/);
      expect(() => receivedWeight(x, x, { queries: range as never })).toThrow(/queries: expected/);
    }
    expect(call({ mask: { data: new Uint8Array(4), shape: [2, 2] } })).toThrow(/mask: expected/);
    expect(call({ mask: 5 })).toThrow(/mask: expected/);
    expect(call({ bias: { data: new Uint8Array(9), shape: [3, 3] } })).toThrow(/bias: expected/);
    expect(call({ causal: 'left' })).toThrow(/causal: expected/);
    expect(call({ scale: NaN })).toThrow(/scale: expected/);
    expect(call({ softcap: 0 })).toThrow(/softcap: expected/);
    expect(call({ temperature: -1 })).toThrow(/temperature: expected/);
    expect(call({ sinks: [1, 2] })).toThrow(/sinks: expected/);
    expect(call({ alibi: [1, 2] })).toThrow(/alibi: expected/);
    expect(call({ queryOffset: [1, 2] })).toThrow(/queryOffset: expected/);
    expect(() => scaledDotProductAttention(x.slice(2, 0, 2), x, x, { causal: true })).toThrow(
      /'upper-left', 'lower-right'/,
    );
    expect(() => scaledDotProductAttention(x, x.slice(3, 0, 2), x)).toThrow(/key: expected/);
    expect(() => scaledDotProductAttention(x, x, x.slice(2, 0, 2))).toThrow(/value: expected/);
    expect(runtime.memory.used).toBe(used);
  });
});
