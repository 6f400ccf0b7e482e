// Rules of lint that hold a promise of the package, shown to bite.

import { ESLint } from 'eslint';
import { expect, it } from 'vitest';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../', import.meta.url));

/** Rules that a line breaks in a file of src/. */
async function broken(line: string, file: string): Promise<(string | null)[]> {
  const eslint = new ESLint({
    cwd: root,
    overrideConfig: { languageOptions: { parserOptions: { projectService: false, project: null } } },
    ruleFilter: ({ ruleId }) => ruleId.startsWith('no-restricted'),
  });
  const [result] = await eslint.lintText(`export const value = (x: number) => ${line};\n`, {
    filePath: root + file,
  });
  expect(result!.fatalErrorCount, JSON.stringify(result!.messages)).toBe(0);
  return result!.messages.map(({ ruleId }) => ruleId);
}

it.each([
  ['Math.exp(x)', 'no-restricted-properties'],
  ['Math.pow(x, 2)', 'no-restricted-properties'],
  ["Math['cos'](x)", 'no-restricted-properties'],
  ['x ** 2', 'no-restricted-syntax'],
  ['2 ** x', 'no-restricted-syntax'],
  ['2 ** 0.5', 'no-restricted-syntax'],
  ['[x].map(({ tanh } = Math as never) => tanh)', 'no-restricted-syntax'],
])(
  'what enters the bits of training has none of the functions that engines differ in: %s',
  async (line, rule) => {
    expect(await broken(line, 'src/training/schedules.ts')).toContain(rule);
    expect(await broken(line, 'src/model/heads.ts')).toEqual([]);
  },
);

it('exact functions are allowed', async () => {
  const exact = ['sqrt', 'min', 'max', 'floor', 'ceil', 'round', 'abs', 'imul', 'fround'];
  const line = exact.map((name) => `Math.${name}(x, x)`).join(' + ');
  expect(await broken(`${line} + 2 ** 31`, 'src/training/schedules.ts')).toEqual([]);
});
