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

/**
 * Functions of Math whose last bits an engine may choose. Those that are left are exact, or rounded alike everywhere: sqrt, min, max,
 * floor, ceil, round, trunc, sign, abs, imul, clz32, fround; and powers of 2 whose exponent is a whole literal.
 */
const ENGINES_OWN = [
  ...['exp', 'expm1', 'log', 'log1p', 'log2', 'log10', 'pow', 'cbrt', 'hypot'],
  ...['sin', 'cos', 'tan', 'asin', 'acos', 'atan', 'atan2'],
  ...['sinh', 'cosh', 'tanh', 'asinh', 'acosh', 'atanh', 'random'],
];
const BITS =
  'Engines differ in the last bit here, and what is trained or measured has the same bits everywhere: use src/math (elementary, exponential, philox).';

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
  {
    files: ['src/training/**/*.ts', 'src/measures/**/*.ts'],
    rules: {
      'no-restricted-properties': [
        'error',
        ...ENGINES_OWN.map((property) => ({ object: 'Math', property, message: BITS })),
      ],
      'no-restricted-syntax': [
        'error',
        {
          selector:
            "BinaryExpression[operator='**']:not([left.value=2][right.raw=/^\\d+$/]), AssignmentExpression[operator='**=']",
          message: BITS,
        },
        // Under another name the rule above would not know them.
        {
          selector: "Identifier[name='Math']:not(MemberExpression[computed=false] > Identifier.object)",
          message: 'Functions of Math are called by their names here, so that a rule can see which.',
        },
      ],
    },
  },
);
