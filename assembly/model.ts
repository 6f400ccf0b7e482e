// Every export of the pack *model*, grouped; nothing else stands here.
// Kernels take pointers, sizes and caller-given scratch. They allocate nothing and hold no static data.

export { heapBase } from './memory';

// Rows
export { activationRows } from './rows/activation';
export { normRows } from './rows/norm';

// Exported so that the optimiser keeps each of them a function of its own.
export { activateRow } from './math/activations';
