// AssemblyScript for test/scripts/interface.test.ts: what the build derives from an entry and the files it imports.

export { blur as blurRows } from './rows';

export function heapBase(): usize {
  return __heap_base;
}
