// examples/chat, run as a user runs it, with a model of random weights whose tokens are letters.

import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { loadModel } from 'wasm-attention/model';
import { installExample, removeExamples } from '../support/example.mjs';
import { byteTokenizer, writeModel } from '../support/model-folders.js';

const folder = installExample('chat');
afterAll(removeExamples);

interface LanguageFile {
  Language: new (tokenizer: unknown, settings: unknown, options: object) => object;
  Writer: new (language: object) => { push(token: number): string; readonly text: string };
}
const { Language, Writer } = (await import(pathToFileURL(join(folder, 'language.mjs')).href)) as LanguageFile;

const LLAMA = join(folder, 'a-llama');
const TEMPLATE =
  "{% for message in messages %}{{ '<|' + message.role + '|>' + message.content }}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}";
const SPECIAL = ['<|user|>', '<|assistant|>'];
const tokenizer = byteTokenizer(SPECIAL, 128);
const config = { vocab_size: 130 };
writeModel(LLAMA, 'llama', { config, files: tokenizer });
const settings = { ...(tokenizer['tokenizer_config.json'] as object), chat_template: TEMPLATE };
writeModel(join(folder, 'an-assistant'), 'llama', {
  config,
  files: { ...tokenizer, 'tokenizer_config.json': settings },
});
writeModel(join(folder, 'a-bert'), 'bert', { files: tokenizer });
writeModel(join(folder, 'no-tokenizer'), 'llama');
writeModel(join(folder, 'a-t5'), 't5', { config, files: tokenizer });
writeModel(join(folder, 'damaged'), 'llama', { config, files: tokenizer });
writeFileSync(
  join(folder, 'damaged/model.safetensors'),
  readFileSync(join(LLAMA, 'model.safetensors')).subarray(0, 999),
);

function chat(args: string[], input = '') {
  const { stdout, stderr, status } = spawnSync(process.execPath, ['main.mjs', ...args], {
    cwd: folder,
    input,
    encoding: 'utf8',
  });
  return { stdout, stderr, status };
}

/** What the model says after some tokens, as the program shows it. */
async function expectedAnswer(ids: number[], count: number): Promise<{ text: string; tokens: number[] }> {
  const file = (name: string) => readFileSync(join(LLAMA, name));
  const model = await loadModel({
    config: JSON.parse(file('config.json').toString()),
    weights: file('model.safetensors'),
  });
  const tokens: number[] = [];
  for await (const step of model.generate({ inputIds: ids }, { maxNewTokens: count }))
    tokens.push(step.tokens[0]!);
  model.dispose();
  const text = Buffer.from(tokens.filter((token) => token < 128)).toString();
  return { text, tokens };
}

const bytesOf = (text: string) => [...Buffer.from(text)];
/** What a terminal would take as a command is left out. */
const shown = (text: string) => text.replaceAll(/[^ -~]/g, '');

describe('a completion', () => {
  it('is that of the model, and the model is told of before', async () => {
    const { stdout, stderr, status } = chat([
      LLAMA,
      'What is attention?',
      '--temperature',
      '0',
      '--tokens',
      '20',
    ]);
    expect(status, stderr).toBe(0);
    expect(stderr).toMatch(/^a-llama: llama, [\d.]+ k parameters; [\d.]+ kB to read, [\d.]+ kB in memory\n/);
    expect(stderr).toMatch(/\n18 tokens read in [\d.]+ s, 20 written in [\d.]+ s, [\d.]+ tokens a second\n$/);
    const { text } = await expectedAnswer(bytesOf('What is attention?'), 20);
    expect(shown(stdout)).toBe(shown(text));
    expect(shown(text).length).toBeGreaterThan(3);
  });

  it('is the same by the same seed, and says which', () => {
    const ask = (...args: string[]) => chat([LLAMA, 'On', '--tokens', '30', '--temperature', '1.5', ...args]);
    const first = ask('--seed', '5');
    expect(first.stderr).toMatch(/; seed 5\n$/);
    expect(ask('--seed', '5').stdout).toBe(first.stdout);
    expect(ask('--seed', '6').stdout).not.toBe(first.stdout);
    const { stderr, stdout } = ask();
    const [, seed] = /; seed (\d+)\n$/.exec(stderr)!;
    expect(ask('--seed', seed!).stdout).toBe(stdout);
  });

  it('is that of an encoder with a decoder, too', () => {
    const { stderr, status } = chat(['a-t5', 'translate', '--tokens', '5', '--temperature', '0']);
    expect(status, stderr).toBe(0);
    expect(stderr).toMatch(/^a-t5: t5, /);
  });
});

it('writes characters when they are whole', () => {
  const files = byteTokenizer([]);
  const writer = new Writer(new Language(files['tokenizer.json'], files['tokenizer_config.json'], {}));
  const pieces = bytesOf('né €😀\u001b[2J').map((byte) => writer.push(byte));
  expect(pieces).toEqual(['n', '', 'é', ' ', '', '', '€', '', '', '', '😀', '', '[', '2', 'J']);
  expect(writer.text).toBe('né €😀\u001b[2J');
});

describe('a conversation', () => {
  it('is read as the template has it, and what was read is not read again', async () => {
    const args = ['an-assistant', '--temperature', '0', '--tokens', '6'];
    const { stdout, stderr, status } = chat(args, 'Hello\n\nAnd you?\n');
    expect(status, stderr).toBe(0);
    const [user, assistant] = [128, 129];
    const first = [user, ...bytesOf('Hello'), assistant];
    const one = await expectedAnswer(first, 6);
    // Special tokens are gone from it.
    const answer = bytesOf(one.text);
    const second = [...first, ...answer, user, ...bytesOf('And you?'), assistant];
    const two = await expectedAnswer(second, 6);
    expect(shown(stdout)).toBe(shown(one.text + two.text));
    expect(stderr).toContain(`\n${first.length} tokens read`);
    expect(stderr).toContain(`\n${second.length} tokens read`);
  });

  it('is none where the template is not wanted', async () => {
    const { stdout } = chat(['an-assistant', 'Hello', '--raw', '--temperature', '0', '--tokens', '6']);
    expect(shown(stdout)).toBe(shown((await expectedAnswer(bytesOf('Hello'), 6)).text));
  });
});

describe('what cannot be', () => {
  it('says what to download, and how large it is', () => {
    const { stderr, status } = chat([]);
    expect(status).toBe(2);
    expect(stderr).toMatch(/SmolLM2-135M-Instruct.*\n271 MB/);
    expect(chat(['--help'])).toMatchObject({ status: 0, stderr: '' });
  });

  it.each([
    [['nowhere', 'Hi'], 2, 'there is no folder nowhere'],
    [['main.mjs', 'Hi'], 2, 'main.mjs is a file'],
    [['a-llama', 'Hi', 'there'], 2, '"there" is too much'],
    [['a-llama', ' '], 2, 'the prompt is empty'],
    [['a-llama', 'Hi', '--temperature', 'hot'], 2, '--temperature takes a number from 0 to 100'],
    [['a-llama', 'Hi', '--tokens', '1.5'], 2, '--tokens takes a whole number'],
    [['a-llama', 'Hi', '--loud'], 2, '--loud'],
    [['no-tokenizer', 'Hi'], 1, 'no-tokenizer has no tokenizer.json'],
    [['a-bert', 'Hi'], 1, 'config.model_type'],
    [['damaged', 'Hi'], 1, 'safetensors'],
    [['node_modules', 'Hi'], 1, 'no tokenizer.json'],
  ])('%j', (args, code, line) => {
    const { stdout, stderr, status } = chat(args);
    expect(stderr).toContain(line);
    expect(stderr.trim().split('\n').length, stderr).toBe(1);
    expect(stderr.startsWith('chat: ')).toBe(true);
    expect({ stdout, status }).toEqual({ stdout: '', status: code });
  });
});
