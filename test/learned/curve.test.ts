// The loss curve in the terminal: what is drawn is where it belongs, the picture takes its own place, and logs get a few lines.

import { describe, expect, it } from 'vitest';
import { Curve } from '../../learned/curve.mjs';
import { Style } from '../../examples/lookup/style.mjs';

const COLUMNS = 60;
/** Columns before a chart, and rows before it and of it. */
const [MARGIN, HEAD, ROWS] = [8, 2, 10];

interface Settings {
  readonly isTTY?: boolean;
  readonly color?: boolean;
  readonly unicode?: boolean;
  readonly steps?: number;
}

function curveOf({ isTTY = true, color = false, unicode = true, steps = 100 }: Settings = {}) {
  let written = '';
  const stream = { isTTY, columns: COLUMNS, write: (text: string) => ((written += text), true) };
  const task = { title: 'A task', steps, watch: { label: 'score', bar: 0.8 } };
  const curve = new Curve(stream as never, new Style({ color, unicode }), task);
  const add = (step: number, loss: number, measure?: number) =>
    curve.add({ step, loss, tokensPerSecond: 1234 }, measure);
  return { curve, add, written: () => written };
}

/** Heights of the dots of each column of a chart in braille, from 0 at the bottom to 39. */
function dotsOf(lines: readonly string[]): number[][] {
  const rows = lines.slice(HEAD, HEAD + ROWS).map((line) => [...line.slice(MARGIN)]);
  return Array.from({ length: 2 * rows[0]!.length }, (_, column) =>
    rows.flatMap((row, i) => {
      const bits = row[column >> 1]! === ' ' ? 0 : row[column >> 1]!.codePointAt(0)! - 0x2800;
      const masks = column % 2 === 0 ? [0x01, 0x02, 0x04, 0x40] : [0x08, 0x10, 0x20, 0x80];
      return masks.flatMap((mask, j) => (bits & mask ? [39 - (4 * i + j)] : []));
    }),
  );
}

describe('the picture', () => {
  it('has each loss at its height and step', () => {
    const { curve, add } = curveOf();
    for (let step = 1; step <= 50; step++) add(step, step <= 25 ? 4 : 1);
    const lines = curve.picture(COLUMNS);
    const columns = dotsOf(lines);
    expect(lines[HEAD]!.slice(0, MARGIN)).toBe('     4 ┤');
    const width = columns.length;
    const heights = columns.map((dots) => Math.max(-1, ...dots));
    expect(heights[0]).toBe(39); // the top of the axis
    expect(heights[Math.floor(width * 0.2)]).toBe(39);
    expect(heights[Math.floor(width * 0.4)]).toBe(Math.round(39 / 4)); // a quarter of it
    expect(heights.slice(Math.ceil(width * 0.5)).every((height) => height === -1)).toBe(true);
    // The fall is one line from top to bottom.
    const fall = columns.find((dots) => dots.length > 10)!;
    expect(fall.length).toBeGreaterThanOrEqual(30);
  });

  it('has the measure below, and its bar until that is passed', () => {
    const { curve, add } = curveOf();
    for (let step = 1; step <= 100; step++)
      add(step, 1, step % 10 === 0 ? (step > 50 ? 0.95 : 0.1) : undefined);
    const rows = curve
      .picture(COLUMNS)
      .slice(HEAD + ROWS + 2, HEAD + ROWS + 5)
      .map((line) => line.slice(MARGIN));
    expect(rows[0]).toMatch(/^╌+▇+$/);
    expect(rows[1]).toMatch(/^ +█+$/);
    expect(rows[2]).toMatch(/^▂+█+$/);
    expect([...rows[0]!].indexOf('▇') / rows[0]!.length).toBeCloseTo(0.59, 1);
    expect(curve.picture(COLUMNS)[HEAD + ROWS + 2]!.slice(0, MARGIN)).toBe('   0.8 ┤');
  });

  it('says where it stands', () => {
    const { curve, add } = curveOf();
    add(1, 3, 0.5);
    add(2, 1);
    const said = /^step 2\/100 · loss 2\.000 · score 0\.50 · \d+ s left · 1,234 tokens\/s$/;
    expect(curve.picture(90).at(-1)).toMatch(said);
    expect(curve.picture(30).at(-1)).toBe('step 2/100 · loss 2.000');
  });

  it.each([true, false])('fits the terminal, colours: %s', (color) => {
    for (const unicode of [true, false]) {
      const { curve, add } = curveOf({ color, unicode });
      for (let step = 1; step <= 100; step++) add(step, 4 / step, step / 100);
      for (const columns of [20, 40, COLUMNS, 100, 200]) {
        const lines = curve.picture(columns);
        const plain = lines.map((line) =>
          line
            .split('\x1b')
            .map((part, i) => (i === 0 ? part : part.replace(/^\[[\d;]*m/, '')))
            .join(''),
        );
        expect(Math.max(...plain.map((line) => [...line].length))).toBeLessThanOrEqual(columns);
        expect(plain.join('') === lines.join('')).toBe(!color);
        if (!unicode) expect(plain.join('')).toMatch(/^[ -~]*$/);
      }
    }
  });

  it('bears a loss that is no number', () => {
    const { curve, add } = curveOf();
    add(1, NaN);
    add(2, Infinity);
    expect(() => curve.picture(COLUMNS)).not.toThrow();
  });
});

it('is drawn in the place of the one before, and gives the cursor back', () => {
  const { curve, add, written } = curveOf();
  add(1, 3);
  const first = written();
  curve.end();
  const rows = first.split('\n').length - 1;
  expect(first.startsWith('\x1b[?25l')).toBe(true);
  expect(written().slice(first.length)).toMatch(new RegExp(`^\\x1b\\[\\?25l\\x1b\\[${rows}A\\r`));
  expect(written().endsWith('\x1b[?25h')).toBe(true);
  const all = written();
  curve.end();
  expect(written()).toBe(all);
});

it('is a few lines where nobody looks, without a word that moves the cursor', () => {
  const { curve, add, written } = curveOf({ isTTY: false, steps: 1000 });
  for (let step = 1; step <= 1000; step++) add(step, 1 / step);
  curve.end();
  const lines = written().trimEnd().split('\n');
  expect(lines.length).toBe(22); // the title, the first step, twenty more
  expect(written()).not.toContain('\x1b');
  expect(lines.at(-1)).toMatch(/^ {2}step 1000\/1000 /);
});
