// Settings of a config.json, read one by one, with an account of what was read: what nobody has read in the end, and what may
// change the result, is an error that names it. Touch: WITHOUT_EFFECT, the settings that change nothing in any family; those that
// change nothing in one family are that family's to name (`skip`).

import { AttentionError, describe, invalidArgument } from '../runtime/errors.js';
import type { Family } from './description.js';

/**
 * Settings that change no output, or only training, generation's habits, or what a library writes down for itself. A family that
 * needs one of them reads it: token ids, and whether a head is tied.
 */
const WITHOUT_EFFECT = new RegExp(
  [
    // What is written down for the library or the reader.
    '^_?(name_or_path|commit_hash|num_labels|attn_implementation(_autoset|_internal)?|experts_implementation)$',
    '^(model_type|architectures|transformers_version|transformers\\.js_config|torch_dtype|dtype|torchscript|auto_map)$',
    '^(id2label|label2id|problem_type|finetuning_task|task_specific_params|tokenizer_class|is_llama_config)$',
    '^(tie_word_embeddings|use_cache|cache_implementation|return_dict|output_.*|chunk_size_feed_forward|tf_legacy_loss|use_bfloat16)$',
    '^(sentence_transformers|sbert_.*|pretraining_tp|reference_compile|deterministic_flash_attn)$',
    // Training.
    '^(init(ializer)?_.*|.*drop.*|.*_prob|gradient_checkpointing|apply_spec_augment|mask_(time|feature)_.*)$',
    // Tokens and generation.
    '^(.*_token_ids?|max_(new_)?length|min_length|do_sample|early_stopping|num_beams|num_beam_groups|temperature|top_[kp])$',
    '^(typical_p|diversity_penalty|repetition_penalty|length_penalty|(encoder_)?no_repeat_ngram_size|bad_words_ids)$',
    '^(num_return_sequences|return_dict_in_generate|remove_invalid_values|exponential_decay_length_penalty|prefix)$',
    '^((begin_)?suppress_tokens|forced_decoder_ids|force_bos_token_to_be_generated)$',
  ].join('|'),
);

/** What may be read in place of `null`, or of a setting that is not there. */
type Settings = Readonly<Record<string, unknown>>;

/**
 * Reads a config. `null` counts as absent. Of names with `|` between them, which are one setting under several names, the first that
 * is there is read; another with another value is an error.
 *
 * @example
 * ```js
 * const family = {
 *   modelTypes: ['my_llama'],
 *   describe(config, names) {
 *     config.skip('trained_on'); // changes no result
 *     return llama.describe(config, names);
 *   },
 * };
 * const model = await loadModel({ ...myLlama, families: [family] }); // config, weights, runtime
 * model.parameterCount > 0; // true
 * ```
 */
export class ConfigReader {
  readonly #settings: Settings;
  readonly #path: string;
  readonly #ignored: readonly string[];
  readonly #read = new Set<string>();
  readonly #sections = new Map<string, ConfigReader>();

  /**
   * @param config what config.json holds
   * @param ignored settings that count as absent, whatever they say: `name`, or `section.name`
   * @param path what the config is called in errors
   */
  constructor(config: unknown, ignored: readonly string[] = [], path = 'config') {
    if (typeof config !== 'object' || config === null || Array.isArray(config)) {
      throw invalidArgument(path, 'an object of settings, as config.json holds', config);
    }
    if (!Array.isArray(ignored) || !ignored.every((name) => typeof name === 'string')) {
      throw invalidArgument('ignoreSettings', 'a list of names', ignored);
    }
    this.#settings = config as Settings;
    this.#ignored = ignored;
    this.#path = path;
  }

  /** Whether a setting is there and not null. Does not count as reading it. */
  has(names: string): boolean {
    return names.split('|').some((name) => this.#peek(name) !== undefined);
  }

  /** An integer. Without a fallback it has to be there. */
  integer(names: string, fallback?: number, least = 1, most = 2 ** 31 - 1): number {
    return this.#checked(names, fallback, `an integer from ${least} to ${most}`, (value): value is number => {
      return Number.isInteger(value) && (value as number) >= least && (value as number) <= most;
    });
  }

  /** A number above 0. */
  number(names: string, fallback?: number): number {
    return this.#checked(names, fallback, 'a finite number > 0', (value): value is number => {
      return typeof value === 'number' && Number.isFinite(value) && value > 0;
    });
  }

  /** A number above 0; undefined where the config says null, the fallback where it says nothing. */
  optional(name: string, fallback?: number): number | undefined {
    const isNull = Object.hasOwn(this.#settings, name) && this.#settings[name] === null;
    return this.has(name) || (fallback !== undefined && !isNull) ? this.number(name, fallback) : undefined;
  }

  /** True or false. Without a fallback it has to be there. */
  boolean(names: string, fallback?: boolean): boolean {
    return this.#checked(names, fallback, 'true or false', (value) => typeof value === 'boolean');
  }

  /** What a word stands for. Other words are unsupported. */
  choice<Meaning>(names: string, meanings: Readonly<Record<string, Meaning>>, fallback?: string): Meaning {
    const word = this.#checked(names, fallback, 'a string', (value) => typeof value === 'string');
    if (Object.hasOwn(meanings, word)) return meanings[word]!;
    throw this.unsupported(names, `one of ${Object.keys(meanings).join(', ')}`, word);
  }

  /** A list of words, if it is there. */
  words(name: string): readonly string[] | undefined {
    const isList = (value: unknown): value is string[] =>
      Array.isArray(value) && value.every((word) => typeof word === 'string');
    return this.has(name) ? this.#checked(name, undefined, 'a list of strings', isList) : undefined;
  }

  /** A number or a list of them, such as token ids or the sides of a picture. */
  integers(name: string, least = 0): readonly number[] {
    const value = this.#value(name);
    const list = (value === undefined ? [] : Array.isArray(value) ? value : [value]) as unknown[];
    if (list.every((item) => Number.isInteger(item) && (item as number) >= least)) return list as number[];
    throw invalidArgument(this.#pathOf(name), `an integer from ${least} or a list of them`, value);
  }

  /** Settings within one; those of the fallback where it is not there. */
  section(name: string, fallback: object): ConfigReader;
  section(name: string): ConfigReader | undefined;
  section(name: string, fallback?: object): ConfigReader | undefined {
    const known = this.#sections.get(name);
    const value = this.#value(name) ?? fallback;
    if (known || value === undefined) return known;
    const section = new ConfigReader(value, this.#ignored, this.#pathOf(name));
    this.#sections.set(name, section);
    return section;
  }

  /** A setting that may only have one of some values; absent is fine. */
  only(name: string, ...accepted: readonly unknown[]): void {
    const value = this.#value(name);
    if (value === undefined || accepted.includes(value)) return;
    const expected = accepted.length ? accepted.map(describe).join(' or ') : 'it not to be set';
    throw this.unsupported(name, expected, value);
  }

  /** Settings that change nothing in this family. */
  skip(...names: readonly string[]): void {
    for (const name of names) this.#read.add(name);
  }

  /** The error of a setting whose value makes sense, but not here. */
  unsupported(names: string, expected: string, received: unknown): AttentionError {
    const argument = this.#pathOf(this.#present(names));
    return new AttentionError({ code: 'UNSUPPORTED', argument, expected, received: describe(received) });
  }

  /** The error of a setting that does not fit others. */
  invalid(names: string, expected: string, received: unknown): AttentionError {
    return invalidArgument(this.#pathOf(this.#present(names)), expected, received);
  }

  /**
   * Throws if settings are left that nobody has read and that may change the result.
   *
   * @throws AttentionError UNSUPPORTED, which names all of them
   */
  finish(): void {
    const unread = this.#unread();
    if (unread.length === 0) return;
    const names = unread.map(([name]) => name.slice(this.#path.length + 1));
    const list = unread.map(([name, value]) => `${name} (${describe(value)})`).join(', ');
    const ignored = names.map((name) => `'${name.replaceAll("'", "\\'")}'`).join(', ');
    throw new AttentionError({
      code: 'UNSUPPORTED',
      argument: unread.map(([name]) => name).join(', '),
      message:
        `${list}: not known, and it may change the result; what changes nothing can be passed over with ` +
        `ignoreSettings: [${ignored}]`,
    });
  }

  #unread(): [name: string, value: unknown][] {
    const own = Object.keys(this.#settings)
      .filter((name) => !this.#read.has(name) && !WITHOUT_EFFECT.test(name))
      .map((name): [string, unknown] => [name, this.#peek(name)])
      .filter(([, value]) => !isNothing(value))
      .map(([name, value]): [string, unknown] => [this.#pathOf(name), value]);
    return [...own, ...[...this.#sections.values()].flatMap((section) => section.#unread())];
  }

  #checked<Type>(
    names: string,
    fallback: Type | undefined,
    expected: string,
    fits: (value: unknown) => value is Type,
  ): Type {
    const value = this.#value(names) ?? fallback;
    if (fits(value)) return value;
    throw invalidArgument(this.#pathOf(this.#present(names)), expected, value);
  }

  #value(names: string): unknown {
    const present = names.split('|').filter((name) => this.#peek(name) !== undefined);
    for (const name of names.split('|')) this.#read.add(name);
    const [first, ...others] = present;
    if (first === undefined) return undefined;
    const value = this.#peek(first);
    const other = others.find((name) => this.#peek(name) !== value);
    if (other === undefined) return value;
    throw invalidArgument(
      this.#pathOf(other),
      `the value of ${first}, ${describe(value)}`,
      this.#peek(other),
    );
  }

  /** A setting of its own, never one of a prototype. */
  #peek(name: string): unknown {
    if (!Object.hasOwn(this.#settings, name)) return undefined;
    const path = this.#pathOf(name);
    if (this.#ignored.includes(path.slice(path.indexOf('.') + 1))) return undefined;
    return this.#settings[name] ?? undefined;
  }

  /** The first of names for one setting that is there, or the first. */
  #present(names: string): string {
    const all = names.split('|');
    return all.find((name) => this.has(name)) ?? all[0]!;
  }

  #pathOf(name: string): string {
    return `${this.#path}.${name}`;
  }
}

/** What says of an unknown setting that it is off. */
function isNothing(value: unknown): boolean {
  if (typeof value === 'object' && value !== null) return Object.keys(value).length === 0;
  return value === undefined || value === false;
}

/**
 * The family of a config.
 *
 * @throws AttentionError UNSUPPORTED where none of them knows its model_type, INVALID_ARGUMENT where it has none
 */
export function findFamily(config: ConfigReader, families: readonly Family[]): Family {
  const known = families.flatMap(({ modelTypes }) => modelTypes.map((type) => [type, type]));
  const type = config.choice('model_type', Object.fromEntries(known) as Record<string, string>);
  return families.find(({ modelTypes }) => modelTypes.includes(type))!;
}
