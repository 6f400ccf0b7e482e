// Whether there can be threads here, and how many.

import { nodeModule } from './node.js';
import { hasWorkers } from './workers.js';

/** Processors this program may use, at least 1. */
export function processors(): number {
  return nodeModule('node:os')?.availableParallelism?.() ?? globalThis.navigator?.hardwareConcurrency ?? 1;
}

/** Why there can be no threads here, or undefined if there can. */
export function whyNoThreads(): string | undefined {
  // First, because browsers hide SharedArrayBuffer from such pages.
  if ((globalThis as { crossOriginIsolated?: boolean }).crossOriginIsolated === false) {
    return 'the page is not cross-origin isolated (it needs the headers COOP: same-origin and COEP: require-corp)';
  }
  if (typeof SharedArrayBuffer === 'undefined') return 'there is no SharedArrayBuffer here';
  // workerd may have Node's module, whose Worker throws.
  const isWorkerd = globalThis.navigator?.userAgent === 'Cloudflare-Workers';
  return isWorkerd || !hasWorkers() ? 'there are no workers here' : undefined;
}
