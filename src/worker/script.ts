// The source of a worker. A function, and imported before anything else: so it stands before all code in the bundle, which then
// compresses best.

import script from './worker.js?inline';

export function workerScript(): string {
  return script;
}
