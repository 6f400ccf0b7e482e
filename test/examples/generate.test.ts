// The generating example: writes, says how fast, and refuses what makes no sense.

import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const root = fileURLToPath(new URL('../../', import.meta.url));

function generate(...args: string[]) {
  const program = ['examples/generate/main.mjs', '--no-peer', ...args];
  return spawnSync(process.execPath, program, { cwd: root, encoding: 'utf8' });
}

it('generates text and says how fast', () => {
  const { status, stdout, stderr } = generate('--tokens', '12', '--prompt', 'To attend is to look up.');
  expect(stderr).toBe('');
  expect(status).toBe(0);
  expect(stdout).toMatch(
    /prompt: 24 bytes in [\d.]+ ms\n\n.{12}\n\n\d+ tokens a second: [\d.]+ ms a step at 36 tokens/,
  );
});

it.each([
  [['--tokens', '0'], '--tokens'],
  [['--storage', 'int4'], '--storage'],
  [['--prompt', ''], '--prompt'],
  [['--speed'], '--speed'],
])('refuses %j', (args, named) => {
  const { status, stdout, stderr } = generate(...args);
  expect(status).toBe(2);
  expect(stdout).toBe('');
  expect(stderr).toContain(named);
});
