// `npm run bench:report`: result files to Markdown and HTML, or two files to what has changed between them.

import { readdirSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { ComparisonError, compareRuns } from '../suite/analysis.mjs';
import { ResultFileError } from '../suite/validate.mjs';
import { makeReport } from './document.mjs';
import { toMarkdown } from './markdown.mjs';
import { readResults } from './results.mjs';

const RESULTS = fileURLToPath(new URL('../results/', import.meta.url));

const help = `Usage: npm run bench:report [-- FILE...] [--html FILE] [--markdown FILE]
       npm run bench:report -- --compare BEFORE AFTER

Makes a report of any result files, of those in bench/results/ if none is named: Markdown on standard output, or
in the files that are named.
--compare tells what has changed between two runs on the same machine and engine: it ends with code 1 if
this library became slower beyond noise, with 2 if the files do not compare.`;

class UsageError extends Error {}

/** @param {string[]} given */
function parse(given) {
  const options = /** @type {const} */ ({
    html: { type: 'string' },
    markdown: { type: 'string' },
    compare: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  });
  try {
    return parseArgs({ args: given, options, allowPositionals: true });
  } catch (error) {
    throw new UsageError(/** @type {Error} */ (error).message.split(/\.\s/)[0]);
  }
}

/** What is in bench/results/. */
const resultFiles = () =>
  readdirSync(RESULTS)
    .filter((name) => name.endsWith('.json'))
    .map((name) => join(RESULTS, name));

/** @param {string} before @param {string} after @returns {boolean} whether something became slower */
function compare(before, after) {
  const changes = compareRuns(readResults(before), readResults(after));
  const say = (/** @type {string} */ title, /** @type {'larger' | 'smaller'} */ kind) => {
    const found = changes.filter(({ change }) => change === kind).sort((a, b) => b.ratio - a.ratio);
    if (found.length > 0) console.log(`${title}:`);
    for (const { id, name, ratio } of found) console.log(`  ${ratio.toFixed(2)} x  ${id}  ${name}`);
    return found.length > 0;
  };
  const isSlower = say('slower', 'larger');
  say('faster', 'smaller');
  const same = changes.filter(({ change }) => change === 'same').length;
  console.log(`${same} of ${changes.length} measurements are the same within noise`);
  return isSlower;
}

/** @param {string[]} given */
async function main(given) {
  const { values, positionals } = parse(given);
  if (values.help) return console.log(help);
  if (values.compare) {
    if (positionals.length !== 2) throw new UsageError('--compare needs two files: BEFORE AFTER');
    if (compare(positionals[0], positionals[1])) process.exitCode = 1;
    return undefined;
  }
  const paths = positionals.length > 0 ? positionals : resultFiles();
  const sections = makeReport(
    paths.map((path) => ({ name: basename(path, '.json'), file: readResults(path) })),
  );
  if (values.html) {
    const { toHtml } = await import('./html.mjs'); // Needs what is installed for benchmarks only.
    writeFileSync(values.html, toHtml(sections));
  }
  if (values.markdown) writeFileSync(values.markdown, toMarkdown(sections));
  if (!values.html && !values.markdown) process.stdout.write(toMarkdown(sections));
  return undefined;
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  const isExpected = [UsageError, ResultFileError, ComparisonError].some((kind) => error instanceof kind);
  if (!isExpected) throw error;
  console.error(`bench:report: ${/** @type {Error} */ (error).message}`);
  process.exitCode = 2;
}
