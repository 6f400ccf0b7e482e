// Links between the pages of the documentation lead somewhere: to a file that is there, and to a heading in it.

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const root = fileURLToPath(new URL('../../', import.meta.url));
const pages = [
  ...['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md'],
  ...readdirSync(`${root}docs`).map((name) => `docs/${name}`),
  ...readdirSync(`${root}examples`).map((name) => `examples/${name}/README.md`),
].filter((page) => page.endsWith('.md') && existsSync(root + page));

/** Anchors of a page's headings, as GitHub makes them. */
function anchors(path: string): string[] {
  const headings = readFileSync(path, 'utf8').matchAll(/^#+ (.+)$/gm);
  return [...headings].map(([, text]) =>
    text!
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
      .replaceAll(' ', '-'),
  );
}

it.each(pages)('%s', (page) => {
  const text = readFileSync(root + page, 'utf8').replaceAll(/^```[^]*?^```$/gm, '');
  const links = [...text.matchAll(/\]\(([^)\s]+)\)/g)].map(([, link]) => link!);
  const dead = links.filter((link) => {
    if (/^https?:/.test(link)) return false;
    const [file, anchor] = link.split('#') as [string, string | undefined];
    const path = file === '' ? root + page : join(root, dirname(page), file);
    return !existsSync(path) || (anchor !== undefined && !anchors(path).includes(anchor));
  });
  expect(dead).toEqual([]);
  const outside = links.filter((link) => relative(root, join(root, dirname(page), link)).startsWith('..'));
  expect(outside).toEqual([]);
});
