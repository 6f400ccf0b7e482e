// What editors show: every exported function and class has an example, which runs as it stands, with what it says beside its
// lines: `value; // what it is`. Names that an example does not make itself are made in `PRELUDE`.

import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { afterAll, describe, expect, it } from 'vitest';
import { writeModel } from '../support/model-folders.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
// Inside the project, so that its own name resolves to it.
const folder = `${root}build/docstrings-${process.pid}/`;
mkdirSync(folder, { recursive: true });
afterAll(() => rmSync(folder, { recursive: true }));

const ENTRIES = {
  'wasm-attention': 'src/index.ts',
  'wasm-attention/slim': 'src/slim.ts',
  'wasm-attention/benchmark': 'src/benchmark/index.ts',
  'wasm-attention/measures': 'src/measures/index.ts',
  'wasm-attention/model': 'src/model/index.ts',
  'wasm-attention/training': 'src/training/index.ts',
  'wasm-attention/worker-runtime': 'src/worker/index.ts',
  'wasm-attention/model-worker-runtime': 'src/worker/model/index.ts',
};

const config = ts.readConfigFile(`${root}tsconfig.json`, (path) => ts.sys.readFile(path));
const program = ts.createProgram(
  Object.values(ENTRIES).map((file) => root + file),
  ts.parseJsonConfigFileContent(config.config, ts.sys, root).options,
);
const checker = program.getTypeChecker();

/** Exported functions and classes of a file. */
function functionsOf(file: string): ts.Symbol[] {
  return checker
    .getExportsOfModule(checker.getSymbolAtLocation(program.getSourceFile(root + file)!)!)
    .map((symbol) => (symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol))
    .filter((symbol) => symbol.flags & (ts.SymbolFlags.Function | ts.SymbolFlags.Class));
}

/** Texts of a tag. */
function tags(symbol: ts.Symbol, tag: string): string[] {
  return symbol
    .getJsDocTags(checker)
    .filter(({ name }) => name === tag)
    .map(({ text }) => ts.displayPartsToString(text));
}

const examplesOf = (symbol: ts.Symbol): string[] =>
  tags(symbol, 'example').flatMap((text) =>
    [...text.matchAll(/^```js\n([\s\S]*?)^```$/gm)].map((match) => match[1]!),
  );

/** More of it, for entries whose examples have more. */
const FILES = `
  const read = async (name) => ({
    config: JSON.parse(await readFile('${folder}' + name + '/config.json')),
    weights: await readFile('${folder}' + name + '/model.safetensors'),
  });
  const { config, weights } = await read('bert');
`;
const MODELS = `
  const { model } = entry;
  await runtime.load(model);
  const bert = await entry.loadModel({ config, weights, runtime });
  const block = new entry.TransformerBlock(runtime, { embedDim: 8, numHeads: 2, feedForwardDim: 32 });
  const shapes = { 'feedForward.up.weight': [32, 8], 'feedForward.up.bias': [32], 'feedForward.down.weight': [8, 32] };
  const tensors = Object.fromEntries(block.parameterNames.map((name) => [
    name,
    random(...(shapes[name] ?? (/bias|norm/.test(name) ? [8] : [8, 8]))),
  ]));
  block.load(tensors);
  const { llama } = entry;
  const files = await read('llama');
  const myLlama = { ...files, config: { ...files.config, model_type: 'my_llama', trained_on: 'letters' }, runtime };
  const gpt2 = await entry.loadModel({ ...(await read('gpt2')), runtime });
`;
const LEARNER = `
  import { loadModel, model } from 'wasm-attention/model';
  const { training } = entry;
  await runtime.load(training);
  const gpt2 = await loadModel({ config, weights, runtime });
  const learner = new entry.Trainable(gpt2);
`;
const MEASURED = `
  import { loadModel } from 'wasm-attention/model';
  const gpt2 = await loadModel({ config, weights, runtime });
`;
const MORE: Readonly<Record<string, string>> = {
  'wasm-attention/model': FILES + MODELS,
  'wasm-attention/measures': FILES.replace("read('bert')", "read('gpt2')") + MEASURED,
  'wasm-attention/model-worker-runtime': FILES.replace("read('bert')", "read('gpt2')"),
  'wasm-attention/training': FILES.replace("read('bert')", "read('gpt2')") + LEARNER,
};
for (const name of ['bert', 'gpt2', 'llama'] as const) writeModel(folder + name, name);

const PRELUDE = (entry: string) => `
  import { readFile } from 'node:fs/promises';
  import * as assert from 'node:assert/strict';
  import * as main from 'wasm-attention';
  import * as entry from '${entry}';
  import * as worker from '${/worker/.test(entry) ? entry : 'wasm-attention/worker-runtime'}';
  import { benchmark } from 'wasm-attention/benchmark';

  const random = (...shape) => {
    const length = shape.reduce((size, n) => size * n, 1);
    return { data: Float32Array.from({ length }, (_, i) => Math.sin(i)), shape };
  };
  const runtime = await main.createRuntime({ packs: [benchmark] });
  const input = random(1, 2, 5, 4);
  const [q, k, v] = [1, 2, 3].map(() => runtime.tensor(input.data, input.shape));
  const x = random(1, 5, 8);
  const projections = {
    in_proj_weight: random(24, 8),
    in_proj_bias: random(24),
    'out_proj.weight': random(8, 8),
    'out_proj.bias': random(8),
  };
  const stateDict = Object.fromEntries(
    Object.entries(projections).map(([name, tensor]) => ['model.layers.0.self_attn.' + name, tensor]),
  );
  const layer = new main.MultiHeadAttention(runtime, { embedDim: 8, numHeads: 2 }).load(stateDict);
  const remote = await worker.createWorkerRuntime();

  // Files of a site: the kernels, and a checkpoint without tensors.
  const emptyCheckpoint = new Uint8Array([2, 0, 0, 0, 0, 0, 0, 0, 0x7b, 0x7d]);
  globalThis.fetch = async (address) => new Response(
    String(address).endsWith('.wasm') ? await readFile('dist' + address) : emptyCheckpoint,
  );
  console.log = () => {};

  const check = (value, text) => {
    if (/^[A-Z]\\w+$/.test(text)) return assert.equal(value.constructor.name, text);
    const expected = (0, eval)('(' + text + ')');
    assert.deepEqual(ArrayBuffer.isView(value) ? Array.from(value) : value, expected);
  };
`;

/** The example with what it says of its lines as assertions. */
function checked(code: string): string {
  return code.replaceAll(
    /^( *)(?!const |let |await \w+\.(?!read|lengths))([\w`(].*); \/\/ ((?:\[.*\]|[\d.]+|'\w+'|true|false|[A-Z]\w+Array)(?=$|:| or ).*)$/gm,
    (_, indent: string, value: string, said: string) => {
      const [first] = /^(?:\[.*\]|[\d.]+|'\w+'|true|false|[A-Z]\w+)/.exec(said)!;
      if (said.includes(' or ')) return `${indent}assert.ok(${JSON.stringify(said)}.includes(${value}));`;
      return `${indent}check(${value}, ${JSON.stringify(first)});`;
    },
  );
}

describe.each(Object.entries(ENTRIES))('%s', (entry, file) => {
  const symbols = functionsOf(file);

  it('has an example for every function and class', () => {
    const without = symbols.filter((symbol) => examplesOf(symbol).length === 0).map(({ name }) => name);
    expect(without).toEqual([]);
  });

  it('says of every function what it throws, or refers to one that does', () => {
    // Of these there is nothing to be said: they take nothing that could be wrong.
    const harmless = ['probeFeatures'];
    const silent = symbols
      .filter((symbol) => symbol.flags & ts.SymbolFlags.Function && !harmless.includes(symbol.name))
      .filter((symbol) => {
        const text = ts.displayPartsToString(symbol.getDocumentationComment(checker));
        return tags(symbol, 'throws').length === 0 && !text.includes('{@link ');
      })
      .map(({ name }) => name);
    expect(silent).toEqual([]);
  });

  it('has examples that run and say what is', () => {
    const examples = symbols.flatMap((symbol) =>
      examplesOf(symbol).map((code) => ({ name: symbol.name, code })),
    );
    // Types that only the worker entry exports have no value to import.
    const names = symbols.map(({ name }) => name).filter((name) => !/^Worker/.test(name));
    const rest = functionsOf('src/index.ts')
      .map(({ name }) => name)
      .filter((name) => !names.includes(name));
    const program = [
      PRELUDE(entry),
      MORE[entry] ?? '',
      `const { ${names.join(', ')} } = entry; const { ${['unused', ...rest].join(', ')} } = main;`,
      'const failures = [];',
      ...examples.map(
        ({ name, code }) =>
          `try { await (async () => {\n${checked(code)}\n})(); } catch (error) { failures.push('${name}: ' + error); }`,
      ),
      'remote.dispose();',
      'process.stdout.write(JSON.stringify(failures));',
    ].join('\n');
    const path = `${folder}${entry.replaceAll('/', '-')}.mjs`;
    writeFileSync(path, program);
    const { stdout, stderr } = spawnSync(process.execPath, [path], { cwd: root, encoding: 'utf8' });
    expect(stderr).toBe('');
    expect(JSON.parse(stdout)).toEqual([]);
    const assertions = examples.flatMap(({ code }) => checked(code).match(/\b(check|assert\.ok)\(/g) ?? []);
    const few = entry.endsWith('/measures') ? 10 : 30;
    expect(assertions.length).toBeGreaterThan(/runtime|benchmark/.test(entry) ? 0 : few);
  });
});
