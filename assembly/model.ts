// Every export of the pack *model*, grouped; nothing else stands here.
// Kernels take pointers, sizes and caller-given scratch. They allocate nothing and hold no static data.

export { heapBase } from './memory';

// Products
export { fusedProduct, fusedProductScratchBytes } from './gemm/product';
export { unfold } from './gemm/unfold';

// Checkpoints
export { pieceScratchBytes, placePiece, readPiece } from './gemm/place';
export { narrow, widen } from './math/widen';

// Rows
export { activationRows } from './rows/activation';
export { lookupRows } from './rows/lookup';
export { normRows } from './rows/norm';
export { argmaxRows } from './rows/argmax';
export { meansOverTokens } from './rows/pooling';

// Exported so that the optimiser keeps each of them a function of its own: inlined into their caller they spill.
export { activateRow } from './math/activations';
export * from './gemm/apart';

