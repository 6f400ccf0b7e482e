// The words that the threads of a runtime talk through: a small shared memory of its own, which never grows, so that no view
// of it goes stale.
//
//   caller                                        worker
//   writes the work, next = first tile
//   open = 1, generation + 1, wakes sleepers      sees another generation: running + 1, and only if open:
//   claims tiles: next + step, until the end      claims tiles: next + step, until the end
//   open = 0, waits until running is 0            running - 1, wakes the caller
//
// A worker that has fewer packs than `packs` says returns to its event loop, where the module of the next one waits for it as a
// message; then it goes on. Work that is opened meanwhile is done without it.
//
// All of these are sequentially consistent. Either the worker sees that the work is closed, or the caller sees that the worker
// runs: a late worker cannot touch the next work's words while they are written.

/** Places of the words, 4 bytes each. Those that several threads write stand in cache lines of their own. */
export const WORD = {
  generation: 0,
  open: 1,
  sleeping: 16,
  running: 32,
  /** 1 after a kernel threw in a worker. */
  failed: 33,
  next: 48,
  /** How many packs there are. */
  packs: 64,
  /** A kernel: which pack, by the order they were loaded in, and which of the exports of its module. */
  pack: 65,
  kernel: 66,
  end: 67,
  step: 68,
  scratch: 69,
  scratchBytes: 70,
  argumentCount: 71,
  args: 72,
} as const;

const MOST_ARGUMENTS = 16;
export const CONTROL_BYTES = 4 * (WORD.args + MOST_ARGUMENTS);
