// What a run shows first, in sentences.

import { OWN, factorOver, ownBest } from './analysis.mjs';
import { quantile } from './statistics.mjs';
import { peerInWords } from './words.mjs';

/** @typedef {import('./result.mjs').Result} Result */

/** The peer that most would use in our place. */
export const RIVAL = 'onnxruntime-web';

/** What is asked of a library again and again; not starting it, nor copies. */
const STEADY = ['layer', 'attention', 'decode', 'product'];

/** @param {readonly number[]} values */
const middle = (values) =>
  quantile(
    [...values].sort((a, b) => a - b),
    0.5,
  );

/** Two digits. @param {number} value */
const short = (value) => String(Number(value.toPrecision(2)));

/** @param {readonly Result[]} results */
const steady = (results) => results.filter(({ workload }) => STEADY.includes(workload.group));

/**
 * Time of a peer relative to ours, workload by workload.
 *
 * @param {readonly Result[]} results
 * @param {string} peer
 * @returns {number[]}
 */
export const relativeTimes = (results, peer) =>
  results.flatMap(({ entries }) => {
    const entry = entries.find((one) => one.peer === peer);
    return (entry && factorOver(entry, ownBest(entries))?.median) ?? [];
  });

/** @param {readonly number[]} times */
export const range = (times) => {
  const [least, most] = [short(Math.min(...times)), short(Math.max(...times))];
  return least === most ? least : `${least} to ${most}`;
};

/**
 * @param {readonly Result[]} results
 * @returns {string[]} sentences, the most telling first; none where nothing was measured
 */
export function headline(results) {
  return [
    ...timeSentences(steady(results)),
    ...limitSentence(steady(results)),
    ...errorSentence(steady(results)),
  ];
}

/** @param {readonly Result[]} results @returns {string[]} */
function timeSentences(results) {
  const peers = [...new Set(results.flatMap(({ entries }) => entries.map(({ peer }) => peer)))]
    .filter((peer) => peer !== OWN)
    .map((peer) => ({ peer, times: relativeTimes(results, peer) }))
    .filter(({ times }) => times.length > 0)
    .sort((a, b) => Number(b.peer === RIVAL) - Number(a.peer === RIVAL));
  const [first, ...others] = peers;
  if (!first) return [];
  const { peer, times } = first;
  const sentences = [
    `${peerInWords(peer)} takes ${short(middle(times))} times as long as ${OWN} for the same work.`,
  ];
  if (times.length > 1)
    sentences.push(`That is the median of ${times.length} workloads; they range from ${range(times)} times.`);
  if (others.length > 0) {
    const list = others.map((other) => `${peerInWords(other.peer)} ${short(middle(other.times))}`);
    sentences.push(`Others, in the same measure: ${list.join(', ')}.`);
  }
  return sentences;
}

/** @param {readonly Result[]} results @returns {string[]} */
function limitSentence(results) {
  const shares = results
    .filter(({ workload }) => workload.limit === 'arithmetic')
    .flatMap(({ entries }) => ownBest(entries)?.share?.median ?? []);
  if (shares.length === 0) return [];
  const most = Math.round(100 * Math.max(...shares));
  const usual = Math.round(100 * middle(shares));
  const text = `${OWN} runs at ${usual} % of the rate at which this engine can multiply and add`;
  return [shares.length === 1 ? `${text}.` : `${text}, ${most} % at best.`];
}

/** @param {readonly Result[]} results @returns {string[]} */
function errorSentence(results) {
  const ratios = results.flatMap(({ entries }) => {
    const own = ownBest(entries)?.rootMeanSquareError;
    const theirs = entries.find(({ peer }) => peer === RIVAL)?.rootMeanSquareError;
    return own && theirs ? [own / theirs] : [];
  });
  if (ratios.length === 0) return [];
  const most = ratios.length === 1 ? '' : ` in the median, ${short(Math.max(...ratios))} at most`;
  return [`Its root mean square error is ${short(middle(ratios))} times ${RIVAL}'s${most}.`];
}
