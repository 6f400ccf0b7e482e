// JSON of strangers: text that must mean the same to every reader.
// Touch: what makes a text ambiguous. What a file's JSON has to say belongs to its reader.

import { describe, invalidFile } from '../runtime/errors.js';

const colon = 0x3a;
const space = 0x20;

export function decodeText(argument: string, bytes: Uint8Array): string {
  try {
    // A copy, because browsers refuse to decode from shared memory.
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(new Uint8Array(bytes));
  } catch (cause) {
    throw invalidFile(argument, 'UTF-8 text', 'bytes that are not', cause);
  }
}

/**
 * Parses a text of which every reader makes the same: mostly an object, which its reader checks.
 *
 * @param argument what errors call the text
 */
export function parseJson(argument: string, text: string): Record<string, unknown> {
  const value = parse(argument, text);
  refuseDuplicates(argument, text, value);
  return value;
}

function parse(argument: string, text: string): Record<string, unknown> {
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch (cause) {
    throw invalidFile(argument, 'valid JSON', 'a syntax error', cause);
  }
}

/**
 * `JSON.parse` silently keeps the last of several values of one key, which would let two readers see different tensors in
 * one file. Only if the text has more keys than the objects is there anything to look for.
 */
function refuseDuplicates(argument: string, text: string, value: Record<string, unknown>): void {
  let keys = 0;
  for (const object of [value, ...Object.values(value ?? {})] as object[]) {
    for (const key in object) if (Object.hasOwn(object, key)) keys++; // without a list of them for each tensor
  }
  if (countKeys(text) === keys) return;
  const duplicate = findDuplicateKey(text);
  if (duplicate !== undefined) {
    throw invalidFile(argument, 'every key once', `${describe(duplicate)} again`);
  }
}

/** Strings before a colon, in JSON that is known to be valid. */
function countKeys(text: string): number {
  let count = 0;
  for (let at = text.indexOf('"'); at >= 0; at = text.indexOf('"', at)) {
    at = endOfString(text, at);
    while (text.charCodeAt(at) <= space) at++;
    if (text.charCodeAt(at) === colon) count++;
  }
  return count;
}

/**
 * The first key that some object of a JSON text has twice.
 *
 * @param text JSON that is known to be valid.
 */
function findDuplicateKey(text: string): string | undefined {
  const open: (Set<string> | undefined)[] = [];
  let keyIsNext = false;
  for (let at = 0; at < text.length; at++) {
    const character = text[at];
    if (character === '"') {
      const end = endOfString(text, at);
      if (keyIsNext) {
        const key = JSON.parse(text.slice(at, end)) as string;
        const keys = open.at(-1);
        if (keys?.has(key)) return key;
        keys?.add(key);
        keyIsNext = false;
      }
      at = end - 1;
    } else if (character === '{' || character === '[') {
      open.push(character === '{' ? new Set() : undefined);
      keyIsNext = character === '{';
    } else if (character === '}' || character === ']') {
      open.pop();
      keyIsNext = false;
    } else if (character === ',') {
      keyIsNext = open.at(-1) !== undefined;
    }
  }
  return undefined;
}

/** One past the closing quote of the string that opens at `start`. */
function endOfString(text: string, start: number): number {
  let quote = text.indexOf('"', start + 1);
  while (countBackslashesBefore(text, quote) % 2 === 1) quote = text.indexOf('"', quote + 1);
  return quote + 1;
}

function countBackslashesBefore(text: string, position: number): number {
  let first = position;
  while (text[first - 1] === '\\') first--;
  return position - first;
}

export function isPlainObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Own properties only: what an entry lacks must not be found on a prototype. */
export function ownValue(value: object, key: string): unknown {
  return Object.hasOwn(value, key) ? (value as Record<string, unknown>)[key] : undefined;
}
