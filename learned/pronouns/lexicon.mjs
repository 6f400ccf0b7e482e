// The words that sentences are made of, and what the grammar knows of them. Every word is one token; the order is the vocabulary's, so
// weights are good for this very list: whoever adds a word trains anew.

/** @typedef {'he' | 'she'} Gender */

/** @type {readonly Gender[]} */
export const GENDERS = ['he', 'she'];

/** @type {Readonly<Record<Gender, readonly string[]>>} */
export const NAMES = {
  he: words('Mark Sam John Tom Paul Peter David James Adam Simon Henry Daniel'),
  she: words('Mary Anna Lucy Jane Emma Sarah Julia Kate Alice Laura Helen Nora'),
};

/** People without a name. @type {Readonly<Record<Gender, readonly string[]>>} */
export const PEOPLE = {
  he: words('man boy king uncle monk waiter prince actor'),
  she: words('woman girl queen aunt nun waitress princess actress'),
};

/** As subject, object and reflexive. @type {Readonly<Record<Gender, readonly [string, string, string]>>} */
export const PRONOUNS = { he: ['he', 'him', 'himself'], she: ['she', 'her', 'herself'] };

export const KINDS_OF_PEOPLE = words('tall young rich poor clever friendly');
export const COATS = words('black white brown grey');
export const COLOURS = words('red green blue yellow');
/** Where somebody or something is from; never what a pronoun means. */
export const ORIGINS = words('village farm city castle station garden');

/** What people do: to leave, leaving. */
export const ACTIONS = [
  ['leave', 'leaving'],
  ['sing', 'singing'],
  ['wait', 'waiting'],
  ['swim', 'swimming'],
  ['travel', 'travelling'],
  ['work', 'working'],
  ['return', 'returning'],
  ['study', 'studying'],
  ['rest', 'resting'],
  ['drive', 'driving'],
  ['stay', 'staying'],
  ['cook', 'cooking'],
  ['dance', 'dancing'],
  ['pay', 'paying'],
  ['help', 'helping'],
  ['sleep', 'sleeping'],
  ['eat', 'eating'],
  ['win', 'winning'],
].map(([base, ing]) => ({ base, ing }));

/** What people are. */
export const STATES = words('ill late hungry lonely ready tired');

/** Who speaks speaks of himself; who asks asks about the other: where words alone leave both open, this grammar's convention. */
export const TELLING = words('told assured informed');
export const ASKING = words('asked');
export const WHETHER = words('whether if');
/** Who promises that he would, too. */
export const PROMISING = words('promised');
/** Before `that`, where gender decides. */
export const CONVINCING = words('convinced reminded warned');
/** Between two people, where gender decides. */
export const DEALINGS = words('called visited hugged paid greeted followed');
export const CONJUNCTIONS = words('because when while after');

/** Who promises does it himself: subject control. With the preposition that follows, and what may stand before the infinitive. */
export const SUBJECT_CONTROL = [
  ['promised', 'to'],
  ['promised', 'not to'],
  ['promised', 'never to'],
  ['vowed to', 'never to'],
  ['swore to', 'never to'],
].map(phrases);

/** Who is persuaded does it: object control. */
export const OBJECT_CONTROL = [
  ...words('persuaded asked told ordered begged allowed forced encouraged advised invited wanted').map(
    (verb) => [verb, 'to'],
  ),
  ...words('persuaded asked told ordered begged advised warned').map((verb) => [verb, 'not to']),
  ...words('persuaded asked told ordered begged advised warned').map((verb) => [verb, 'never to']),
  ['pleaded with', 'to'],
  ['appealed to', 'to'],
  ['appealed to', 'never to'],
].map(phrases);

/** What somebody is thanked for he did himself; who thanks before leaving leaves himself. */
export const JUDGING = words('thanked blamed praised punished scolded');
export const ADJUNCTS = words('before after without');
/** With the same preposition, `for`, but of the one's own doing and of the other's. */
export const OWN_DOING = ['apologised to'].map((phrase) => words(phrase));
export const OTHERS_DOING = ['shouted at', 'laughed at'].map((phrase) => words(phrase));
export const HINDERING = words('stopped kept prevented');

/** Of one person alone: Mark hoped to leave. */
export const HOPING = words('hoped tried decided wanted');

/** Before `that` and a sentence about another. */
export const THINKING = words('said thought believed knew claimed');
/** What one can do to oneself and to others: to hurt, had hurt. */
export const DEEDS = [
  ['hurt', 'hurt'],
  ['blame', 'blamed'],
  ['praise', 'praised'],
  ['defend', 'defended'],
  ['save', 'saved'],
  ['betray', 'betrayed'],
  ['fool', 'fooled'],
  ['cure', 'cured'],
].map(([base, participle]) => ({ base, participle }));

export const ANIMALS = words('animal dog horse cat fox donkey camel cow goat tortoise elephant bear');
export const HERDS = words('animals dogs horses cats foxes donkeys camels cows goats bears');
export const ANIMAL_STATES = words('tired weak old lazy sick frightened thirsty sleepy');
export const ANIMAL_DEALINGS = words('watched followed feared ignored chased avoided');
/** What is crossed or climbed, and what may keep one from it. */
export const PLACES = [
  ['cross', 'street', 'wide busy icy'],
  ['cross', 'road', 'wide busy icy muddy'],
  ['cross', 'river', 'wide deep'],
  ['cross', 'stream', 'wide deep'],
  ['cross', 'lake', 'wide deep'],
  ['cross', 'valley', 'wide deep'],
  ['cross', 'field', 'wide muddy'],
  ['cross', 'bridge', 'shaky icy'],
  ['climb', 'hill', 'steep muddy'],
  ['climb', 'mountain', 'steep icy'],
  ['climb', 'slope', 'steep icy muddy'],
].map(([verb, noun, states]) => ({ verb, noun, states: words(states) }));
export const NEGATIONS = words("didn't couldn't wouldn't");
export const REFUSALS = [...NEGATIONS, 'refused to'].map((phrase) => words(phrase));
export const DEGREES = words('too so very');

export const THINGS = words('trophy lamp violin painting helmet umbrella doll guitar globe statue');
export const CONTAINERS = words('suitcase box drawer bag basket cupboard chest backpack');
/** Why something does not fit: of the thing, and of what should hold it. */
export const LARGE = words('big large bulky long thick');
export const SMALL = words('small tiny short tight narrow');

export const BREAKERS = words('stone hammer brick rock ball bullet');
export const BROKEN = words('window vase mirror plate bottle jar');
export const HEAVY = words('heavy hard solid massive');
export const FRAGILE = words('fragile thin delicate brittle');
export const BREAKING = words('broke smashed cracked shattered');

export const OPENINGS = [
  'yesterday',
  'today',
  'later',
  'last week',
  'this morning',
  'on monday',
  'we know that',
  'people say that',
].map((phrase) => words(phrase));
export const ADVERBS = words('finally then suddenly clearly simply also');
export const ENDINGS = ['that day', 'again', 'at noon', 'in the evening'].map((phrase) => words(phrase));

/** Of the frames themselves. */
const SMALL_WORDS = words('the that to for from it they was were had would fit in hold by broken');

/** Every token; its place is its number. The first three are marks. @type {readonly string[]} */
export const VOCABULARY = [
  ...new Set(
    [
      ['[pad]', '.', ','],
      SMALL_WORDS,
      Object.values(PRONOUNS),
      Object.values(NAMES),
      Object.values(PEOPLE),
      [KINDS_OF_PEOPLE, COATS, COLOURS, ORIGINS],
      ACTIONS.flatMap(({ base, ing }) => [base, ing]),
      [STATES, TELLING, ASKING, WHETHER, CONVINCING, DEALINGS, CONJUNCTIONS],
      [...SUBJECT_CONTROL, ...OBJECT_CONTROL].flatMap(({ verb, complement }) => [verb, complement]),
      [JUDGING, ADJUNCTS, OWN_DOING, OTHERS_DOING, HINDERING, HOPING, THINKING],
      DEEDS.flatMap(({ base, participle }) => [base, participle]),
      [ANIMALS, HERDS, ANIMAL_STATES, ANIMAL_DEALINGS],
      PLACES.flatMap(({ verb, noun, states }) => [verb, noun, states]),
      [REFUSALS, DEGREES, THINGS, CONTAINERS, LARGE, SMALL],
      [BREAKERS, BROKEN, HEAVY, FRAGILE, BREAKING],
      [OPENINGS, ADVERBS, ENDINGS],
    ].flat(3),
  ),
];

/** @param {string} text */
function words(text) {
  return text.split(' ');
}

/** @param {string[]} given */
function phrases([verb, complement]) {
  return { verb: words(verb), complement: words(complement) };
}
