// Reports of tensors that became garbage: needs a process whose collector can be called.

import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { createRuntime } from 'wasm-attention';

const root = fileURLToPath(new URL('../../', import.meta.url));

/** What a program writes, one line of JSON. */
function run(program: string): unknown {
  const code = `
    import { createRuntime, KeyValueCache, LinearWeights, scaledDotProductAttention, softmax, tidy } from './dist/index.mjs';
    const warnings = [];
    console.warn = (text) => warnings.push(text);
    const collect = async () => {
      for (let i = 0; i < 20; i++) {
        globalThis.gc();
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    };
    ${program}`;
  const { stdout, stderr, status } = spawnSync(
    process.execPath,
    ['--expose-gc', '--input-type=module', '-e', code],
    {
      cwd: root,
      encoding: 'utf8',
    },
  );
  expect({ stderr, status }).toEqual({ stderr: '', status: 0 });
  return JSON.parse(stdout);
}

it('names each tensor that became garbage undisposed, once, and no other', () => {
  const leaks = run(`
    const leaks = [];
    const runtime = await createRuntime({ reportLeaks: (leak) => leaks.push(leak) });
    const kept = runtime.tensor([1, 2]);
    function leakOne() { runtime.empty([3, 5], 'int32'); }
    leakOne();
    (() => {
      const x = runtime.tensor([1, 2, 3]);
      softmax(x).dispose();
      x.dispose();
      tidy(runtime, () => void softmax(kept));
      new LinearWeights(runtime, { data: [1, 2], shape: [1, 2] }).dispose();
    })();
    let view = (() => softmax(kept).reshape([1, 2]))(); // the view holds what it is a view of
    await collect();
    const first = leaks.length;
    view.data;
    view.dispose();
    view = undefined;
    await collect();
    console.log(JSON.stringify({ first, leaks, warnings, live: kept.disposed }));
  `) as {
    first: number;
    leaks: { shape: number[]; dtype: string; bytes: number; stack: string }[];
    warnings: string[];
  };
  expect(leaks.first).toBe(1);
  expect(leaks.leaks).toHaveLength(2);
  const [made, result] = leaks.leaks;
  expect(made).toMatchObject({ shape: [3, 5], dtype: 'int32', bytes: 60 });
  expect(made!.stack).toContain('leakOne');
  expect(result).toMatchObject({ shape: [2], dtype: 'float32', bytes: 8 });
  expect(leaks.warnings).toEqual([]);
});

it('warns in the console if that is all it is told, and not after the runtime has ended', () => {
  const { warnings } = run(`
    const runtime = await createRuntime({ reportLeaks: true });
    function leakOne() { runtime.empty([3, 5]); }
    leakOne();
    await collect();
    leakOne();
    runtime.dispose();
    await collect();
    console.log(JSON.stringify({ warnings }));
  `) as { warnings: string[] };
  expect(warnings).toHaveLength(1);
  expect(warnings[0]).toMatch(/float32 \[3, 5\].* 60 bytes/);
  expect(warnings[0]).toContain('leakOne');
});

it('reports nothing unless asked to', () => {
  const { warnings } = run(`
    const runtime = await createRuntime();
    (() => runtime.empty([3, 5]))();
    await collect();
    console.log(JSON.stringify({ warnings }));
  `) as { warnings: string[] };
  expect(warnings).toEqual([]);
});

it('is an option that is read strictly', async () => {
  for (const reportLeaks of ['yes', 1, null, {}]) {
    await expect(createRuntime({ reportLeaks: reportLeaks as never })).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      argument: 'reportLeaks',
    });
  }
  (await createRuntime({ reportLeaks: false })).dispose();
});
