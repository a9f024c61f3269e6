/** The names of `cluster.bootstrap` lead to addresses. */
import { systemCode } from '../../util/errors.ts';
import { count, ok, skipped, wrong, type Check } from './check.ts';

export const bootstrapNames: Check = {
  name: 'bootstrap',
  run: async ({ loaded: { config }, facts }) => {
    if (config['cluster.mode'] === 'off') return skipped('cluster.mode is off');
    const names = await facts.bootstrap();
    if (names.length === 0) return skipped('cluster.bootstrap names nobody');
    const lost = names.filter(({ addresses }) => addresses.length === 0);
    if (lost.length > 0) {
      const list = lost.map(({ text, error }) => `${text} (${systemCode(error) ?? 'no address'})`).join(', ');
      return wrong(
        `no address for ${list}`,
        'mend the name (try: getent hosts NAME), or give addresses in cluster.bootstrap',
      );
    }
    const addresses = new Set(names.flatMap((name) => name.addresses)).size;
    return ok(`${names.map(({ text }) => text).join(', ')}: ${count(addresses, 'address', 'addresses')}`);
  },
};
