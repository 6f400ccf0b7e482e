// The simd build's bits are those on record in bits.json, so that a change of bits is a decision: UPDATE_BITS=1 writes them
// anew. The matrix holds every other runtime to the same record.

import { readFileSync, writeFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import * as library from 'wasm-attention';
import * as measures from 'wasm-attention/measures';
import * as model from 'wasm-attention/model';
import * as training from 'wasm-attention/training';
import { bits } from './bits-suite.js';

const FILE = new URL('bits.json', import.meta.url);

it('are those on record', async () => {
  const hashes = await bits({ ...library, ...model, ...training, ...measures });
  if (process.env['UPDATE_BITS']) writeFileSync(FILE, `${JSON.stringify(hashes, null, 2)}\n`);
  expect(hashes).toEqual(JSON.parse(readFileSync(FILE, 'utf8')));
});
