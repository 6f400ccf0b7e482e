// What TypeScript knows of the kernels, derived from assembly/ as the text of build/kernels.ts:
//
//   signatures   of what the entry of each pack exports, and which of them run over tiles
//   parameters   for every exported `@unmanaged class ...Parameters`: where each word is, and which are floats
//   constants    every exported constant
//
// Names, types and comments are read by TypeScript's parser. Offsets and values are computed by AssemblyScript's compiler, in
// a module of its own that imports the same files: nothing here knows how it lays out a class.

import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import ts from 'typescript';

/** Types of parameters and results that JavaScript has as a number. */
const NUMBERS = new Set(['i32', 'u32', 'isize', 'usize', 'f32', 'f64', 'bool']);
/** Types of one word of a parameter block. */
const WORDS = new Set(['i32', 'u32', 'isize', 'usize', 'f32']);

/**
 * @param packs   entry files by the names of their packs
 * @param compile compiles a source at a path that need not exist and returns the module's bytes
 * @param apart   names, by pack, of exports that the modules do not have in the end
 */
export async function deriveInterface(packs, compile, apart = {}) {
  const sources = new Sources();
  const interfaces = Object.entries(packs).map(([name, entry]) => ({
    name,
    kernels: kernelsOf(sources, entry).filter((kernel) => !apart[name]?.includes(kernel.name)),
  }));
  const constants = sources.files().flatMap(constantsOf);
  const blocks = sources.files().flatMap(parameterBlocksOf);
  refuseDoubles([...constants, ...blocks]);
  const values = await evaluate(constants, blocks, compile);
  return [
    '// Written by scripts/interface.mjs from assembly/. Whoever wants something else here changes it there.',
    ...interfaces.map(interfaceText),
    packsText(interfaces),
    ...blocks.map((block) => blockText(block, values)),
    ...constants.map(({ name, comment }) => `${comment}export const ${name} = ${values.get(name)};`),
    '',
  ].join('\n\n');
}

/** The files of assembly/, each parsed once, and all that they import. */
class Sources {
  #parsed = new Map();

  parse(path) {
    const known = this.#parsed.get(path);
    if (known) return known;
    const source = ts.createSourceFile(path, readFileSync(path, 'utf8'), ts.ScriptTarget.Latest, true);
    this.#parsed.set(path, source);
    for (const { moduleSpecifier } of source.statements)
      if (moduleSpecifier) this.parse(pathOf(source, moduleSpecifier));
    return source;
  }

  files() {
    return [...this.#parsed.values()].sort((a, b) => (a.fileName < b.fileName ? -1 : 1));
  }
}

function pathOf(source, { text }) {
  const path = join(dirname(source.fileName), text);
  return existsSync(`${path}.ts`) ? `${path}.ts` : join(path, 'index.ts');
}

const isExported = (node) =>
  node.modifiers?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword) ?? false;

/** The functions that a file exports, its own and those of others: { name, declaration, source }. */
function functionsOf(sources, path) {
  const source = sources.parse(path);
  return source.statements.flatMap((node) => {
    if (ts.isFunctionDeclaration(node) && isExported(node))
      return [{ name: node.name.text, declaration: node, source }];
    if (!ts.isExportDeclaration(node)) return [];
    const there = functionsOf(sources, pathOf(source, node.moduleSpecifier));
    if (!node.exportClause) return there;
    return node.exportClause.elements.map(({ name, propertyName }) => {
      const wanted = (propertyName ?? name).text;
      const found = there.find((one) => one.name === wanted);
      if (!found) throw failure(source, node, `${wanted} is exported, but is no function`);
      return { ...found, name: name.text };
    });
  });
}

function kernelsOf(sources, entry) {
  return functionsOf(sources, entry).map(({ name, declaration, source }) => {
    const { parameters, type, typeParameters } = declaration;
    if (typeParameters) throw failure(source, declaration, `${name} is generic: JavaScript cannot call it`);
    const result = type?.getText(source);
    if (result !== 'void' && !NUMBERS.has(result)) {
      throw failure(source, declaration, `${name} returns ${result}, which is no number in JavaScript`);
    }
    const names = parameters.map((parameter) => {
      const given = parameter.type?.getText(source);
      if (NUMBERS.has(given)) return parameter.name.text;
      throw failure(source, parameter, `${name} takes ${given}, which is no number in JavaScript`);
    });
    const [scratch, from, to] = names.slice(-3);
    const overTiles = scratch === 'scratch' && /From$/.test(from) && /To$/.test(to);
    const float = parameters.find((parameter) => /^f(32|64)$/.test(parameter.type?.getText(source)));
    if (overTiles && float)
      throw failure(
        source,
        float,
        `${name} runs on threads, which hand over integers: it takes a pointer to a float`,
      );
    return {
      name,
      names,
      result: result === 'void' ? 'void' : 'number',
      overTiles,
      comment: commentOf(declaration, source),
    };
  });
}

function constantsOf(source) {
  return source.statements
    .filter((node) => ts.isVariableStatement(node) && isExported(node))
    .flatMap((node) =>
      node.declarationList.declarations.map(({ name, type }) => {
        const given = type?.getText(source);
        if (!NUMBERS.has(given))
          throw failure(source, name, `${name.text} is ${given}, which is no number in JavaScript`);
        return { name: name.text, path: source.fileName, comment: commentOf(node, source) };
      }),
    );
}

/** What a caller fills in for a kernel: a class whose name ends so. */
function parameterBlocksOf(source) {
  return source.statements
    .filter(
      (node) => ts.isClassDeclaration(node) && isExported(node) && node.name.text.endsWith('Parameters'),
    )
    .map((node) => {
      const name = node.name.text;
      const unmanaged = node.modifiers.some(
        (one) => ts.isDecorator(one) && one.expression.getText(source) === 'unmanaged',
      );
      if (!unmanaged) throw failure(source, node, `${name} is not @unmanaged`);
      const fields = node.members.map((member) => {
        const type = member.type?.getText(source);
        if (!ts.isPropertyDeclaration(member) || !WORDS.has(type)) {
          throw failure(source, member, `${name}.${member.name?.getText(source)} is no field of one word`);
        }
        return { name: member.name.text, isFloat: type === 'f32', comment: commentOf(member, source) };
      });
      return { name, path: source.fileName, fields, comment: commentOf(node, source) };
    });
}

function refuseDoubles(declarations) {
  const paths = new Map();
  for (const { name, path } of declarations) {
    if (paths.has(name)) throw new Error(`${name} is exported by ${paths.get(name)} and by ${path}`);
    paths.set(name, path);
  }
}

/** Values of constants by name, and of fields' offsets by `class.field`. */
async function evaluate(constants, blocks, compile) {
  const wanted = [
    ...constants.map(({ name }) => [name, `<f64>${name}`]),
    ...blocks.flatMap(({ name, fields }) =>
      fields.map((field) => [`${name}.${field.name}`, `<f64>offsetof<${name}>("${field.name}")`]),
    ),
  ];
  const program = [
    ...[...constants, ...blocks].map(({ name, path }) => `import { ${name} } from './${path.slice(0, -3)}';`),
    ...wanted.map(
      ([, expression], index) => `export function value${index}(): f64 { return ${expression}; }`,
    ),
  ].join('\n');
  const { exports } = new WebAssembly.Instance(
    new WebAssembly.Module(await compile('interface.ts', program)),
  );
  return new Map(wanted.map(([name], index) => [name, exports[`value${index}`]()]));
}

/** The comment of a declaration for what is written here, indented like it; '' if there is none. */
function commentOf(node, source) {
  const [from] =
    ts
      .getLeadingCommentRanges(source.text, node.pos)
      ?.filter(({ pos }) => source.text.startsWith('/**', pos))
      .slice(-1) ?? [];
  return from ? `${source.text.slice(from.pos, from.end).replace(/\n\s*\*/g, '\n *')}\n` : '';
}

const indented = (text) => text.replace(/^(?=.)/gm, '  ');
const capital = (name) => name[0].toUpperCase() + name.slice(1);

function interfaceText({ name, kernels }) {
  const methods = kernels.map(({ name, names, result, comment }) => {
    const parameters = names.map((parameter) => `${parameter}: number`).join(', ');
    return indented(`${comment}${name}(${parameters}): ${result};\n`);
  });
  return `/** What the pack '${name}' exports. Pointers, strides and sizes are bytes unless said otherwise. */
export interface ${capital(name)}Kernels {\n${methods.join('')}}`;
}

function packsText(interfaces) {
  const kernels = interfaces.map(({ name }) => `  ${name}: ${capital(name)}Kernels;\n`);
  const tiles = interfaces.map(({ name, kernels }) => {
    const names = kernels.filter(({ overTiles }) => overTiles).map(({ name }) => `'${name}'`);
    return `  ${name}: ${names.join(' | ') || 'never'};\n`;
  });
  return `/** The kernels of each pack. */
export interface Packs {\n${kernels.join('')}}

/** Kernels over tiles: their last arguments are scratch of the running thread, the first tile, and the end. */
export interface TileKernels {\n${tiles.join('')}}`;
}

function blockText({ name, fields, comment }, values) {
  const words = fields.map((field, index) => {
    if (values.get(`${name}.${field.name}`) === 4 * index) return `'${field.name}'`;
    throw new Error(`${name}.${field.name} is not at word ${index}`);
  });
  const floats = fields.filter(({ isFloat }) => isFloat).map((field) => `'${field.name}'`);
  const layout = name[0].toLowerCase() + name.slice(1);
  return `${comment}export interface ${name} {
${fields.map((field) => indented(`${field.comment}${field.name}?: number;\n`)).join('')}}

/** The words of {@link ${name}} in their order, and which of them are floats. */
export const ${layout} = {
  words: [${words.join(', ')}],
  floats: [${floats.join(', ')}],
} as const;`;
}

function failure(source, node, message) {
  const { line } = source.getLineAndCharacterOfPosition(node.getStart?.(source) ?? 0);
  return new Error(`${source.fileName}:${line + 1}: ${message}`);
}
