// Browsers that are not whole on this machine are not run, and say what is missing.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'wasm-attention-path-'));
  vi.resetModules();
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true });
});

it('a browser whose program is missing is not run', async () => {
  vi.stubEnv('CHROMIUM', join(folder, 'chromium'));
  const { whyNot } = await import('./browsers.mjs');
  expect(whyNot('Chromium')).toBe(`${join(folder, 'chromium')} is not installed`);
  writeFileSync(join(folder, 'chromium'), '');
  expect(whyNot('Chromium')).toBeUndefined();
});

it('WebKit is not run without the programs that give it a display', async () => {
  vi.stubEnv('WEBKIT', process.execPath);
  vi.stubEnv('PATH', folder);
  const { whyNot } = await import('./browsers.mjs');
  expect(whyNot('WebKit')).toBe('xvfb-run is not installed');
  writeFileSync(join(folder, 'xvfb-run'), '');
  expect(whyNot('WebKit')).toBe('xauth is not installed');
  writeFileSync(join(folder, 'xauth'), '');
  expect(whyNot('WebKit')).toBeUndefined();
});
