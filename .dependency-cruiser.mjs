// Which folder may import from which: CONTRIBUTING.md shows the same as a picture. Part of `npm run lint`.

/**
 * The rooms of src/ from the top down. A room imports from the rows below its own; rooms of one row do not know each other.
 * Imports of types count too: they are what a room knows of.
 */
export const sources = [
  ['training/', 'measures/'],
  ['model/'],
  ['index.ts', 'benchmark/'],
  ['slim.ts'],
  ['layers/'],
  ['cache/', 'checkpoints/'],
  ['ops/', 'positions/'],
  ['masks/'],
  ['runtime/'],
  ['platform/', 'math/', 'embedded.ts'],
];

/** The same of assembly/, whose first row are the entries of packs. */
export const kernels = [
  ['attention.ts', 'benchmark.ts', 'model.ts', 'training.ts'],
  ['attention/', 'rows/', 'training/', 'peak.ts'],
  ['cache/'],
  ['gemm/', 'rotary/'],
  ['math/', 'memory.ts', 'range-decoder.ts'],
];

const pathsOf = (root, rooms) => `^${root}/(${rooms.join('|').replaceAll('.', '\\.')})`;

function downwards(root, rows) {
  return rows.flatMap((row, number) =>
    row.map((room) => ({
      name: `${root}/${room} imports from rooms below it`,
      severity: 'error',
      from: { path: pathsOf(root, [room]) },
      to: { path: `^${root}/`, pathNot: pathsOf(root, [room, ...rows.slice(number + 1).flat()]) },
    })),
  );
}

export default {
  forbidden: [
    ...downwards('src', sources),
    ...downwards('assembly', kernels),
    {
      name: 'every file is in a room that is listed here',
      severity: 'error',
      from: {
        pathNot: [
          pathsOf('src', ['worker/', ...sources.flat()]),
          pathsOf('assembly', kernels.flat()),
          '\\.d\\.ts$',
        ],
      },
      to: {},
    },
    {
      name: 'no circles of values',
      comment: 'Types may name each other: a tensor its runtime, a runtime its tensors.',
      severity: 'error',
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
  ],
  options: {
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    includeOnly: '^(src|assembly)/',
    enhancedResolveOptions: { extensions: ['.ts', '.js'] },
  },
};
