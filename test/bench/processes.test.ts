// Workloads in processes of their own: what cannot run in this engine is told as that, and is no failure.

import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { probeFeatures } from 'wasm-attention';
import { measureProcesses } from '../../bench/processes.mjs';
import { quickEffort } from '../../bench/suite/run.mjs';
import { workloads } from '../../bench/suite/workloads.mjs';

const { relaxedMultiplyAdd } = probeFeatures();
const workload = workloads.find(({ kind }) => kind === 'start')!;
const effort = { ...quickEffort, processes: 1 };

test('a build that this engine cannot run is unsupported, another is measured', async () => {
  const names = ['simd', 'relaxed'].map((variant) => ({ peer: 'wasm-attention', variant }));
  const [simd, relaxed] = await measureProcesses(workload, names, effort);
  expect(simd).toMatchObject({ state: 'measured', variant: 'simd' });
  if (relaxedMultiplyAdd) expect(relaxed).toMatchObject({ state: 'measured' });
  else {
    const reason = expect.stringMatching(/^build 'relaxed' needs relaxed SIMD/) as string;
    expect(relaxed).toMatchObject({ state: 'unsupported', reason });
  }
});

test('what fails does so with its message', async () => {
  const [wrong] = await measureProcesses(workload, [{ peer: 'wasm-attention', variant: 'none' }], effort);
  const reason = expect.stringMatching(/^build: expected 'simd' or 'relaxed'/) as string;
  expect(wrong).toMatchObject({ state: 'failed', reason });
});

test('the program lists what cannot run here, and ends well', () => {
  const program = fileURLToPath(new URL('../../bench/main.mjs', import.meta.url));
  const given = ['--quick', '--peers', 'none', '--workloads', `^${workload.id}$`];
  const { status, stdout } = spawnSync(process.execPath, [program, ...given], { encoding: 'utf8' });
  expect(status).toBe(0);
  expect(stdout).not.toContain('failed');
  expect(stdout.includes("relaxed unsupported: build 'relaxed' needs relaxed SIMD")).toBe(
    !relaxedMultiplyAdd,
  );
});
