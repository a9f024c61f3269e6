import assert from 'node:assert/strict';
import { renderStore } from '../../../../src/cli/client/store-view.ts';
import { digestOf } from '../../../../src/oci/digest.ts';
import type { StoredBlobReport } from '../../../../src/status/store-report.ts';
import { KIB, MIB } from '../../../../src/util/clock.ts';
import { storeOf } from '../../status/fixture.ts';

const NOW = Date.UTC(2026, 0, 31);
const plain = { columns: undefined, color: false, now: NOW };
const before = (seconds: number): string => new Date(NOW - seconds * 1000).toISOString();

function blobOf(name: string, more: Partial<StoredBlobReport> = {}): StoredBlobReport {
  return {
    digest: digestOf(Buffer.from(name)),
    size: 20 * MIB,
    last_used: before(7300),
    in_use: false,
    pinned: false,
    repositories: ['docker.io/library/alpine'],
    ...more,
  };
}

describe('the store for people', () => {
  it('is a table of its blobs, with what is hidden, and the room that it has', () => {
    const blobs = [
      blobOf('a', { pinned: true, in_use: true, kind: 'manifest', size: 2 * KIB, verified: before(30) }),
      blobOf('b', { kind: 'blob', repositories: ['ghcr.io/org/app', 'ghcr.io/org/tool\u001b[31m'] }),
      blobOf('c', { repositories: [] }),
    ];
    assert.deepEqual(renderStore({ store: storeOf({ blobs: 5 }), blobs }, plain), [
      'DIGEST            SIZE  LAST USE  STATE           VERIFIED  KIND      FROM',
      'ca978112ca1b   2.0 KiB   2 h 1 m  pinned, in use      30 s  manifest  docker.io/library/alpine',
      '3e23e8160039  20.0 MiB   2 h 1 m  –                      –  blob      ghcr.io/org/app and 1 more',
      '2e7d2c03a950  20.0 MiB   2 h 1 m  –                      –  –         –',
      'and 2 more',
      '4.0 / 20.0 GiB in 5 blobs, 50 % of the disk free',
    ]);
    assert.deepEqual(renderStore({ store: storeOf({ blobs: 0 }), blobs: [] }, plain), [
      '4.0 / 20.0 GiB in 0 blobs, 50 % of the disk free',
    ]);
    const narrow = renderStore(
      { store: storeOf({ blobs: 1 }), blobs: [blobOf('a')] },
      { ...plain, columns: 40 },
    );
    for (const line of narrow) assert.ok(line.length <= 40, line);
  });

  it('shows no control characters that a registry chose', () => {
    const [, line = ''] = renderStore(
      { store: storeOf({ blobs: 1 }), blobs: [blobOf('a', { repositories: ['x\u001b[31m'] })] },
      plain,
    );
    assert.ok(!line.includes('\u001b'), line);
  });
});
