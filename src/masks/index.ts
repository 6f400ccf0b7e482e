// The masks that record how they were made, so that a worker can make them again: entries export all of them. A mask of the
// caller's own functions (`custom.ts`) cannot be sent, and stands apart.

export { and, or } from './combine.js';
export { denseMask } from './dense.js';
export { documents } from './documents.js';
export type { Documents } from './documents.js';
export { causal, keyLengths, prefix, slidingWindow } from './intervals.js';
export type { CausalAlignment, Window } from './intervals.js';
export { blockSparse, globalTokens, strided } from './sparse.js';
export type { BlockLayout } from './sparse.js';
