// What is learnt of pronouns: the grammar against a reading of its sentences that knows nothing of it, the weights that are kept, the
// first steps of the training that makes them, and what the terminal shows of it.

import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createRuntime } from 'wasm-attention';
import type { Runtime } from 'wasm-attention';
import { loadModel, model as modelPack } from 'wasm-attention/model';
import type { Model } from 'wasm-attention/model';
import { initialWeights, Random, train, Trainable, training as trainingPack } from 'wasm-attention/training';
import { FRAMES } from '../../learned/pronouns/frames.mjs';
import { drawOf, drawSentence, drawTwins, isHeldOut, kindOf } from '../../learned/pronouns/grammar.mjs';
import { VOCABULARY } from '../../learned/pronouns/lexicon.mjs';
import { HEAD, placeOfLargest, read } from '../../learned/pronouns/reading.mjs';
import {
  accuracyOf,
  headThatResolves,
  sentencesToTry,
  task,
  turnsOf,
  twinsToTry,
  weightInText,
  weightsOnTheMeant,
} from '../../learned/pronouns/task.mjs';
import { MAXIMUM_WORDS, parseSentence, SentenceError } from '../../learned/pronouns/text.mjs';
import { learned } from '../../examples/lookup/learned.mjs';
import { Style } from '../../examples/lookup/style.mjs';
import { hashOfWeights } from '../../learned/weights.mjs';

const FOLDER = fileURLToPath(new URL('../../learned/pronouns/', import.meta.url));
const PROGRAM = fileURLToPath(new URL('../../examples/lookup/main.mjs', import.meta.url));

// What the reading below knows of English, apart from the lexicon.
const set = (words: string) => new Set(words.split(' '));
const MEN = set(
  'Mark Sam John Tom Paul Peter David James Adam Simon Henry Daniel man boy king uncle monk waiter prince actor',
);
const WOMEN = set(
  'Mary Anna Lucy Jane Emma Sarah Julia Kate Alice Laura Helen Nora woman girl queen aunt nun waitress princess actress',
);
const THINKING = set('said thought believed knew claimed');
const CONTROLLED_BY_SUBJECT = set('promised vowed swore');
const ALIVE = set('animal dog horse cat fox donkey camel cow goat tortoise elephant bear');
const HERD = set('animals dogs horses cats foxes donkeys camels cows goats bears');
const PLACES = set('street road river stream lake valley field bridge hill mountain slope');
const THINGS = set('trophy lamp violin painting helmet umbrella doll guitar globe statue');
const CONTAINERS = set('suitcase box drawer bag basket cupboard chest backpack');
const BREAKERS = set('stone hammer brick rock ball bullet');
const BROKEN = set('window vase mirror plate bottle jar');
/** Of which nouns something is said. */
const SAID_OF: readonly (readonly [Set<string>, Set<string>])[] = [
  [set('tired weak old lazy sick frightened thirsty sleepy'), ALIVE],
  [set('wide busy icy muddy deep shaky steep'), PLACES],
  [set('big large bulky long thick'), THINGS],
  [set('small tiny short tight narrow'), CONTAINERS],
  [set('heavy hard solid massive'), BREAKERS],
  [set('fragile thin delicate brittle'), BROKEN],
];

const isHuman = (word: string) => MEN.has(word) || WOMEN.has(word);

/** Places of people who may be meant: all but one who tells the rest, as Anna in "Anna said that Mark promised Sam to leave". */
function peopleIn(words: readonly string[]): number[] {
  const people = words.flatMap((word, place) => (isHuman(word) ? [place] : []));
  const [first = -1] = people;
  const isToldBy = first === 0 && THINKING.has(words[1]!) && words[2] === 'that';
  return isToldBy && !isPronoun(words[3]!) && !words.includes('had') ? people.slice(1) : people;
}

function isPronoun(word: string): boolean {
  return ['he', 'she', 'it', 'they', 'him', 'her', 'himself', 'herself'].includes(word);
}

/** What a word refers to by the rules of grammar, without frames: the place of the word that is meant. */
function meant(words: readonly string[], from: number): number {
  const word = words[from]!;
  const people = peopleIn(words);
  const [x = -1, y = -1] = people;
  const controller = words.some((each) => CONTROLLED_BY_SUBJECT.has(each)) || y < 0 ? x : y;
  const place = (kind: Set<string>) => words.findIndex((each) => kind.has(each));
  if (word === 'they') return place(HERD);
  if (word === 'it') {
    if (place(HERD) >= 0) return place(ALIVE);
    const [, nouns] = SAID_OF.find(([states]) => words.some((each) => states.has(each)))!;
    return place(nouns);
  }
  if (word === 'he' || word === 'she') {
    const fitting = people.filter((each) => (word === 'he' ? MEN : WOMEN).has(words[each]!));
    return fitting.length === 1 || !words.includes('asked') ? fitting[0]! : fitting[1]!;
  }
  if (isPronoun(word)) {
    const doer = words.includes('had') ? y : controller; // of what is done to somebody
    return word.endsWith('self') ? doer : doer === x ? y : x;
  }
  if (words[from - 1] === 'to') return controller;
  // A gerund: after "for" and "from" it is the other's doing, but for what one apologises for.
  const isOthers = words[from - 1] === 'from' || (words[from - 1] === 'for' && !words.includes('apologised'));
  return isOthers ? y : x;
}

describe('the grammar', () => {
  const random = new Random(5);
  const sentences = Array.from({ length: 4000 }, () => drawSentence(random));

  test('gives the answers that follow from the words', () => {
    for (const { words, references } of sentences)
      for (const { from, to } of references)
        expect(words[meant(words, from)], words.join(' ')).toBe(words[to]);
  });

  test('has every frame, thousands of sentences, and no word that its vocabulary lacks', () => {
    expect(new Set(sentences.map(({ frame }) => frame))).toEqual(new Set(FRAMES.map(({ name }) => name)));
    expect(new Set(sentences.map(({ words }) => words.join(' '))).size).toBeGreaterThan(3900);
    const used = new Set(sentences.flatMap(({ words }) => words));
    expect([...used].filter((word) => !VOCABULARY.includes(word))).toEqual([]);
    expect(VOCABULARY.length).toBe(new Set(VOCABULARY).size);
    expect(Math.max(...sentences.map(({ words }) => words.length))).toBeLessThanOrEqual(MAXIMUM_WORDS);
  });

  test('twins differ in what decides: one means the one, the other the other', () => {
    for (let i = 0; i < 500; i++) {
      const twins = drawTwins(random);
      if (twins.length === 1) continue;
      const [first, second] = twins.map(({ words, references }) => words[references.at(-1)!.to]);
      expect(first).not.toBe(second);
    }
  });

  test('lets none of the pairs that are held out meet in what is learned from', () => {
    const learned = Array.from({ length: 6000 }, () => drawOf(random, 'learned').words);
    const heldOut = Array.from({ length: 2000 }, () => drawOf(random, 'heldOut').words);
    const pairsOf = (words: readonly string[]) => {
      const [x, y] = peopleIn(words).map((place) => words[place]!);
      const things = words.filter((word) => SAID_OF.some(([, nouns]) => nouns.has(word)));
      const told = words.filter((word) => SAID_OF.some(([states]) => states.has(word)));
      return [
        ...(x && y ? [`${x} ${y}`] : []),
        ...(things.length === 2 && told.length === 1
          ? things
              .filter((_, i) =>
                SAID_OF.some(([states, nouns]) => states.has(told[0]!) && nouns.has(things[i]!)),
              )
              .map((thing) => `${thing} ${told[0]}`)
          : []),
      ];
    };
    const met = new Set(learned.flatMap(pairsOf));
    expect(met.size).toBeGreaterThan(900);
    expect([...met].filter(isHeldOut)).toEqual([]);
    const unmet = new Set(heldOut.flatMap(pairsOf).filter(isHeldOut));
    expect(unmet.size).toBeGreaterThan(100);
    const together = (a: string, b: string) => (words: readonly string[]) =>
      words.includes(a) && words.includes(b);
    for (const [a, b] of [
      ['Mark', 'Sam'],
      ['animal', 'street'],
    ] as const) {
      expect(learned.filter(together(a, b))).toEqual([]);
      expect(heldOut.some(together(a, b))).toBe(true);
    }
  });

  test('keeps sentences to be tried from being learned from', () => {
    const learned = new Set(Array.from({ length: 5000 }, () => drawOf(random, 'learned').words.join(' ')));
    for (const kind of ['unseen', 'heldOut'] as const)
      for (const sentence of sentencesToTry(kind, 500)) {
        expect(kindOf(sentence)).toBe(kind);
        expect(learned.has(sentence.words.join(' '))).toBe(false);
      }
  });
});

describe('a sentence as somebody writes it', () => {
  test.each([
    ['Sam promised Mary to leave', ['leave']],
    ['THE ANIMAL didn\u2019t cross the street, because it was too tired!', ['it']],
    ['mark promised sam to defend himself.', ['defend', 'himself']],
    ['Before leaving, Mark thanked Anna.', ['leaving']],
    ['Mark told Sam that he was leaving.', ['he']],
  ])('%s', (text, referring) => {
    const { words, written, references } = parseSentence(text);
    expect(references.map(({ from }) => words[from])).toEqual(referring);
    expect(written.length).toBe(words.length);
    expect(words.every((word) => VOCABULARY.includes(word))).toBe(true);
    expect(words.at(-1)).toBe('.');
  });

  test('has the references of the grammar', () => {
    const random = new Random(9);
    for (let i = 0; i < 2000; i++) {
      const { words, references } = drawSentence(random);
      expect(parseSentence(words.join(' ')).references.map(({ from }) => from)).toEqual(
        references.map(({ from }) => from),
      );
    }
  });

  test.each([
    ['Bob told the dragon that he was leaving', /^the model does not know "Bob", "dragon": the \d+ words/],
    ['[pad] told Sam that he was leaving', /does not know "\[pad\]"/],
    ['Mark was tired', /^no word of the sentence refers to another/],
    [`Mark said that he was ${'very '.repeat(30)}tired`, /has 37 words and marks, and the model reads 32/],
  ])('%s', (text, message) => {
    expect(() => parseSentence(text)).toThrow(SentenceError);
    expect(() => parseSentence(text)).toThrow(message);
  });
});

describe('the weights that are kept', () => {
  let runtime: Runtime;
  let model: Model;
  beforeAll(async () => {
    runtime = await createRuntime({ build: 'simd', packs: [modelPack, trainingPack] });
    const config = JSON.parse(readFileSync(`${FOLDER}config.json`, 'utf8')) as object;
    model = await loadModel({ config, weights: readFileSync(`${FOLDER}model.safetensors`), runtime });
    expect(config).toEqual(task.config);
  });
  afterAll(() => {
    runtime.dispose();
  });

  test('are those of the training on record', async () => {
    const learner = new Trainable(model);
    expect(await hashOfWeights(learner)).toBe(task.hashes[task.steps]);
    learner.dispose();
  });

  test('reach what they have to, on other sentences than those of the card', () => {
    const seed = 77;
    expect(accuracyOf(model, sentencesToTry('unseen', 1000, seed))).toBeGreaterThan(0.98);
    const heldOut = sentencesToTry('heldOut', 1000, seed);
    expect(accuracyOf(model, heldOut)).toBeGreaterThan(0.95);
    expect(weightsOnTheMeant(model, heldOut)[HEAD.layer]![HEAD.head]).toBeGreaterThan(0.5);
    expect(turnsOf(model, HEAD, twinsToTry(300, seed))).toBeGreaterThan(0.95);
  });

  test('have the measures that the card tells, each above its bar', async () => {
    const card = readFileSync(`${FOLDER}README.md`, 'utf8');
    for (const [name, { value, bar }] of Object.entries(await task.measure(model))) {
      expect(value, name).toBeGreaterThan(bar);
      expect(card, name).toMatch(
        new RegExp(`\\| ${value.toFixed(4).replace('.', '\\.')} +\\| +> ${bar} +\\|`),
      );
    }
    for (const hash of Object.values(task.hashes)) expect(card).toContain(hash);
    const weights = weightsOnTheMeant(model, sentencesToTry('heldOut', 1000));
    for (const [layer, heads] of weights.entries())
      expect(card).toContain(
        `| layer ${layer + 1} | ${heads.map((weight) => weight.toFixed(3).padStart(6)).join(' | ')} |`,
      );
  });

  test('resolve references in the second layer, most surely in the head on record', () => {
    const weights = weightsOnTheMeant(model, sentencesToTry('heldOut', 1000));
    expect(headThatResolves(weights)).toEqual(HEAD);
    expect(weights.map((heads) => heads.map((weight) => weight > 0.5))).toEqual([
      [false, false, false, false],
      [true, true, true, true],
    ]);
  });

  test('reach it in every frame', () => {
    const sentences = sentencesToTry('heldOut', 1500, 78);
    for (const { name } of FRAMES) {
      const own = sentences.filter(({ frame }) => frame === name);
      expect(own.length, name).toBeGreaterThan(10);
      expect(accuracyOf(model, own), name).toBeGreaterThan(0.9);
    }
  });

  test.each([
    ['Mark told Sam that he was leaving.', 'Mark'],
    ['Mark asked Sam whether he was leaving.', 'Sam'],
    ['Mark told Mary that he was leaving.', 'Mark'],
    ['Mark told Mary that she was leaving.', 'Mary'],
    ["The animal didn't cross the street because it was too tired.", 'animal'],
    ["The animal didn't cross the street because it was too wide.", 'street'],
    ['Mark promised Sam to leave.', 'Mark'],
    ['Mark persuaded Sam to leave.', 'Sam'],
    ['Sam promised Mary to leave', 'Sam'],
    ['Mark said that Sam had hurt him.', 'Mark'],
    ['Mark said that Sam had hurt himself.', 'Sam'],
    ["The trophy didn't fit in the suitcase because it was too big.", 'trophy'],
    ["The trophy didn't fit in the suitcase because it was too small.", 'suitcase'],
  ])('%s %s', (text, answer) => {
    const sentence = parseSentence(text);
    const reading = read(model, [sentence])[0]![0]!;
    expect(reading.answer).toBe(answer);
    const weights = reading.heads[HEAD.layer]![HEAD.head]!;
    expect(sentence.words[placeOfLargest(weights)]).toBe(answer);
    expect(weightInText(model, HEAD, { text, meant: answer })).toBeGreaterThan(0.5);
    expect(weights.reduce((sum, weight) => sum + weight, 0)).toBeCloseTo(1, 5);
  });
});

test('the first steps of the training have the bits that are on record', async () => {
  const runtime = await createRuntime({ build: 'simd', packs: [modelPack, trainingPack] });
  const { config, seed, families } = task;
  const model = await loadModel({
    config,
    weights: await initialWeights({ config, seed, families }),
    runtime,
    families,
  });
  const training = train({ model, data: task.data, steps: 10, seed, ...task.settings });
  const losses: number[] = [];
  for await (const { loss } of training) losses.push(loss);
  expect(losses.at(-1)).toBeLessThan(losses[0]!);
  expect(await hashOfWeights(training.learner)).toBe(task.hashes[10]);
  training.dispose();
  runtime.dispose();
});

describe('npm start -- --learned', () => {
  function run(args: string[], env: Record<string, string> = {}) {
    return spawnSync(process.execPath, [PROGRAM, '--learned', ...args], {
      env: { PATH: process.env['PATH'] ?? '', ...env },
      encoding: 'utf8',
    });
  }
  /** The lines from the sentence on, up to an empty one. */
  function picture(stdout: string, sentence: RegExp): string[] {
    const lines = stdout.split('\n');
    const at = lines.findIndex((line) => sentence.test(line));
    expect(at, stdout).toBeGreaterThan(0);
    return lines.slice(at, lines.indexOf('', at));
  }

  test('shows the sentences of the texts with all heads, and that a word turns the head', () => {
    const { stdout, stderr, status } = run([], { LANG: 'C.UTF-8' });
    expect({ stderr, status }).toEqual({ stderr: '', status: 0 });
    for (const line of stdout.split('\n')) expect(line.length, line).toBeLessThanOrEqual(80);
    for (const [sentence, means] of [
      [/^ +Mark told Sam +that he +was leaving +\.$/, '"he" means Mark'],
      [/^ +The animal didn't cross the street because +it +was too +tired +\.$/, '"it" means the animal'],
    ] as const) {
      const rows = picture(stdout, sentence);
      const heads = rows.map((row) => /^(?:head| {4}) (\d\.\d) /.exec(row)?.[1]).filter(Boolean);
      expect(heads.sort()).toEqual(['1.1', '1.2', '1.3', '1.4', '2.1', '2.2', '2.3', '2.4']);
      expect(rows.join('\n')).toContain(means);
    }
    expect(picture(stdout, /too wide +\.$/).join('\n')).toContain('"it" means the street');
    expect(picture(stdout, /Mark promised Sam +to leave/).join('\n')).toContain('The one to leave is Mark');
    expect(picture(stdout, /Mark persuaded Sam +to leave/).join('\n')).toContain('The one to leave is Sam');
    expect(picture(stdout, /Mark told Sam +to leave/).join('\n')).toContain('The one to leave is Sam');
  });

  test('is in the README as it is', () => {
    const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8');
    const [, shown = ''] = /--learned[^]*?```text\n([^]*?)\n```/.exec(readme) ?? [];
    const { stdout } = run([], { LANG: 'C.UTF-8' });
    const pictures = shown.split('\n\n');
    expect(pictures.length).toBe(2);
    for (const each of pictures) expect(stdout).toContain(each);
  });

  test('draws the arc to the word that the head looks at most', () => {
    const { stdout } = run(['Sam promised Mary to leave'], { LANG: 'C.UTF-8' });
    const lines = stdout.split('\n');
    const at = lines.findIndex((line) => /^ +Sam +promised Mary +to +leave +\.$/.test(line));
    const [over, under, words] = lines.slice(at - 2, at + 1) as [string, string, string];
    expect(over).toMatch(/^ +╭─+╮$/);
    expect([over.indexOf('╭'), over.indexOf('╮')]).toEqual([under.indexOf('▼'), under.indexOf('│')]);
    const wordAt = (column: number) => /^\S*/.exec(words.slice(words.lastIndexOf(' ', column) + 1))?.[0];
    expect([wordAt(over.indexOf('╭')), wordAt(over.indexOf('╮'))]).toEqual(['Sam', 'leave']);
    expect(stdout).toContain('The one to leave is Sam.');
  });

  test('goes without block characters and, where asked to, with colours', () => {
    const sentence = 'Mark promised Sam to defend himself';
    const plain = run([sentence], { LANG: 'C' }).stdout;
    expect(plain).toMatch(/^[\n -~]*$/);
    expect(plain).toMatch(/^ +\+-+\+$/m);
    const colored = run([sentence], { LANG: 'C.UTF-8', FORCE_COLOR: '1' }).stdout;
    // eslint-disable-next-line no-control-regex
    expect(colored).toMatch(/\u001b\[48;5;\d+;38;5;\d+m *Mark/);
    expect(plain).toContain('The one to defend is Mark');
    expect(plain).toContain('"himself" means Mark');
  });

  test.each([40, 60, 100])('keeps to %i columns, over several rows where it must', async (columns) => {
    const lines = await learned(undefined, new Style({ color: false, unicode: true }), columns);
    for (const line of lines) expect(line.length, line).toBeLessThanOrEqual(columns);
    const [arrows, arcs] = ['▼', '╭'].map((mark) => lines.join('').split(mark).length - 1);
    expect(arrows).toBe(7); // one in each sentence
    expect(arcs).toBe(7);
  });

  test('says in one line what it cannot read', () => {
    for (const [args, message] of [
      [['Bob told the dragon that he was late'], /^lookup: the model does not know "Bob", "dragon"/],
      [['Mark was tired'], /^lookup: no word of the sentence refers/],
      [['  '], /^lookup: the sentence is empty$/m],
      [['Sam', 'promised'], /^lookup: a sentence is all, "promised" is too much/],
      [['--top', '3'], /^lookup: --top is for the search/],
    ] as const) {
      const { stdout, stderr, status } = run([...args]);
      expect({ stdout, status }).toEqual({ stdout: '', status: 2 });
      expect(stderr).toMatch(message);
      expect(stderr.trim().split('\n').length).toBe(1);
    }
  });
});
