// Every family by a plain name. Touch: a new family is a line here and two in all.ts.

export { albert } from './albert.js';
export { attentionOnly } from './attention-only.js';
export { bart } from './bart.js';
export { bert } from './bert.js';
export { bloom } from './bloom.js';
export { clip } from './clip.js';
export { deit } from './deit.js';
export { dinov2 } from './dinov2.js';
export { distilbert } from './distilbert.js';
export { gemma2, gemma3 } from './gemma.js';
export { gpt2 } from './gpt2.js';
export { gptNeox } from './gpt-neox.js';
export { gptj } from './gptj.js';
export { llama } from './llama.js';
export { mistral } from './mistral.js';
export { modernbert } from './modernbert.js';
export { mpnet } from './mpnet.js';
export { olmo2 } from './olmo2.js';
export { opt } from './opt.js';
export { phi } from './phi.js';
export { qwen2, qwen3 } from './qwen.js';
export { roberta } from './roberta.js';
export { t5 } from './t5.js';
export { vit } from './vit.js';
export { whisper } from './whisper.js';
