// What became of the tests, over several runs: sums, and lists of what failed and what was not run.

import { requirements } from './support/requirements.mjs';

/**
 * @typedef {object} NotRun
 * @property {string} file
 * @property {string} name of the test, with those of the suites around it
 * @property {string} block the name of what was left out as a whole: a suite, or the test
 * @property {string[]} missing names of `requirements` that are not met
 * @property {string | undefined} [reason] where nothing is missing
 *
 * @typedef {{ passed: number, failures: string[], notRun: NotRun[] }} Outcome what a run leaves
 * @typedef {Outcome & { title: string, node?: string }} Run of one Node's suite, where `node` names its program
 */

/** Failures that are listed. */
const LONGEST_LIST = 40;

/** What stands for the file in cases of the matrix. */
export const MATRIX = 'test/matrix';

/** Whether installing something would let a test run. @param {NotRun} test */
export const isObtainable = ({ missing }) =>
  missing.length > 0 && missing.every((name) => requirements[name]?.get !== undefined);

/** A test that CI has to run, although it could not. @param {NotRun} test */
const isRequired = (test) => isObtainable(test) && !test.missing.some((name) => requirements[name]?.optional);

/**
 * A run and the one after it, of the tests that could not be run then.
 *
 * @template {Outcome} T
 * @param {T} first
 * @param {Outcome} second
 * @param {boolean} isStrict whether what still could not be run, and could be, is a failure
 * @returns {T}
 */
export function joined(first, second, isStrict) {
  const keyOf = (/** @type {NotRun} */ { file, name }) => `${file} > ${name}`;
  const wanted = new Set(first.notRun.filter(isObtainable).map(keyOf));
  const stillMissing = isStrict ? second.notRun.filter(isRequired) : [];
  const notRun = second.notRun.filter((test) => !stillMissing.includes(test));
  const lost =
    wanted.size -
    (second.passed + second.failures.length + second.notRun.filter((test) => wanted.has(keyOf(test))).length);
  return {
    ...first,
    passed: first.passed + second.passed,
    failures: [
      ...first.failures,
      ...second.failures,
      ...stillMissing.map((test) => `${keyOf(test)}: could not be run ${whyNotRun(test)}`),
      ...(lost > 0 ? [`not found again: ${lost} of the tests that were not run before`] : []),
    ],
    notRun: [
      ...new Map(
        [...first.notRun.filter((test) => !isObtainable(test)), ...notRun].map((test) => [keyOf(test), test]),
      ).values(),
    ],
  };
}

/** @param {NotRun} test */
function whyNotRun({ missing, reason }) {
  if (missing.length === 0) return reason ?? 'no reason is given';
  const [first, ...others] = missing.map((name) => requirements[name]?.without ?? `without ${name}`);
  return [first, ...others.map((text) => text.replace(/^without /, ''))].join(' and ');
}

/** The closing line. @param {readonly Outcome[]} runs */
export function closingLine(runs) {
  const sum = (/** @type {(run: Outcome) => number} */ of) => runs.reduce((total, run) => total + of(run), 0);
  const skipped = sum(({ notRun }) => notRun.length);
  const line = `${sum(({ passed }) => passed)} passed, ${sum(({ failures }) => failures.length)} failed`;
  return skipped > 0 ? `${line}, ${skipped} skipped` : line;
}

/** What failed, by name. @param {readonly Run[]} runs */
export function failureList(runs) {
  const lines = runs.flatMap(({ title, failures }) => failures.map((failure) => `  ${title}: ${failure}`));
  if (lines.length === 0) return '';
  const rest = lines.length - LONGEST_LIST;
  return ['Failed', ...lines.slice(0, LONGEST_LIST), ...(rest > 0 ? [`  and ${rest} more`] : [])].join('\n');
}

/** What was not run: why, where, and how to run it. @param {readonly Run[]} runs */
export function notRunList(runs) {
  const all = runs.flatMap(({ title, notRun }) => notRun.map((test) => ({ ...test, title })));
  if (all.length === 0) return '';
  const counts = runs.map(({ title, notRun }) => `${title}: ${notRun.length}`);
  const lines = [`Not run (${counts.join(', ')})`];
  for (const [why, tests] of grouped(all, whyNotRun)) {
    lines.push(`  ${why}`);
    for (const [file, inFile] of grouped(tests, (test) => test.file)) {
      const blocks = [...grouped(inFile, (test) => test.block).values()].map((tests) =>
        blockLine(tests, runs),
      );
      lines.push(`    ${file}`, ...blocks.map((block) => `      ${block}`));
    }
  }
  const missing = new Set(all.filter(isObtainable).flatMap((test) => test.missing));
  if (missing.size > 0) {
    const width = Math.max(...[...missing].map((name) => name.length));
    lines.push('', 'To run these too, get what is missing, then: npm test -- --not-run');
    for (const name of missing) lines.push(`  ${name.padEnd(width)}  ${requirements[name]?.get}`);
  }
  return lines.join('\n');
}

/** @param {readonly (NotRun & { title: string })[]} tests of one block @param {readonly Run[]} runs */
function blockLine(tests, runs) {
  const [{ block, file }] = tests;
  const perRun = grouped(tests, ({ title }) => title);
  const most = Math.max(...[...perRun.values()].map(({ length }) => length));
  const isEverywhere = file === MATRIX || runs.every(({ title, node }) => !node || perRun.has(title));
  const notes = [
    ...(most > 1 ? [`${most} tests`] : []),
    ...(isEverywhere ? [] : [`only on ${[...perRun.keys()].join(', ')}`]),
  ];
  return notes.length > 0 ? `${block} (${notes.join(', ')})` : block;
}

/**
 * @template T
 * @param {readonly T[]} list
 * @param {(one: T) => string} keyOf
 * @returns {Map<string, T[]>}
 */
function grouped(list, keyOf) {
  const groups = new Map();
  for (const one of list) groups.set(keyOf(one), [...(groups.get(keyOf(one)) ?? []), one]);
  return groups;
}
