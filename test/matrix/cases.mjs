// What the matrix runs: each case is one way of installing, loading or bundling the package, with what is expected of it.
//
// A case has a name; the `browser` that it needs, if it needs one; `whyNot`, the reason why it cannot run on this machine, if
// there is one; `run`, which returns the outcome of the program; and where it matters `expected`, a part of the outcome.

import { existsSync } from 'node:fs';
import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { browsers, visit, whyNot } from './browsers.mjs';
import { run, start } from './processes.mjs';
import { IMPORT_SUITE, IN_WORKER, LIBRARY, outcomeIn, PAGE, PRINT, sendTo } from './project.mjs';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

const ISOLATED = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
};
const policy = (scripts, workers = '') => ({
  'Content-Security-Policy': `default-src 'none'; connect-src 'self'; script-src 'self' ${scripts}; ${workers}`,
});

/** Programs for runtimes without a page. */
const module_ = { 'main.mjs': LIBRARY.import + IMPORT_SUITE + PRINT };
const inWorker = { 'main.mjs': LIBRARY.import + IN_WORKER.import + IN_WORKER.suite + PRINT };
const commonJs = { 'main.cjs': `${LIBRARY.require}const { run } = require('./suite.cjs');\n${PRINT}` };

export function cases({ packed, server }) {
  /** A program on the command line. */
  const program = (name, files, command, args, expected) => ({
    name,
    expected,
    whyNot: existsSync(command) ? undefined : `${command.split('node_modules/').pop()} is not installed`,
    run: async () => outcomeIn(await run(command, args, { cwd: await packed.project(files) })),
  });

  /** The package's files as they are, in a page with the given headers. */
  const page = (browser, kind, library, headers, expected, suite = IMPORT_SUITE) => ({
    name: `${browser}, ${kind}`,
    expected,
    browser,
    whyNot: whyNot(browser),
    async run() {
      const { address, outcome } = server.expectOutcome(60);
      const files = { 'index.html': PAGE, 'main.js': library + suite + sendTo(address) };
      return visit(browser, `${server.add(await packed.project(files), headers)}index.html`, outcome);
    },
  });

  /** A page made by a bundler, in Chromium. */
  const bundled = (
    name,
    tool,
    { library = LIBRARY.import, pageOf = PAGE, suite = IMPORT_SUITE, toolset = 'bundlers', expected } = {},
  ) => ({
    name: `${name}, in Chromium`,
    expected,
    browser: 'Chromium',
    whyNot: whyNot('Chromium') ?? missing(toolset),
    async run() {
      const { address, outcome } = server.expectOutcome(180);
      const main = library + suite + sendTo(address);
      const project = await packed.project({ 'index.html': pageOf, 'main.js': main });
      await tool(project);
      const out = join(project, 'out');
      if (!existsSync(join(out, 'index.html')))
        await cp(join(project, 'index.html'), join(out, 'index.html'));
      return visit('Chromium', `${server.add(out)}index.html`, outcome);
    },
  });
  const by = (tool) => (cwd) => run(process.execPath, [here('bundle.mjs'), tool], { cwd, seconds: 180 });

  const node = (version) => here(`../runtimes/node_modules/node${version}/bin/node`);
  const bun = here('runtimes/node_modules/bun/bin/bun');
  const deno = here('runtimes/node_modules/deno/deno');
  const threaded = { threads: 2 };
  const alone = { threads: 1 };
  const same = { worker: 'same bits' };

  return [
    ...[20, 22, 24, 26].flatMap((version) => [
      program(`Node ${version}, import`, module_, node(version), ['main.mjs'], threaded),
      program(`Node ${version}, require`, commonJs, node(version), ['main.cjs'], threaded),
    ]),
    program('Node 20, worker runtime', inWorker, node(20), ['main.mjs'], same),
    program('Node 26, worker runtime', inWorker, node(26), ['main.mjs'], same),
    program('Bun', module_, bun, ['main.mjs']),
    program('Bun, worker runtime', inWorker, bun, ['main.mjs'], same),
    {
      name: 'Bun, one file (bun build --compile)',
      whyNot: existsSync(bun) ? undefined : 'bun is not installed',
      async run() {
        const cwd = await packed.project(module_);
        await run(bun, ['build', '--compile', 'main.mjs', '--outfile', 'program'], { cwd, seconds: 120 });
        return outcomeIn(await run(join(cwd, 'program'), [], { cwd }));
      },
    },
    program('Deno', module_, deno, ['run', '-A', '--node-modules-dir=manual', 'main.mjs']),
    program(
      'Deno, worker runtime',
      inWorker,
      deno,
      ['run', '-A', '--node-modules-dir=manual', 'main.mjs'],
      same,
    ),
    workerd('workerd (miniflare)', packed),
    workerd('workerd, nodejs_compat', packed, 'nodejs_compat'),

    ...Object.keys(browsers).flatMap((browser) => [
      page(browser, 'module script', LIBRARY.file, {}, alone),
      page(
        browser,
        'module script, isolated page',
        LIBRARY.file,
        ISOLATED,
        browser === 'WebKit' ? alone : threaded,
      ),
      page(browser, 'worker runtime', LIBRARY.file + IN_WORKER.file, {}, same, IN_WORKER.suite),
      page(browser, 'slim, address of the .wasm', LIBRARY.slimFile, {}, { build: 'simd' }),
      page(browser, 'strict CSP', LIBRARY.file, policy(`'wasm-unsafe-eval'`), alone),
      page(
        browser,
        'strict CSP, worker-src blob:, isolated page',
        LIBRARY.file,
        { ...policy(`'wasm-unsafe-eval'`, 'worker-src blob:'), ...ISOLATED },
        browser === 'WebKit' ? alone : threaded,
      ),
      page(
        browser,
        'strict CSP, isolated page',
        LIBRARY.file,
        { ...policy(`'wasm-unsafe-eval'`), ...ISOLATED },
        alone,
      ),
      page(browser, 'CSP without wasm-unsafe-eval', LIBRARY.file, policy(''), { code: 'UNSUPPORTED' }),
    ]),

    bundled('esbuild', by('esbuild'), { toolset: '../..' }),
    bundled('esbuild, iife', by('esbuild-iife'), {
      pageOf: PAGE.replace(' type="module"', ' defer'),
      toolset: '../..',
    }),
    bundled('Rollup', by('rollup')),
    bundled('Rollup, slim with @rollup/plugin-wasm', by('rollup'), { library: LIBRARY.slimImport }),
    bundled('webpack', by('webpack')),
    ...['esbuild', 'webpack', 'vite', 'parcel'].map((tool) =>
      bundled(`${tool}, worker runtime`, by(tool), {
        library: LIBRARY.import + IN_WORKER.import,
        suite: IN_WORKER.suite,
        expected: same,
        toolset: tool === 'esbuild' ? '../..' : undefined,
      }),
    ),
    bundled('rspack', by('rspack')),
    bundled('Vite build', by('vite')),
    viteDev({ packed, server }),
    bundled('Parcel', by('parcel')),
    bundled('Bun build', (cwd) => run(bun, ['build', 'main.js', '--outfile', 'out/main.js'], { cwd }), {
      toolset: 'runtimes',
    }),
    ...next({ packed, server }),
  ];
}

/** Why a toolset cannot be used, or undefined. */
const missing = (toolset) =>
  existsSync(here(`${toolset}/node_modules`)) ? undefined : `test/matrix/${toolset} is not installed`;

function workerd(name, packed, ...flags) {
  const node24 = here('../runtimes/node_modules/node24/bin/node');
  return {
    name,
    expected: { threads: 1, threadsReason: 'there are no workers here' },
    whyNot: [here('runtimes/node_modules/miniflare'), node24].every(existsSync)
      ? undefined
      : 'miniflare, or the Node 24 that it needs, is not installed',
    async run() {
      const answer = `export default { async fetch() {
  try {
    return Response.json(await run(library));
  } catch (error) {
    return new Response(String(error && error.stack), { status: 500 });
  }
} };\n`;
      const cwd = await packed.project({ 'worker.mjs': LIBRARY.import + IMPORT_SUITE + answer });
      await build({
        absWorkingDir: cwd,
        entryPoints: ['worker.mjs'],
        bundle: true,
        format: 'esm',
        conditions: ['workerd', 'worker', 'browser'],
        loader: { '.wasm': 'copy' },
        assetNames: '[name]',
        outdir: 'out',
      });
      return outcomeIn(await run(node24, [here('workerd.mjs'), join(cwd, 'out'), ...flags]));
    },
  };
}

/** A server that stays up while a page is visited. */
async function visitServed(command, args, options, port, path, outcome) {
  const served = start(command, args, { ...options, seconds: 240 });
  served.done.catch(() => {});
  try {
    await untilAnswers(`http://127.0.0.1:${port}${path}`);
    return await visit('Chromium', `http://127.0.0.1:${port}${path}`, outcome);
  } finally {
    await served.stop();
  }
}

async function untilAnswers(address) {
  for (let tries = 0; tries < 240; tries++) {
    const answered = await fetch(address).then(
      (response) => response.ok,
      () => false,
    );
    if (answered) return;
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
  throw new Error(`nobody answers at ${address}`);
}

function viteDev({ packed, server }) {
  return {
    name: 'Vite dev, in Chromium',
    browser: 'Chromium',
    whyNot: whyNot('Chromium') ?? missing('bundlers'),
    async run() {
      const { address, outcome } = server.expectOutcome(120);
      const main = LIBRARY.import + IMPORT_SUITE + sendTo(address);
      const cwd = await packed.project({ 'index.html': PAGE, 'main.js': main });
      const args = [
        here('bundlers/node_modules/vite/bin/vite.js'),
        '--port',
        '5199',
        '--strictPort',
        '--host',
        '127.0.0.1',
      ];
      return visitServed(process.execPath, args, { cwd }, 5199, '/index.html', outcome);
    },
  };
}

/** One application of Next.js: a page whose program runs in the browser, a route in Node, a route on the edge. */
function next({ packed, server }) {
  const { address, outcome } = server.expectOutcome(400);
  const importSuite = (depth) => IMPORT_SUITE.replace('./', '../'.repeat(depth));
  const route = (depth, edge) => `${LIBRARY.import}${importSuite(depth)}
export const dynamic = 'force-dynamic';
${edge ? `export const runtime = 'edge';` : ''}
export async function GET() {
  return Response.json(await run(library).catch((error) => ({ error: String(error) })));
}\n`;
  const files = {
    'package.json': '{ "name": "throw-away", "version": "1.0.0", "private": true }\n',
    'app/layout.jsx': `export default function Layout({ children }) {
  return <html><body>{children}</body></html>;
}\n`,
    'app/page.jsx': `'use client';
import { useEffect } from 'react';
${LIBRARY.import}${importSuite(1)}
export default function Page() {
  useEffect(() => {
${sendTo(address)}
  }, []);
  return <p>matrix</p>;
}\n`,
    'app/node/route.js': route(2, false),
    'app/edge/route.js': route(2, true),
  };
  const program = here('next/node_modules/next/dist/bin/next');
  const environment = { env: { NEXT_TELEMETRY_DISABLED: '1' } };
  let application;
  const built = () =>
    (application ??= (async () => {
      const cwd = await packed.project(files);
      await cp(here('next/node_modules'), join(cwd, 'node_modules'), {
        recursive: true,
        verbatimSymlinks: true,
      });
      await run(process.execPath, ['node_modules/next/dist/bin/next', 'build'], {
        cwd,
        ...environment,
        seconds: 300,
      });
      return { cwd, ...environment };
    })());
  const start_ = ['node_modules/next/dist/bin/next', 'start', '-p', '5198', '-H', '127.0.0.1'];
  const route_ = (name, path, expected) => ({
    name,
    expected,
    whyNot: existsSync(program) ? undefined : 'test/matrix/next is not installed',
    async run() {
      const served = start(process.execPath, start_, { ...(await built()), seconds: 120 });
      served.done.catch(() => {});
      try {
        await untilAnswers(`http://127.0.0.1:5198/`);
        return await (await fetch(`http://127.0.0.1:5198${path}`)).json();
      } finally {
        await served.stop();
      }
    },
  });
  return [
    {
      name: 'Next.js, page, in Chromium',
      browser: 'Chromium',
      whyNot: whyNot('Chromium') ?? (existsSync(program) ? undefined : 'test/matrix/next is not installed'),
      run: async () => visitServed(process.execPath, start_, await built(), 5198, '/', outcome),
    },
    route_('Next.js, route in Node', '/node'),
    route_('Next.js, route on the edge', '/edge'),
  ];
}
