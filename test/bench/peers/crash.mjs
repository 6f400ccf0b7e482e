// A peer that ends its process in its fourth call.
let calls = 0;
export default {
  name: 'crash',
  version: async () => '1',
  available: async () => true,
  variants: () => [''],
  prepare: async (workload, { x }) => ({
    run() {
      if (++calls > 3) process.abort();
      return x.slice();
    },
    dispose() {},
  }),
};
