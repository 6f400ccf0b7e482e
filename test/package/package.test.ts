// The package as users get it: what is in it, how large it is, what bundlers leave out, and whether its entries resolve.

import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join, posix, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { build } from 'esbuild';
import { publint } from 'publint';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { createRuntime, probeFeatures } from 'wasm-attention';
import { decoder } from '../../build/range-decoder.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const run = promisify(execFile);

let folder: string;
let tarball: string;
let files: string[];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'wasm-attention-package-'));
  const { stdout } = await run('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', folder], {
    cwd: root,
  });
  const [packed] = JSON.parse(stdout) as [{ filename: string; files: { path: string }[] }];
  tarball = join(folder, packed.filename);
  files = packed.files.map(({ path }) => path).sort();
});
afterAll(() => rm(folder, { recursive: true, force: true }));

it('holds what users need and nothing else', () => {
  const docs = readdirSync(join(root, 'docs'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => relative(root, join(parentPath, name)).replaceAll('\\', '/'));
  const ofEach = (names: string[], ends: string[]) =>
    names.flatMap((name) => ends.map((end) => `dist/${name}.${end}`));
  const families = readdirSync(join(root, 'src/model/families'));
  const packs = ['attention', 'benchmark', 'model', 'training'];
  const ofPacks = ofEach(packs, ['workerd.mjs', 'edge-light.mjs']);
  expect(files.filter((path) => !/^(examples|learned)\//.test(path))).toEqual(
    [
      ...docs,
      ...['CHANGELOG.md', 'LICENSE', 'README.md', 'package.json'],
      ...ofEach(
        [
          ...['benchmark', 'core', 'index', 'measures', 'model', 'model-worker-runtime', 'slim', 'training'],
          'worker-runtime',
        ],
        ['mjs', 'cjs', 'd.mts', 'd.cts'],
      ),
      ...ofEach(
        families.map((file) => `families/${file.slice(0, -'.ts'.length)}`),
        ['mjs', 'cjs'],
      ),
      ...ofEach(
        [
          ...['address', 'both', 'decoding', 'dual', 'folder', 'generation', 'rotary', 'saving', 'sentence'],
          ...['cache', 'initial-weights', 'runtime', 'shards', 'signals', 'threads', 'training-checkpoint'],
          ...['embedded', 'layer', 'model-core', 'model-layers'],
          ...packs.flatMap((pack) => [`embedded-${pack}`, `encoded-${pack}`]),
        ],
        ['mjs', 'cjs'],
      ),
      ...ofPacks.map((name) => name.replace('dist/', 'dist/imported-')),
      ...ofPacks.map((name) => name.replace('attention', 'index')),
      ...['model-worker.mjs', 'thread.js', 'worker.mjs', 'worker-core.d.cts', 'worker-core.d.mts'].map(
        (name) => `dist/${name}`,
      ),
      ...ofEach(
        ['simd', 'relaxed'].flatMap((build) => [
          build,
          `benchmark-${build}`,
          `model-${build}`,
          `training-${build}`,
        ]),
        ['wasm'],
      ),
      ...[
        ...['benchmark', 'measures', 'model', 'model-worker-runtime', 'slim', 'training', 'worker-runtime'],
      ].map((folder) => `${folder}/package.json`),
    ].sort(),
  );
});

it('holds examples as they are in the repository, without what working on them leaves', () => {
  const examples = files.filter((path) => path.startsWith('examples/'));
  expect(examples.length).toBeGreaterThan(20);
  expect(examples.filter((path) => /node_modules|package-lock|\.wrangler|\/dist\//.test(path))).toEqual([]);
});

it('holds what is learned in the repository as cards and programs, without the weights', () => {
  const learned = files.filter((path) => path.startsWith('learned/'));
  expect(learned.filter((path) => !/\.(md|mjs)$|\/config\.json$/.test(path))).toEqual([]);
  // What the example that trains imports.
  for (const path of ['weights', ...['data', 'settings', 'task'].map((name) => `induction/${name}`)])
    expect(learned).toContain(`learned/${path}.mjs`);
});

it('has pages whose links lead to files in it', () => {
  const dead = files
    .filter((path) => path.endsWith('.md'))
    .flatMap((page) => {
      const text = readFileSync(join(root, page), 'utf8').replaceAll(/^```[^]*?^```$/gm, '');
      const links = [...text.matchAll(/\]\(([^)\s]+)|\b(?:src|srcset|href)="([^"\s]+)/g)].map(
        ([, inMarkdown, inHtml]) => (inMarkdown ?? inHtml)!,
      );
      return links
        .filter((link) => !/^(https?:|mailto:|#)/.test(link))
        .filter((link) => !files.includes(posix.join(posix.dirname(page), link.split('#')[0]!)))
        .map((link) => `${page}: ${link}`);
    });
  expect(dead).toEqual([]);
});

it('is right by publint', async () => {
  const { messages } = await publint({ pkgDir: root, pack: 'npm', strict: true });
  expect(messages).toEqual([]);
});

it('has types that are right by arethetypeswrong', async () => {
  const files = ['*.wasm', 'dist/*.wasm', 'worker', 'model-worker', 'thread'];
  const attw = join(root, 'node_modules/@arethetypeswrong/cli/dist/index.js');
  const { stdout } = await run(process.execPath, [
    attw,
    tarball,
    '--format',
    'json',
    '--exclude-entrypoints',
    ...files,
  ]);
  expect((JSON.parse(stdout) as { problems: object }).problems).toEqual({});
});

it('has a real file behind every path it exports', () => {
  const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { exports: object };
  const paths = (value: object | string): string[] =>
    typeof value === 'string' ? [value] : (Object.values(value) as (object | string)[]).flatMap(paths);
  const missing = paths(exports).filter((path) => !path.includes('*') && !existsSync(join(root, path)));
  expect(missing).toEqual([]);
});

/** The minified code of a program that imports the built files, as a page would load it. */
async function bundle(program: string): Promise<string> {
  const { outputFiles } = await build({
    stdin: { contents: program, resolveDir: join(root, 'dist') },
    bundle: true,
    minify: true,
    format: 'esm',
    target: 'es2022',
    legalComments: 'none',
    write: false,
    logLevel: 'error',
  });
  return outputFiles[0]!.text;
}

const attention = (entry: string, options: string) => `
import { createRuntime, scaledDotProductAttention } from './${entry}.mjs';
const runtime = await createRuntime(${options});
const x = runtime.tensor(new Float32Array(64), [1, 1, 8, 8]);
console.log(scaledDotProductAttention(x, x, x).output.data);`;

/** The decoder of embedded builds. */
const embedded = new RegExp(decoder.join(), 'g');

const features = probeFeatures();

it.each([
  ['simd', features.simd],
  ['relaxed', features.relaxedMultiplyAdd && features.relaxedDot],
] as const)('decodes the %s build to the bytes of its file', async (name, runs) => {
  const compile = vi.spyOn(WebAssembly, 'compile');
  try {
    // What this engine does not run is not decoded either; the other Node of the tests runs it.
    if (!runs) await expect(createRuntime({ build: name })).rejects.toThrow('this engine lacks');
    else {
      (await createRuntime({ build: name })).dispose();
      const [bytes] = compile.mock.calls[0]!;
      expect(Buffer.from(bytes as Uint8Array).equals(readFileSync(join(root, `dist/${name}.wasm`)))).toBe(
        true,
      );
    }
  } finally {
    compile.mockRestore();
  }
});

describe('a program', () => {
  it('that uses nothing is empty', async () => {
    expect(await bundle(`import './index.mjs'; import './benchmark.mjs'; import './model.mjs';`)).toBe('');
  });

  it('carries no kernels but those of the entries it names', async () => {
    const one = await bundle(`export * from './index.mjs';`);
    const two = await bundle(`export * from './index.mjs'; export * from './benchmark.mjs';`);
    const encoded = /[A-Za-z0-9+/=]{1000,}/g;
    expect(one.match(encoded)).toHaveLength(1);
    expect(two.match(encoded)).toHaveLength(2);
    expect(one).not.toContain('readPages');
    // What is shared is shared: the decoder of the builds, and every class.
    for (const shared of [embedded, /wasm-attention\.AttentionError/g]) {
      expect(two.match(shared)).toHaveLength(1);
    }
  });

  it('that names its family loads no other, where programs are split', async () => {
    const { outputFiles, metafile } = await build({
      stdin: {
        contents: `import { bert, loadModel } from './model.mjs'; loadModel({ weights: '', families: [bert] });`,
        resolveDir: join(root, 'dist'),
      },
      bundle: true,
      splitting: true,
      format: 'esm',
      outdir: '.',
      write: false,
      metafile: true,
      logLevel: 'error',
    });
    const loaded = new Set(['stdin.js']);
    for (const file of loaded) {
      const { imports } = metafile.outputs[file]!;
      for (const { path, kind } of imports) if (kind === 'import-statement') loaded.add(path);
    }
    const textOf = (isLoaded: boolean) =>
      outputFiles
        .filter(({ path }) => loaded.has(basename(path)) === isLoaded)
        .map(({ text }) => text)
        .join('\n');
    expect(textOf(true)).toContain('attention.self.query');
    expect(textOf(true)).not.toMatch(/gpt_neox|vision_model/);
    expect(textOf(false)).toMatch(/gpt_neox[^]*vision_model|vision_model[^]*gpt_neox/);
  });

  it('of one operation carries neither layers nor, from slim, kernels', async () => {
    const code = await bundle(attention('slim', `{ wasm: { simd: '/simd.wasm' } }`));
    expect(/scoreScale/.test(code)).toBe(true);
    expect(/in_proj_weight|safetensors|embedDim/.test(code)).toBe(false);
    expect(code).not.toMatch(embedded);
    expect(await bundle(attention('index', ''))).toMatch(embedded);
  });
});
