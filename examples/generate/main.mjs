// Token by token: a prompt goes through a small decoder with random weights, then one byte after the other comes out, each
// step reading the cache. `npm run example:generate -- --help`.

import { parseArgs } from 'node:util';
import { createRuntime } from 'wasm-attention';
import { Decoder, randomNumbers, randomWeights, sample } from './model.mjs';

const HELP = `Usage: npm run example:generate -- [options]

  --tokens N      bytes to generate (default 200)
  --prompt TEXT   what stands before them
  --storage S     of the cache: float32 (default), float16, int8
  --no-peer       do not time the attention of a step in onnxruntime-web

The weights are random: the text means nothing, the speed does.`;

const SIZES = { layers: 4, width: 256, heads: 8, keyValueHeads: 2, seed: 7 };
const defaultPrompt = 'Attention is a soft dictionary lookup: '.repeat(12);

function readOptions() {
  const { values } = parseArgs({
    options: {
      tokens: { type: 'string', default: '200' },
      prompt: { type: 'string', default: defaultPrompt },
      storage: { type: 'string', default: 'float32' },
      'no-peer': { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  const tokens = Number(values.tokens);
  if (!Number.isInteger(tokens) || tokens < 1)
    throw new Error(`--tokens: expected an integer >= 1, got ${values.tokens}`);
  if (values.prompt === '') throw new Error('--prompt: expected some text, got none');
  if (!['float32', 'float16', 'int8'].includes(values.storage)) {
    throw new Error(`--storage: expected float32, float16 or int8, got ${values.storage}`);
  }
  return { ...values, tokens };
}

/** Letters for bytes: the printable ones of ASCII, a dot for the rest. */
const letter = (byte) => (byte >= 32 && byte < 127 ? String.fromCharCode(byte) : '·');

let options;
try {
  options = readOptions();
} catch (error) {
  console.error(error.message);
  process.exit(2);
}
if (options.help) {
  console.log(HELP);
  process.exit(0);
}

const runtime = await createRuntime();
const weights = randomWeights(SIZES);
const decoder = new Decoder(runtime, SIZES, weights, options.storage);
const prompt = [...new TextEncoder().encode(options.prompt)];
const { layers, width, heads, keyValueHeads } = SIZES;
console.log(
  `${layers} layers of ${width} channels, ${heads} query and ${keyValueHeads} key/value heads, random weights; ` +
    `build ${runtime.info.build}, cache ${options.storage}`,
);

let start = performance.now();
let scores = decoder.next(prompt);
const prefill = performance.now() - start;
console.log(`prompt: ${prompt.length} bytes in ${prefill.toFixed(1)} ms\n`);

const uniform = randomNumbers(11);
const times = [];
for (let i = 0; i < options.tokens; i++) {
  const byte = sample(scores, 0.8, (uniform(1, 1)[0] + 1) / 2);
  process.stdout.write(letter(byte));
  if (i % 72 === 71) process.stdout.write('\n');
  start = performance.now();
  scores = decoder.next([byte]);
  times.push(performance.now() - start);
}
times.sort((a, b) => a - b);
const step = times[times.length >> 1];
const past = decoder.cache.lengths()[0];
console.log(
  `\n\n${(1000 / step).toFixed(0)} tokens a second: ${step.toFixed(2)} ms a step at ${past} tokens`,
);
console.log(`cache: ${(decoder.cache.bytes / 1e6).toFixed(1)} MB`);
if (!options['no-peer']) {
  const { attentionSteps } = await import('./peer.mjs');
  console.log(await attentionSteps(decoder, weights, SIZES));
}
decoder.dispose();
runtime.dispose();
