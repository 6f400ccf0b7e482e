// `npm run bench:runtimes`: the suite in every engine there is, one after the other.

import { mkdirSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { install } from '../../scripts/install.mjs';
import { parseNames } from '../options.mjs';
import { peerNames } from '../peers/names.mjs';
import { makeReport } from '../report/document.mjs';
import { toMarkdown } from '../report/markdown.mjs';
import { collect } from './collect.mjs';
import { engines } from './engines.mjs';

const help = `Usage: npm run bench:runtimes [-- options]

Runs the suite in Node 20, 22, 24 and 26, Bun, Deno, workerd, Chromium, Firefox and WebKit, in turn, each in a
process of its own. Leaves a result file of each in a folder; what is there already is not measured again.

  --runtimes REGEX   only those whose names match
  --workloads REGEX  only workloads whose ids match
  --peers A,B        compare with these where they run, or with all (twice to five times as long)
  --quick            short rounds
  --again            also what is there already
  --out FOLDER       default: build/bench-runtimes
  --limit SECONDS    for each engine, default 900, or 3600 with peers
  --help`;

/** Cold starts need processes of their own, which not every engine has. */
const EVERYWHERE = '^(layer|product|attention|decode|softmax|copy)-';

const { values } = parseArgs({
  options: {
    runtimes: { type: 'string', default: '' },
    workloads: { type: 'string', default: EVERYWHERE },
    peers: { type: 'string', default: 'none' },
    quick: { type: 'boolean', default: false },
    again: { type: 'boolean', default: false },
    out: { type: 'string', default: 'build/bench-runtimes' },
    limit: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) {
  console.log(help);
  process.exit();
}
const peers = parseNames('peers', values.peers === 'all' ? undefined : values.peers, peerNames);
const wanted = engines.filter(({ name }) => new RegExp(values.runtimes, 'i').test(name));
if (wanted.length === 0) {
  console.error(
    `bench:runtimes: no runtime matches ${values.runtimes} (${engines.map(({ name }) => name).join(', ')})`,
  );
  process.exit(2);
}
for (const folder of ['test/runtimes', 'test/matrix/runtimes']) {
  try {
    install(folder);
  } catch (error) {
    console.error(`${folder}: ${/** @type {Error} */ (error).message}`); // its engines are then missing
  }
}
mkdirSync(values.out, { recursive: true });
const files = await collect(wanted, {
  ...{ folder: values.out, workloads: values.workloads, quick: values.quick, peers, again: values.again },
  seconds: Number(values.limit ?? (peers.length > 0 ? 3600 : 900)),
  say: (text) => console.error(text),
});
console.log(
  `\n${toMarkdown(makeReport(files).filter(({ level, title }) => level === 1 || /^Share/.test(title)))}`,
);
console.log(`npm run bench:report -- ${values.out}/*.json --html report.html   makes pictures of it`);
process.exit(files.some(({ file }) => file.ended) ? 1 : 0);
