// Every export of the pack *training*, grouped; nothing else stands here.
// Kernels take pointers, sizes and caller-given scratch. They allocate nothing and hold no static data.

export { heapBase } from './memory';

// Rows
export { addRows } from './rows/add';
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
