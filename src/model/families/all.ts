// All families. Programs that name theirs do not download it: it is imported only where it is needed.
// Kin stand together: bundles have them in this order, and compress better.

import type { Family } from '../description.js';
import { vit } from './vit.js';
import { deit } from './deit.js';
import { dinov2 } from './dinov2.js';
import { clip } from './clip.js';
import { bert } from './bert.js';
import { roberta } from './roberta.js';
import { mpnet } from './mpnet.js';
import { distilbert } from './distilbert.js';
import { albert } from './albert.js';
import { modernbert } from './modernbert.js';
import { gpt2 } from './gpt2.js';
import { attentionOnly } from './attention-only.js';
import { gptj } from './gptj.js';
import { gptNeox } from './gpt-neox.js';
import { bloom } from './bloom.js';
import { phi } from './phi.js';
import { opt } from './opt.js';
import { whisper } from './whisper.js';
import { bart } from './bart.js';
import { t5 } from './t5.js';
import { llama } from './llama.js';
import { olmo2 } from './olmo2.js';
import { mistral } from './mistral.js';
import { qwen2, qwen3 } from './qwen.js';
import { gemma2, gemma3 } from './gemma.js';

/** All families there are. */
export const allFamilies: readonly Family[] = [
  albert,
  attentionOnly,
  bart,
  bert,
  bloom,
  clip,
  deit,
  dinov2,
  distilbert,
  gemma2,
  gemma3,
  gpt2,
  gptNeox,
  gptj,
  llama,
  mistral,
  modernbert,
  mpnet,
  olmo2,
  opt,
  phi,
  qwen2,
  qwen3,
  roberta,
  t5,
  vit,
  whisper,
];
