// What Node and its kind have built in.

interface Modules {
  'node:os': typeof import('node:os');
  'node:url': typeof import('node:url');
  'node:worker_threads': typeof import('node:worker_threads');
}

/** A built-in module of Node, Bun or Deno; asked for at run time, so that no bundler looks for it. */
export function nodeModule<Name extends keyof Modules>(name: Name): Modules[Name] | undefined {
  return globalThis.process?.getBuiltinModule?.(name);
}
