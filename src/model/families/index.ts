// Every family by a plain name, and all of them. Touch: a new family is a line of each.

import type { Family } from '../description.js';
import { bert } from './bert.js';
import { gpt2 } from './gpt2.js';
import { llama } from './llama.js';
import { t5 } from './t5.js';
import { vit } from './vit.js';

export { bert, gpt2, llama, t5, vit };

/** All families there are. */
export const allFamilies: readonly Family[] = [bert, gpt2, llama, t5, vit];
