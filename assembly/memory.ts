/** Memory: everything from here on belongs to the caller. The build checks that it is the same in all packs. */
export function heapBase(): usize {
  return __heap_base;
}
