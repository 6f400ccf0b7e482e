// What is found in a model that has learned induction: the heads that the field knows of, and that copying depends on them.

import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { ablationEffects, headMeasures } from 'wasm-attention/measures';
import type { AblationEffect, HeadLabel, HeadMeasures } from 'wasm-attention/measures';
import { attentionOnly, loadModel } from 'wasm-attention/model';
import { Random } from '../reference/random.js';

const file = (name: string) => readFileSync(new URL(`../../learned/induction/${name}`, import.meta.url));

/** Sixteen tokens in any order, twice. */
function repeated(random: Random): number[] {
  const left = Array.from({ length: 32 }, (_, token) => token);
  const once = Array.from({ length: 16 }, () => left.splice(random.integer(0, left.length - 1), 1)[0]!);
  return [...once, ...once];
}

it('a head looks back, heads of the next layer copy, and without either there is no copying', async () => {
  const model = await loadModel({
    config: JSON.parse(String(file('config.json'))) as unknown,
    weights: new Uint8Array(file('model.safetensors')),
    families: [attentionOnly],
  });
  const random = new Random(1);
  const inputIds = Array.from({ length: 24 }, () => repeated(random));
  const output = model.forward({ inputIds }, { returnRecord: true, logits: 'none' });
  const heads = headMeasures(output.records!, { inputIds });
  output.dispose();
  const named = (label: HeadLabel) => heads.filter(({ labels }) => labels.includes(label));
  expect(named('previous token').some(({ layer }) => layer === 0)).toBe(true);
  expect(named('induction').every(({ layer }) => layer === 1)).toBe(true);
  expect(Math.max(...heads.map(({ induction }) => induction))).toBeGreaterThan(0.8);

  // What comes after the first of the repeat can be told.
  const labels = inputIds.map((ids) => ids.map((_, i) => (i >= 16 && i < 31 ? ids[i + 1]! : -100)));
  const without = (list: readonly HeadMeasures[]) => ({
    heads: list.map(({ layer, head }) => ({ layer, head })),
  });
  const ablations = [
    without(named('previous token')),
    without(named('induction')),
    // Token 20 is token 4 once more: what came after it is at 5.
    { edges: [{ layer: 1, queries: 20, keys: 5 }] },
  ];
  const { loss, effects } = ablationEffects(model, { inputIds }, ablations, { labels });
  const [blind, silent, cut] = effects as [AblationEffect, AblationEffect, AblationEffect];
  expect(loss).toBeLessThan(0.1);
  // Of 32 tokens, guessed: 3.5 nats.
  expect(blind.loss).toBeGreaterThan(2);
  expect(silent.loss).toBeGreaterThan(2);
  const perToken = Array.from({ length: 32 }, (_, place) =>
    inputIds.reduce((sum, _, row) => sum + cut.changePerToken[row * 32 + place]! / inputIds.length, 0),
  );
  expect(perToken[20]).toBeGreaterThan(1);
  // Nothing comes after the last layer by which others could notice.
  expect(
    perToken.filter((change, place) => place >= 16 && place < 31 && place !== 20 && change !== 0),
  ).toEqual([]);
  model.runtime.dispose();
});
