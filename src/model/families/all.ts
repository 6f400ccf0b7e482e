// All families. Programs that name theirs do not download it: it is imported only where it is needed.

import type { Family } from '../description.js';
import { albert } from './albert.js';
import { bart } from './bart.js';
import { bert } from './bert.js';
import { bloom } from './bloom.js';
import { clip } from './clip.js';
import { deit } from './deit.js';
import { dinov2 } from './dinov2.js';
import { distilbert } from './distilbert.js';
import { gemma2, gemma3 } from './gemma.js';
import { gpt2 } from './gpt2.js';
import { gptNeox } from './gpt-neox.js';
import { gptj } from './gptj.js';
import { llama } from './llama.js';
import { mistral } from './mistral.js';
import { modernbert } from './modernbert.js';
import { mpnet } from './mpnet.js';
import { olmo2 } from './olmo2.js';
import { opt } from './opt.js';
import { phi } from './phi.js';
import { qwen2, qwen3 } from './qwen.js';
import { roberta } from './roberta.js';
import { t5 } from './t5.js';
import { vit } from './vit.js';
import { whisper } from './whisper.js';

/** All families there are. */
export const allFamilies: readonly Family[] = [
  albert,
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
