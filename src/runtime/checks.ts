// Checks of plain arguments: what comes from callers without types may be anything.

import { invalidArgument } from './errors.js';
import { current } from './memory.js';

/** Throws unless the options are an object. */
export function checkOptions(options: unknown, argument = 'options'): void {
  if (options === null || typeof options !== 'object') throw invalidArgument(argument, 'an object', options);
}

/** Throws unless the value is an integer in a range. */
export function checkInteger(argument: string, value: unknown, least: number, most: number): void {
  if (Number.isInteger(value) && (value as number) >= least && (value as number) <= most) return;
  throw invalidArgument(argument, `an integer from ${least} to ${most}`, value);
}

/** A list of numbers, copied. */
export function readNumbers(argument: string, list: unknown): Float32Array {
  const isList = Array.isArray(list) || (ArrayBuffer.isView(list) && 'length' in list);
  const values: unknown[] = isList ? Array.from(current(list) as ArrayLike<unknown>) : [];
  if (!isList || !values.every((value) => typeof value === 'number')) {
    throw invalidArgument(argument, 'a list of numbers', list);
  }
  return Float32Array.from(values);
}
