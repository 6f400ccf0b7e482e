// The terminal program, run as a user runs it: as a process of its own.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';
import { needs } from '../support/needs.js';

const PROGRAM = fileURLToPath(new URL('../../examples/lookup/main.mjs', import.meta.url));
const README = fileURLToPath(new URL('../../README.md', import.meta.url));
const ESCAPE = '\u001b';
const COLUMNS = 80;
const UTF8 = { LANG: 'C.UTF-8' };
const TEXT = 'apples and pears\n\nthe engine of the train\nquiet mountains at dawn\n';

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
  // Nothing of the surroundings: neither their locale nor their wishes about colours.
  const { stdout, stderr, status } = spawnSync(process.execPath, [PROGRAM, ...args], {
    input,
    env: { PATH: process.env['PATH'] ?? '', ...env },
    encoding: 'utf8',
  });
  return { stdout, stderr, status };
}

/** The lines of a section, without its heading. */
function section(stdout: string, heading: RegExp): string[] {
  const lines = stdout.split('\n');
  const from = lines.findIndex((line) => heading.test(line));
  expect(from, `${heading} in\n${stdout}`).toBeGreaterThanOrEqual(0);
  return lines.slice(from + 1, lines.indexOf('', from));
}

/** Columns by a rule coarser than the program's own: whatever is East Asian or a pictograph takes two. */
function columns(line: string): number {
  // eslint-disable-next-line no-control-regex
  const shown = line.replace(/\u001b\[[\d;]*m/g, '');
  return [...shown].reduce(
    (sum, c) =>
      sum +
      (/[\p{Mn}\u200d]/u.test(c)
        ? 0
        : /[\u{1100}-\u{115f}\u{3000}-\u{d7ff}\u{ff00}-\u{ff60}\u{1f300}-\u{1faff}]/u.test(c)
          ? 2
          : 1),
    0,
  );
}

function expectWithinColumns(stdout: string): void {
  for (const line of stdout.split('\n')) expect(columns(line), line).toBeLessThanOrEqual(COLUMNS);
}

describe('the picture', () => {
  test('of the README, by default', () => {
    const { stdout, stderr, status } = run([], { env: UTF8 });
    expect(stderr).toBe('');
    expect(status).toBe(0);
    expectWithinColumns(stdout);
    expect(stdout).not.toContain(ESCAPE);
    expect(stdout).toContain('Untrained');
    const [, best = ''] = section(stdout, /^Weights/);
    const [, number, quoted = ''] = /^ *(\d+) .*█ +(\S.*)…$/.exec(best) ?? [];
    const source = readFileSync(README, 'utf8').split('\n')[Number(number) - 1] ?? '';
    expect(source.replace(/\s+/g, ' ')).toContain(quoted);
    expect(section(stdout, /^Head by head/)).toHaveLength(8 + 1);
  });

  test('finds the line that shares most with the query, in a file', () => {
    const path = write('lines.txt', TEXT);
    for (const file of [[path], ['--file', path]]) {
      const { stdout, status } = run([...file, '--query', 'a train engine']);
      expect(status).toBe(0);
      expect(section(stdout, /^Weights/)[1]).toMatch(/^ +3 .* % +#+ +the engine of the train$/);
      expect(section(stdout, /^Result/)[1]).toMatch(/^ +3 .*the engine of the train$/);
    }
  });

  test('and on standard input, with as many lines and heads as asked for', () => {
    const { stdout } = run(['-', '-q', 'mountain', '--top', '1', '--heads', '3'], { input: TEXT });
    const [, best, rest, ...more] = section(stdout, /^Weights/);
    expect(best).toMatch(/^ +4 .*quiet mountains at dawn$/);
    expect(rest).toMatch(/^ +rest .*\(2 lines\)$/);
    expect(more).toEqual([]);
    expect(section(stdout, /^Head by head/)).toHaveLength(3 + 1);
  });

  test('asks for the first line of a text unless told otherwise', () => {
    const { stdout } = run(['-'], { input: TEXT });
    expect(stdout).toContain('query: "apples and pears"');
    expect(section(stdout, /^Weights/)[1]).toMatch(/apples and pears$/);
  });

  test('gives weights that sum to 1', () => {
    const { stdout } = run(['-'], { input: TEXT });
    const shares = section(stdout, /^Weights/).flatMap((line) => / ([\d.]+) %/.exec(line)?.[1] ?? []);
    expect(shares).toHaveLength(3);
    expect(shares.reduce((sum, share) => sum + Number(share), 0)).toBeCloseTo(100, 0);
  });

  test('holds thousands of lines', () => {
    const input = Array.from({ length: 9000 }, (_, i) => `entry ${i} of a long list, ${i * 7919}`).join('\n');
    const { stdout, status } = run(['-', '-q', 'a needle'], { input: `${input}\nthe needle` });
    expect(status).toBe(0);
    expectWithinColumns(stdout);
    expect(section(stdout, /^Weights/)[1]).toMatch(/^ +9001 .*the needle$/);
  });

  test('works out three keys', () => {
    const rows = section(run(['-'], { input: TEXT }).stdout, /^Three keys/);
    const [one, two, three] = rows.slice(1).map((row) => row.replace(/\[.*?\]/g, '').match(/-?\d+(\.\d+)?/g));
    const e = [2, 1, -0.5].map(Math.exp);
    const total = e.reduce((sum, x) => sum + x);
    expect(one?.slice(-3)).toEqual(['4', '2.00', (e[0]! / total).toFixed(4)]);
    expect(two?.slice(-3)).toEqual(['2', '1.00', (e[1]! / total).toFixed(4)]);
    expect(three?.slice(-3)).toEqual(['-1', '-0.50', (e[2]! / total).toFixed(4)]);
    const output = [10 * e[0]! + 5 * e[2]!, 10 * e[1]! + 5 * e[2]!].map((x) => (x / total).toFixed(3));
    expect(rows.at(-1)).toMatch(new RegExp(`1\\.0000 +=.*${output.join(' +')}`));
  });

  test('ends with the speed', () => {
    const [line] = section(run(['-'], { input: TEXT }).stdout, /^Speed/);
    expect(line).toMatch(
      /^12 x 512 x 64: [\d.]+ ms, [\d.]+ GFLOP\/s, \d+ % of the peak, \d+ x plain JavaScript$/,
    );
  });
});

describe('the terminal', () => {
  test('gets colours where they are wanted', () => {
    const path = write('short.txt', 'one\ntwo\n');
    const forced = run([path], { env: { FORCE_COLOR: '1' } }).stdout;
    expect(forced).toContain(`${ESCAPE}[48;5;`);
    expectWithinColumns(forced);
    expect(run([path], { env: { FORCE_COLOR: '1', NO_COLOR: '1' } }).stdout).not.toContain(ESCAPE);
    expect(run([path, '--no-color'], { env: { FORCE_COLOR: '1' } }).stdout).not.toContain(ESCAPE);
  });

  test.each([{}, { LANG: 'C' }, { ...UTF8, TERM: 'dumb' }])('gets ASCII alone with %o', (env) => {
    const { stdout } = run(['-', '-q', 'naïve 漢字'], { input: `naïve\n漢字\n${TEXT}`, env });
    expect(stdout).toMatch(/^[ -~\n]*$/);
  });

  test('is not driven by what the text holds', () => {
    const hostile = [
      `${ESCAPE}[31mred${ESCAPE}[0m\u0007 tab\there \u202ereversed`,
      `${ESCAPE}]0;title\u0007title ${ESCAPE}]8;;https://example.org${ESCAPE}\\link`,
      '\u009b2Jcleared \u007f',
      ESCAPE,
    ];
    const path = write('hostile.txt', hostile.join('\n'));
    const { stdout, status } = run([path, '--query', `${ESCAPE}[31mred`], { env: UTF8 });
    expect(status).toBe(0);
    expect(stdout).toMatch(/^[\P{C}\n]*$/u);
    expect(stdout).toContain('red tab here reversed');
    expect(stdout).not.toContain('0;title');
  });

  test('shows wide, joined, endless and broken text within its columns', () => {
    const lines = [
      '漢字'.repeat(60),
      '👩‍👩‍👧‍👦'.repeat(40),
      'e\u0301'.repeat(200),
      'x'.repeat(100_000),
      '한국어 '.repeat(40),
    ];
    const path = write(
      `${'wide'.repeat(30)}.txt`,
      Buffer.concat([Buffer.from(lines.join('\r\n')), Uint8Array.of(10, 0xff, 0xfe)]),
    );
    const { stdout, status } = run([path, '--query', '漢字'.repeat(50)], { env: UTF8 });
    expect(status).toBe(0);
    expectWithinColumns(stdout);
    expect(section(stdout, /^Weights/)[1]).toMatch(/^ +1 .*(漢字)+漢?…$/);
  });
});

describe('--help', () => {
  test.each(['--help', '-h'])('%s', (option) => {
    const { stdout, stderr, status } = run([option]);
    expect(status).toBe(0);
    expect(stderr).toBe('');
    expectWithinColumns(stdout);
    for (const name of ['--file', '--query', '--top', '--heads', '--no-color'])
      expect(stdout).toContain(name);
  });
});

describe('one line and exit code 2', () => {
  const empty = write('empty.txt', '');
  const blank = write('blank.txt', '\n \n\t\n');
  const binary = write('binary.bin', Uint8Array.of(0x7f, 0x45, 0x4c, 0x46, 0, 1));
  test.each([
    ['an unknown option', ['--nope'], /--nope/],
    ['an unknown short option', ['-x'], /-x/],
    ['a missing value', ['--query'], /--query/],
    ['a value where none belongs', ['--help=yes'], /--help/],
    ['an empty query', ['--query', ' '], /--query is empty/],
    ['no lines to show', ['--top', '0'], /--top .* not '0'/],
    ['a number that is none', ['--top', 'many'], /--top .* not 'many'/],
    ['too many heads', ['--heads', '99'], /--heads .* not '99'/],
    ['two files', ['a', 'b'], /one file/],
    ['an empty name', [''], /empty/],
    ['a missing file', [join(folder, 'none')], /no file .*none/],
    ['a file within a file', [join(empty, 'none')], /none cannot be read/],
    ['a name of two lines', [join(folder, 'two\nlines')], /no file .*two lines/],
    ['a folder', [folder], /directory/],
    ['an empty file', [empty], /empty\.txt has no text/],
    ['a blank file', [blank], /blank\.txt has no text/],
    ['empty standard input', ['-'], /standard input has no text/],
    ['a binary file', [binary], /not a text file/],
  ])('for %s', (_title, args, message) => {
    const { stdout, stderr, status } = run(args);
    expect(stdout).toBe('');
    expect(stderr).toMatch(/^lookup: [^\n]+\n$/);
    expect(stderr).toMatch(message);
    expect(status).toBe(2);
  });
});

needs('POSIX').it('a reader that stops early gets no complaint', () => {
  const command = `"${process.execPath}" "${PROGRAM}" "${README}" | head -n 1`;
  const { stdout, stderr } = spawnSync('sh', ['-c', command], { encoding: 'utf8' });
  expect(stdout).toMatch(/^[^\n]+\n$/);
  expect(stderr).toBe('');
});
