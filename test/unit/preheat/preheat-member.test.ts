/** The node that carries orders out. */
import assert from 'node:assert/strict';
import { DAY, HOUR, MINUTE } from '../../../src/util/clock.ts';
import {
  decodePreheatProgress,
  encodePreheatOrder,
  type MemberProgress,
  type PreheatOrder,
} from '../../../src/protocol/preheat-messages.ts';
import { PreheatMember } from '../../../src/preheat/preheat-member.ts';
import { peerOf } from '../status/fixture.ts';
import { VirtualClock } from '../network/virtual-clock.ts';
import { FakePulls, orderOf, progressOf, SELF, TOKEN } from './scene.ts';

const [GIVER, OTHER] = [peerOf(2), peerOf(3)];

function sceneOf(token: Uint8Array | undefined = TOKEN): {
  clock: VirtualClock;
  pulls: FakePulls;
  member: PreheatMember;
} {
  const clock = new VirtualClock();
  const pulls = new FakePulls();
  const member = new PreheatMember({
    token,
    images: pulls,
    clock,
    platform: { os: 'linux', architecture: 'amd64' },
    onTaken: () => undefined,
    onImage: () => undefined,
  });
  return { clock, pulls, member };
}

const states = (progress: MemberProgress): readonly string[] =>
  progress.refused === undefined ? progress.images.map(({ state }) => state) : [progress.refused];

describe('PreheatMember', () => {
  it('pulls the images one after the other, and tells how far it is', async () => {
    const { clock, pulls, member } = sceneOf();
    const order = orderOf(['a', 'b']);
    const second = orderOf(['c'], { platform: { os: 'linux', architecture: 's390x' } });
    assert.deepEqual(states(member.take(order, GIVER)), ['waiting', 'waiting']);
    member.take(second, OTHER);
    await clock.advance(0);
    assert.deepEqual(states(member.take(order, GIVER)), ['pulling', 'waiting']);
    assert.deepEqual(states(member.take(second, OTHER)), ['waiting']);
    pulls.end();
    await clock.advance(0);
    pulls.end(progressOf('failed', 'gone'));
    await clock.advance(0);
    assert.deepEqual(states(member.take(order, GIVER)), ['done', 'failed']);
    pulls.end();
    await clock.advance(0);
    assert.deepEqual(states(member.take(second, OTHER)), ['done']);
    const platforms = pulls.wanted.map(({ platform }) => platform.architecture);
    assert.deepEqual(platforms, ['amd64', 'amd64', 's390x']);
    assert.ok(pulls.wanted.every(({ keepUntil }) => keepUntil === HOUR));
    await member[Symbol.asyncDispose]();
  });

  it('waits for the start, and gives up at the end', async () => {
    const { clock, pulls, member } = sceneOf();
    const order = orderOf(['a', 'b'], { starts: 2 * HOUR, expires: 3 * HOUR });
    member.take(order, GIVER);
    await clock.advance(2 * HOUR - 1);
    assert.equal(pulls.wanted.length, 0);
    await clock.advance(1);
    assert.equal(pulls.wanted.length, 1);
    await clock.advance(HOUR);
    const [first] = [member.take(order, GIVER)];
    assert.ok(first.refused === undefined);
    assert.deepEqual([first.images[0]?.state, first.images[0]?.reason], ['failed', 'the order has expired']);
    assert.match(states(member.take(orderOf(['a'], { expires: 3 * HOUR }), GIVER))[0] ?? '', /has expired/);
    await member[Symbol.asyncDispose]();
  });

  it('fails what did not get its turn before the end', async () => {
    const { clock, member } = sceneOf();
    member.take(orderOf(['a'], { expires: 6 * HOUR }), OTHER);
    const late = orderOf(['b'], { expires: HOUR });
    member.take(late, GIVER);
    await clock.advance(HOUR);
    const progress = member.take(late, GIVER);
    assert.ok(progress.refused === undefined);
    assert.match(progress.images[0]?.reason ?? '', /expired before its turn/);
    await member[Symbol.asyncDispose]();
  });

  it('refuses the seventeenth order of a node, and the sixty-fifth of all', async () => {
    const { clock, pulls, member } = sceneOf();
    const give = (from: number): string => states(member.take(orderOf(['a']), peerOf(from)))[0] ?? '';
    for (let i = 0; i < 16; i++) assert.equal(give(2), 'waiting');
    assert.match(give(2), /too many orders/);
    for (let i = 0; i < 48; i++) assert.equal(give(3 + (i % 3)), 'waiting');
    assert.match(give(9), /too many orders/);
    for (let i = 0; i < 64; i++) {
      await clock.advance(0);
      pulls.end();
    }
    await clock.advance(0);
    assert.equal(give(2), 'waiting');
    await member[Symbol.asyncDispose]();
  });

  it('takes no order that starts in more than a week, nor the ID of another one', async () => {
    const { clock, member } = sceneOf();
    const starts = 7 * DAY + 10 * MINUTE;
    assert.match(
      states(member.take(orderOf(['a'], { starts, expires: starts + 1 }), GIVER))[0] ?? '',
      /too late/,
    );
    const order = orderOf(['a']);
    member.take(order, GIVER);
    assert.match(states(member.take({ ...order }, OTHER))[0] ?? '', /same ID/);
    await clock.advance(0);
    await member[Symbol.asyncDispose]();
  });

  it('obeys those alone who have the token, and give the order themselves', async () => {
    const { clock, pulls, member } = sceneOf();
    const ask = (
      order: PreheatOrder,
      from = GIVER,
      to = SELF,
      token = TOKEN,
      sender = from,
    ): readonly string[] =>
      states(
        decodePreheatProgress(member.answer(sender, SELF, encodePreheatOrder(order, { from, to }, token))),
      );
    const order = orderOf(['a']);
    assert.match(ask(order, GIVER, SELF, Buffer.from('another token'))[0] ?? '', /another token/);
    assert.match(ask(order, GIVER, OTHER)[0] ?? '', /another token/); // it was for another member
    assert.match(ask(order, GIVER, SELF, TOKEN, OTHER)[0] ?? '', /another token/); // another member repeats it
    await clock.advance(0);
    assert.equal(pulls.wanted.length, 0);
    assert.deepEqual(ask(order), ['waiting']);
    await member[Symbol.asyncDispose]();
  });

  it('obeys nobody if it has no token', async () => {
    const { member } = sceneOf();
    const off = new PreheatMember({
      token: undefined,
      images: new FakePulls(),
      clock: new VirtualClock(),
      onTaken: () => undefined,
      onImage: () => undefined,
    });
    const bytes = encodePreheatOrder(orderOf(['a']), { from: GIVER, to: SELF }, new Uint8Array());
    assert.match(states(decodePreheatProgress(off.answer(GIVER, SELF, bytes)))[0] ?? '', /preheat is off/);
    await member[Symbol.asyncDispose]();
    assert.match(states(member.take(orderOf(['a']), GIVER))[0] ?? '', /shutting down/);
  });
});
