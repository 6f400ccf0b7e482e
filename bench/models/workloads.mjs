// What is timed, and the floating-point operations of it that count: products and attention, of a causal one what it keeps.

import { SIZES } from './checkpoint.mjs';

/**
 * @typedef {object} ModelWorkload
 * @property {string} id
 * @property {string} label
 * @property {string} model a name of SIZES
 * @property {'encode' | 'prefill' | 'step'} kind
 * @property {number} tokens
 * @property {number} past tokens in the cache before
 * @property {number} flop
 */

/** @param {string} model @param {ModelWorkload['kind']} kind @param {number} tokens @param {number} [past] @returns {ModelWorkload} */
function workload(model, kind, tokens, past = 0) {
  const size = SIZES[model];
  const { family, layers, width, inner, vocabulary } = size;
  const products = 2 * tokens * (4 * width * width + 2 * width * inner);
  const scores = family === 'bert' ? tokens * tokens : tokens * past + (tokens * (tokens + 1)) / 2;
  const logits = family === 'bert' ? 0 : 2 * width * vocabulary;
  const form = `${layers} layers, d=${width}`;
  const label = {
    encode: `encoder, ${form}, n=${tokens}`,
    prefill: `decoder, ${form}, prefill ${tokens}`,
    step: `decoder, ${form}, step after ${past}`,
  }[kind];
  const flop = layers * (products + 4 * width * scores) + logits;
  return { id: `${model}-${kind}${kind === 'step' ? past : tokens}`, label, model, kind, tokens, past, flop };
}

export const MODEL_WORKLOADS = [
  workload('encoder-6', 'encode', 128),
  workload('encoder-12', 'encode', 128),
  workload('encoder-12', 'encode', 512),
  workload('decoder-12', 'prefill', 256),
  workload('decoder-12', 'step', 1, 512),
];
