// A peer that never comes back.
export default {
  name: 'hang',
  version: async () => '1',
  available: async () => true,
  variants: () => [''],
  prepare: async () => ({
    run() {
      for (;;);
    },
    dispose() {},
  }),
};
