// Every JavaScript example of the documentation runs as it stands.

import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../../', import.meta.url));
// Inside the project, so that its own name resolves to it.
const folder = `${root}build/examples-${process.pid}/`;
mkdirSync(folder, { recursive: true });
afterAll(() => {
  rmSync(folder, { recursive: true });
});

const pages = ['README.md', 'CONTRIBUTING.md', ...readdirSync(`${root}docs`).map((name) => `docs/${name}`)];

describe.each(pages.filter((page) => page.endsWith('.md')))('%s', (page) => {
  const blocks = [...readFileSync(root + page, 'utf8').matchAll(/^```js\n([\s\S]*?)^```$/gm)].map(
    (match) => match[1]!,
  );
  it('has examples that run, or none', () => {
    blocks.forEach((code, index) => {
      const path = `${folder}${page.replaceAll(/\W/g, '-')}-${index}.mjs`;
      writeFileSync(path, code);
      const { status, stderr } = spawnSync(process.execPath, [path], { cwd: root, encoding: 'utf8' });
      expect(stderr, `example ${index + 1} of ${page}`).toBe('');
      expect(status).toBe(0);
    });
  });
});
