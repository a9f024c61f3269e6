/** The two members of a measurement. */
import { systemClock } from '../../src/util/clock.ts';
import type { Address, Member } from '../../src/protocol/member.ts';
import { digestOf } from '../../src/oci/digest.ts';
import { parseRegistryHost } from '../../src/oci/repository.ts';
import { Identity } from '../../src/protocol/identity.ts';
import { parsePeerId } from '../../src/protocol/peer-id.ts';
import { makeCertificate } from '../../src/transfer/certificate.ts';
import type { ChunkFetch } from '../../src/transfer/chunk-exchange.ts';
import type { Party } from './protocol.ts';

/** Chunks that the sender has; it sends them over and over. */
export const CHUNKS = 4;

export function makeParty(): Party {
  const { peer } = Identity.generate();
  const { certPem, keyPem, fingerprint } = makeCertificate(peer, systemClock);
  return { peer, cert: certPem, key: keyPem, fingerprint: Buffer.from(fingerprint).toString('base64') };
}

export function memberOf(party: Party, secure: boolean, dataAddresses: readonly Address[]): Member {
  return {
    peer: parsePeerId(party.peer),
    sequence: 1,
    name: '',
    zone: '',
    controlAddresses: ['/ip4/127.0.0.1/tcp/1'],
    dataAddresses,
    fingerprint: new Uint8Array(secure ? Buffer.from(party.fingerprint, 'base64') : []),
    version: '',
    leaving: false,
  };
}

export function requestFor(index: number, chunk: number): ChunkFetch {
  const start = (index % CHUNKS) * chunk;
  const swarm = { registry: parseRegistryHost('registry.example'), digest: digestOf(Buffer.alloc(0)) };
  return { swarm, range: { start, end: start + chunk }, owner: undefined };
}
