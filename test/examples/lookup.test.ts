// The terminal program, run as a user runs it: as a process of its own.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';

const program = fileURLToPath(new URL('../../examples/lookup/main.mjs', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'wasm-attention-lookup-'));
afterAll(() => {
  rmSync(folder, { recursive: true });
});

function write(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

function run(args: string[], options: { input?: string; env?: Record<string, string> } = {}) {
  const { input = '', env = {} } = options;
  const { stdout, stderr, status } = spawnSync(process.execPath, [program, ...args], {
    input,
    env: { PATH: process.env['PATH'] ?? '', ...env },
    encoding: 'utf8',
  });
  return { stdout, stderr, status };
}

/** The text of the line that comes first in the list of weights. */
function best(stdout: string): string {
  const lines = stdout.split('\n');
  return lines[lines.findIndex((line) => line.startsWith('weight')) + 1]!;
}

describe('npm start', () => {
  it('answers on the README within 80 columns and without escape codes when piped', () => {
    const { stdout, stderr, status } = run([]);
    expect(stderr).toBe('');
    expect(status).toBe(0);
    for (const line of stdout.split('\n')) expect([...line].length, line).toBeLessThanOrEqual(80);
    expect(stdout).not.toContain('\u001b');
    expect(stdout).toMatch(/head 8/);
    expect(stdout).toMatch(/softmax +0\.506 +0\.307 +0\.186/);
    expect(stdout).toMatch(/Speed +12 x 512 x 64 in [\d.]+ ms, \d+ GFLOP\/s, \d+ % of peak, \d+x plain JS/);
  });

  it('finds the line that shares most with the query, in a file and on standard input', () => {
    const text = 'apples and pears\n\nthe engine of the train\nquiet mountains at dawn\n';
    const path = write('lines.txt', text);
    expect(best(run([path, '--query', 'a train engine']).stdout)).toMatch(/3 {2}the engine of the train/);
    const piped = run(['-', '--query', 'mountain', '--top', '2'], { input: text });
    expect(best(piped.stdout)).toMatch(/4 {2}quiet mountains/);
    expect(piped.stdout).toMatch(/on the other 1 lines/);
  });

  it('shows colours only where they are wanted', () => {
    const path = write('short.txt', 'one\ntwo\n');
    expect(run([path], { env: { FORCE_COLOR: '1' } }).stdout).toContain('\u001b[48;5;');
    expect(run([path], { env: { FORCE_COLOR: '1', NO_COLOR: '1' } }).stdout).not.toContain('\u001b');
    expect(run([path, '--no-color'], { env: { FORCE_COLOR: '1' } }).stdout).not.toContain('\u001b');
  });

  it('disarms control characters and wide text', () => {
    const path = write('odd.txt', `\u001b[31mred\u0007 ${'x'.repeat(300)}\n${'漢字'.repeat(60)}\nplain\n`);
    const { stdout, status } = run([path, '--query', 'red']);
    expect(status).toBe(0);
    expect(stdout).not.toContain('\u001b');
    expect(stdout).not.toContain('\u0007');
  });

  it('prints its help', () => {
    const { stdout, status } = run(['--help']);
    expect(status).toBe(0);
    expect(stdout).toContain('--query TEXT');
  });

  const empty = write('empty.txt', '\n \n');
  const binary = write('binary.bin', Uint8Array.of(1, 0, 2));
  it.each([
    ['an unknown option', ['--nope']],
    ['a missing value', ['--query']],
    ['an empty query', ['--query', ' ']],
    ['a bad number', ['--top', '0']],
    ['two files', ['a', 'b']],
    ['a missing file', [join(folder, 'none')]],
    ['a folder', [folder]],
    ['an empty file', [empty]],
    ['a binary file', [binary]],
  ])('answers %s with one line and exit code 2', (_title, args) => {
    const { stdout, stderr, status } = run(args);
    expect(stdout).toBe('');
    expect(stderr.trimEnd().split('\n')).toHaveLength(1);
    expect(status).toBe(2);
  });
});
