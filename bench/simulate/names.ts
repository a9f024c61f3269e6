/** Names of what is simulated. They have the shape of real ones; nothing looks into them. */
import type { Member } from '../../src/membership/member.ts';
import type { Digest } from '../../src/oci/digest.ts';
import type { RegistryHost } from '../../src/oci/repository.ts';
import type { PeerName } from '../../src/peer/peer-name.ts';
import type { SwarmKey } from '../../src/protocol/messages.ts';

export function memberNamed(index: number, zones: number): Member {
  return {
    peer: `12D3KooW${String(index).padStart(44, 'x')}` as PeerName,
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

export function namedSwarm(name: string): SwarmKey {
  const hex = Buffer.from(name).toString('hex').padEnd(64, '0').slice(0, 64);
  return { registry: 'registry.test' as RegistryHost, digest: `sha256:${hex}` as Digest };
}
