// The parameter block of the attention kernels: assembly/attention/parameters.ts.

import { attentionParameters } from '../../../build/kernels.js';
import type { AttentionParameters } from '../../../build/kernels.js';
import { ParameterBlock } from '../../runtime/parameters.js';

/** Words of the block by name; those not named are 0. */
export type Parameters = AttentionParameters;

export const attentionBlock = /* @__PURE__ */ new ParameterBlock(attentionParameters);
