// Names for what heads do.

/**
 * What a head is called where its score is above one half: 'previous token', 'first token', 'diagonal', 'duplicate token', 'induction'. It
 * gives most of its weight to such keys, on the mean of the queries that have some. A head may have several names: of tokens that are
 * repeated at once the duplicate is the previous token, too.
 */
export type HeadLabel = 'previous token' | 'first token' | 'diagonal' | 'duplicate token' | 'induction';

/** The score that each name stands for. */
const LABELS = {
  previousToken: 'previous token',
  firstToken: 'first token',
  diagonal: 'diagonal',
  duplicateToken: 'duplicate token',
  induction: 'induction',
} as const satisfies Record<string, HeadLabel>;

type LabelledScores = { readonly [Name in keyof typeof LABELS]: number };

/** More than this of the weight is most of it. */
const MOST = 0.5;

/** The names of a head, the one with the highest score first. */
export function labelsOf(scores: LabelledScores): HeadLabel[] {
  return (Object.keys(LABELS) as (keyof typeof LABELS)[])
    .filter((name) => scores[name] > MOST)
    .sort((a, b) => scores[b] - scores[a])
    .map((name) => LABELS[name]);
}
