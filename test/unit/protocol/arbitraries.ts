import * as fc from 'fast-check';
import { parseDigest, type Digest } from '../../../src/oci/digest.ts';
import { parseRegistryHost } from '../../../src/oci/repository.ts';
import type { Member } from '../../../src/protocol/member.ts';
import { peerIdOf, type PeerId } from '../../../src/protocol/peer-id.ts';
import { MESSAGE_LIMITS, type SwarmMessage } from '../../../src/protocol/messages.ts';
import { RECORD_LIMITS } from '../../../src/protocol/signed-record.ts';

export const bytes = (length: number): fc.Arbitrary<Uint8Array> =>
  fc.uint8Array({ minLength: length, maxLength: length });

const record = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> =>
  fc.record(model, { noNullPrototype: true }) as fc.Arbitrary<T>;

const hex = (length: number): fc.Arbitrary<string> =>
  bytes(length / 2).map((array) => Buffer.from(array).toString('hex'));

export const digests: fc.Arbitrary<Digest> = fc
  .oneof(
    hex(64).map((text) => `sha256:${text}`),
    hex(128).map((text) => `sha512:${text}`),
  )
  .map(parseDigest);

export const peers: fc.Arbitrary<PeerId> = bytes(32).map(peerIdOf);

const registries = fc
  .constantFrom('docker.io', 'ghcr.io', 'localhost:5000', '[::1]:443')
  .map(parseRegistryHost);
const index = fc.integer({ min: 0, max: MESSAGE_LIMITS.chunks - 1 });
const size = fc.integer({ min: 0, max: MESSAGE_LIMITS.size });
/** As the codec returns them: in order, each once. */
const indices = fc.oneof(
  fc.uniqueArray(index, { maxLength: 60 }).map((list) => list.toSorted((a, b) => a - b)),
  fc
    .tuple(fc.integer({ min: 0, max: MESSAGE_LIMITS.chunks - 1024 }), fc.integer({ min: 0, max: 1024 }))
    .map(([start, count]) => Array.from({ length: count }, (_, i) => start + i)),
);

const bodies = fc.oneof(
  record({ kind: fc.constant('announce' as const), size, complete: fc.boolean() }),
  record({
    kind: fc.constant('peers' as const),
    peers: fc.array(record({ peer: peers, complete: fc.boolean() }), {
      maxLength: MESSAGE_LIMITS.peers,
    }),
  }),
  record({
    kind: fc.constant('handshake' as const),
    size,
    have: fc.uint8Array({ maxLength: MESSAGE_LIMITS.chunks / 8, size: 'max' }),
    asks: fc.boolean(),
  }),
  record({
    kind: fc.constant('bye' as const),
    reason: fc.constantFrom('full' as const, 'absent' as const, 'done' as const),
  }),
  record({ kind: fc.constant('have' as const), indices }),
  record({
    kind: fc.constant('attested' as const),
    fetchGroup: fc.integer({ min: 1, max: MESSAGE_LIMITS.fetchGroup }),
    attestations: fc.array(
      record({ index, hash: bytes(32), by: peers, signature: bytes(64), verified: fc.boolean() }),
      {
        maxLength: MESSAGE_LIMITS.attestations,
      },
    ),
  }),
  record({ kind: fc.constant('claim' as const), index, held: fc.boolean() }),
  record({ kind: fc.constant('query' as const), size }),
);

export const messages: fc.Arbitrary<SwarmMessage> = fc
  .tuple(registries, digests, bodies)
  .map(([registry, digest, body]) => Object.assign(body, { swarm: { registry, digest } }));

const text = (maxLength: number): fc.Arbitrary<string> =>
  fc.string({ unit: 'grapheme-ascii', maxLength, size: 'max' });
const port = fc.integer({ min: 1, max: 65_535 });
const ip = fc.oneof(fc.ipV4(), fc.ipV6());

export const members: fc.Arbitrary<Member> = record({
  peer: peers,
  sequence: fc.maxSafeNat(),
  name: text(RECORD_LIMITS.name),
  zone: text(RECORD_LIMITS.zone),
  controlAddresses: fc.array(
    fc.oneof(
      fc.tuple(fc.ipV4(), port).map(([host, tcp]) => `/ip4/${host}/tcp/${tcp}`),
      fc.tuple(fc.ipV6(), port).map(([host, tcp]) => `/ip6/${host}/tcp/${tcp}`),
      fc.tuple(fc.domain(), port).map(([host, tcp]) => `/dns4/${host}/tcp/${tcp}`),
    ),
    { maxLength: RECORD_LIMITS.addresses },
  ),
  dataAddresses: fc.array(record({ host: ip, port }), { maxLength: RECORD_LIMITS.addresses }),
  fingerprint: fc.oneof(bytes(0), bytes(32)),
  version: text(RECORD_LIMITS.version),
  leaving: fc.boolean(),
});
