// The published types, as users' compilers read them: the oldest supported and the present one, in every way of finding
// modules, with a library of ES2022, and with nothing left unchecked.

import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type Typescript from 'typescript';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { needs } from '../support/needs.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const require = createRequire(import.meta.url);

let folder: string;
beforeAll(() => {
  // Outside the project, so that no types of its own dependencies are found.
  folder = mkdtempSync(join(tmpdir(), 'wasm-attention-types-'));
  const installed = join(folder, 'node_modules/wasm-attention');
  mkdirSync(join(installed, 'dist'), { recursive: true });
  for (const path of [
    'package.json',
    'slim',
    'worker-runtime',
    'model',
    'model-worker-runtime',
    'training',
    'measures',
  ])
    cpSync(join(root, path), join(installed, path), { recursive: true });
  for (const file of readdirSync(join(root, 'dist')).filter((file) => /\.d\.[cm]ts$/.test(file)))
    cpSync(join(root, 'dist', file), join(installed, 'dist', file));
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
  for (const file of readdirSync(join(root, 'test/types/programs'))) {
    const text = readFileSync(join(root, 'test/types/programs', file), 'utf8');
    writeFileSync(join(folder, file), text);
    writeFileSync(join(folder, file.replace('.ts', '.cts')), text);
  }
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** What the compiler says of programs; nothing if they are right. */
function problems(ts: typeof Typescript, files: readonly string[], options: object): string[] {
  const { options: parsed, errors } = ts.convertCompilerOptionsFromJson(
    {
      target: 'ES2022',
      lib: ['ES2022', 'DOM'],
      types: [],
      strict: true,
      exactOptionalPropertyTypes: true,
      noUncheckedIndexedAccess: true,
      skipLibCheck: false,
      skipDefaultLibCheck: true, // the compiler's own library is not ours to check
      noEmit: true,
      ...options,
    },
    folder,
  );
  const program = ts.createProgram(
    files.map((file) => join(folder, file)),
    parsed,
  );
  return [...errors, ...ts.getPreEmitDiagnostics(program)].map((diagnostic) => {
    const text = ts.flattenDiagnosticMessageText(diagnostic.messageText, '\n');
    const { file, start = 0 } = diagnostic;
    if (!file) return text;
    const { line } = file.getLineAndCharacterOfPosition(start);
    return `${file.fileName.slice(folder.length)}:${line + 1}: ${text}`;
  });
}

const ways = {
  node16: { module: 'node16', moduleResolution: 'node16' },
  bundler: { module: 'esnext', moduleResolution: 'bundler' },
  node10: { module: 'esnext', moduleResolution: 'node10' },
};

const compile = (name: string) => () => {
  let ts: typeof Typescript;
  let isNew: boolean;
  beforeAll(() => {
    ts = require(name) as typeof Typescript;
    isNew = Number(ts.versionMajorMinor) >= 6;
  });

  it.each(Object.entries(ways))('%s', (way, options) => {
    const files = [
      'operations.ts',
      'worker.ts',
      ...(way === 'node16' ? ['operations.cts', 'worker.cts'] : []),
    ];
    const silenced = isNew && way === 'node10' ? { ignoreDeprecations: '6.0' } : {};
    expect(problems(ts, files, { ...options, ...silenced })).toEqual([]);
  });

  it('a library that knows `using`', () => {
    const lib = ['ES2022', 'DOM', 'ESNext.Disposable'];
    const files = ['operations.ts', 'worker.ts', 'using.ts', 'using.cts'];
    expect(problems(ts, files, { ...ways.node16, lib })).toEqual([]);
  });

  it('finds what is wrong', () => {
    writeFileSync(
      join(folder, 'wrong.ts'),
      `import { softmax } from 'wasm-attention';
       export const data: Int32Array = softmax({ data: [1], shape: [1] }, { axis: 'x' }).data;`,
    );
    expect(problems(ts, ['wrong.ts'], ways.bundler).join('\n')).toMatch(
      /wrong\.ts:2: .*Float32Array.*'string' is not assignable/s,
    );
  });
};

describe('TypeScript of this package', compile('typescript'));
needs('compilers').describe('TypeScript 5.4', compile(`${root}test/types/node_modules/typescript54`));
needs('compilers').describe('TypeScript 5.6', compile(`${root}test/types/node_modules/typescript56`));

it('types of Node beside ours', () => {
  const ts = require('typescript') as typeof Typescript;
  const options = { ...ways.bundler, types: ['node'], typeRoots: [`${root}node_modules/@types`] };
  expect(problems(ts, ['operations.ts', 'worker.ts', 'using.ts'], options)).toEqual([]);
});

it('classes have the members that are not internal, and no others', () => {
  const ts = require('typescript') as typeof Typescript;
  const published = ['slim', 'worker-runtime', 'model-worker-runtime'].map((name) =>
    join(folder, `node_modules/wasm-attention/dist/${name}.d.mts`),
  );
  const written = ['slim.ts', 'worker/index.ts', 'worker/model/index.ts'].map((name) =>
    join(root, 'src', name),
  );
  /** Members of the exported classes by name. */
  const classesOf = (files: readonly string[], options: Typescript.CompilerOptions) => {
    const program = ts.createProgram(files, options);
    const checker = program.getTypeChecker();
    const exported = files.flatMap((file) =>
      checker.getExportsOfModule(checker.getSymbolAtLocation(program.getSourceFile(file)!)!),
    );
    const isInternal = (symbol: Typescript.Symbol) =>
      symbol.getJsDocTags(checker).some(({ name }) => name === 'internal');
    return Object.fromEntries(
      exported
        .map((symbol) => (symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol))
        .filter((symbol) => symbol.flags & ts.SymbolFlags.Class)
        .map((symbol) => {
          const all = checker.getPropertiesOfType(checker.getDeclaredTypeOfSymbol(symbol));
          const names = all.filter((member) => !isInternal(member)).map(({ name }) => name);
          const open = names.filter((name) => !/^(#|__)/.test(name)).sort();
          return [symbol.name, { open, internal: all.length - names.length }];
        }),
    );
  };
  const read = ts.readConfigFile(join(root, 'tsconfig.json'), (path) => ts.sys.readFile(path));
  const ours = classesOf(written, ts.parseJsonConfigFileContent(read.config, ts.sys, root).options);
  const theirs = classesOf(published, { lib: ['lib.es2022.d.ts', 'lib.dom.d.ts'], types: [] });
  expect(Object.keys(theirs).length).toBeGreaterThan(12);
  expect(ours['Tensor']!.internal).toBeGreaterThan(2);
  for (const [name, { open }] of Object.entries(ours))
    expect({ [name]: theirs[name] }).toEqual({ [name]: { open, internal: 0 } });
});
