// examples/node-script, run as a user runs it.

import { spawnSync } from 'node:child_process';
import { afterAll, expect, it } from 'vitest';
import { installExample, removeExamples } from '../support/example.mjs';

afterAll(removeExamples);

it('draws the curve, and comes nearer to it', () => {
  const cwd = installExample('node-script');
  const { stdout, stderr } = spawnSync(process.execPath, ['main.mjs'], { cwd, encoding: 'utf8' });
  expect(stderr).toBe('');
  const lines = stdout.trimEnd().split('\n');
  const [before, after] = lines
    .pop()!
    .match(/\d\.\d+/g)!
    .map(Number) as [number, number];
  expect(before).toBeCloseTo(0.8 / Math.sqrt(12), 1); // the deviation of even noise
  expect(after).toBeLessThan(before / 3);
  expect(lines.length).toBe(20);
  lines.forEach((line, i) => {
    const sine = 20 + 15 * Math.sin((i / 20) * 2 * Math.PI);
    expect(Math.abs(line.indexOf('o') - sine), line).toBeLessThan(3.5);
  });
});
