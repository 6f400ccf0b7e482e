// The approximations over arrays, for those who measure their errors.

import { exp2Row, writeConstants } from './exp2';
import { tanh } from './tanh';

/** exp2 of the floats in [from, to), a multiple of 32 bytes apart, in place; `table` is 64 bytes of scratch. */
export function exp2Array(from: usize, to: usize, table: usize): void {
  writeConstants(table);
  exp2Row(from, to, 0, table);
}

/** The same of tanh. */
export function tanhArray(from: usize, to: usize, table: usize): void {
  writeConstants(table);
  for (; from < to; from += 16) v128.store(from, tanh(v128.load(from), table));
}
