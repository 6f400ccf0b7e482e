// The matrix as a table, on the terminal and as docs/support.md.

import { readFileSync } from 'node:fs';
import { browsers, whyNot } from './browsers.mjs';

const columns = ['loads', 'build', 'threads', 'same bits', 'time'];

function cells({ state, refused, build, threads, sameBits, time }) {
  if (state === 'not run') return ['not run', '', '', '', ''];
  if (refused) return [refused, '', '', '', '']; // a typed error is what is right there
  if (build === undefined) return ['FAILED', '', '', '', ''];
  return ['yes', build, String(threads), sameBits ? 'yes' : 'NO', `${time} ms`];
}

/** One row for the terminal. */
export function tableLine(row) {
  const widths = [13, 9, 3, 5, 8];
  return [row.name.padEnd(54), ...cells(row).map((cell, i) => cell.padEnd(widths[i]))].join(' ').trimEnd();
}

/** The versions of what the matrix ran in, by name. */
export async function versions() {
  const found = {};
  for (const folder of ['../runtimes', 'runtimes', 'bundlers', 'next']) {
    const file = new URL(`${folder}/package.json`, import.meta.url);
    const { dependencies, optionalDependencies } = JSON.parse(readFileSync(file, 'utf8'));
    for (const [name, version] of Object.entries({ ...dependencies, ...optionalDependencies })) {
      if (!/^react/.test(name)) found[name] = version.split('@').pop();
    }
  }
  for (const [name, browser] of Object.entries(browsers)) {
    if (!whyNot(name)) found[name] = (await browser.version()).trim();
  }
  return found;
}

export function supportPage(rows, found, machine) {
  const line = (list) => `| ${list.join(' | ')} |`;
  const table = [
    line(['where', ...columns]),
    line(['---', ...columns.map(() => '---')]),
    ...rows.map((row) => line([row.name, ...cells(row)])),
  ];
  const list = Object.entries(found).map(([name, version]) => line([name, version]));
  const notRun = rows
    .filter(({ state }) => state === 'not run')
    .map(({ name, error }) => `- ${name}: ${error}`);
  return `# Support

Written by \`npm run test:matrix\`: the package is packed, installed into a project of its own and run there.

- **loads**: a layer answers; \`UNSUPPORTED\` is the typed error that is right where the page forbids compiling WebAssembly.
- **build**, **threads**: what \`createRuntime({ threads: 2 })\` chose; \`runtime.info\` gives the reasons.
- **same bits**: the \`simd\` build's results over a seeded suite have the hashes recorded in \`test/bits.json\`.
- **time**: from before \`createRuntime\` to the first answer of a small layer, once, on a shared machine (${machine}); an
  impression, not a measurement.

${table.join('\n')}
${notRun.length > 0 ? `\nNot run on that machine:\n\n${notRun.join('\n')}\n` : ''}
## Versions

${[line(['what', 'version']), line(['---', '---']), ...list].join('\n')}
`;
}
