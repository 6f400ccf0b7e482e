// Every export of the pack *training*, grouped; nothing else stands here.
// Kernels take pointers, sizes and caller-given scratch. They allocate nothing and hold no static data.

export { heapBase } from './memory';

// Attention
export { attentionBackward, backwardScratchBytes } from './attention/backward';
export { droppedAttention } from './attention/dropped';
export { mergeAttentionBackward } from './attention/merge-backward';

// Products
export { fold } from './gemm/fold';
export { transposePanels } from './gemm/transpose';
export { addWeightGradient, stripsOf, weightGradientScratchBytes } from './gemm/weight-gradient';

// Rows
export { addRows } from './rows/add';
export { addLookedUp } from './rows/lookup-backward';
export { dropoutRows } from './rows/dropout';
export { normBackward } from './rows/norm-backward';
export { addPartials, columnPartials } from './rows/column-sums';
export { activationBackward, gatedForward } from './rows/activation-backward';
export { softmaxBackward } from './rows/softmax-backward';
export { rotaryBack } from './rotary/back';
export { poolingBackward } from './rows/pooling-backward';

// Losses
export { crossEntropyRows } from './rows/cross-entropy';
export { cosineLosses, productsOfRows, squaredErrors, sumsOfRows } from './rows/similarity';

// Updates
export { scaleValues, stepAdamW, stepSgd, sumSquares } from './training/update';

// Exported so that the optimiser keeps each of them a function of its own: inlined into their caller they spill.
export { gradeRows } from './attention/grade';
export * from './gemm/apart';
export { fourOuters, outer1, outer2, outer3, outer4, outer5, outer6 } from './gemm/outer';
