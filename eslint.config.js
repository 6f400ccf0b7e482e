import js from '@eslint/js';
import { defineConfig, globalIgnores } from 'eslint/config';
import tseslint from 'typescript-eslint';

/** The globals of Node and of a page, for the programs that are not TypeScript. */
const globals = Object.fromEntries(
  [
    ...Object.getOwnPropertyNames(globalThis),
    ...[
      'document',
      'window',
      'self',
      'navigator',
      'location',
      'history',
      'Worker',
      'addEventListener',
      'postMessage',
      'createImageBitmap',
      'OffscreenCanvas',
      'OfflineAudioContext',
    ],
  ].map((name) => [name, 'readonly']),
);

export default defineConfig(
  // AssemblyScript's decorators are not TypeScript's; its own compiler checks those files.
  globalIgnores(['test/types/programs/', '**/assembly/', 'build/', 'dist/', 'coverage/']),
  js.configs.recommended,
  {
    files: ['**/*.{js,mjs,cjs}'],
    languageOptions: { globals },
  },
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.recommendedTypeChecked],
    languageOptions: { parserOptions: { projectService: true } },
    rules: {
      // A method that others override names the parameters it does not use itself.
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_' }],
    },
  },
);
