// Gradients of TensorFlow.js's operations. Its core for Node leaves them out, and its modules, whose imports have no extensions, are
// for bundlers: so they are bundled here. Engine and registries are global to it, and so the same in both copies.

import { createRequire } from 'node:module';
import { build } from 'esbuild';

let registered = false;

export async function registerGradients() {
  if (registered) return;
  const entry = createRequire(import.meta.url).resolve(
    '@tensorflow/tfjs-core/dist/register_all_gradients.js',
  );
  const { outputFiles } = await build({
    entryPoints: [entry],
    bundle: true,
    format: 'esm',
    platform: 'neutral',
    write: false,
  });
  await import(`data:text/javascript;base64,${Buffer.from(outputFiles[0].contents).toString('base64')}`);
  registered = true;
}
