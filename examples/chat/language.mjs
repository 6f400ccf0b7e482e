// Text to tokens and back, as the model's own files have it: its tokenizer, and its template for conversations.

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Template } from '@huggingface/jinja';
import { Tokenizer } from '@huggingface/tokenizers';

/** A folder without a language that can be used: one line, exit code 1. */
export class FolderError extends Error {}

/** What a terminal would take as a command. */
// eslint-disable-next-line no-control-regex
const CONTROLS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g;

/** @typedef {{ role: 'user' | 'assistant', content: string }} Message */

export class Language {
  /** @param {string} folder @param {boolean} isRaw  without the template */
  static async of(folder, isRaw) {
    const [tokenizer, settings, template] = await Promise.all([
      readText(folder, 'tokenizer.json'),
      readText(folder, 'tokenizer_config.json'),
      readText(folder, 'chat_template.jinja'),
    ]);
    if (tokenizer === undefined) throw new FolderError(`${folder} has no tokenizer.json`);
    const given = parse('tokenizer.json', tokenizer);
    const known = parse('tokenizer_config.json', settings ?? '{}');
    try {
      return new Language(given, known, { template, isRaw });
    } catch (error) {
      throw new FolderError(`the tokenizer or the template cannot be used (${error.message})`);
    }
  }

  constructor(tokenizer, settings, { template, isRaw }) {
    this.tokenizer = new Tokenizer(tokenizer, settings);
    this.settings = settings;
    const text = isRaw ? undefined : (template ?? templateOf(settings.chat_template));
    this.template = text === undefined ? undefined : new Template(text);
  }

  /** Tokens of what the model goes on with. @param {Message[]} messages @returns {number[]} */
  encode(messages) {
    if (!this.template) return this.tokenizer.encode(messages.at(-1).content).ids;
    const special = (name) => this.settings[name]?.content ?? this.settings[name] ?? '';
    const text = this.template.render({
      messages,
      add_generation_prompt: true,
      bos_token: special('bos_token'),
      eos_token: special('eos_token'),
    });
    return this.tokenizer.encode(text, { add_special_tokens: false }).ids;
  }

  /** @param {number[]} tokens */
  decode(tokens) {
    return this.tokenizer.decode(tokens, { skip_special_tokens: true });
  }
}

/** The text of tokens that come one by one: a character may take several. */
export class Writer {
  #tokens = [];
  #written = 0;

  /** @param {Language} language */
  constructor(language) {
    this.language = language;
  }

  /** All that has come. */
  get text() {
    return this.language.decode(this.#tokens);
  }

  /** What can be shown since the last time, harmless to a terminal. @param {number} token */
  push(token) {
    this.#tokens.push(token);
    const { text } = this;
    // Characters that are not whole yet end in this mark.
    const whole = text.endsWith('\ufffd') ? text.slice(0, -1) : text;
    const more = whole.slice(this.#written);
    this.#written = Math.max(this.#written, whole.length);
    return more.replace(CONTROLS, '');
  }
}

/** One template, or the default one of several. */
function templateOf(given) {
  if (!Array.isArray(given)) return given;
  return given.find(({ name }) => name === 'default')?.template;
}

/** @param {string} folder @param {string} name */
async function readText(folder, name) {
  return readFile(join(folder, name), 'utf8').catch((error) => {
    if (error.code === 'ENOENT') return undefined;
    throw new FolderError(`${name} cannot be read (${error.message})`);
  });
}

function parse(name, text) {
  try {
    return JSON.parse(text);
  } catch {
    throw new FolderError(`${name} is no JSON`);
  }
}
