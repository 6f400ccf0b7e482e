// What a value from outside is made of.

/** Lists and records within each other that are looked into. */
const DEEPEST = 5;

/**
 * Calls `visit` with every object that a value holds in lists and records, itself included. Getters are not called (those
 * of a checkpoint decode its tensors), and lists of numbers not gone through.
 */
export function eachObject(value: unknown, visit: (object: object) => void, depth = 0): void {
  if (typeof value !== 'object' || value === null) return;
  visit(value);
  if (depth === DEEPEST || ArrayBuffer.isView(value)) return;
  if (Array.isArray(value) && typeof value[0] !== 'object') return;
  for (const part of Object.values(Object.getOwnPropertyDescriptors(value))) {
    eachObject(part.value, visit, depth + 1);
  }
}
