// CONTRIBUTING speaks of the files as they are: its tables are the rules of the linter, its examples lines of what they name.

import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { kernels, sources } from '../../.dependency-cruiser.mjs';

const root = fileURLToPath(new URL('../../', import.meta.url));
const read = (file: string) => readFileSync(root + file, 'utf8');
const text = read('CONTRIBUTING.md');

/** Rooms in the first column of the table of a folder, row by row. */
function tableOf(folder: string): string[][] {
  const [, body] = new RegExp(`^\\| \`${folder}/\` .*\\n\\|[ -|]+\\n((?:\\|.*\\n)+)`, 'm').exec(text)!;
  return body!
    .trim()
    .split('\n')
    .map((row) => [...row.split('|')[1]!.matchAll(/`([^`]+)`/g)].map(([, room]) => room!));
}

describe('the tables of rooms', () => {
  it('are the rows of the linter, and the worker stands apart', () => {
    expect(tableOf('src')).toEqual([...sources, ['worker/']]);
    expect(tableOf('assembly')).toEqual(kernels);
  });

  it.each(['src', 'assembly'])('have all of %s', (folder) => {
    const rooms = readdirSync(root + folder, { withFileTypes: true })
      .map((entry) => entry.name + (entry.isDirectory() ? '/' : ''))
      .filter((name) => !/\.(d\.ts|json)$/.test(name));
    expect(rooms.sort()).toEqual(tableOf(folder).flat().sort());
  });
});

describe('the examples', () => {
  const lines = (code: string) => code.split('\n').map((line) => line.trim());
  const quotes = [...text.matchAll(/^```text\n([^]*?)^```$/gm)].flatMap(([, block]) =>
    [...block!.matchAll(/^\/\/ (\S+)\n((?:(?!\/\/ ).*\n?)+)/gm)].map(([, file, code]) => [file!, code!]),
  );

  it('are there', () => {
    expect(quotes.length).toBeGreaterThanOrEqual(10);
  });

  it.each(quotes)('are lines of %s', (file, code) => {
    const there = lines(read(file));
    const quoted = lines(code).filter((line) => line !== '' && line !== '...');
    expect(quoted.filter((line) => !there.includes(line))).toEqual([]);
  });
});
