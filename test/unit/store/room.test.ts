/** The room that arriving blobs of each registry may take in the store. */
import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { digestOf } from '../../../src/oci/digest.ts';
import { parseRegistryHost } from '../../../src/oci/repository.ts';
import {
  admissionProblem,
  ANNOUNCED_SHARE,
  growthProblem,
  UNKNOWN_SHARE,
  type Holdings,
} from '../../../src/store/room.ts';

const KNOWN = parseRegistryHost('known.test');
const OTHER = parseRegistryHost('other.test');
const UNKNOWN = [1, 2, 3].map((each) => parseRegistryHost(`unknown-${each}.test`));
const QUOTA = 1000;
const PLENTY = 1e9;

const EMPTY: Holdings = {
  isKnown: (registry) => registry === KNOWN || registry === OTHER,
  arriving: [],
  partials: [],
  blobBytes: 0,
  blobs: () => [],
};

const arriving = fc.array(
  fc
    .record({
      registry: fc.constantFrom(KNOWN, OTHER, ...UNKNOWN),
      room: fc.nat({ max: 400 }),
      rest: fc.nat({ max: 1000 }),
    })
    .map(({ registry, room, rest }) => ({ registry, room, size: room + rest })),
  { maxLength: 6 },
);

describe('room in the store', () => {
  it('is there for a blob of a known registry, however much is stored that nobody reads', () => {
    const blob = {
      digest: digestOf(Buffer.of(1)),
      size: QUOTA,
      lastUsed: 0,
      isInUse: false,
      isPinned: false,
    };
    const limits = { quota: QUOTA, disk: 0 };
    assert.equal(
      admissionProblem({ ...EMPTY, blobBytes: QUOTA, blobs: () => [blob] }, KNOWN, QUOTA, limits),
      undefined,
    );
    for (const kept of [{ isInUse: true }, { isPinned: true }]) {
      const blobs = [{ ...blob, ...kept }];
      assert.match(
        admissionProblem({ ...EMPTY, blobBytes: QUOTA, blobs: () => blobs }, KNOWN, 1, limits) ?? '',
        /in use or pinned/,
      );
    }
  });

  it('is bounded by a share for registries that have delivered nothing', () => {
    const share = UNKNOWN_SHARE * QUOTA;
    const [registry = KNOWN] = UNKNOWN;
    assert.equal(growthProblem(EMPTY, registry, share, QUOTA), undefined);
    assert.match(growthProblem(EMPTY, registry, share + 1, QUOTA) ?? '', /has not delivered anything yet/);
    const partials = [{ name: 'an earlier run', registry: undefined, bytes: share, lastUsed: 0 }];
    assert.notEqual(growthProblem({ ...EMPTY, partials }, registry, 1, QUOTA), undefined);
  });

  it('is not taken from others by sizes that unknown registries announce', () => {
    fc.assert(
      fc.property(arriving, fc.nat({ max: QUOTA }), (all, size) => {
        const unknown = all.map((each) => ({ ...each, registry: UNKNOWN[0] ?? KNOWN, room: 0 }));
        const problem = admissionProblem({ ...EMPTY, arriving: unknown }, KNOWN, size, {
          quota: QUOTA,
          disk: PLENTY,
        });
        assert.equal(problem, undefined);
      }),
    );
  });

  it('is reserved for sizes that known registries announce, up to half the quota', () => {
    fc.assert(
      fc.property(arriving, fc.nat({ max: QUOTA }), (all, size) => {
        const none = all.map((each) => ({ ...each, size: each.size - each.room, room: 0 }));
        const problem = admissionProblem({ ...EMPTY, arriving: none }, OTHER, size, {
          quota: QUOTA,
          disk: PLENTY,
        });
        if (size <= (1 - ANNOUNCED_SHARE) * QUOTA) assert.equal(problem, undefined);
      }),
    );
  });

  it('never goes to unknown registries beyond their share, in any order of steps', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({ registry: fc.constantFrom(...UNKNOWN), bytes: fc.integer({ min: 1, max: 90 }) }),
        ),
        (steps) => {
          const rooms = new Map(UNKNOWN.map((registry) => [registry, 0]));
          for (const { registry, bytes } of steps) {
            const holdings = {
              ...EMPTY,
              arriving: [...rooms].map(([each, room]) => ({ registry: each, room, size: QUOTA })),
            };
            if (growthProblem(holdings, registry, bytes, QUOTA) === undefined)
              rooms.set(registry, (rooms.get(registry) ?? 0) + bytes);
          }
          const taken = [...rooms.values()].reduce((sum, each) => sum + each, 0);
          assert.ok(taken <= UNKNOWN_SHARE * QUOTA);
        },
      ),
    );
  });
});
