// The frames of sentences. Each draws its words once and gives sentences of them that differ in what decides: mostly two, in the first of
// which the reference is to one noun, in the second to the other.

import * as lexicon from './lexicon.mjs';

/**
 * @typedef {object} Random  of `wasm-attention/training`, or what does the same
 * @property {(n: number) => number} integer  of 0 to n - 1
 * @property {() => number} uniform  of [0, 1)
 * @property {<T>(list: readonly T[]) => T} choose
 */

/**
 * A word that refers or is meant, with what stands around it. It is told from the same word elsewhere by identity.
 *
 * @typedef {{ word: string, before?: readonly string[], after?: readonly string[] }} Mention
 * @typedef {Mention & { gender: import('./lexicon.mjs').Gender }} Person
 * @typedef {string | Mention | readonly Part[]} Part  a string may have several words
 */

/**
 * @typedef {object} Draft
 * @property {readonly Part[]} parts
 * @property {readonly (readonly [from: Mention, to: Mention])[]} references  what refers, and what is meant
 * @property {readonly string[]} pairs  words that meet here: some pairs are held out
 */

/** @typedef {(random: Random) => readonly Draft[]} Frame */

/** Mark told Sam that he was leaving: Mark. Mark asked Sam whether he was leaving: Sam. */
function report(random) {
  const [x, y] = ofOneGender(random);
  const { open, adverb, close } = fillers(random, [other(x.gender)]);
  const he = mention(lexicon.PRONOUNS[x.gender][0]);
  const { words, topic, isFuture } = predicate(random);
  const told = random.choose(isFuture ? [...lexicon.TELLING, ...lexicon.PROMISING] : lexicon.TELLING);
  const asked = random.choose(lexicon.ASKING);
  const whether = random.choose(lexicon.WHETHER);
  return [
    draft([open, x, adverb, told, y, 'that', he, words, close], [[he, x]], [[told, topic]]),
    draft([open, x, adverb, asked, y, whether, he, words, close], [[he, y]], [[asked, topic]]),
  ];
}

/** Mark told Mary that he was leaving: Mark. Mark told Mary that she was leaving: Mary. */
function agreement(random) {
  const [x, y] = ofBothGenders(random);
  const { open, adverb, close } = fillers(random, []);
  const { words, topic } = predicate(random);
  const [verb, link] = random.choose([
    () => [random.choose([...lexicon.TELLING, ...lexicon.CONVINCING]), 'that'],
    () => [random.choose(lexicon.ASKING), random.choose(lexicon.WHETHER)],
    () => [random.choose(lexicon.DEALINGS), random.choose(lexicon.CONJUNCTIONS)],
  ])();
  return [x, y].map((meant) => {
    const he = mention(lexicon.PRONOUNS[meant.gender][0]);
    return draft([open, x, adverb, verb, y, link, he, words, close], [[he, meant]], [[verb, topic]]);
  });
}

/** When he was ill, Mark visited Mary: Mark. When she was ill, Mark visited Mary: Mary. */
function agreementInFront(random) {
  const [x, y] = ofBothGenders(random);
  const { adverb, close } = fillers(random, []);
  const { words, topic } = predicate(random);
  const link = random.choose(lexicon.CONJUNCTIONS);
  const verb = random.choose(lexicon.DEALINGS);
  return [x, y].map((meant) => {
    const he = mention(lexicon.PRONOUNS[meant.gender][0]);
    return draft([link, he, words, ',', x, adverb, verb, y, close], [[he, meant]], [[verb, topic]]);
  });
}

/** Mark said that he was leaving: Mark, who is alone. */
function reportAlone(random) {
  const x = person(random, random.choose(lexicon.GENDERS));
  const { open, adverb, close } = fillers(random, [other(x.gender)]);
  const he = mention(lexicon.PRONOUNS[x.gender][0]);
  const { words, topic } = predicate(random);
  const said = random.choose(lexicon.THINKING);
  return [draft([open, x, adverb, said, 'that', he, words, close], [[he, x]], [[said, topic]])];
}

/** Mark promised Sam to leave: Mark leaves. Mark persuaded Sam to leave: Sam does. */
function control(random) {
  const [x, y] = people(random);
  const { open, adverb, close } = fillers(random, lexicon.GENDERS);
  const { base } = random.choose(lexicon.ACTIONS);
  const leave = mention(base);
  const promised = random.choose(lexicon.SUBJECT_CONTROL);
  const persuaded = random.choose(withComplementOf(promised, lexicon.OBJECT_CONTROL));
  return [
    { by: promised, meant: x },
    { by: persuaded, meant: y },
  ].map(({ by: { verb, complement }, meant }) =>
    draft([open, x, adverb, verb, y, complement, leave, close], [[leave, meant]], [[verb, base]]),
  );
}

/** Mark hoped to leave: Mark, who is alone. */
function controlAlone(random) {
  const x = person(random, random.choose(lexicon.GENDERS));
  const { open, adverb, close } = fillers(random, lexicon.GENDERS);
  const { base } = random.choose(lexicon.ACTIONS);
  const leave = mention(base);
  const hoped = random.choose(lexicon.HOPING);
  return [draft([open, x, adverb, hoped, 'to', leave, close], [[leave, x]], [[hoped, base]])];
}

/** Mark thanked Sam before leaving: Mark left. Mark thanked Sam for leaving: Sam did. */
function gerund(random) {
  const [x, y] = people(random);
  const { open, adverb, close } = fillers(random, lexicon.GENDERS);
  const { ing } = random.choose(lexicon.ACTIONS);
  const leaving = mention(ing);
  const judged = random.choose(lexicon.JUDGING);
  const met = random.choose(lexicon.DEALINGS);
  const before = random.choose(lexicon.ADJUNCTS);
  const [own, others] = random.choose([
    [
      [judged, before],
      [judged, 'for'],
    ],
    [
      [random.choose(lexicon.OWN_DOING), 'for'],
      [random.choose(lexicon.OTHERS_DOING), 'for'],
    ],
    [
      [met, before],
      [random.choose(lexicon.HINDERING), 'from'],
    ],
  ]);
  return [
    { by: own, meant: x },
    { by: others, meant: y },
  ].map(({ by: [verb, preposition], meant }) =>
    draft([open, x, adverb, verb, y, preposition, leaving, close], [[leaving, meant]], [[verb, ing]]),
  );
}

/** Before leaving, Mark thanked Sam: Mark. */
function gerundInFront(random) {
  const [x, y] = people(random);
  const { adverb, close } = fillers(random, []);
  const { ing } = random.choose(lexicon.ACTIONS);
  const leaving = mention(ing);
  const verb = random.choose([...lexicon.JUDGING, ...lexicon.DEALINGS]);
  const before = random.choose(lexicon.ADJUNCTS);
  return [draft([before, leaving, ',', x, adverb, verb, y, close], [[leaving, x]], [[verb, ing]])];
}

/** Mark said that Sam had hurt him: Mark. Mark said that Sam had hurt himself: Sam. */
function binding(random) {
  const [x, y] = people(random);
  const { open, adverb, close } = fillers(random, []);
  const said = random.choose(lexicon.THINKING);
  const { participle } = random.choose(lexicon.DEEDS);
  return [
    { from: mention(lexicon.PRONOUNS[x.gender][1]), to: x },
    { from: mention(lexicon.PRONOUNS[y.gender][2]), to: y },
  ].map(({ from, to }) =>
    draft(
      [open, x, adverb, said, 'that', y, 'had', participle, from, close],
      [[from, to]],
      [[said, participle]],
    ),
  );
}

/** Mark promised Sam to defend himself: Mark, and him: Sam. With persuaded it is the other way round. */
function controlledBinding(random) {
  const [x, y] = ofOneGender(random);
  const { open, adverb, close } = fillers(random, [other(x.gender)]);
  const { base } = random.choose(lexicon.DEEDS);
  const defend = mention(base);
  const promised = random.choose(lexicon.SUBJECT_CONTROL);
  const persuaded = random.choose(lexicon.OBJECT_CONTROL);
  const doer = random.choose([x, y]);
  const { verb, complement } = doer === x ? promised : persuaded;
  const [, him, himself] = lexicon.PRONOUNS[x.gender];
  return [x, y].map((meant) => {
    const from = mention(meant === doer ? himself : him);
    const references = [
      [defend, doer],
      [from, meant],
    ];
    return draft([open, x, adverb, verb, y, complement, defend, from, close], references, [[verb, base]]);
  });
}

/** The animal didn't cross the street because it was too tired: the animal. Too wide: the street. */
function reason(random) {
  const { animal, place, refusal, degree, states } = journey(random);
  return reasons(random, { main: [animal, refusal, place], degree, nouns: [animal, place], states });
}

/** The animal was so tired that it didn't cross the street: the animal. The street was so wide that the animal didn't cross it. */
function consequence(random) {
  const { animal, place, refusal, states } = journey(random);
  const { open, close } = fillers(random, lexicon.GENDERS);
  const it = mention('it');
  return [
    draft(
      [open, animal, 'was so', states[0], 'that', it, refusal, place, close],
      [[it, animal]],
      [
        [animal, place],
        [animal, states[0]],
      ],
    ),
    draft(
      [open, place, 'was so', states[1], 'that', animal, refusal, it, close],
      [[it, place]],
      [
        [animal, place],
        [place, states[1]],
      ],
    ),
  ];
}

/** The trophy didn't fit in the suitcase because it was too big: the trophy. Too small: the suitcase. */
function fit(random) {
  const thing = noun(random, random.choose(lexicon.THINGS), lexicon.COLOURS);
  const container = noun(random, random.choose(lexicon.CONTAINERS), lexicon.COLOURS);
  const not = random.choose(lexicon.NEGATIONS);
  const main = random.choose([
    [thing, not, 'fit in', container],
    [container, not, 'hold', thing],
  ]);
  const states = [random.choose(lexicon.LARGE), random.choose(lexicon.SMALL)];
  return reasons(random, { main, degree: random.choose(['too', 'so']), nouns: [thing, container], states });
}

/** The stone broke the window because it was so heavy: the stone. So fragile: the window. */
function breaking(random) {
  const breaker = noun(random, random.choose(lexicon.BREAKERS), lexicon.COLOURS);
  const broken = noun(random, random.choose(lexicon.BROKEN), lexicon.COLOURS);
  const broke = random.choose(lexicon.BREAKING);
  const main = random.choose([
    [breaker, broke, broken],
    [broken, 'was broken by', breaker],
  ]);
  const states = [random.choose(lexicon.HEAVY), random.choose(lexicon.FRAGILE)];
  return reasons(random, {
    main,
    degree: random.choose(['so', 'very', []]),
    nouns: [breaker, broken],
    states,
  });
}

/** The dog ignored the horses because it was hungry: the dog. Because they were hungry: the horses. */
function number(random) {
  const one = noun(random, random.choose(lexicon.ANIMALS), lexicon.COATS);
  const many = noun(random, random.choose(lexicon.HERDS), lexicon.COATS);
  const { open, adverb, close } = fillers(random, lexicon.GENDERS);
  const verb = random.choose(lexicon.ANIMAL_DEALINGS);
  const link = random.choose(lexicon.CONJUNCTIONS);
  const state = random.choose(lexicon.ANIMAL_STATES);
  const [x, y] = random.choose([
    [one, many],
    [many, one],
  ]);
  return [x, y].map((meant) => {
    const it = mention(meant === one ? 'it' : 'they');
    const was = meant === one ? 'was' : 'were';
    return draft(
      [open, x, adverb, verb, y, link, it, was, state, close],
      [[it, meant]],
      [
        [x, y],
        [meant, state],
      ],
    );
  });
}

/** And how often each is drawn. @type {readonly { name: string, frame: Frame, weight: number }[]} */
export const FRAMES = [
  { name: 'report', frame: report, weight: 3 },
  { name: 'report alone', frame: reportAlone, weight: 1 },
  { name: 'agreement', frame: agreement, weight: 3 },
  { name: 'agreement in front', frame: agreementInFront, weight: 1 },
  { name: 'control', frame: control, weight: 4 },
  { name: 'control alone', frame: controlAlone, weight: 1 },
  { name: 'gerund', frame: gerund, weight: 2 },
  { name: 'gerund in front', frame: gerundInFront, weight: 1 },
  { name: 'binding', frame: binding, weight: 2 },
  { name: 'controlled binding', frame: controlledBinding, weight: 2 },
  { name: 'reason', frame: reason, weight: 4 },
  { name: 'consequence', frame: consequence, weight: 2 },
  { name: 'fit', frame: fit, weight: 2 },
  { name: 'breaking', frame: breaking, weight: 2 },
  { name: 'number', frame: number, weight: 2 },
];

/** Something with two nouns, and why: a state that fits the first or the second of them. */
function reasons(random, { main, degree, nouns, states }) {
  const { open, close } = fillers(random, lexicon.GENDERS);
  const inFront = random.integer(4) === 0;
  const it = mention('it');
  return nouns.map((meant, i) => {
    const because = ['because', it, 'was', degree, states[i]];
    const parts = inFront ? [because, ',', main, close] : [open, main, because, close];
    return draft(parts, [[it, meant]], [nouns, [meant, states[i]]]);
  });
}

/** An animal, what it did not cross or climb, and why. */
function journey(random) {
  const { verb, noun: place, states } = random.choose(lexicon.PLACES);
  return {
    animal: noun(random, random.choose(lexicon.ANIMALS), lexicon.COATS),
    place: { word: place, before: ['the'] },
    refusal: [random.choose(lexicon.REFUSALS), verb],
    degree: random.choose([...lexicon.DEGREES, []]),
    states: [random.choose(lexicon.ANIMAL_STATES), random.choose(states)],
  };
}

/**
 * @param {readonly Part[]} parts
 * @param {Draft['references']} references
 * @param {readonly (readonly [Part, Part])[]} met  what meets beside the two people
 * @returns {Draft}
 */
function draft(parts, references, met) {
  const named = parts.filter((part) => part.gender !== undefined);
  const pairs = named.length === 2 ? [named, ...met] : met;
  return { parts: [...parts, '.'], references, pairs: pairs.map((pair) => pair.map(wordOf).join(' ')) };
}

/** The word that a pair is known by. @param {Part} part @returns {string} */
function wordOf(part) {
  if (Array.isArray(part)) return wordOf(part[0]);
  return typeof part === 'string' ? part : part.word;
}

/** @returns {Mention} */
function mention(word) {
  return { word };
}

function withComplementOf({ complement }, verbs) {
  return verbs.filter((each) => each.complement.join(' ') === complement.join(' '));
}

/** What is said of somebody. */
function predicate(random) {
  const { base, ing } = random.choose(lexicon.ACTIONS);
  const state = random.choose(lexicon.STATES);
  return random.choose([
    { words: ['was', ing], topic: ing, isFuture: false },
    { words: ['was', state], topic: state, isFuture: false },
    { words: ['would', base], topic: base, isFuture: true },
  ]);
}

/**
 * Phrases that decide nothing, so that nothing can be told by its place.
 *
 * @param {Random} random
 * @param {readonly import('./lexicon.mjs').Gender[]} speakers  genders of a third person who may tell it all and cannot be meant
 */
function fillers(random, speakers) {
  const where = random.uniform();
  const adverb = random.uniform() < 0.25 ? random.choose(lexicon.ADVERBS) : [];
  if (where < 0.12 && speakers.length > 0) return { open: speaker(random, speakers), adverb, close: [] };
  if (where < 0.35) return { open: random.choose(lexicon.OPENINGS), adverb, close: [] };
  return { open: [], adverb, close: where < 0.6 ? random.choose(lexicon.ENDINGS) : [] };
}

/** Anna said that ... */
function speaker(random, genders) {
  return [random.choose(lexicon.NAMES[random.choose(genders)]), random.choose(lexicon.THINKING), 'that'];
}

/** Two people of any gender. @returns {[Person, Person]} */
function people(random) {
  return random.integer(2) === 0 ? ofOneGender(random) : ofBothGenders(random);
}

/** @returns {[Person, Person]} */
function ofOneGender(random) {
  const gender = random.choose(lexicon.GENDERS);
  const x = person(random, gender);
  let y = person(random, gender);
  while (y.word === x.word) y = person(random, gender);
  return [x, y];
}

/** @returns {[Person, Person]} */
function ofBothGenders(random) {
  const first = random.choose(lexicon.GENDERS);
  return [person(random, first), person(random, other(first))];
}

/** @returns {import('./lexicon.mjs').Gender} */
function other(gender) {
  return gender === 'he' ? 'she' : 'he';
}

/** @returns {Person} */
function person(random, gender) {
  if (random.uniform() < 0.7) return { word: random.choose(lexicon.NAMES[gender]), gender };
  return { ...noun(random, random.choose(lexicon.PEOPLE[gender]), lexicon.KINDS_OF_PEOPLE), gender };
}

/** `the dog`, `the black dog`, `the dog from the farm`. @returns {Mention} */
function noun(random, word, kinds) {
  const kind = random.uniform() < 0.2 ? [random.choose(kinds)] : [];
  const origin = random.uniform() < 0.1 ? ['from', 'the', random.choose(lexicon.ORIGINS)] : [];
  return { word, before: ['the', ...kind], after: origin };
}
