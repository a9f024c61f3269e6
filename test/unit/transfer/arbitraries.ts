import * as fc from 'fast-check';
import { parseRegistryHost, parseRepository } from '../../../src/oci/repository.ts';
import { MESSAGE_LIMITS } from '../../../src/protocol/messages.ts';
import type { ChunkFetch, OwnerRequest } from '../../../src/transfer/chunk-exchange.ts';
import { LIMITS } from '../../../src/transfer/limits.ts';
import type { AnswerHead } from '../../../src/transfer/wire-codec.ts';
import { bytes, digests, peers } from '../protocol/arbitraries.ts';

const registries = fc
  .constantFrom('docker.io', 'ghcr.io', 'localhost:5000', '[::1]:443')
  .map(parseRegistryHost);
const repositories = fc
  .constantFrom('a', 'team/app', 'a/b/c-d_e.f')
  .map((name) => parseRepository(parseRegistryHost('ghcr.io'), name).name);
const TOKEN_CHARACTERS = 'abcXYZ019._~+/-'.split('');
const tokens = fc.option(
  fc.string({ unit: fc.constantFrom(...TOKEN_CHARACTERS), minLength: 1, maxLength: 16_384, size: 'max' }),
  { nil: undefined },
);
const sizes = fc.integer({ min: 0, max: LIMITS.size });

const ranges: fc.Arbitrary<ChunkFetch['range']> = fc.oneof(
  fc.constant(undefined),
  fc
    .tuple(fc.integer({ min: 1, max: LIMITS.chunk }), fc.integer({ min: 0, max: LIMITS.size }))
    .map(([length, at]) => {
      const start = Math.min(at, LIMITS.size - length);
      return { start, end: start + length };
    }),
);

const owners: fc.Arbitrary<OwnerRequest> = fc.record(
  { repository: repositories, token: tokens, size: fc.option(sizes, { nil: undefined }) },
  { noNullPrototype: true },
);

/** As the codec returns them: the end of the range is not beyond the size that an owner is told. */
export const chunkFetches: fc.Arbitrary<ChunkFetch> = fc
  .tuple(registries, digests, ranges, fc.option(owners, { nil: undefined }))
  .map(([registry, digest, range, owner]) => {
    const size = owner?.size === undefined ? undefined : Math.max(owner.size, range?.end ?? 0);
    return { swarm: { registry, digest }, range, owner: owner && { ...owner, size } };
  });

const attestations = fc.record(
  {
    index: fc.integer({ min: 0, max: MESSAGE_LIMITS.chunks - 1 }),
    hash: bytes(32),
    by: peers,
    signature: bytes(64),
    verified: fc.boolean(),
  },
  { noNullPrototype: true },
);

export const answerHeads: fc.Arbitrary<AnswerHead> = fc.oneof(
  fc
    .tuple(sizes, fc.option(attestations, { nil: undefined }))
    .map(([size, attestation]) => ({ kind: 'chunk' as const, size, attestation })),
  fc.constantFrom<AnswerHead>({ kind: 'absent' }, { kind: 'unable' }, { kind: 'failed' }),
  fc.integer({ min: 0, max: LIMITS.load }).map((load) => ({ kind: 'busy' as const, load })),
  fc.integer({ min: 0, max: LIMITS.retry }).map((after) => ({ kind: 'retry' as const, after })),
  fc.array(peers, { maxLength: LIMITS.holders }).map((holders) => ({ kind: 'redirect' as const, holders })),
);
