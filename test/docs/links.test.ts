// Links between the pages of the documentation lead somewhere: to a file that is there, and to a heading in it.

import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const root = fileURLToPath(new URL('../../', import.meta.url));
const pages = [
  ...['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md'],
  ...readdirSync(`${root}docs`).map((name) => `docs/${name}`),
  ...['examples', 'learned'].flatMap((folder) =>
    readdirSync(root + folder).map((name) => `${folder}/${name}/README.md`),
  ),
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
  const links = [...text.matchAll(/\]\(([^)\s]+)\)|\bsrc(?:set)?="([^"]+)"/g)].map(
    ([, link, picture]) => (link ?? picture)!,
  );
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

it('README: the contents name every section but the last', () => {
  const text = readFileSync(`${root}README.md`, 'utf8');
  const [contents] = /^\*\*Contents:\*\*[^]*?\n\n/m.exec(text)!;
  const named = [...contents.matchAll(/\[([^\]]+)\]/g)].map(([, name]) => name);
  const sections = [...text.matchAll(/^## (.+)$/gm)].map(([, name]) => name);
  expect(named).toEqual(sections.slice(0, -1));
});

it('README: pictures are small', () => {
  for (const name of readdirSync(`${root}docs/images`))
    expect(statSync(`${root}docs/images/${name}`).size, name).toBeLessThan(150_000);
});
