/** This machine's clock against those of the registries: certificates and tokens are valid between two times. */
import { SECOND } from '../../util/clock.ts';
import { formatAge } from '../client/format.ts';
import { ok, skipped, warning, type Check } from './check.ts';

/** Milliseconds. Tokens are renewed 10 s before they expire, and their issuers allow for some seconds. */
const MAX_DIFFERENCE = 30 * SECOND;

export const clock: Check = {
  name: 'clock',
  run: async ({ registries, facts }) => {
    const settled = await Promise.allSettled(registries.map((host) => facts.registry(host)));
    const probes = settled.flatMap((one) => (one.status === 'fulfilled' ? one.value : []));
    const ahead = probes.map(({ clockAhead }) => clockAhead).filter((each) => each !== undefined);
    if (ahead.length === 0) return skipped('no registry answered with its time');
    // The middle one: a single registry may be wrong itself.
    const middle = ahead.toSorted((a, b) => a - b)[ahead.length >> 1] ?? 0;
    const seconds = Math.abs(middle) / SECOND;
    const whose = ahead.length === 1 ? 'a registry' : `${ahead.length} registries`;
    if (seconds * SECOND <= MAX_DIFFERENCE) return ok(`within ${Math.ceil(seconds)} s of ${whose}`);
    const side = middle > 0 ? 'ahead of' : 'behind';
    return warning(
      `${formatAge(seconds)} ${side} ${whose}`,
      'set the clock: timedatectl set-ntp true, or chronyc makestep',
    );
  },
};
