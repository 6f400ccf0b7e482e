// What the build derives from assembly/: from sources made for it, refusals of what JavaScript cannot call, and whether what is
// derived of the real kernels is what the modules export.

import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { attentionParameters, KEY_BLOCK } from '../../build/kernels.js';
import type { AttentionParameters, Packs } from '../../build/kernels.js';
import type { Work } from '../../src/runtime/tiles.js';

type Compile = (path: string, source: string) => Promise<Uint8Array<ArrayBuffer>>;
/** Not by a plain import: what the compiler declares would be global in every test. */
const script = async (name: string) =>
  (await import(new URL(`../../scripts/${name}.mjs`, import.meta.url).href)) as Record<string, unknown>;
const { compileApart } = (await script('build-wasm')) as { compileApart: Compile };
const { deriveInterface } = (await script('interface')) as {
  deriveInterface: (packs: Record<string, string>, compile: Compile) => Promise<string>;
};
const derive = (entry: string) => deriveInterface({ test: entry }, compileApart);

it('derives signatures, parameter blocks and constants with their comments', async () => {
  const [, ...derived] = (await derive('test/scripts/assembly/kernels.ts')).split('\n\n');
  expect(derived.join('\n\n'))
    .toBe(`/** What the pack 'test' exports. Pointers, strides and sizes are bytes unless said otherwise. */
export interface TestKernels {
  /**
   * Blurs rows.
   *
   * @param scratch ROW_BYTES
   */
  blurRows(parameters: number, inPlace: number, scratch: number, rowFrom: number, rowTo: number): void;
  heapBase(): number;
}

/** The kernels of each pack. */
export interface Packs {
  test: TestKernels;
}

/** Kernels over tiles: their last arguments are scratch of the running thread, the first tile, and the end. */
export interface TileKernels {
  test: 'blurRows';
}

/** What a call of \`blur\` is. */
export interface BlurParameters {
  x?: number;
  /** Of the kernel. */
  radius?: number;
  rows?: number;
}

/** The words of {@link BlurParameters} in their order, and which of them are floats. */
export const blurParameters = {
  words: ['x', 'radius', 'rows'],
  floats: ['radius'],
} as const;

/** A power of two. */
export const WIDTH = 16;

export const ROW_BYTES = 64;

`);
});

describe('refuses, with the place,', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(new URL('../../build/interface-', import.meta.url).pathname);
  });
  afterAll(() => rm(folder, { recursive: true }));

  it.each([
    ['a kernel that takes a vector', 'export function f(x: v128): void {}', 'entry.ts:1: f takes v128'],
    ['a kernel that returns 64 bits', 'export function f(): i64 { return 0; }', 'entry.ts:1: f returns i64'],
    ['a generic kernel', 'export function f<T>(x: i32): void {}', 'entry.ts:1: f is generic'],
    ['a constant of 64 bits', '\nexport const X: i64 = 1;', 'entry.ts:2: X is i64'],
    [
      'a field of half a word',
      '@unmanaged\nexport class MyParameters {\n  x: i32;\n  y: u16;\n}',
      'entry.ts:4: MyParameters.y is no field of one word',
    ],
    [
      'a field of two words',
      '@unmanaged\nexport class MyParameters { x: f64; }',
      'entry.ts:2: MyParameters.x is no field of one word',
    ],
    [
      'a block that the garbage collector has a header for',
      'export class MyParameters { x: i32; }',
      'entry.ts:1: MyParameters is not @unmanaged',
    ],
    [
      'two constants of one name',
      `export { f } from './other';\nexport const X: i32 = 1;`,
      'X is exported by',
    ],
    [
      'an export that is no function',
      `export { X } from './other';`,
      'entry.ts:1: X is exported, but is no function',
    ],
  ])('%s', async (_, source, message) => {
    await writeFile(join(folder, 'entry.ts'), source);
    await writeFile(join(folder, 'other.ts'), 'export const X: i32 = 2;\nexport function f(): void {}\n');
    await expect(derive(relative('.', join(folder, 'entry.ts')))).rejects.toThrow(message);
  });
});

it('has the signatures of the modules', async () => {
  const text = readFileSync(new URL('../../build/kernels.ts', import.meta.url), 'utf8');
  const [declared] = /export interface AttentionKernels \{[^]*?\n\}/.exec(text)!;
  const arities = Object.fromEntries(
    [...declared.matchAll(/^ {2}(\w+)\((.*)\): \w+;$/gm)].map(([, name, parameters]) => [
      name!,
      parameters === '' ? 0 : parameters!.split(',').length,
    ]),
  );
  const bytes: Uint8Array<ArrayBuffer> = readFileSync(new URL('../../build/simd.wasm', import.meta.url));
  const module = await WebAssembly.compile(bytes);
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 65536 });
  const { exports } = await WebAssembly.instantiate(module, { env: { memory } });
  const functions = Object.entries(exports as Record<string, () => void>);
  expect(Object.fromEntries(functions.map(([name, { length }]) => [name, length]))).toEqual(arities);
});

it('makes wrong calls type errors', () => {
  const words: AttentionParameters = { queries: KEY_BLOCK };
  expect(attentionParameters.words).toContain(Object.keys(words)[0]);
  // @ts-expect-error -- there is no such word
  void ({ query_: 1 } satisfies AttentionParameters);
  const rest = { tiles: 1, scratchBytes: 0, cost: 1 };
  void ({ kernel: 'softmaxRows', args: [1, 2, 3], ...rest } satisfies Work);
  // @ts-expect-error -- an argument is missing
  void ({ kernel: 'softmaxRows', args: [1, 2], ...rest } satisfies Work);
  // @ts-expect-error -- not a kernel over tiles
  void ({ kernel: 'queriesPerBlock', args: [1, 2, 3], ...rest } satisfies Work);
  void ((kernels: Packs['attention']) => {
    kernels.queriesPerBlock(1, 2, 3);
    // @ts-expect-error -- one argument too many
    kernels.queriesPerBlock(1, 2, 3, 4);
  });
});
