// DeiT: ViT with a distillation token, whose classifier is averaged with that of the class token.

import type { Family, HeadDescription } from '../description.js';
import { logitsHead } from './heads.js';
import { Tensors } from './tensors.js';
import { vitModel } from './vit-like.js';

/** DeiT: ViT with a second token, for what a teacher says. */
export const deit: Family = {
  modelTypes: ['deit'],
  describe(config, names) {
    const model = vitModel(config, names, 'deit', ['cls_token', 'distillation_token']);
    const root = new Tensors(names);
    const { embedDim } = model.stack;
    const own = logitsHead(root, 'cls_classifier', 'first', embedDim);
    const distilled = logitsHead(root, 'distillation_classifier', 'second', embedDim);
    if (!own || !distilled) return model;
    const both: HeadDescription[] = [
      { ...own, name: 'clsLogits' },
      { ...distilled, name: 'distillationLogits' },
    ];
    return {
      ...model,
      heads: [...model.heads, ...both],
      logits: { meanOf: ['clsLogits', 'distillationLogits'] },
    };
  },
};
