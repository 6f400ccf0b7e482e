// What is done with the result of a sublayer's last product while it is in the cache.

import type { Rows } from '../pass.js';

export interface Residual {
  /** Added to the result; may be where the result goes. */
  readonly residual?: Omit<Rows, 'rows'> | undefined;
  /** Address of a factor for each channel, before the residual is added. */
  readonly scale?: number | undefined;
}
