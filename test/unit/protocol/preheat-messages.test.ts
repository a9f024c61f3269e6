/** Orders to preheat, and what is replied to them. */
import assert from 'node:assert/strict';
import { HOUR } from '../../../src/util/clock.ts';
import { isWeirError } from '../../../src/util/errors.ts';
import {
  decodePreheatOrder,
  decodePreheatProgress,
  encodePreheatOrder,
  encodePreheatProgress,
  PREHEAT_LIMITS,
  PREHEAT_STATES,
  type PreheatOrder,
} from '../../../src/protocol/preheat-messages.ts';
import { orderOf, TOKEN } from '../preheat/scene.ts';
import { peerOf } from '../status/fixture.ts';

const ENDS = { from: peerOf(1), to: peerOf(2) };
const LARGE_FRAME = 40 * 1024;

const refuses = (order: PreheatOrder): void =>
  assert.throws(
    () => decodePreheatOrder(encodePreheatOrder(order, ENDS, TOKEN), ENDS, TOKEN),
    (error: unknown) => isWeirError(error, 'peer_protocol'),
  );

describe('PreheatOrder', () => {
  it('arrives as it was sent', () => {
    const platform = { os: 'linux', architecture: 'arm64', variant: 'v8' };
    for (const order of [
      orderOf(['alpine', `ghcr.io/a/b@sha256:${'a'.repeat(64)}`, '[::1]:5000/c:v1']),
      orderOf(['a'], { platform, starts: 1_764_500_000_123, expires: 1_764_500_000_124, keep: 0 }),
    ]) {
      assert.deepEqual(decodePreheatOrder(encodePreheatOrder(order, ENDS, TOKEN), ENDS, TOKEN), order);
    }
  });

  it('fits into one frame, however long its names are', () => {
    const name = `${'r'.repeat(60)}.io/${'a'.repeat(255)}`;
    const images = Array.from({ length: 64 }, () => `${name}:${'b'.repeat(128)}`);
    assert.ok(encodePreheatOrder(orderOf(images), ENDS, TOKEN).length <= LARGE_FRAME);
  });

  it('counts only with the token, from its sender, for its receiver', () => {
    const order = orderOf(['a']);
    const sent = encodePreheatOrder(order, ENDS, TOKEN);
    const { from, to } = ENDS;
    assert.ok(decodePreheatOrder(sent, ENDS, TOKEN));
    assert.equal(decodePreheatOrder(sent, ENDS, Buffer.from('other')), undefined);
    assert.equal(decodePreheatOrder(sent, { from: to, to: from }, TOKEN), undefined);
    assert.equal(decodePreheatOrder(sent, { from, to: peerOf(3) }, TOKEN), undefined);
    for (let at = 2; at < sent.length; at++) {
      const changed = Uint8Array.from(sent);
      changed[at] = (changed[at] ?? 0) ^ 1;
      let read: unknown;
      try {
        read = decodePreheatOrder(changed, ENDS, TOKEN);
      } catch (error) {
        assert.ok(isWeirError(error, 'peer_protocol'), String(error));
      }
      // One bit of protobuf's own framing does not matter.
      if (read !== undefined) assert.deepEqual(read, order, `byte ${at}`);
    }
  });

  it('keeps its bounds', () => {
    refuses(orderOf([]));
    refuses(orderOf(Array.from({ length: 65 }, (_, i) => `a${i}`)));
    refuses(orderOf(['a'], { id: 'abcd' }));
    refuses(orderOf(['a'], { starts: 10, expires: 9 }));
    refuses(orderOf(['a'], { expires: 7 * HOUR }));
    refuses(orderOf(['a'], { keep: PREHEAT_LIMITS.keep + 1000 }));
    refuses(orderOf(['a'], { platform: { os: 'linux', architecture: 'x'.repeat(100) } }));
    const host = `${'r.'.repeat(125)}io`;
    refuses(
      orderOf(Array.from({ length: 64 }, (_, i) => `${host}/${'a'.repeat(250)}${i}:${'b'.repeat(128)}`)),
    );
  });
});

describe('PreheatProgress', () => {
  it('arrives as it was sent', () => {
    const images = PREHEAT_STATES.map((state, i) => ({ state, reason: 'why', presentBytes: i, size: 2 * i }));
    const progress = { refused: undefined, images };
    assert.deepEqual(decodePreheatProgress(encodePreheatProgress(progress)), progress);
    assert.deepEqual(decodePreheatProgress(encodePreheatProgress({ refused: 'off' })), { refused: 'off' });
  });

  it('tells what registries say in plain characters, and briefly', () => {
    const reason = `\u001b[31m${'x'.repeat(500)}ü`;
    const image = { state: 'failed', reason, presentBytes: 0, size: 0 } as const;
    const read = decodePreheatProgress(encodePreheatProgress({ refused: undefined, images: [image] }));
    assert.equal(read.refused, undefined);
    assert.equal(read.images?.[0]?.reason, ` [31m${'x'.repeat(195)}`);
  });
});
