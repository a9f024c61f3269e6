import assert from 'node:assert/strict';
import { UnstoredBlobs } from '../../../src/daemon/unstored-blobs.ts';
import { parseDigest } from '../../../src/oci/digest.ts';
import { HOUR, MINUTE } from '../../../src/util/clock.ts';
import { WeirError } from '../../../src/util/errors.ts';
import { VirtualClock } from '../network/virtual-clock.ts';

const DIGEST = parseDigest(`sha256:${'a'.repeat(64)}`);
const OVER = new WeirError('store_full', 'no room', { detail: { reason: 'quota', size: 3000, quota: 1000 } });

function scene() {
  const clock = new VirtualClock();
  const said: string[] = [];
  const counted: string[] = [];
  const blobs = new UnstoredBlobs({
    clock,
    logger: { warn: (_, message) => said.push(message) },
    onUnstored: (cause) => counted.push(cause),
  });
  return { clock, said, counted, blobs };
}

describe('UnstoredBlobs', () => {
  it('names size and quota the first time in an hour, and counts each', async () => {
    const { clock, said, blobs } = scene();
    for (let turn = 0; turn < 6; turn += 1) {
      blobs.pulled(DIGEST, OVER);
      await clock.advance(9 * MINUTE);
    }
    assert.equal(blobs.counts.quota, 6);
    assert.equal(said.length, 1);
    assert.match(
      said[0] ?? '',
      /^a blob of 3000 bytes is larger than the quota of 1000 bytes.*raise store\.quota/,
    );
    await clock.advance(HOUR);
    blobs.pulled(DIGEST, OVER);
    assert.equal(said.length, 2);
  });

  it('tells causes apart, and has the last one', () => {
    const { said, counted, blobs } = scene();
    const noSpace = Object.assign(new Error('write'), { code: 'ENOSPC' });
    blobs.pulled(DIGEST, new WeirError('store_full', 'a', { cause: noSpace }));
    blobs.pulled(DIGEST, new WeirError('store_full', 'b', { detail: { reason: 'disk' } }));
    blobs.pulled(DIGEST, new WeirError('store_full', 'c', { detail: { reason: 'room' } }));
    blobs.pulled(DIGEST, new WeirError('store_full', 'd'));
    blobs.pulled(DIGEST, new WeirError('store_unusable', 'e'.repeat(1000)));
    assert.deepEqual(counted, ['disk', 'disk', 'room', 'room', 'unusable']);
    assert.deepEqual(blobs.counts, { quota: 0, disk: 2, room: 2, unusable: 1 });
    assert.equal(said.length, 2, 'that the folder cannot be written is said by the watch of the disk');
    assert.deepEqual(blobs.last, { digest: DIGEST, cause: 'unusable', problem: 'e'.repeat(300), at: 0 });
  });

  it('leaves out what has nothing to do with the store', () => {
    const { said, blobs } = scene();
    blobs.pulled(DIGEST, undefined);
    blobs.pulled(DIGEST, new WeirError('upstream_denied', 'no'));
    assert.deepEqual([said, blobs.last], [[], undefined]);
  });
});
