/**
 * The public API of `wasm-attention/measures`: what heads do, what depends on them, and where what they mix comes from.
 *
 * @module wasm-attention/measures
 */

export { headMeasures, headMeasuresAsync } from './head-measures.js';
export type { HeadMeasureOptions, HeadMeasures, HeadScores } from './head-measures.js';
export type { HeadLabel } from './labels.js';
export type { Attention, Attentions } from './attention.js';
export type { TokenOptions } from './tokens.js';

export { attentionRollout, attentionRolloutAsync } from './rollout.js';
export type { Rollout, RolloutOptions } from './rollout.js';
export type { Span } from './spans.js';
export { weightedValues, weightedValuesAsync } from './weighted-values.js';

export { ablate, ablateAsync } from './ablate.js';
export type { Ablation, AttentionPlace, EdgeAblation, HeadAblation } from './ablation.js';
export { ablationEffects, ablationEffectsAsync } from './ablation-effects.js';
export type { AblationEffect, AblationEffects, AblationEffectsOptions } from './ablation-effects.js';
export type { Labels } from './losses.js';
