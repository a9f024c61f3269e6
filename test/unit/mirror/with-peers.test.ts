import assert from 'node:assert/strict';
import { MIB, SECOND } from '../../../src/util/clock.ts';
import type { Digest } from '../../../src/oci/digest.ts';
import { seededBytes } from '../../support/bytes.ts';
import { MirrorFixture } from '../../support/mirror-fixture.ts';
import { QuietPull } from '../../support/quiet-pull.ts';
import { VirtualClock } from '../network/virtual-clock.ts';

describe('Mirror: the time limit of the first byte', () => {
  it('is longer if peers pull the blob or have it, and still ends', async () => {
    const clock = new VirtualClock();
    const pulls = new Map<Digest, QuietPull>();
    await using fixture = await MirrorFixture.start({
      clock,
      share: async (_request, digest) => pulls.get(digest),
      stallTimeout: 60 * SECOND,
      mirror: { clock, firstByteTimeout: 3 * SECOND },
    });
    const bytes = seededBytes(MIB, 'with peers');
    const add = (content: Buffer, hasPeers: boolean): Digest => {
      const digest = fixture.registry.addBlob('a/b', content);
      pulls.set(digest, new QuietPull(MIB, hasPeers));
      return digest;
    };
    const lonely = add(seededBytes(MIB, 'alone'), false);
    const crowded = add(bytes, true);
    const forsaken = add(seededBytes(MIB, 'forsaken'), true);
    const answers = [lonely, crowded, forsaken].map((digest) => fixture.get(`a/b/blobs/${digest}`));
    const [lent] = await Promise.all(
      [crowded, lonely, forsaken].map(async (digest) => pulls.get(digest)?.began.promise),
    );
    await clock.advance(5 * SECOND);
    assert.equal((await answers[0])?.status, 404, 'nothing came, and nobody is there who could bring it');
    assert.ok(lent !== undefined);
    await lent.ingest.write(0, [bytes]);
    pulls.get(crowded)?.ends.resolve();
    const whole = await answers[1];
    assert.equal(whole?.status, 200);
    assert.ok(Buffer.from((await whole?.arrayBuffer()) ?? []).equals(bytes));
    await clock.advance(6 * SECOND);
    assert.equal((await answers[2])?.status, 404, 'nobody has said a word for 10 s');
  });
});
