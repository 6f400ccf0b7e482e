// Which tensors a checkpoint of a config would have, as far as families ask: by what the first of `architectures` is for. Touch: an
// architecture is a line of HEADS.

import type { CheckpointNames } from '../../model/description.js';
import { isPlainObject } from '../../checkpoints/json.js';
import { AttentionError, describe, invalidArgument } from '../../runtime/errors.js';

/** What models are called, by their ends; nothing, where the config does not say. */
const KNOWN =
  /^$|(Model|PreTraining|WithProjection|WithTeacher|For(CausalLM|MaskedLM|ConditionalGeneration|NextSentencePrediction|ImageClassification|SequenceClassification|TokenClassification|QuestionAnswering|MultipleChoice))$/;

/** Families whose classifiers of texts are called so; the others' is `score`. */
const CLASSIFIES = '(Bert|Albert|DistilBert|ModernBert)';

/** Weights that families ask for, and the architectures that have them. */
const HEADS: readonly (readonly [weights: RegExp, architectures: RegExp])[] = [
  [/^(lm_head|embed_out)$/, /^$|(CausalLM|LMHeadModel|ConditionalGeneration)$/],
  [
    /^(cls\.predictions\.transform\.dense|predictions\.dense|lm_head\.dense|head\.dense|vocab_transform)$/,
    /(MaskedLM|PreTraining|CausalLM|LMHeadModel)$/,
  ],
  [/^final_logits_bias$/, /^$|ConditionalGeneration$/],
  [/^cls\.seq_relationship$/, /(PreTraining|NextSentencePrediction)$/],
  [/^sop_classifier\.classifier$/, /PreTraining$/],
  [
    /(^|\.)pooler(\.dense)?$/,
    /(?<!LMHead)Model$|(PreTraining|NextSentencePrediction|MultipleChoice)$|^(Bert|Albert)ForSequence/,
  ],
  [/^pre_classifier$/, /For(SequenceClassification|MultipleChoice)$/],
  [/^classifier\.out_proj$/, /^(Roberta|XLMRoberta|Camembert|MPNet)ForSequence/],
  [/^classification_head\.out_proj$/, /ForSequenceClassification$/],
  [
    /^classifier$/,
    new RegExp(
      `^${CLASSIFIES}ForSequence|For(ImageClassification|MultipleChoice)$|^ModernBertForQuestion|` +
        `^(${CLASSIFIES}|Roberta|XLMRoberta|Camembert|MPNet|GPT2|GPTNeoX|Bloom|T5)ForToken`,
    ),
  ],
  [/^score$/, new RegExp(`^(?!${CLASSIFIES}).*ForSequence|^(?!GPT2|GPTNeoX|Bloom).*ForToken`)],
  [/^qa_outputs$/, /^(?!ModernBert).*ForQuestionAnswering$/],
  [/^(cls|distillation)_classifier$/, /WithTeacher$/],
  [/^(text|visual)_projection$/, /WithProjection$/],
  [/(^|\.)decoder\.final_layer_norm$/, /^(?!T5EncoderModel|T5ForToken)/],
];

/** Answers what families ask of checkpoints: the first prefix, the newer names, the heads of the architecture. */
export function namesOf(config: Readonly<Record<string, unknown>>): CheckpointNames {
  const { architectures } = config;
  const [architecture = ''] = Array.isArray(architectures) ? (architectures as unknown[]) : [];
  if (typeof architecture !== 'string')
    throw invalidArgument('config.architectures', 'a list of strings', architectures);
  if (!KNOWN.test(architecture))
    throw new AttentionError({
      code: 'UNSUPPORTED',
      argument: 'config.architectures[0]',
      expected: 'what transformers calls a model, such as GPT2LMHeadModel or BertForTokenClassification',
      received: describe(architecture),
    });
  const labels = labelsOf(config, architecture);
  // A pair of texts follows or does not; answers have a beginning and an end.
  const rowsOf = (name: string) =>
    /^(cls\.seq_relationship|sop_classifier|qa_outputs)/.test(name) ? 2 : labels;
  const hasWeight = (module: string) =>
    HEADS.some(([weights, architectures]) => weights.test(module) && architectures.test(architecture));
  // `score` has a bias where it is of tokens only.
  const hasBias = (module: string) =>
    hasWeight(module) && (module !== 'score' || architecture.includes('ForToken'));
  const has = (name: string) => {
    const module = name.replace(/\.(weight|bias)$/, '');
    return name.endsWith('.bias') ? hasBias(module) : hasWeight(module);
  };
  return {
    has,
    shape: (name) => (has(name) ? [rowsOf(name)] : undefined),
  };
}

/** How many labels a classifier has: what the config says, or transformers' two. */
function labelsOf({ num_labels: count, id2label }: Readonly<Record<string, unknown>>, architecture: string) {
  if (architecture.endsWith('ForMultipleChoice')) return 1;
  if (count === undefined || count === null) {
    if (id2label === undefined || id2label === null) return 2;
    if (!isPlainObject(id2label) || Object.keys(id2label).length === 0)
      throw invalidArgument('config.id2label', 'an object with a label for each id', id2label);
    return Object.keys(id2label).length;
  }
  if (Number.isInteger(count) && (count as number) >= 1 && (count as number) < 2 ** 31)
    return count as number;
  throw invalidArgument('config.num_labels', 'an integer >= 1', count);
}
