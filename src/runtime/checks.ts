// Checks of plain arguments: what comes from callers without types may be anything.

import { AttentionError, invalidArgument } from './errors.js';
import { current } from './memory.js';

/** The names that an options object may have: 1 each, or those of the options object that may stand there. */
export interface Names {
  readonly [name: string]: 1 | Names;
}

/** What a list of names has to satisfy: then the compiler notices where it is not that of the interface. */
export type NamesOf<Options> = { readonly [Name in keyof Options]-?: 1 | Names };

/** Throws unless the value is an object. */
export function checkObject(argument: string, value: unknown, expected = 'an object'): void {
  if (value === null || typeof value !== 'object') throw invalidArgument(argument, expected, value);
}

/**
 * Throws unless the options are an object and all their names are known, those of options in them too. A name counts
 * whatever its value, undefined included.
 *
 * @param more     names that are known as well
 * @param argument what to call the options in errors; nothing for those of a call
 */
export function checkOptions(options: unknown, names: Names, more: Names = {}, argument = ''): void {
  checkObject(argument || 'options', options);
  for (const name in options as object) {
    const known = names[name] ?? more[name];
    // What every object has is none of the caller's doing: some pages give them properties that a loop meets.
    if (known === 1 || name in Object.prototype) continue;
    const path = argument ? `${argument}.${name}` : name;
    if (!known) throw unknownOption(path, name, Object.keys({ ...names, ...more }));
    const value = (options as Record<string, unknown>)[name];
    if (value && typeof value === 'object') checkOptions(value, known, {}, path);
  }
}

function unknownOption(argument: string, name: string, known: readonly string[]): AttentionError {
  const near = nearest(name, known);
  let hint = near ? `did you mean ${near}?` : `known are ${known.join(', ')}`;
  if (/dropout/i.test(name)) hint = 'there is no dropout';
  return new AttentionError({
    code: 'INVALID_ARGUMENT',
    argument,
    message: `${argument}: unknown option; ${hint}`,
  });
}

/** The known name that shares most pairs of neighbouring letters, in either order, if it shares enough. */
function nearest(name: string, known: readonly string[]): string | undefined {
  const given = plain(name).replace('kv', 'keyvalue');
  let nearest: string | undefined;
  let most = 0.45;
  for (const candidate of known) {
    const letters = plain(candidate);
    let shared = 0;
    for (let i = 1; i < given.length; i++) {
      const [a, b] = [given[i - 1]!, given[i]!];
      if (letters.includes(a + b) || letters.includes(b + a)) shared++;
    }
    const share = (2 * shared) / (given.length + letters.length - 2);
    if (share > most) [nearest, most] = [candidate, share];
  }
  return nearest;
}

function plain(name: string): string {
  return name.toLowerCase().replace(/[^a-z]/g, '');
}

/** The value, which must be of a class. */
export function checkInstance<T>(
  argument: string,
  value: unknown,
  kind: abstract new (...args: never[]) => T,
): T {
  if (value instanceof kind) return value;
  throw invalidArgument(argument, `a ${kind.name}`, value);
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

/** A list of integers. */
export type IntegerList = readonly number[] | Int32Array | BigInt64Array;

/** A list of integers in a range, copied. */
export function integers(argument: string, list: IntegerList, lowest: number, highest: number): Int32Array {
  const listed = current(list) as ArrayLike<number | bigint> | undefined;
  if (typeof listed !== 'object' || typeof listed?.length !== 'number') {
    throw invalidArgument(argument, 'a list of integers', list);
  }
  const result = new Int32Array(listed.length);
  for (let i = 0; i < result.length; i++) {
    const given: unknown = listed[i];
    const value = typeof given === 'bigint' ? Number(given) : given;
    if (typeof value !== 'number' || !Number.isInteger(value) || value < lowest || value > highest) {
      throw invalidArgument(`${argument}[${i}]`, `an integer from ${lowest} to ${highest}`, given);
    }
    result[i] = value;
  }
  return result;
}

/** Lengths added up, copied: 0 first, never falling. */
export function checkCumulative(argument: string, cumulative: IntegerList): Int32Array {
  const bounds = integers(argument, cumulative, 0, 2 ** 31 - 1);
  let rising = bounds.length >= 1 && bounds[0] === 0;
  for (let i = 1; i < bounds.length; i++) rising &&= bounds[i]! >= bounds[i - 1]!;
  if (rising) return bounds;
  throw invalidArgument(argument, 'integers that start at 0 and never fall', cumulative);
}
