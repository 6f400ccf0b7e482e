// Random numbers of a training: as likely as they should be, a function of seed and step, the same bits everywhere.

import { describe, expect, it } from 'vitest';
import { Random } from 'wasm-attention/training';

const many = (count: number, draw: () => number) => Array.from({ length: count }, draw);

describe('numbers', () => {
  it('are spread evenly over [0, 1)', () => {
    const random = new Random(3);
    const bins = new Array<number>(20).fill(0);
    for (const value of many(40_000, () => random.uniform())) bins[Math.floor(20 * value)]!++;
    // Chi squared with 19 degrees of freedom: above 43.8 in one case of a thousand.
    expect(bins.reduce((sum, count) => sum + (count - 2000) ** 2 / 2000, 0)).toBeLessThan(43.8);
  });

  it.each([1, 2, 7, 10])('integers below %i are as likely as each other', (count) => {
    const random = new Random(4);
    const bins = new Array<number>(count).fill(0);
    for (const value of many(1000 * count, () => random.integer(count))) bins[value]!++;
    expect(bins.reduce((sum, each) => sum + (each - 1000) ** 2 / 1000, 0)).toBeLessThan(
      count + 5 * Math.sqrt(2 * count),
    );
  });

  it('integers go up to the largest', () => {
    const random = new Random(5);
    const drawn = many(2000, () => random.integer(2 ** 32));
    expect(Math.max(...drawn)).toBeGreaterThan(0.99 * 2 ** 32);
    expect(drawn.every((value) => Number.isInteger(value) && value >= 0 && value < 2 ** 32)).toBe(true);
  });

  it('normal ones have the moments of a normal distribution', () => {
    const random = new Random(6);
    const drawn = many(40_000, () => random.normal());
    const mean = (power: number) => drawn.reduce((sum, value) => sum + value ** power, 0) / drawn.length;
    expect(mean(1)).toBeCloseTo(0, 1);
    expect(mean(2)).toBeCloseTo(1, 1);
    expect(Math.abs(mean(3))).toBeLessThan(0.1);
    expect(Math.abs(mean(4) - 3)).toBeLessThan(0.2);
  });

  it('shuffle every order alike, and leave the list alone', () => {
    const random = new Random(7);
    const list = ['a', 'b', 'c'];
    const orders = new Map<string, number>();
    for (let i = 0; i < 6000; i++) {
      const order = random.shuffle(list).join('');
      orders.set(order, (orders.get(order) ?? 0) + 1);
    }
    expect(list).toEqual(['a', 'b', 'c']);
    expect(orders.size).toBe(6);
    // Five degrees of freedom: above 20.5 in one case of a thousand.
    expect([...orders.values()].reduce((sum, count) => sum + (count - 1000) ** 2 / 1000, 0)).toBeLessThan(
      20.5,
    );
  });

  it('choose one of a list', () => {
    const random = new Random(8);
    expect(new Set(many(100, () => random.choose([1, 2, 3])))).toEqual(new Set([1, 2, 3]));
  });
});

it('are a function of seed and step', () => {
  const first = (seed: number, step?: number) => new Random(seed, step).uniform();
  expect(first(1, 2)).toBe(first(1, 2));
  expect(first(1)).toBe(first(1, 0));
  const others = [first(1, 2), first(2, 1), first(1, 3), first(1 + 2 ** 32, 2), first(1, 2 + 2 ** 32)];
  expect(new Set(others).size).toBe(others.length);
});

it('have the bits on record', () => {
  const random = new Random(2 ** 53 - 1, 12345);
  const drawn = [
    random.uniform(),
    random.integer(1000),
    random.normal(),
    random.choose([1, 2, 3, 4]),
    random.integer(2 ** 32),
  ];
  expect(drawn).toMatchInlineSnapshot(`
    [
      0.15822524137386595,
      533,
      -0.8331526804734596,
      1,
      1179754998,
    ]
  `);
  expect(new Random(1).shuffle([1, 2, 3, 4, 5, 6, 7, 8])).toMatchInlineSnapshot(`
    [
      8,
      5,
      2,
      7,
      6,
      3,
      4,
      1,
    ]
  `);
});

it('refuse what cannot be drawn', () => {
  for (const [seed, step, argument] of [
    [-1, 0, 'seed'],
    [0.5, 0, 'seed'],
    [2 ** 53, 0, 'seed'],
    [1, -1, 'step'],
  ] as const)
    expect(() => new Random(seed, step)).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT', argument }) as Error,
    );
  const random = new Random(1);
  for (const count of [0, -1, 0.5, 2 ** 32 + 1])
    expect(() => random.integer(count)).toThrow(expect.objectContaining({ argument: 'count' }) as Error);
  expect(() => random.choose([])).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }) as Error);
});
