// An operation is described once, and declared in up to three forms: these declarations must say the same.

import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { afterAll, describe, expect, it } from 'vitest';
import { createWorkerRuntime as createModelRuntime } from 'wasm-attention/model-worker-runtime';
import { createWorkerRuntime } from 'wasm-attention/worker-runtime';

const root = fileURLToPath(new URL('../../', import.meta.url));
const sources = [
  'slim.ts',
  'measures/index.ts',
  'model/index.ts',
  'training/index.ts',
  'worker/index.ts',
  'worker/model/index.ts',
];
const program = ts.createProgram(
  sources.map((file) => `${root}src/${file}`),
  {
    ...ts.parseJsonConfigFileContent(
      ts.readConfigFile(`${root}tsconfig.json`, (path) => ts.sys.readFile(path)).config,
      ts.sys,
      root,
    ).options,
    noEmit: true,
  },
);
const checker = program.getTypeChecker();

function exportsOf(file: string): ts.Symbol[] {
  const source = program.getSourceFile(`${root}src/${file}`)!;
  return checker
    .getExportsOfModule(checker.getSymbolAtLocation(source)!)
    .map((symbol) => (symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol));
}

const flags = ts.TypeFormatFlags.NoTruncation | ts.TypeFormatFlags.UseAliasDefinedOutsideCurrentScope;
const textOf = (type: ts.Type) => checker.typeToString(type, undefined, flags);

interface Declared {
  /** Names of the inputs: all parameters but the options. */
  readonly inputs: readonly string[];
  /** Name, whether it may be left out, and type of each parameter. */
  readonly parameters: readonly string[];
  readonly result: string;
}

/** The overloads that programs see. */
function declaredForms(symbol: ts.Symbol): Declared[] {
  const type = checker.getTypeOfSymbol(symbol);
  return type.getCallSignatures().map((signature) => ({
    inputs: signature.parameters.map(({ name }) => name).filter((name) => name !== 'options'),
    parameters: signature.parameters.map((parameter) => {
      const declaration = parameter.valueDeclaration as ts.ParameterDeclaration;
      const optional = declaration.questionToken || declaration.initializer ? '?' : '';
      return `${parameter.name}${optional}: ${declaration.type?.getText() ?? textOf(checker.getTypeOfSymbol(parameter))}`;
    }),
    result: (signature.declaration?.type as ts.TypeNode).getText().replace(/\s+/g, ' '),
  }));
}

/** The same with the options of asynchronous calls and a promise. */
function asynchronous({ inputs, parameters, result }: Declared): Declared {
  const withOptions = parameters.map((text) =>
    text.startsWith('options') ? `${text.replace(' = {}', '')} & AsyncOptions` : text,
  );
  const has = parameters.some((text) => text.startsWith('options'));
  const all = has ? withOptions : [...withOptions, 'options?: AsyncOptions'];
  return { inputs, parameters: all, result: `Promise<${result}>` };
}

const named = (...files: string[]) =>
  new Map(files.flatMap(exportsOf).map((symbol) => [symbol.name, symbol]));
const here = named('slim.ts', 'model/index.ts');
const worker = named('worker/model/index.ts');
/** Classes of handles that stand for more than one class, or have another name. */
const handles: Readonly<Record<string, string>> = {
  LayerNorm: 'WorkerRowLayer',
  RmsNorm: 'WorkerRowLayer',
  FeedForward: 'WorkerRowLayer',
  TransformerBlock: 'WorkerBlockLayer',
  Transformer: 'WorkerBlockLayer',
};
const membersOf = (symbol: ts.Symbol) =>
  new Map(
    checker
      .getPropertiesOfType(checker.getDeclaredTypeOfSymbol(symbol))
      .map((member) => [member.name, member]),
  );

type Pair = [name: string, now: ts.Symbol, later: ts.Symbol];

/** Every function and method that has an asynchronous form. */
function pairsAmong(symbols: ReadonlyMap<string, ts.Symbol>): Pair[] {
  return [...symbols].flatMap(([name, symbol]): Pair[] => {
    const later = symbols.get(`${name}Async`);
    const own: Pair[] = later && name !== 'tidy' ? [[name, symbol, later]] : [];
    if (!(symbol.flags & ts.SymbolFlags.Class)) return own;
    const members = membersOf(symbol);
    return own.concat(
      [...members].flatMap(([method, member]): Pair[] => {
        const later = members.get(`${method}Async`);
        return later ? [[`${name}.${method}`, member, later]] : [];
      }),
    );
  });
}
const pairs = pairsAmong(here);
/** Updates take no more than a signal: they have no progress, and no result that could belong to a scope. */
const UPDATES = ['clipGradients', 'AdamW.step', 'SGD.step', 'Optimizer.step'];
/** Of training, which no worker runtime has. */
const trained = pairsAmong(named('training/index.ts')).filter(([name]) => !UPDATES.includes(name));

const runtimes = {
  WorkerRuntime: await createWorkerRuntime(),
  ModelWorkerRuntime: await createModelRuntime(),
};
afterAll(() => Object.values(runtimes).forEach((runtime) => runtime.dispose()));

describe('forms of an operation', () => {
  it('are found', () => {
    const names = pairs.map(([name]) => name);
    for (const name of [
      ...['softmax', 'topKeys', 'MultiHeadAttention.forward', 'KeyValueCache.append'],
      ...['gelu', 'Model.forward', 'Transformer.forward', 'LayerNorm.forward'],
    ]) {
      expect(names).toContain(name);
    }
    expect(pairs.length).toBeGreaterThanOrEqual(13 + 20);
    expect(trained.map(([name]) => name)).toContain('Trainable.backward');
    expect(trained.length).toBeGreaterThanOrEqual(18);
  });

  it.each([...pairs, ...trained])(
    '%s: the asynchronous one differs by its options and its promise alone',
    (_, now, later) => {
      const expected = declaredForms(now).map(asynchronous);
      expect(expected.length).toBeGreaterThan(0);
      expect(declaredForms(later)).toEqual(expected);
    },
  );

  it.each(pairs)('%s: the one in a worker takes the same inputs', (name, now) => {
    const [kind, method] = name.split('.') as [string, string | undefined];
    const members = membersOf(
      worker.get(method ? (handles[kind] ?? `Worker${kind}`) : 'ModelWorkerRuntime')!,
    );
    const declared = members.get(method ?? kind);
    expect(declared, `${name} in a worker`).toBeDefined();
    const inputs = (symbol: ts.Symbol) =>
      checker
        .getTypeOfSymbol(symbol)
        .getCallSignatures()
        .map((signature) =>
          signature.parameters
            .map((parameter) => parameter.name)
            .filter((name) => !/^(options|more)/.test(name)),
        )
        .sort((a, b) => a.length - b.length || (a < b ? -1 : 1));
    // `count` is one of the further parameters of what looks into an attention.
    const expected = inputs(now).map((names) => names.filter((input) => !(input === 'count' && !method)));
    expect(inputs(declared!)).toEqual(expected);
  });

  it.each(Object.entries(runtimes))('a %s has what is declared of it, and nothing else', (name, runtime) => {
    const methods = Object.keys(runtime);
    const declared = [...membersOf(worker.get(name)!).values()]
      .filter((member) => member.flags & ts.SymbolFlags.Property && member.name !== 'info')
      .map(({ name }) => name)
      .filter((name) => !name.startsWith('#'));
    expect(methods.sort()).toEqual(declared.filter((name) => name !== 'disposed').sort());
  });
});
