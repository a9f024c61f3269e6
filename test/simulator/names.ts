/** Simulated peer IDs and digests. They have the shape of real ones; nothing looks into them. */
import type { Member } from '../../src/protocol/member.ts';
import type { Digest } from '../../src/oci/digest.ts';
import type { RegistryHost } from '../../src/oci/repository.ts';
import type { PeerId } from '../../src/protocol/peer-id.ts';
import type { SwarmKey } from '../../src/protocol/messages.ts';

export function memberNamed(index: number, zones: number): Member {
  return {
    peer: `12D3KooW${String(index).padStart(44, 'x')}` as PeerId,
    sequence: 1,
    name: `node-${index}`,
    zone: `zone-${index % zones}`,
    controlAddresses: [],
    dataAddresses: [],
    fingerprint: new Uint8Array(),
    version: 'test',
    leaving: false,
  };
}

const swarms: Map<string, SwarmKey> = new Map();

/** The same string for each call: equal strings that are not identical are compared character by character. */
export function namedSwarm(name: string): SwarmKey {
  const known = swarms.get(name);
  if (known !== undefined) return known;
  const hex = Buffer.from(name).toString('hex').padEnd(64, '0').slice(0, 64);
  const swarm = { registry: 'registry.test' as RegistryHost, digest: `sha256:${hex}` as Digest };
  swarms.set(name, swarm);
  return swarm;
}
