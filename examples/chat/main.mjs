// A chat with a language model from a folder. See `node main.mjs --help`.

import { openAsBlob } from 'node:fs';
import { stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { AttentionError } from 'wasm-attention';
import {
  bart,
  bloom,
  gemma2,
  gemma3,
  gpt2,
  gptNeox,
  gptj,
  llama,
  loadModel,
  measureModel,
  mistral,
  olmo2,
  opt,
  phi,
  qwen2,
  qwen3,
  t5,
} from 'wasm-attention/model';
import { HELP, NO_FOLDER, parseArguments, UsageError } from './arguments.mjs';
import { Conversation } from './conversation.mjs';
import { FolderError, Language, Writer } from './language.mjs';

/** Those that write text; of others the folder is refused before anything is read. */
const FAMILIES = [
  ...[bart, bloom, gemma2, gemma3, gpt2, gptNeox, gptj, llama],
  ...[mistral, olmo2, opt, phi, qwen2, qwen3, t5],
];

// A reader that has seen enough (`| head`) closes the pipe: not a failure.
process.stdout.on('error', (error) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(0);
});

try {
  await main();
} catch (error) {
  const isUse = error instanceof UsageError;
  if (!isUse && !(error instanceof FolderError) && !(error instanceof AttentionError)) throw error;
  console.error(`chat: ${error.message}`);
  process.exitCode = isUse ? 2 : 1;
}

async function main() {
  const options = parseArguments(process.argv.slice(2));
  if (options.help) return console.log(HELP);
  if (options.folder === undefined) {
    console.error(NO_FOLDER);
    process.exitCode = 2;
    return;
  }
  await checkFolder(options.folder);
  const language = await Language.of(options.folder, options.raw);
  const model = await load(options);
  try {
    await talk(model, language, options);
  } finally {
    model.dispose();
  }
}

/** @param {string} folder */
async function checkFolder(folder) {
  const found = await stat(folder).catch(() => undefined);
  if (!found) throw new UsageError(`there is no folder ${folder}`);
  if (!found.isDirectory()) throw new UsageError(`${folder} is a file: name the folder of a model`);
}

/** @param {import('./arguments.mjs').Options} options */
async function load({ folder, threads }) {
  const files = {
    folder: (name) => openAsBlob(join(folder, name)),
    families: FAMILIES,
  };
  const { family, parameterCount, fileBytes, memoryBytes } = await measureModel(files);
  console.error(
    `${basename(resolve(folder))}: ${family}, ${amount(parameterCount, '')} parameters; ` +
      `${amount(fileBytes, 'B')} to read, ${amount(memoryBytes, 'B')} in memory`,
  );
  const onProgress = process.stderr.isTTY
    ? ({ done, total }) => process.stderr.write(`\rloading ${Math.round((100 * done) / total)} %\x1b[K`)
    : undefined;
  const model = await loadModel({ ...files, runtimeOptions: { threads }, onProgress });
  if (onProgress) process.stderr.write('\r\x1b[K');
  return model;
}

/** One prompt, or line by line. */
async function talk(model, language, options) {
  const conversation = new Conversation(model);
  const messages = [];
  const say = async (content, signal) => {
    messages.push({ role: 'user', content });
    const answer = await reply(conversation, language, messages, { ...options, signal });
    messages.push({ role: 'assistant', content: answer });
  };
  try {
    if (options.prompt === undefined) await talkLineByLine(say);
    else await say(options.prompt);
  } finally {
    conversation.dispose();
  }
}

/** Ctrl+C ends an answer, or the program where there is none. */
async function talkLineByLine(say) {
  const { isTTY } = process.stdin;
  const lines = createInterface({
    input: process.stdin,
    output: isTTY ? process.stderr : undefined,
    prompt: '> ',
  });
  let control;
  lines.on('SIGINT', () => (control ? control.abort() : lines.close()));
  if (isTTY) lines.prompt();
  for await (const line of lines) {
    control = new AbortController();
    if (line.trim() !== '') await say(line, control.signal);
    control = undefined;
    if (isTTY) lines.prompt();
  }
}

/** Shows the answer as it comes, and returns it. */
async function reply(conversation, language, messages, { tokens, temperature, topP, seed, signal }) {
  const ids = language.encode(messages);
  const writer = new Writer(language);
  const start = performance.now();
  let first = start;
  let count = 0;
  const chance = temperature > 0 ? { topP, seed } : {};
  try {
    const asked = { maxNewTokens: tokens, temperature, ...chance, signal };
    for await (const token of conversation.goOn(ids, asked)) {
      if (count++ === 0) first = performance.now();
      process.stdout.write(writer.push(token));
    }
  } catch (error) {
    if (!signal?.aborted) throw error;
  }
  process.stdout.write('\n');
  const end = performance.now();
  const seconds = (from, to) => `${((to - from) / 1000).toFixed(2)} s`;
  const speed = ((1000 * (count - 1)) / (end - first)).toFixed(1);
  console.error(
    [
      `${ids.length} tokens read in ${seconds(start, first)}, ${count} written in ${seconds(first, end)}`,
      ...(count > 1 ? [`, ${speed} tokens a second`] : []),
      ...(temperature > 0 ? [`; seed ${seed}`] : []),
    ].join(''),
  );
  return writer.text;
}

/** Such as 269 MB. @param {number} count @param {string} unit */
function amount(count, unit) {
  const steps = [
    [1e9, ' G'],
    [1e6, ' M'],
    [1e3, ' k'],
    [1, ' '],
  ];
  const [size, prefix] = steps.find(([least]) => count >= least) ?? [1, ' '];
  return `${(count / size).toPrecision(3)}${prefix}${unit}`.trimEnd();
}
