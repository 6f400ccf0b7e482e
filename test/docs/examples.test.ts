// Every JavaScript example of the documentation runs as it stands, in a folder with the models that they name: theirs are random
// and small. Addresses lead there, too.

import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { byteTokenizer, writeModel } from '../support/model-folders.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
// Inside the project, so that its own name resolves to it.
const folder = `${root}build/examples-${process.pid}/`;
mkdirSync(folder, { recursive: true });
afterAll(() => {
  rmSync(folder, { recursive: true });
});

writeModel(`${folder}models/all-MiniLM-L6-v2`, 'bert', {
  config: { vocab_size: 300 },
  files: {
    ...byteTokenizer(['[CLS]', '[SEP]']),
    'modules.json': [
      { idx: 0, name: '0', path: '', type: 'sentence_transformers.models.Transformer' },
      { idx: 1, name: '1', path: '1_Pooling', type: 'sentence_transformers.models.Pooling' },
      { idx: 2, name: '2', path: '2_Normalize', type: 'sentence_transformers.models.Normalize' },
    ],
    '1_Pooling/config.json': { word_embedding_dimension: 8, pooling_mode_mean_tokens: true },
  },
});
writeModel(`${folder}models/SmolLM2-135M-Instruct`, 'llama', { files: byteTokenizer(['<|im_end|>']) });
writeFileSync(
  `${folder}fetch.mjs`,
  `import { readFile } from 'node:fs/promises';
  globalThis.fetch = async (address) => {
    const path = String(address).split('/').slice(4).join('/').replace('resolve/main/', '');
    const read = readFile('models/' + path);
    return read.then((bytes) => new Response(bytes), () => new Response('', { status: 404 }));
  };`,
);

const pages = ['README.md', 'CONTRIBUTING.md', ...readdirSync(`${root}docs`).map((name) => `docs/${name}`)];

describe.each(pages.filter((page) => page.endsWith('.md')))('%s', (page) => {
  const blocks = [...readFileSync(root + page, 'utf8').matchAll(/^```js\n([\s\S]*?)^```$/gm)].map(
    (match) => match[1]!,
  );
  it('has examples that run, or none', () => {
    blocks.forEach((code, index) => {
      const path = `${folder}${page.replaceAll(/\W/g, '-')}-${index}.mjs`;
      writeFileSync(path, code);
      const { status, stderr } = spawnSync(process.execPath, ['--import', './fetch.mjs', path], {
        cwd: folder,
        encoding: 'utf8',
      });
      expect(stderr, `example ${index + 1} of ${page}`).toBe('');
      expect(status).toBe(0);
    });
  });
});
