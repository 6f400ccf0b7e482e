// `npm start`: attention shown as what it is, a soft dictionary lookup, on the lines of a real text.

import { fileURLToPath } from 'node:url';
import { attentionWeights, createRuntime, scaledDotProductAttention } from 'wasm-attention';
import { HELP, readArguments, UsageError } from './arguments.mjs';
import { embed } from './embed.mjs';
import { measureSpeed } from './speed.mjs';
import { bar, cell, fit, style, wantsColor, WIDTH } from './terminal.mjs';
import { readLines } from './text.mjs';

const HEADS = 8;
const HEAD_DIM = 64;
/** Unit vectors have products up to 1; this factor lets the softmax tell them apart. */
const SHARPNESS = 12;
const README = fileURLToPath(new URL('../../README.md', import.meta.url));
const README_QUERY = 'attention weights of any block, on demand';

// A reader that stops early, such as head, is no error.
process.stdout.on('error', (error) => process.exit(error.code === 'EPIPE' ? 0 : 1));

try {
  await main(readArguments(process.argv.slice(2)));
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  console.error(`lookup: ${error.message} (--help tells what can be said)`);
  process.exitCode = 2;
}

async function main(options) {
  if (options.help) {
    console.log(HELP);
    return;
  }
  const lines = options.file === undefined ? readLines(README, 'README.md') : readLines(options.file);
  const query = options.query ?? (options.file === undefined ? README_QUERY : lines[0].text);
  const color = options.color ?? wantsColor(process.stdout, process.env);
  const runtime = await createRuntime();
  const found = lookUp(runtime, lines, query);
  showLookup(found, lines, query, options, color);
  showExample(runtime, color);
  showSpeed(runtime, color);
  runtime.dispose();
}

/** The query attends over the lines; keys and values are the lines' own vectors. */
function lookUp(runtime, lines, query) {
  const n = lines.length;
  const texts = lines.map(({ text }) => text);
  const q = { data: embed([query], HEADS, HEAD_DIM), shape: [1, HEADS, 1, HEAD_DIM] };
  const keys = embed(texts, HEADS, HEAD_DIM);
  const k = runtime.tensor(keys, [1, HEADS, n, HEAD_DIM]);
  const result = scaledDotProductAttention(q, k, k, { scale: SHARPNESS, returnWeights: true });
  const weights = result.weights.toFloat32Array();
  const output = result.output.toFloat32Array();
  result.dispose();
  k.dispose();
  const mean = Array.from({ length: n }, (_, j) => {
    let sum = 0;
    for (let head = 0; head < HEADS; head++) sum += weights[head * n + j];
    return sum / HEADS;
  });
  return { weights, mean, nearest: nearestLine(output, keys, n) };
}

/** The line whose vector is closest, by the angle, to the weighted result. */
function nearestLine(output, keys, n) {
  let best = { index: 0, cosine: -Infinity };
  const norm = Math.hypot(...output) * Math.sqrt(HEADS);
  for (let j = 0; j < n; j++) {
    let product = 0;
    for (let head = 0; head < HEADS; head++) {
      for (let c = 0; c < HEAD_DIM; c++)
        product += output[head * HEAD_DIM + c] * keys[(head * n + j) * HEAD_DIM + c];
    }
    if (product / norm > best.cosine) best = { index: j, cosine: product / norm };
  }
  return best;
}

function showLookup({ weights, mean, nearest }, lines, query, { file, top }, color) {
  const { bold, dim, accent } = style(color);
  const n = lines.length;
  console.log(
    bold(
      fit(
        `A soft dictionary lookup over ${n} lines of ${file === '-' ? 'standard input' : (file ?? 'README.md')}`,
        WIDTH,
      ),
    ),
  );
  console.log(
    dim('Vectors are hashed character n-grams, untrained: they match letters, not ideas.').trimEnd(),
  );
  console.log(`\nquery  ${accent(fit(query, WIDTH - 7))}\n`);
  console.log(dim('weight                  line'));
  const order = mean
    .map((_, j) => j)
    .sort((a, b) => mean[b] - mean[a] || a - b)
    .slice(0, top);
  const most = mean[order[0]];
  for (const j of order) {
    const percent = `${(100 * mean[j]).toFixed(1)} %`.padStart(7);
    const number = String(lines[j].number).padStart(5);
    console.log(
      `${percent} ${accent(bar(mean[j] / most, 10))} ${dim(number)}  ${fit(lines[j].text.trim(), WIDTH - 27)}`,
    );
  }
  const rest = order.reduce((sum, j) => sum - mean[j], 1);
  if (n > order.length)
    console.log(
      dim(
        `${`${(100 * Math.max(rest, 0)).toFixed(1)} %`.padStart(7)} on the other ${n - order.length} lines`,
      ),
    );
  showHeads(weights, n, color);
  console.log(
    `\nresult: the weighted sum of all values points most nearly to line ${lines[nearest.index].number}`,
  );
  console.log(
    `(cosine ${nearest.cosine.toFixed(2)}): ${fit(lines[nearest.index].text.trim(), WIDTH - 15)}\n`,
  );
}

/** Rows are heads, columns are lines from first to last; several lines share a column where there are many. */
function showHeads(weights, n, color) {
  const { bold, dim } = style(color);
  const room = WIDTH - 9;
  const columns = Math.min(n, room);
  const width = Math.max(1, Math.min(4, Math.floor(room / n)));
  console.log(
    `\n${bold('Where each head looks')}  ${dim(`columns: lines, first to last${n > room ? `, ${Math.ceil(n / room)} to a column` : ''}`)}`,
  );
  for (let head = 0; head < HEADS; head++) {
    const row = new Float64Array(columns);
    for (let j = 0; j < n; j++) {
      const column = Math.floor((j * columns) / n);
      row[column] = Math.max(row[column], weights[head * n + j]);
    }
    const most = Math.max(...row);
    // The square root lets small weights be seen beside the largest.
    const cells = Array.from(row, (weight) => cell(Math.sqrt(weight / most), color, width)).join('');
    console.log(`head ${head + 1}  ${cells}`.trimEnd());
  }
}

/** Three keys, step by step; every number comes from the library. */
function showExample(runtime, color) {
  const { bold, dim } = style(color);
  const query = runtime.tensor([1, 0, 1, 0], [1, 1, 1, 4]);
  const key = runtime.tensor([1, 0, 1, 0, 1, 1, 0, 0, 0, 1, 0, 1], [1, 1, 3, 4]);
  const value = runtime.tensor([10, 0, 0, 10, 5, 5], [1, 1, 3, 2]);
  const stage = (name) => attentionWeights(query, key, { stage: name }).data;
  const numbers = (list, digits) => Array.from(list, (x) => x.toFixed(digits).padStart(8)).join('');
  const { output } = scaledDotProductAttention(query, key, value);
  console.log(bold('Three keys, step by step') + dim('   q = (1 0 1 0)'));
  console.log(`keys            ${['1 0 1 0', '1 1 0 0', '0 1 0 1'].map((k) => k.padStart(8)).join('')}`);
  console.log(`scores q . k    ${numbers(stage('raw'), 3)}`);
  console.log(`/ sqrt(4)       ${numbers(stage('scaled'), 3)}`);
  console.log(`softmax         ${numbers(stage('weights'), 3)}   ${dim('the weights, they sum to 1')}`);
  console.log(`values          ${['10 0', '0 10', '5 5'].map((v) => v.padStart(8)).join('')}`);
  console.log(`weighted sum     ${Array.from(output.data, (x) => x.toFixed(3)).join('  ')}\n`);
}

function showSpeed(runtime, color) {
  const { bold, dim } = style(color);
  const { shape, milliseconds, gflops, share, factor } = measureSpeed(runtime);
  console.log(
    `${bold('Speed')}  ${shape} in ${milliseconds.toFixed(1)} ms, ${gflops.toFixed(0)} GFLOP/s, ` +
      `${(100 * share).toFixed(0)} % of peak, ${factor.toFixed(0)}x plain loops ${dim(`(${runtime.info.build})`)}`,
  );
}
