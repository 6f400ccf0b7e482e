// Every export of the pack *training*, grouped; nothing else stands here.
// Kernels take pointers, sizes and caller-given scratch. They allocate nothing and hold no static data.

export { heapBase } from './memory';

// Rows
export { addRows } from './rows/add';
export { dropoutRows } from './rows/dropout';
