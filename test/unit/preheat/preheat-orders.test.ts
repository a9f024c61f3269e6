/** The node at which orders are given. */
import assert from 'node:assert/strict';
import { HOUR, MINUTE, SECOND } from '../../../src/util/clock.ts';
import { isWeirError, WeirError } from '../../../src/util/errors.ts';
import type { PeerId } from '../../../src/protocol/peer-id.ts';
import {
  decodePreheatOrder,
  encodePreheatProgress,
  type ImageProgress,
  type MemberProgress,
} from '../../../src/protocol/preheat-messages.ts';
import { PreheatOrders } from '../../../src/preheat/preheat-orders.ts';
import type { OrderRequest } from '../../../src/preheat/order-request.ts';
import type { PreheatReport } from '../../../src/status/preheat-report.ts';
import { VirtualClock } from '../network/virtual-clock.ts';
import { nodesOf, orderOf, progressOf, SELF, TOKEN } from './scene.ts';

interface Scene {
  readonly clock: VirtualClock;
  readonly orders: PreheatOrders;
  /** The answers of members; undefined: it does not answer. */
  readonly answers: Map<PeerId, MemberProgress | undefined>;
  readonly asked: PeerId[];
  readonly over: PreheatReport[];
  /** Asked at the same time, at most. */
  most: number;
}

function sceneOf(count: number): Scene {
  const clock = new VirtualClock();
  const nodes = nodesOf(count);
  let asking = 0;
  const scene: Scene = {
    clock,
    answers: new Map(nodes.map(({ peer }) => [peer, taken('waiting')])),
    asked: [],
    over: [],
    most: 0,
    orders: new PreheatOrders({
      token: TOKEN,
      self: SELF,
      nodes: () => nodes,
      member: { take: () => scene.answers.get(SELF) ?? { refused: 'unknown' } },
      ask: async (peer, bytes) => {
        assert.ok(decodePreheatOrder(bytes, { from: SELF, to: peer }, TOKEN), 'it can be checked');
        scene.asked.push(peer);
        asking += 1;
        scene.most = Math.max(scene.most, asking);
        await new Promise(setImmediate);
        asking -= 1;
        const answer = scene.answers.get(peer);
        if (answer === undefined) throw new WeirError('peer_stalled', 'no reply');
        return encodePreheatProgress(answer);
      },
      clock,
      onOver: (report) => scene.over.push(report),
    }),
  };
  return scene;
}

const taken = (...states: readonly ImageProgress['state'][]): MemberProgress => ({
  refused: undefined,
  images: states.map((state) => progressOf(state)),
});

const requestOf = (images: readonly string[], more: Partial<OrderRequest> = {}): OrderRequest => ({
  order: orderOf(images),
  zone: undefined,
  nodes: { kind: 'all' },
  ...more,
});

const stateOf = (report: PreheatReport | undefined, name: string): string | undefined =>
  report?.members.find((member) => member.name === name)?.state;

async function running(scene: Scene, ms = 0): Promise<void> {
  // The members' answers take turns of the event loop.
  for (let i = 0; i < scene.answers.size + 10; i++) await scene.clock.advance(0);
  if (ms > 0) {
    await scene.clock.advance(ms);
    await running(scene);
  }
}

describe('PreheatOrders', () => {
  it('asks each chosen node, itself too, until all are over', async () => {
    const scene = sceneOf(4);
    const { id } = scene.orders.create(requestOf(['a']));
    await running(scene);
    assert.equal(scene.asked.length, 3);
    const report = scene.orders.get(id);
    assert.deepEqual(
      [report?.state, stateOf(report, 'node-1'), stateOf(report, 'node-4')],
      ['running', 'accepted', 'accepted'],
    );
    for (const peer of scene.answers.keys()) scene.answers.set(peer, taken('done'));
    await running(scene, SECOND);
    assert.equal(scene.orders.get(id)?.state, 'done');
    assert.deepEqual([scene.over.length, scene.over[0]?.done], [1, 4]);
    const before = scene.asked.length;
    await running(scene, MINUTE);
    assert.equal(scene.asked.length, before);
    await scene.orders[Symbol.asyncDispose]();
  });

  it('reaches 300 members within seconds, 16 at a time, and asks a lost one again', async () => {
    const scene = sceneOf(300);
    const lost = nodesOf(300)[100]?.peer as PeerId;
    scene.answers.set(lost, undefined);
    const { id } = scene.orders.create(requestOf(['a']));
    await running(scene);
    const states = scene.orders.get(id)?.members.map(({ state }) => state) ?? [];
    assert.equal(states.filter((state) => state === 'accepted').length, 299);
    assert.equal(scene.most, 16);
    scene.answers.set(lost, taken('waiting'));
    await running(scene, SECOND);
    assert.ok(scene.orders.get(id)?.members.every(({ state }) => state === 'accepted'));
    await scene.orders[Symbol.asyncDispose]();
  });

  it('gives up on a node that is silent for a minute, once the order has started', async () => {
    const scene = sceneOf(2);
    const [, other] = nodesOf(2);
    scene.answers.set(other?.peer as PeerId, undefined);
    scene.answers.set(SELF, taken('done'));
    const later = requestOf(['a'], { order: orderOf(['a'], { starts: HOUR, expires: 2 * HOUR }) });
    const { id } = scene.orders.create(later);
    await running(scene, 59 * MINUTE);
    assert.equal(scene.orders.get(id)?.state, 'scheduled');
    await running(scene, 3 * MINUTE);
    const report = scene.orders.get(id);
    assert.deepEqual([report?.state, report?.done, report?.failed], ['partial', 1, 1]);
    assert.match(report?.members.find(({ name }) => name === 'node-2')?.reason ?? '', /no answer for 60 s/);
    await scene.orders[Symbol.asyncDispose]();
  });

  it('is partial if a node lacks an image, and done if only its platform is another one', async () => {
    const cases = [
      [taken('done'), taken('present'), 'done'],
      [taken('done'), taken('other-platform'), 'done'],
      [taken('other-platform'), taken('other-platform'), 'partial'],
      [taken('done'), taken('no-room'), 'partial'],
      [taken('done'), taken('failed'), 'partial'],
      [taken('done'), { refused: 'preheat is off' }, 'partial'],
      [taken('done'), taken('done', 'done'), 'partial'],
    ] as const;
    for (const [self, other, state] of cases) {
      const scene = sceneOf(2);
      scene.answers.set(SELF, self);
      scene.answers.set(nodesOf(2)[1]?.peer as PeerId, other);
      const { id } = scene.orders.create(requestOf(['a']));
      await running(scene);
      assert.equal(scene.orders.get(id)?.state, state, JSON.stringify([self, other]));
      await scene.orders[Symbol.asyncDispose]();
    }
  });

  it('takes 16 orders at a time, and no larger ones than it can report', async () => {
    const scene = sceneOf(2);
    const tooMany = (error: unknown): boolean => isWeirError(error, 'too_many_requests');
    for (let i = 0; i < 16; i++) scene.orders.create(requestOf(['a']));
    assert.throws(() => scene.orders.create(requestOf(['a'])), tooMany);
    for (const peer of scene.answers.keys()) scene.answers.set(peer, taken('done'));
    await running(scene, SECOND);
    for (let i = 0; i < 60; i++) {
      scene.orders.create(requestOf(['a']));
      await running(scene);
    }
    const { preheats } = scene.orders.list();
    assert.ok(preheats.length <= 34, `${preheats.length} are remembered`);
    await scene.orders[Symbol.asyncDispose]();

    const large = sceneOf(600);
    const images = Array.from({ length: 64 }, (_, i) => `app-${i}`);
    assert.throws(() => large.orders.create(requestOf(images)), /38400 images of nodes are more than 32768/);
    await large.orders[Symbol.asyncDispose]();
  });

  it('names the zones that there are', async () => {
    const scene = sceneOf(4);
    assert.throws(
      () => scene.orders.create(requestOf(['a'], { zone: 'moon' })),
      /no live member is in "moon" \(members are in: "a", "b"\)/,
    );
    assert.equal(scene.orders.get('0'), undefined);
    await scene.orders[Symbol.asyncDispose]();
  });
});
