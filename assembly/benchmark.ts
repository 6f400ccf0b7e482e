// Every export of the pack *benchmark*: what the engine can do at most, and approximations that nothing but their tests
// calls by themselves. None of it ships with attention.

export { heapBase } from './memory';
export { peakMultiplyAdd, readMemory } from './peak';
export { exp2Array, tanhArray } from './math/arrays';
