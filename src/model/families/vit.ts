// ViT: pictures by patches and a class token.

import type { Family } from '../description.js';
import { vitModel } from './vit-like.js';

/** ViT: pictures, cut into patches. */
export const vit: Family = {
  modelTypes: ['vit'],
  describe: (config, names) => vitModel(config, names, 'vit', ['cls_token']),
};
