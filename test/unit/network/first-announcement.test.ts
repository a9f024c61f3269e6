import assert from 'node:assert/strict';
import { SECOND } from '../../../src/util/clock.ts';
import { announceFirst } from '../../../src/network/first-announcement.ts';
import type { SignedMember } from '../../../src/protocol/signed-record.ts';
import { VirtualClock } from './virtual-clock.ts';

/** A node whose gossip reaches as many peers as `reaches` says, one number per message, and then the last number. */
function comesUp(
  reaches: readonly number[],
  listeners = 1,
): {
  readonly clock: VirtualClock;
  readonly published: { readonly at: number; readonly sequence: number }[];
  readonly ended: Promise<void>;
  readonly stop: AbortController;
  listeners: number;
} {
  const clock = new VirtualClock();
  const stop = new AbortController();
  const published: { at: number; sequence: number }[] = [];
  let sequence = 1;
  const record = (): SignedMember => ({ member: { sequence } }) as SignedMember;
  const node = { clock, published, stop, listeners, ended: Promise.resolve() };
  node.ended = announceFirst(
    {
      clock,
      listeners: () => node.listeners,
      publish: async ({ member }) => {
        published.push({ at: clock.monotonic(), sequence: member.sequence });
        return reaches[Math.min(published.length, reaches.length) - 1] ?? 0;
      },
      current: record,
      renew: () => {
        sequence += 1;
        return record();
      },
    },
    stop.signal,
  );
  return node;
}

describe('announceFirst', () => {
  it('waits for a subscriber, and publishes once if enough peers took it', async () => {
    const node = comesUp([3], 0);
    await node.clock.advance(10 * SECOND);
    assert.deepEqual(node.published, []);
    node.listeners = 1;
    await node.clock.advance(SECOND);
    await node.ended;
    assert.deepEqual(
      node.published.map(({ sequence }) => sequence),
      [1],
    );
  });

  it('ends when the node stops', async () => {
    const node = comesUp([3], 0);
    await node.clock.advance(SECOND);
    node.stop.abort(new Error('stopped'));
    await assert.rejects(node.ended, /stopped/);
    assert.deepEqual(node.published, []);
  });

  it('publishes a newer record again if no stream was open and nobody got the first', async () => {
    const node = comesUp([0, 0, 4]);
    await node.clock.advance(SECOND);
    await node.ended;
    assert.deepEqual(
      node.published.map(({ sequence }) => sequence),
      [1, 2, 3],
    );
    assert.ok((node.published.at(-1)?.at ?? Infinity) < SECOND / 5, 'it does not wait long for that');
  });

  it('repeats ever more slowly if few peers took it, and ends in a cluster of two', async () => {
    const node = comesUp([1]);
    await node.clock.advance(300 * SECOND);
    await node.ended;
    assert.deepEqual(
      node.published.map(({ at }) => at / SECOND),
      [0, 1, 3, 7, 15],
    );
  });
});
