// The parameter blocks of the attention kernels: assembly/attention/parameters.ts.

import {
  attentionParameters,
  forwardParameters,
  pageParameters,
  regionParameters,
} from '../../../build/kernels.js';
import { ParameterBlock } from '../../runtime/parameters.js';

export const attentionBlock = /* @__PURE__ */ new ParameterBlock(attentionParameters);
export const forwardBlock = /* @__PURE__ */ new ParameterBlock(forwardParameters);
export const pageBlock = /* @__PURE__ */ new ParameterBlock(pageParameters);
export const regionBlock = /* @__PURE__ */ new ParameterBlock(regionParameters);
