// Every export of the pack *training*, grouped; nothing else stands here.
// Kernels take pointers, sizes and caller-given scratch. They allocate nothing and hold no static data.

export { heapBase } from './memory';

// Rows
export { addRows } from './rows/add';

// Attention
export { attentionBackward, backwardScratchBytes } from './attention/backward';
export { mergeAttentionBackward } from './attention/merge-backward';

// Exported so that the optimiser keeps each of them a function of its own: inlined into their caller they spill.
export { gradeRows } from './attention/grade';
export * from './gemm/apart';
export { fourOuters, outer1, outer2, outer3, outer4, outer5, outer6 } from './gemm/outer';
