// Attention as a soft dictionary lookup in a text: the program behind `npm start`. See `npm start -- --help`.

import { createRuntime } from 'wasm-attention';
import { benchmark } from 'wasm-attention/benchmark';

import { HELP, parseArguments } from './arguments.mjs';
import { embedLines } from './embedding.mjs';
import { readText } from './input.mjs';
import { lookUp } from './lookup.mjs';
import { pictureOfLookup } from './picture.mjs';
import { measureSpeed } from './speed.mjs';
import { Style } from './style.mjs';
import { clean } from './text.mjs';
import { UsageError } from './usage-error.mjs';
import { workedExample } from './worked-example.mjs';

// A reader that has seen enough (`| head`) closes the pipe: not a failure.
process.stdout.on('error', (error) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(0);
});

try {
  await main();
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  console.error(`lookup: ${clean(error.message)}`);
  process.stdin.destroy(); // may be what is wrong, and would keep the process alive
  process.exitCode = 2;
}

async function main() {
  const options = parseArguments(process.argv.slice(2));
  if (options.help) {
    console.log(HELP);
    return;
  }
  const style = Style.of(process.stdout, process.env, options.color);
  const text = await readText(options.file);
  const query = clean(options.query ?? text.defaultQuery);
  const runtime = await createRuntime({ packs: [benchmark] });
  const embedded = embedLines(text.lines, query, options.heads);
  const lookup = lookUp(runtime, embedded);
  print(pictureOfLookup({ text, query, embedded, lookup, top: options.top, style }));
  print(workedExample(runtime, style));
  print(measureSpeed(runtime, style));
  runtime.dispose();
}

/** @param {string[]} lines */
function print(lines) {
  console.log(lines.join('\n') + '\n');
}
