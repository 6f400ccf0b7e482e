// What heads do: heads made by hand, any weights against definitions that are written out, and inputs that make no sense.

import fc from 'fast-check';
import { expect, it } from 'vitest';
import { attentionWeights, createRuntime, KeyValueCache, scaledDotProductAttention } from 'wasm-attention';
import type { Runtime, ScaledDotProductAttentionOptions, Tensor } from 'wasm-attention';
import { headMeasures, headMeasuresAsync } from 'wasm-attention/measures';
import type { HeadMeasures, HeadMeasureOptions, HeadScores } from 'wasm-attention/measures';
import { loadModel } from 'wasm-attention/model';
import type { ModelInputs } from 'wasm-attention/model';
import { Random } from '../reference/random.js';
import { eachBuild } from '../support/runtimes.js';
import { smallModel } from '../support/small-models.js';

const NAMES = [
  ...(['previousToken', 'firstToken', 'diagonal', 'duplicateToken', 'induction', 'entropy'] as const),
] satisfies readonly (keyof HeadScores<number>)[];

/** What was said of tokens, and where queries stand. */
interface Said {
  readonly ids?: readonly (readonly number[])[];
  /** [batch][keys], true for tokens. */
  readonly isToken: (batch: number, position: number) => boolean;
  readonly offsets: readonly number[];
  readonly maxDistance: number;
}

/** The definitions, one after the other, in float64. */
function defined(weights: Tensor, said: Said) {
  const [batch, heads, queries, keys] = weights.shape as [number, number, number, number];
  const data = weights.toFloat32Array();
  return Array.from({ length: heads }, (_, head) => {
    const seen: Record<string, number[]> = Object.fromEntries(NAMES.map((name) => [name, []]));
    const profile: number[][] = Array.from({ length: 2 * said.maxDistance + 1 }, () => []);
    for (let b = 0; b < batch; b++) {
      const isKey = (key: number) => key >= 0 && key < keys && said.isToken(b, key);
      const first = Math.max(0, Array.from({ length: keys }, (_, key) => isKey(key)).indexOf(true));
      for (let i = 0; i < queries; i++) {
        const at = ((b * heads + head) * queries + i) * keys;
        const row = data.subarray(at, at + keys);
        const p = i + said.offsets[b]!;
        if (p < 0 || !said.isToken(b, p) || row.every((w) => w === 0)) continue;
        if (isKey(p - 1)) seen['previousToken']!.push(row[p - 1]!);
        if (p !== first) seen['firstToken']!.push(row[first]!);
        if (isKey(p)) seen['diagonal']!.push(row[p]!);
        for (let d = -said.maxDistance; d <= said.maxDistance; d++)
          if (isKey(p + d)) profile[d + said.maxDistance]!.push(row[p + d]!);
        const same = said.ids && p < keys ? Array.from({ length: p }, (_, j) => j) : [];
        const repeats = same.filter((j) => isKey(j) && said.ids![b]![j] === said.ids![b]![p]);
        const sum = (list: readonly number[]) => list.reduce((total, j) => total + row[j]!, 0);
        if (repeats.length > 0) seen['duplicateToken']!.push(sum(repeats));
        const after = repeats.map((j) => j + 1).filter((j) => j < p);
        if (after.length > 0) seen['induction']!.push(sum(after));
        seen['entropy']!.push(row.reduce((nats, w) => (w > 0 ? nats - w * Math.log(w) : nats), 0));
      }
    }
    const mean = (list: readonly number[]) => list.reduce((a, c) => a + c, 0) / list.length; // NaN of none
    return {
      scores: Object.fromEntries(NAMES.map((name) => [name, mean(seen[name]!)])),
      profile: profile.map(mean),
      seen,
    };
  });
}

function expectDefined(
  found: readonly HeadMeasures[],
  expected: ReturnType<typeof defined>,
  tolerance = 2e-5,
) {
  expect(found.length).toBe(expected.length);
  found.forEach((head, h) => {
    for (const name of NAMES) {
      const [value, exact] = [head[name], expected[h]!.scores[name]!];
      if (Number.isNaN(exact)) expect(value, name).toBeNaN();
      else expect(Math.abs(value - exact), `${name} of head ${h}`).toBeLessThan(tolerance);
    }
    expect(head.distanceProfile.length).toBe(expected[h]!.profile.length);
    expected[h]!.profile.forEach((exact, d) => {
      const value = head.distanceProfile[d]!;
      if (Number.isNaN(exact)) expect(value).toBeNaN();
      else expect(Math.abs(value - exact)).toBeLessThan(tolerance);
    });
  });
}

/** Rows whose dot products are 40 where a key is meant and 0 elsewhere. */
function oneHot(list: readonly number[], width: number): number[] {
  return list.flatMap((place) => Array.from({ length: width }, (_, c) => (c === place ? 1 : 0)));
}

const IDS = [3, 1, 4, 2, 5, 3, 1, 4, 2, 5, 3, 1];

/** Queries and keys of heads that are known by name: causal, and without values of interest. */
function madeByHand(runtime: Runtime) {
  const n = IDS.length;
  const places = Array.from({ length: n }, (_, i) => i);
  const heads: Record<string, [queries: number[], keys: number[]]> = {
    'previous token': [places.map((i) => i - 1), places],
    'first token': [places.map(() => 0), places],
    diagonal: [places, places],
    induction: [IDS, [-1, ...IDS.slice(0, -1)]],
    // Its own key is of the same id, too: keys are known by whether they are of the first round.
    'duplicate token': [IDS, IDS.map((id, i) => (i < 5 ? id : -1))],
    none: [places.map(() => -1), places],
  };
  const list = Object.values(heads);
  const tensor = (which: 0 | 1) =>
    runtime.tensor(Float32Array.from(list.flatMap((head) => oneHot(head[which], n))), [1, list.length, n, n]);
  const [q, k] = [tensor(0), tensor(1)];
  const options = { causal: true, scale: 40, returnRecord: true } as const;
  const { record, output } = scaledDotProductAttention(q, k, k, options);
  for (const each of [q, k, output]) each.dispose();
  return { names: Object.keys(heads), record };
}

await eachBuild('head measures', (runtime) => {
  it('know heads that were made by hand', () => {
    const { names, record } = madeByHand(runtime);
    const heads = headMeasures(record, { inputIds: IDS });
    const scores = {
      'previous token': 'previousToken',
      'first token': 'firstToken',
      diagonal: 'diagonal',
      induction: 'induction',
      'duplicate token': 'duplicateToken',
    } as const;
    heads.forEach((head, h) => {
      const name = names[h]!;
      expect(head).toMatchObject({ layer: 0, head: h });
      expect(head.labels).toEqual(name === 'none' ? [] : [name]);
      if (name !== 'none') expect(head[scores[name as keyof typeof scores]]).toBeGreaterThan(0.999);
    });
    const [previous, , diagonal, , , none] = heads as [
      HeadMeasures,
      HeadMeasures,
      HeadMeasures,
      HeadMeasures,
      HeadMeasures,
      HeadMeasures,
    ];
    expect(previous.distanceProfile[31]).toBeGreaterThan(0.999);
    expect(diagonal.distanceProfile[32]).toBeGreaterThan(0.999);
    expect(diagonal.entropy).toBeLessThan(1e-5);
    // Over 1, 2, ... 12 keys alike.
    expect(none.entropy).toBeCloseTo(IDS.reduce((sum, _, i) => sum + Math.log(i + 1), 0) / IDS.length, 5);
    record.dispose();
  });

  it('are what they are defined as, whatever the sizes, the masks and the tokens', () => {
    fc.assert(
      fc.property(
        fc.record({
          seed: fc.integer(),
          batch: fc.integer({ min: 1, max: 3 }),
          groups: fc.integer({ min: 1, max: 3 }),
          keyHeads: fc.integer({ min: 1, max: 2 }),
          queries: fc.integer({ min: 1, max: 40 }),
          earlier: fc.integer({ min: 0, max: 9 }),
          causal: fc.boolean(),
          padding: fc.constantFrom('none', 'lengths', 'mask'),
          sinks: fc.boolean(),
          ids: fc.integer({ min: 1, max: 6 }),
          maxDistance: fc.integer({ min: 0, max: 12 }),
        }),
        ({ seed, batch, groups, keyHeads, queries, earlier, causal, padding, sinks, ids, maxDistance }) => {
          const random = new Random(seed);
          const keys = queries + earlier;
          const heads = groups * keyHeads;
          const made = [
            runtime.tensor(random.array(batch * heads * queries * 5, 'normal'), [batch, heads, queries, 5]),
            runtime.tensor(random.array(batch * keyHeads * keys * 5, 'normal'), [batch, keyHeads, keys, 5]),
          ] as const;
          const mask = Array.from({ length: batch }, () =>
            Array.from({ length: keys }, () => (padding === 'mask' && random.boolean(0.3) ? 0 : 1)),
          );
          const lengths = Array.from({ length: batch }, () =>
            padding === 'lengths' ? random.integer(0, keys) : keys,
          );
          const inputIds = mask.map((row) => row.map(() => random.integer(1, ids)));
          const { record, weights, output } = scaledDotProductAttention(made[0], made[1], made[1], {
            ...{ queryOffset: earlier, causal, returnRecord: true, returnWeights: true, scale: 2 },
            ...(padding === 'lengths' && { keyLengths: lengths }),
            ...(padding === 'mask' && {
              mask: { data: mask.flat().map(Boolean), shape: [batch, 1, 1, keys] },
            }),
            ...(sinks && { sinks: Array.from({ length: heads }, () => random.normal()) }),
          });
          const said = {
            ids: inputIds,
            isToken: (b: number, p: number) => p >= keys || (mask[b]![p] === 1 && p < lengths[b]!),
            offsets: lengths.map(() => earlier),
            maxDistance,
          };
          const options = {
            ...{ inputIds, maxDistance, perQuery: true },
            ...(padding === 'mask' && { attentionMask: mask }),
          };
          const expected = defined(weights, said);
          const found = headMeasures(record, options);
          expectDefined(found, expected);
          // Weights know nothing of lengths: they are told.
          const told = {
            ...options,
            queryOffset: earlier,
            attentionMask: mask.map((row, b) => row.map((one, p) => (p < lengths[b]! ? one : 0))),
          };
          expectDefined(headMeasures(weights, told), expected);
          found.forEach(({ perQuery }, h) => {
            for (const name of NAMES) {
              const own = perQuery![name];
              expect(own.length).toBe(batch * queries);
              const counted = Array.from(own).filter((value) => !Number.isNaN(value));
              const exact = expected[h]!.seen[name]!;
              expect(counted.length).toBe(exact.length);
              counted.forEach((value, i) => expect(Math.abs(value - exact[i]!)).toBeLessThan(2e-5));
            }
          });
          for (const each of [...made, record, weights, output]) each.dispose();
        },
      ),
      { numRuns: 60 },
    );
  });

  it('take many layers, of which each may be a record or weights of another library', () => {
    const random = new Random(3);
    const q = runtime.tensor(random.array(2 * 3 * 7 * 4, 'normal'), [2, 3, 7, 4]);
    const { record, weights, output } = scaledDotProductAttention(q, q, q, {
      ...{ causal: true, returnRecord: true, returnWeights: true },
    });
    const array = { data: Array.from(weights.data), dims: weights.shape };
    const heads = headMeasures([record, weights, array], { maxDistance: 3 });
    expect(heads.map(({ layer, head }) => [layer, head])).toEqual(
      [0, 1, 2].flatMap((layer) => [0, 1, 2].map((head) => [layer, head])),
    );
    const [first, ...others] = [0, 3, 6].map((from) => heads.slice(from, from + 3)) as [
      HeadMeasures[],
      ...HeadMeasures[][],
    ];
    for (const other of others)
      other.forEach((head, h) => {
        const { layer, entropy } = head;
        expect(head).toEqual({ ...first[h]!, layer, entropy });
        expect(Math.abs(entropy - first[h]!.entropy)).toBeLessThan(1e-5);
      });
    for (const each of [q, record, weights, output]) each.dispose();
  });

  it('look at long sequences in blocks, which change nothing', () => {
    // 3 heads over 700 keys: blocks of 499 queries.
    const random = new Random(8);
    const q = runtime.tensor(random.array(3 * 700 * 4, 'normal'), [1, 3, 700, 4]);
    const { record, output } = scaledDotProductAttention(q, q, q, {
      causal: true,
      scale: 3,
      returnRecord: true,
    });
    const weights = attentionWeights(record);
    const inputIds = Array.from({ length: 700 }, () => random.integer(0, 90));
    const said = { ids: [inputIds], isToken: () => true, offsets: [0], maxDistance: 5 };
    const peak = runtime.memory.peak;
    expectDefined(headMeasures(record, { inputIds, maxDistance: 5 }), defined(weights, said));
    expect(runtime.memory.peak - peak).toBeLessThan(6e6);
    for (const each of [q, record, output, weights]) each.dispose();
  });

  it('are NaN where nothing counts: no token, one token, rows without keys, ids without repeats', () => {
    const attend = (n: number, options: ScaledDotProductAttentionOptions = {}) => {
      const x = { data: new Float32Array(n * 2).fill(1), shape: [1, 1, n, 2] };
      return scaledDotProductAttention(x, x, x, { ...options, returnRecord: true, runtime });
    };
    const measured = (
      n: number,
      options: ScaledDotProductAttentionOptions = {},
      more: HeadMeasureOptions = {},
    ) => {
      const result = attend(n, options);
      const [head] = headMeasures(result.record, more);
      result.dispose();
      return head!;
    };
    const none = measured(0);
    for (const name of NAMES) expect(none[name]).toBeNaN();
    expect(none.labels).toEqual([]);
    const one = measured(1, {}, { inputIds: [7] });
    expect(one).toMatchObject({
      previousToken: NaN,
      firstToken: NaN,
      diagonal: 1,
      entropy: 0,
      induction: NaN,
    });
    expect(measured(5, { keyLengths: [0] }).diagonal).toBeNaN();
    expect(measured(5, {}, { inputIds: [1, 2, 3, 4, 5] })).toMatchObject({
      duplicateToken: NaN,
      induction: NaN,
    });
    // At once after itself there is a duplicate, but nothing that followed it.
    expect(measured(2, {}, { inputIds: [4, 4] })).toMatchObject({ duplicateToken: 0.5, induction: NaN });
    expect(headMeasures([], { runtime })).toEqual([]);
  });

  it('are NaN where the weights are', () => {
    const weights = { data: [1, 0, 0, NaN, 0.5, 0, 0.2, 0.2, 0.6], shape: [3, 3] };
    const [head] = headMeasures(weights, { runtime, inputIds: [1, 1, 2], perQuery: true });
    expect(head).toMatchObject({ previousToken: NaN, firstToken: NaN, duplicateToken: NaN, entropy: NaN });
    expect(head!.diagonal).toBeCloseTo(0.7, 6);
    expect(head!.labels).toEqual(['diagonal']);
    expect(head!.perQuery!.entropy[0]).toBe(0);
  });

  it('see what a cache holds', () => {
    const random = new Random(5);
    const cache = new KeyValueCache(runtime, { numKeyValueHeads: 1, headDim: 4 });
    const [first, second] = [9, 3].map((n) =>
      runtime.tensor(random.array(n * 4, 'normal'), [1, 1, n, 4]),
    ) as [Tensor, Tensor];
    cache.append(0, first, first);
    cache.append(0, second, second);
    const result = cache.attend(0, second, { returnRecord: true });
    const weights = attentionWeights(result.record);
    const inputIds = Array.from({ length: 12 }, (_, i) => i % 5);
    const said = { ids: [inputIds], isToken: () => true, offsets: [9], maxDistance: 4 };
    expectDefined(headMeasures(result.record, { inputIds, maxDistance: 4 }), defined(weights, said));
    for (const each of [first, second, result, weights, cache]) each.dispose();
  });

  it('of cross-attention begin at the first key, and padding is that of the queries', () => {
    const random = new Random(6);
    const q = runtime.tensor(random.array(2 * 6 * 4, 'normal'), [2, 1, 6, 4]);
    const k = runtime.tensor(random.array(2 * 9 * 4, 'normal'), [2, 1, 9, 4]);
    const result = scaledDotProductAttention(q, k, k, { keyLengths: [9, 3], returnRecord: true });
    const weights = attentionWeights(result.record);
    const attentionMask = [1, 0].map((all) => Array.from({ length: 6 }, (_, i) => Number(all || i < 5)));
    const [head] = headMeasures(result.record, { attentionMask, maxDistance: 8 });
    const rows = [0, 1].flatMap((b) =>
      [0, 1, 2, 3, 4, 5].filter((i) => b === 0 || i < 5).map((i) => [b, i] as const),
    );
    const mean = (place: (i: number) => number, of = rows) =>
      of.reduce((sum, [b, i]) => sum + weights.data[(b * 6 + i) * 9 + place(i)]!, 0) / of.length;
    expect(head!.diagonal).toBeCloseTo(
      mean((i) => i),
      6,
    );
    expect(head!.distanceProfile[11]).toBeCloseTo(
      mean((i) => i + 3),
      6,
    );
    expect(head!.previousToken).toBeCloseTo(
      mean(
        (i) => i - 1,
        rows.filter(([, i]) => i > 0),
      ),
      6,
    );
    for (const each of [q, k, result, weights]) each.dispose();
  });

  it('give the same in slices, with progress and an end', async () => {
    const random = new Random(7);
    const q = runtime.tensor(random.array(2 * 4 * 90 * 8, 'normal'), [2, 4, 90, 8]);
    const { record, output } = scaledDotProductAttention(q, q, q, { causal: true, returnRecord: true });
    const inputIds = [0, 1].map(() => Array.from({ length: 90 }, () => random.integer(0, 20)));
    const options = { inputIds, perQuery: true };
    const shares: number[] = [];
    const onProgress = ({ done, total }: { done: number; total: number }) => void shares.push(done / total);
    expect(await headMeasuresAsync([record, record], { ...options, onProgress })).toEqual(
      headMeasures([record, record], options),
    );
    expect(shares.at(-1)).toBe(1);
    const signal = AbortSignal.abort(new Error('enough'));
    await expect(headMeasuresAsync(record, { signal })).rejects.toThrow('enough');
    for (const each of [q, record, output]) each.dispose();
  });

  it('leave nothing behind, whatever is wrong', async () => {
    const x = { data: new Float32Array(24).fill(0.5), shape: [1, 2, 3, 4] };
    const { record, output, weights } = scaledDotProductAttention(x, x, x, {
      ...{ runtime, causal: true, returnRecord: true, returnWeights: true },
    });
    const longer = { data: new Float32Array(24), shape: [1, 2, 3, 4] };
    const used = runtime.memory.used;
    const wrong: [unknown, HeadMeasureOptions, string, RegExp][] = [
      [
        { data: [1, 2], shape: [2] },
        { runtime },
        'INVALID_SHAPE',
        /attention: .*\[batch, heads, queries, keys\]/,
      ],
      [[record, { data: [1n], shape: [1, 1] }], {}, 'INVALID_DTYPE', /attention\[1\]/],
      [[record, 5], {}, 'INVALID_ARGUMENT', /attention\[1\]/],
      [longer, { runtime }, 'INVALID_ARGUMENT', /queryOffset: .* 3 queries meet 4 keys/],
      [longer, { runtime, queryOffset: [1, 2] }, 'INVALID_SHAPE', /queryOffset/],
      [record, { queryOffset: 0 }, 'INVALID_ARGUMENT', /queryOffset: .*nothing beside a record/],
      [record, { inputIds: [1, 2] }, 'INVALID_SHAPE', /inputIds: .*\[1, 3\]/],
      [record, { inputIds: [1, -2, 3] }, 'INVALID_ARGUMENT', /inputIds\[1\]/],
      [record, { attentionMask: [1, 1] }, 'INVALID_SHAPE', /attentionMask/],
      [record, { attentionMask: [1, 2, 1] }, 'INVALID_ARGUMENT', /attentionMask\[1\]/],
      [record, { maxDistance: -1 }, 'INVALID_ARGUMENT', /maxDistance/],
      [
        record,
        { maxdistance: 3 } as never,
        'INVALID_ARGUMENT',
        /maxdistance: unknown option; did you mean maxDistance/,
      ],
      [{ data: [1], shape: [1, 1] }, {}, 'INVALID_ARGUMENT', /runtime/],
    ];
    for (const [attention, options, code, message] of wrong) {
      const call = () => headMeasures(attention as never, options);
      expect(call).toThrow(message);
      expect(call).toThrow(expect.objectContaining({ code }));
      await expect(headMeasuresAsync(attention as never, options)).rejects.toThrow(message);
    }
    headMeasures([record, weights], { perQuery: true });
    await headMeasuresAsync([record, weights]);
    expect(runtime.memory.used).toBe(used);
    record.dispose();
    expect(() => headMeasures(record)).toThrow(expect.objectContaining({ code: 'DISPOSED' }));
    for (const each of [output, weights]) each.dispose();
  });
});

it('padding is that of the inputs of a model, in lists of different lengths or by a mask', async () => {
  const { config, weights } = smallModel('llama: sizes that are multiples of nothing');
  const model = await loadModel({ config, weights });
  const rows = [
    [5, 6, 7, 5, 6, 7, 5],
    [9, 3, 9, 3],
  ] as const;
  const measured = (inputs: ModelInputs) => {
    const output = model.forward(inputs, { returnRecord: true });
    const heads = headMeasures(output.records!, inputs);
    output.dispose();
    return heads;
  };
  const ragged = measured({ inputIds: rows });
  const [first, second] = rows.map((inputIds) => measured({ inputIds })) as [HeadMeasures[], HeadMeasures[]];
  // Four repeats in the first row, and two in the second.
  ragged.forEach(({ duplicateToken, entropy }, i) => {
    expect(duplicateToken).toBeCloseTo((4 * first[i]!.duplicateToken + 2 * second[i]!.duplicateToken) / 6, 5);
    expect(entropy).toBeCloseTo((7 * first[i]!.entropy + 4 * second[i]!.entropy) / 11, 5);
  });
  const inputIds = [rows[0], [0, 0, 0, ...rows[1]]];
  const attentionMask = inputIds.map((row) => row.map((id) => (id === 0 ? 0 : 1)));
  const left = measured({ inputIds, attentionMask });
  left.forEach(({ firstToken }, i) =>
    expect(firstToken).toBeCloseTo((6 * first[i]!.firstToken + 3 * second[i]!.firstToken) / 9, 4),
  );
  model.dispose();
});

it('threads change nothing', async () => {
  const alone = await createRuntime({ build: 'simd' });
  const two = await createRuntime({ build: 'simd', threads: 2 });
  const measured = (runtime: Runtime) => {
    const random = new Random(9);
    const q = runtime.tensor(random.array(4 * 300 * 16), [1, 4, 300, 16]);
    const { record } = scaledDotProductAttention(q, q, q, { causal: true, returnRecord: true });
    return headMeasures(record, { inputIds: Array.from({ length: 300 }, () => random.integer(0, 30)) });
  };
  expect(measured(two)).toEqual(measured(alone));
  alone.dispose();
  two.dispose();
});
