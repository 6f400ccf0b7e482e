// Search by meaning in a text, and what a model trained here has learnt: the program behind `npm start`. See `npm start -- --help`.

import { createRuntime } from 'wasm-attention';
import { model } from 'wasm-attention/model';

import { HELP, parseArguments } from './arguments.mjs';
import { MAXIMUM_TOKENS, SentenceEncoder } from './encoder.mjs';
import { readText } from './input.mjs';
import { pictureOfHeads, pictureOfResults, plural } from './picture.mjs';
import { Progress } from './progress.mjs';
import { rank } from './search.mjs';
import { Style } from './style.mjs';
import { clean } from './text.mjs';
import { Tokenizer } from './tokenizer.mjs';
import { UsageError } from './usage-error.mjs';
import { loadWeights, WeightsError } from './weights.mjs';
import { strongestLinks } from './words.mjs';
import { workedExample } from './worked-example.mjs';

/** Links of a head that are looked at; as many as fit are shown. */
const LINKS = 3;

// A reader that has seen enough (`| head`) closes the pipe: not a failure.
process.stdout.on('error', (error) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(0);
});

try {
  await main();
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  console.error(`lookup: ${clean(error.message)}`);
  process.stdin.destroy(); // may be what is wrong, and would keep the process alive
  process.exitCode = 2;
}

async function main() {
  const options = parseArguments(process.argv.slice(2));
  if (options.help) {
    console.log(HELP);
    return;
  }
  const style = Style.of(process.stdout, process.env, options.color);
  if (options.learned) {
    const { learned } = await import('./learned.mjs');
    print(await learned(options.sentence, style, process.stdout.columns));
    return;
  }
  const progress = new Progress(process.stderr, Style.of(process.stderr, process.env, options.color));
  const text = await readText(options.file);
  const query = clean(options.query ?? text.defaultQuery);
  const runtime = await createRuntime({ threads: 'auto', packs: [model] });
  const files = await weightsOrWhyNot(progress);
  if (files) print(search({ text, query, top: options.top, files, runtime, progress, style }));
  if (!files || (options.file === undefined && options.query === undefined))
    print(workedExample(runtime, style));
  runtime.dispose();
}

/** @param {Progress} progress */
async function weightsOrWhyNot(progress) {
  try {
    return await loadWeights(progress);
  } catch (error) {
    if (!(error instanceof WeightsError)) throw error;
    progress.say(`lookup: ${clean(error.message)}`);
    process.exitCode = 1;
    return undefined;
  }
}

/** @returns {string[]} */
function search({ text, query, top, files, runtime, progress, style }) {
  const tokenizer = new Tokenizer(files.vocabulary);
  const encoder = new SentenceEncoder(runtime, files.weights);
  const start = performance.now();
  const question = tokenizer.encode(query);
  const sentences = [question, ...text.lines.map((line) => tokenizer.encode(line.text))];
  const [vector, ...vectors] = encoder.encode(sentences, (share) => progress.show('Reading', share));
  const seconds = (performance.now() - start) / 1000;
  progress.clear();
  const tokens = sentences.reduce((sum, ids) => sum + Math.min(ids.length, MAXIMUM_TOKENS), 0);
  const found = rank(vector, vectors, text.lines);
  const [{ line }] = found;
  const look = (ids) => strongestLinks(tokenizer, ids, encoder.attention(ids), LINKS);
  const picture = [
    ...pictureOfResults({ text, query, found, top }, style),
    '',
    ...pictureOfHeads(
      [
        { title: 'in the question', links: look(question) },
        { title: `in line ${line.number}`, links: look(tokenizer.encode(line.text)) },
      ],
      style,
    ),
    '',
    `${plural(tokens, 'token')} in ${seconds.toFixed(2)} s on ${plural(runtime.info.threads, 'thread')}, build ${runtime.info.build}`,
  ];
  encoder.dispose();
  return picture;
}

/** @param {string[]} lines */
function print(lines) {
  console.log(lines.join('\n') + '\n');
}
