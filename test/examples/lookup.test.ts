// The terminal program, run as a user runs it: as a process of its own. What finds lines needs the trained encoder.

import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';
import { needs } from '../support/needs.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const PROGRAM = join(ROOT, 'examples/lookup/main.mjs');
const README = join(ROOT, 'README.md');
const ESCAPE = '\u001b';
const COLUMNS = 80;
const UTF8 = { LANG: 'C.UTF-8' };
const TEXT = 'apples and pears\n\nthe engine of the train\nquiet mountains at dawn\n';
const RESULTS = /^ {3}line {2}cosine$/;

const folder = mkdtempSync(join(tmpdir(), 'wasm-attention-lookup-'));
afterAll(() => {
  rmSync(folder, { recursive: true });
});

function write(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

interface Surroundings {
  input?: string;
  env?: Record<string, string>;
  program?: string;
}

function run(args: string[], { input = '', env = {}, program = PROGRAM }: Surroundings = {}) {
  // Nothing of the surroundings: neither their locale nor their wishes about colours.
  const { stdout, stderr, status } = spawnSync(process.execPath, [program, ...args], {
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

/** Words of three letters and more: others are in most lines. */
function wordsOf(text: string): string[] {
  return text.toLowerCase().match(/\p{L}{3,}/gu) ?? [];
}

needs('encoder').describe('the search', () => {
  test('by default finds a line of the README that has no word of the question', () => {
    const { stdout, stderr, status } = run([], { env: UTF8 });
    expect(stderr).toBe('');
    expect(status).toBe(0);
    expectWithinColumns(stdout);
    expect(stdout).not.toContain(ESCAPE);
    const [, question = ''] = /^question: "(.+)"$/m.exec(stdout) ?? [];
    const [, number, start = ''] =
      /^ +(\d+) .*[█▉▊▋▌▍▎▏] +(\S.*)$/.exec(section(stdout, RESULTS)[0] ?? '') ?? [];
    const source = readFileSync(README, 'utf8').split('\n')[Number(number) - 1] ?? '';
    expect(source.replaceAll('*', '')).toContain(start);
    expect(wordsOf(question)).toEqual(['will', 'graphics', 'card', 'used']);
    expect(source).toMatch(/GPU/);
    expect(wordsOf(source).filter((word) => wordsOf(question).includes(word))).toEqual([]);
    expect(stdout).toContain(`Line ${number} has no word of the question`);
  });

  test('finds what the README says of a row without keys', () => {
    const { stdout } = run([README, 'what does a row without any key give?']);
    expect(section(stdout, RESULTS)[0]).toMatch(/ Safe\. A row without keys gives zeros/);
  });

  test('finds the line that means most nearly the same, in a file', () => {
    const path = write('lines.txt', TEXT);
    for (const args of [
      [path, 'a locomotive'],
      ['--file', path, 'a locomotive'],
      [path, '--query', 'a locomotive'],
    ]) {
      const { stdout, stderr, status } = run(args);
      expect(stderr).toBe('');
      expect(status).toBe(0);
      expect(section(stdout, RESULTS)[0]).toMatch(/^ +3 .* #+ +the engine of the train$/);
    }
  });

  test('and on standard input, with as many lines as asked for', () => {
    const { stdout } = run(['-', '-q', 'alpine scenery', '--top', '1'], { input: TEXT });
    const [best, ...more] = section(stdout, RESULTS);
    expect(best).toMatch(/^ +4 .*quiet mountains at dawn$/);
    expect(more).toEqual([]);
  });

  test('asks for the first line of a text unless told otherwise', () => {
    const { stdout } = run(['-'], { input: TEXT });
    expect(stdout).toContain('question: "apples and pears"');
    expect(section(stdout, RESULTS)[0]).toMatch(/^ +1 +1\.00 .*apples and pears$/);
    expect(stdout).not.toContain('no word of the question');
  });

  test('says so when nothing is near', () => {
    const { stdout } = run(['-', 'where is the elephant?'], { input: TEXT });
    expect(stdout).toContain('Nothing here means nearly the same.');
    expect(stdout).not.toContain('no word of the question');
  });

  test('reads Markdown without its marks', () => {
    const input = '# A [link](https://example.org) and `code`\n\n| --- | --- |\n| **one** | two |\n```js\n';
    const { stdout } = run(['-'], { input });
    expect(stdout).toContain('Search by meaning in 2 lines of');
    expect(section(stdout, RESULTS).join('\n')).toMatch(/A link and code\n.* one, two$/);
  });

  test('shows for each head which word attends to which', () => {
    const rows = section(run([], { env: UTF8 }).stdout, /^What each head attends to/).slice(1);
    expect(rows.map((row) => row.trim().slice(0, 3))).toEqual(
      [1, 2].flatMap((layer) => [1, 2, 3, 4].map((head) => `${layer}.${head}`)),
    );
    // What the second head of the second layer has learned: nouns and what is said of them.
    expect(rows[5]).toContain('card → graphics');
    for (const row of rows) {
      for (const [, share] of row.matchAll(/ (\d+)%/g)) expect(Number(share)).toBeLessThanOrEqual(100);
      expect(row.match(/\S+ → \S+ \d+%/g)?.length).toBeGreaterThanOrEqual(2);
    }
  });

  test('holds a thousand lines, and lines of one word', () => {
    const input = Array.from({ length: 1000 }, (_, i) => `entry ${i}`).join('\n');
    const { stdout, status } = run(['-', '-q', 'sewing'], { input: `${input}\nneedle and thread\n` });
    expect(status).toBe(0);
    expectWithinColumns(stdout);
    expect(section(stdout, RESULTS)[0]).toMatch(/^ +1001 .*needle and thread$/);
  });

  test('by default is followed by three keys, worked out', () => {
    expectThreeKeys(run([]).stdout);
    expect(run(['-', 'pears'], { input: TEXT }).stdout).not.toContain('Three keys');
  });

  test('says how long it took', () => {
    expect(run(['-'], { input: TEXT }).stdout).toMatch(
      /^[\d,]+ tokens in \d+\.\d\d s on \d+ threads?, build (simd|relaxed)$/m,
    );
  });
});

function expectThreeKeys(stdout: string): void {
  const rows = section(stdout, /^Three keys/);
  const [one, two, three] = rows.slice(1).map((row) => row.replace(/\[.*?\]/g, '').match(/-?\d+(\.\d+)?/g));
  const e = [2, 1, -0.5].map(Math.exp);
  const total = e.reduce((sum, x) => sum + x);
  expect(one?.slice(-3)).toEqual(['4', '2.00', (e[0]! / total).toFixed(4)]);
  expect(two?.slice(-3)).toEqual(['2', '1.00', (e[1]! / total).toFixed(4)]);
  expect(three?.slice(-3)).toEqual(['-1', '-0.50', (e[2]! / total).toFixed(4)]);
  const output = [10 * e[0]! + 5 * e[2]!, 10 * e[1]! + 5 * e[2]!].map((x) => (x / total).toFixed(3));
  expect(rows.at(-1)).toMatch(new RegExp(`1\\.0000 +=.*${output.join(' +')}`));
}

describe('without the encoder', () => {
  /** A copy of what the program is made of, in which nothing is installed. */
  const copy = join(folder, 'copy');
  mkdirSync(copy);
  for (const path of ['examples/lookup', 'scripts/install.mjs', 'README.md']) {
    cpSync(join(ROOT, path), join(copy, path), {
      recursive: true,
      filter: (source) => !source.includes('node_modules'),
    });
  }
  const program = join(copy, 'examples/lookup/main.mjs');
  mkdirSync(join(copy, 'node_modules'));
  symlinkSync(ROOT, join(copy, 'node_modules/wasm-attention'), 'junction');

  test('one line says why, three keys are worked out, and the exit code is 1', () => {
    const { stdout, stderr, status } = run([], {
      program,
      env: {
        npm_config_registry: 'http://127.0.0.1:9/', // where nobody listens
        npm_config_cache: join(folder, 'empty-cache'),
        npm_config_fetch_retry_mintimeout: '1',
      },
    });
    expect(status).toBe(1);
    const [first, second, ...more] = stderr.split('\n');
    expect(first).toMatch(/^First run: downloading the trained encoder, 26 MB, /);
    expect(second).toMatch(/^lookup: the trained encoder \(26 MB\) cannot be installed: .*ECONNREFUSED/);
    expect(more).toEqual(['']);
    expectThreeKeys(stdout);
    expect(stdout).not.toContain('Search');
  });

  test('bad input is told first', () => {
    const { stdout, stderr, status } = run([join(folder, 'none')], { program });
    expect(stdout).toBe('');
    expect(stderr).toMatch(/^lookup: there is no file [^\n]+\n$/);
    expect(status).toBe(2);
  });
});

needs('encoder').describe('the terminal', () => {
  test('gets colours where they are wanted', () => {
    const path = write('short.txt', 'one small step\ntwo large steps\n');
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
    expect(section(stdout, RESULTS)).toHaveLength(4); // that of pictures alone has no words
  });
});

describe('--help', () => {
  test.each(['--help', '-h'])('%s', (option) => {
    const { stdout, stderr, status } = run([option]);
    expect(status).toBe(0);
    expect(stderr).toBe('');
    expectWithinColumns(stdout);
    for (const name of ['--file', '--query', '--top', '--no-color', 'QUESTION', 'Apache License'])
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
    ['an empty query', ['--query', ' '], /question is empty/],
    ['an empty question', [README, ' '], /question is empty/],
    ['no lines to show', ['--top', '0'], /--top .* not '0'/],
    ['a number that is none', ['--top', 'many'], /--top .* not 'many'/],
    ['a question in pieces', [README, 'what', 'is', 'this'], /"is" is too much \(quote the question\)/],
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

needs('POSIX', 'encoder').it('a reader that stops early gets no complaint', () => {
  const command = `"${process.execPath}" "${PROGRAM}" "${README}" | head -n 1`;
  const { stdout, stderr } = spawnSync('sh', ['-c', command], { encoding: 'utf8' });
  expect(stdout).toMatch(/^[^\n]+\n$/);
  expect(stderr).toBe('');
});
