/** Settings of a crowd, for tests. */
import { MIB } from '../../../../src/util/clock.ts';
import { parseRate, type CrowdSettings } from '../../../../bench/crowd/options.ts';

/** An image of 10 MiB: 4.194304 s on a link of 20 Mbit/s. */
export const IMAGE: number = 10 * MIB;
export const SECONDS_ON_LINK = 4.194304;

export function settingsOf(changes: Partial<CrowdSettings> = {}): CrowdSettings {
  return {
    nodes: 20,
    layers: [IMAGE],
    link: parseRate('20mbit'),
    registry: parseRate('20mbit'),
    start: { kind: 'simultaneous' },
    zones: 1,
    kill: 0,
    slow: 0,
    loss: 0,
    repeat: 1,
    pulled: 0,
    seed: 1,
    systems: ['weir'],
    runtime: 'fetch',
    loopback: false,
    logLevel: 'info',
    binaries: {},
    ...changes,
  };
}
