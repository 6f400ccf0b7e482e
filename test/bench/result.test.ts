// Result files: what a run writes is valid, and damaged or foreign files are clear errors.

import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import type { ResultFile } from '../../bench/suite/result.mjs';
import { resultFileReader } from '../../bench/suite/validate.mjs';

const read = (path: string) => readFileSync(new URL(path, import.meta.url), 'utf8');
const reader = resultFileReader(JSON.parse(read('../../bench/suite/result.schema.json')) as object);
const example = read('fixtures/result.json');

test('a file of a real run is valid', () => {
  expect(reader(example, 'example').results.length).toBeGreaterThan(5);
});

test.each<[string, (file: ResultFile) => void, RegExp]>([
  ['foreign', (file) => Object.assign(file, { format: 'other' }), /^x\.json is no result file/],
  [
    'without a machine',
    (file) => Reflect.deleteProperty(file, 'machine'),
    /^x\.json is damaged: the file: .*"machine"/,
  ],
  [
    'a time that is text',
    (file) => Object.assign(file.results[0]!.entries[0]!.time!, { median: 'fast' }),
    /^x\.json is damaged: results\/0\/entries\/0\/time\/median: /,
  ],
  [
    'an unknown state',
    (file) => Object.assign(file.results[0]!.entries[0]!, { state: 'fine' }),
    /^x\.json is damaged: results\/0\/entries\/0\/state: /,
  ],
  [
    'measured without rounds',
    (file) => Reflect.deleteProperty(file.results[0]!.entries[0]!, 'rounds'),
    /^x\.json is damaged: results\/0\/entries\/0: .*"rounds"/,
  ],
  [
    'a round of no time',
    (file) => Object.assign(file.results[0]!.entries[0]!.rounds![0]!, { milliseconds: 0 }),
    /^x\.json is damaged: results\/0\/entries\/0\/rounds\/0\/milliseconds: /,
  ],
])('%s', (_, damage, message) => {
  const file = JSON.parse(example) as ResultFile;
  damage(file);
  expect(() => reader(JSON.stringify(file), 'x.json')).toThrow(message);
});

test.each(['', '{"format":', 'null', '[]', '"text"'])('not even an object: %j', (text) => {
  expect(() => reader(text, 'x.json')).toThrow(/^x\.json is no /);
});
