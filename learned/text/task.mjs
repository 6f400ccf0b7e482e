// A small GPT-2 learns to write like a book: model, settings, measures, and the text that it writes at the end. Runs in pages too.

import { gpt2 } from 'wasm-attention/model';
import { AdamW, cosine, evaluate, linearWarmup } from 'wasm-attention/training';

import { BATCH, config, LENGTH } from './config.mjs';
import { allWindows, randomWindows, splitBook } from './data.mjs';
import { learnMerges, Tokenizer } from './tokenizer.mjs';

/** @typedef {import('wasm-attention/model').Model} Model @typedef {import('./book.mjs').Chapter} Chapter */

const STEPS = 1000;
const WARMUP = 50;

/** Of AdamW. Biases and norms do not decay. */
export const OPTIMIZER = {
  learningRate: linearWarmup(cosine(3e-3, { steps: STEPS - WARMUP, least: 1.5e-4 }), { steps: WARMUP }),
  betas: /** @type {const} */ ([0.9, 0.99]),
  epsilon: 1e-8,
  weightDecay: 0.1,
  groups: [{ match: /bias|ln_/, weightDecay: 0 }],
};

/** What is watched: that the next token is among so many. */
const FIRST = 10;
const NEXT = `next token among the first ${FIRST}`;

/** How the model is asked for the next token: of the likely ones, and always the same. */
const SAMPLING = { temperature: 0.7, topP: 0.9, seed: 1 };
const WRITTEN = 300;
const PROMPT = 'Call me Ishmael.';

/**
 * @param {readonly Chapter[]} book
 * @returns {import('../tasks.mjs').Task & { tokenizer: Tokenizer, heldOut: ReturnType<typeof allWindows> }}
 */
export function makeTask(book) {
  const { learnt, heldOut } = splitBook(book);
  const tokenizer = new Tokenizer(learnMerges(learnt, config.vocab_size));
  const [tokens, unseen] = [learnt, heldOut].map((text) => Int32Array.from(tokenizer.encode(text)));
  const sizes = { batch: BATCH, length: LENGTH };
  const batches = allWindows(unseen, sizes);
  /** Of a character of what is held out, in bits. */
  const bitsOf = (/** @type {number} */ loss) => (loss / Math.LN2) * (unseen.length / heldOut.length);
  return {
    name: 'text',
    title: `Text: a decoder learns to write like Moby Dick (${tokens.length.toLocaleString('en')} tokens of it)`,
    config,
    families: [gpt2],
    seed: 1,
    steps: STEPS,
    settings: { optimizer: (learner) => new AdamW(learner, OPTIMIZER) },
    data: (_step, random) => randomWindows(tokens, random, sizes),
    watch: {
      label: NEXT,
      bar: 0.4,
      every: 25,
      value: (model) => shareAmongFirst(model, batches.slice(0, 2)),
    },
    async measure(model) {
      const { loss } = await evaluate(model, batches);
      return {
        [`${NEXT}, chapters held out`]: { value: await shareAmongFirst(model, batches), bar: 0.4 },
        'nats a token, chapters held out': { value: loss, bar: 4.9, isLess: true },
        'bits a character, chapters held out': { value: bitsOf(loss), bar: 2.35, isLess: true },
      };
    },
    async *write(model, prompt = PROMPT) {
      // A short text makes fewer tokens than the model has.
      const onLogits = (/** @type {Float32Array} */ logits) => logits.fill(-Infinity, tokenizer.size);
      const options = { ...SAMPLING, maxNewTokens: WRITTEN, contextEnd: 'slide', stopTokens: [], onLogits };
      yield prompt;
      const inputIds = [tokenizer.encode(prompt).slice(-LENGTH)];
      yield* textOf(model.generate({ inputIds }, options), tokenizer);
    },
    hashes: {
      20: 'dd3f4ba1b1e08b84222da9e7bffdf4f7aa9c468d18628164a38df742e7c3c49a',
      1000: '92a954f7a2b0a77a6c6c674a3a1027c3e645d2737dd3e66d6604a525c546e5e8',
    },
    tokenizer,
    heldOut: batches,
  };
}

/**
 * How often the next token is among the ten that the model finds most probable.
 *
 * @param {Model} model @param {ReturnType<typeof allWindows>} batches
 */
async function shareAmongFirst(model, batches) {
  let [right, count] = [0, 0];
  for (const { inputs, labels } of batches) {
    const output = await model.forwardAsync(inputs);
    const { data } = output.logits;
    labels.forEach((label, row) => {
      const logits = data.subarray(row * config.vocab_size, (row + 1) * config.vocab_size);
      const likelier = logits.reduce((sum, logit) => sum + (logit > logits[label] ? 1 : 0), 0);
      if (likelier < FIRST) right++;
    });
    count += labels.length;
    output.dispose();
  }
  return right / count;
}

/** Whole characters as soon as they are there. @param {AsyncIterable<{ tokens: readonly number[] }>} steps @param {Tokenizer} tokenizer */
async function* textOf(steps, tokenizer) {
  /** @type {number[]} */
  let waiting = [];
  for await (const { tokens } of steps) {
    waiting.push(tokens[0]);
    const text = tokenizer.decode(waiting);
    if (text.endsWith('\ufffd') && waiting.length < 4) continue;
    yield text;
    waiting = [];
  }
  if (waiting.length > 0) yield tokenizer.decode(waiting);
}
