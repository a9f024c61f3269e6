/** When a member that cuts this node off is sent its record. */
import assert from 'node:assert/strict';
import { Introductions } from '../../../src/bytes/introductions.ts';
import type { PeerId } from '../../../src/protocol/peer-id.ts';
import { ShiftedClock } from '../../support/shifted-clock.ts';
import { makeNode } from '../../support/raw-peer.ts';

const [ONE, TWO] = [makeNode().peer, makeNode().peer];

function scene(send: (peer: PeerId) => Promise<void> = async () => undefined) {
  const sent: PeerId[] = [];
  const clock = new ShiftedClock();
  const introductions = new Introductions((peer) => {
    sent.push(peer);
    return send(peer);
  }, clock);
  return { sent, clock, introductions };
}

describe('introductions', () => {
  it('are made once in 10 s to each member', async () => {
    const { sent, clock, introductions } = scene();
    await introductions.begin(ONE);
    assert.equal(introductions.begin(ONE), undefined);
    clock.advance(5000);
    await introductions.begin(TWO);
    clock.advance(4900);
    assert.equal(introductions.begin(ONE), undefined);
    clock.advance(200);
    await introductions.begin(ONE);
    assert.equal(introductions.begin(TWO), undefined);
    assert.deepEqual(sent, [ONE, TWO, ONE]);
  });

  it('are made at once to a member that knew this node meanwhile', async () => {
    const { sent, introductions } = scene();
    await introductions.begin(ONE);
    introductions.settle(ONE);
    await introductions.begin(ONE);
    assert.deepEqual(sent, [ONE, ONE]);
  });

  it('end well if sending fails', async () => {
    const { sent, introductions } = scene(() => Promise.reject(new Error('no control connection')));
    await introductions.begin(ONE);
    assert.deepEqual(sent, [ONE]);
    assert.equal(introductions.begin(ONE), undefined);
  });

  it('wait 3 s at most', async function () {
    this.slow(5000);
    const { introductions } = scene(() => new Promise(() => undefined));
    const began = performance.now();
    await introductions.begin(ONE);
    const took = performance.now() - began;
    assert.ok(took > 2900 && took < 8000, `${took} ms`);
  });
});
