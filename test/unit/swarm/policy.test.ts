/** The small parts of the swarm policy, each by itself. */
import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import type { PeerId } from '../../../src/protocol/peer-id.ts';
import { Bitfield } from '../../../src/protocol/bitfield.ts';
import { TurnBatcher } from '../../../src/swarm/turn-batcher.ts';
import { RequestWindow } from '../../../src/swarm/request-window.ts';
import { ChunkPicker } from '../../../src/swarm/chunk-picker.ts';
import { chunkKey, hashText, rank, shareBefore } from '../../../src/cluster/hrw.ts';
import { PeerSet } from '../../../src/swarm/peer-set.ts';
import { AdaptiveWindow } from '../../../src/swarm/adaptive-window.ts';
import { RttEstimator } from '../../../src/swarm/rtt-estimator.ts';
import { PARAMETERS, type Parameters, OTHER_ZONE_LOAD_FACTOR } from '../../../src/swarm/parameters.ts';
import { inOrderOfChoice } from '../../../src/swarm/peer-connector.ts';
import { Tracker } from '../../../src/swarm/tracker.ts';
import { DhtSearches } from '../../../src/swarm/dht-searches.ts';
import { UploadSlots } from '../../../src/swarm/upload-slots.ts';
import { seeded } from '../../simulator/random.ts';
import { namedSwarm } from '../../simulator/names.ts';

const named = (name: string | number): PeerId => `peer-${name}` as PeerId;
const candidates = (count: number): readonly { readonly peer: PeerId }[] =>
  Array.from({ length: count }, (_, i) => ({ peer: named(i) }));

const chunksOf = (indices: readonly number[], chunks = 8): Bitfield => {
  const field = new Bitfield(chunks);
  for (const index of indices) field.set(index);
  return field;
};

const scene = (held: Readonly<Record<string, readonly number[]>>): PeerSet => {
  const peers = new PeerSet(8);
  for (const [name, indices] of Object.entries(held)) {
    peers.put(named(name), chunksOf(indices), true);
  }
  return peers;
};

const trackerOf = (zones: Readonly<Record<string, string>>, now = (): number => 0): Tracker =>
  new Tracker({
    scheduler: { now, random: seeded(7), after: () => () => undefined },
    isLive: (name) => name !== named('dead'),
    zoneOf: (name) => zones[name],
    peers: 4,
  });

const feed = (window: AdaptiveWindow, clock: { now: number }, chunks: number, apart: number): void => {
  for (let i = 0; i < chunks; i++) {
    clock.now += apart;
    window.entered();
  }
};
const windowOf = (): { window: AdaptiveWindow; clock: { now: number } } => {
  const clock = { now: 0 };
  return { clock, window: new AdaptiveWindow(12, 64, { now: () => clock.now }) };
};

const half = (): number => 0.5;

function oneChunk(): Bitfield {
  const bits = new Bitfield(1);
  bits.set(0);
  return bits;
}

describe('rank (rendezvous hashing)', () => {
  it('spreads the chunks of a blob evenly over the members', () => {
    const members = candidates(50);
    const counts = new Map<PeerId, number>();
    const blob = hashText('a blob');
    for (let index = 0; index < 5000; index++) {
      const [owner] = rank(members, chunkKey(blob, index), 1);
      if (owner !== undefined) counts.set(owner.peer, (counts.get(owner.peer) ?? 0) + 1);
    }
    assert.equal(counts.size, 50);
    // 100 each on average; the standard deviation is 10.
    for (const count of counts.values()) assert.ok(count > 50 && count < 150, `${count} of 5000`);
  });

  it('moves only the keys of a member that leaves', () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 40 }), fc.nat(), fc.nat(), (count, key, gone) => {
        const members = candidates(count);
        const [first, second] = rank(members, key, 2);
        const left = members.filter((_, i) => i !== gone % count);
        const [now] = rank(left, key, 1);
        const expected = left.some(({ peer }) => peer === first?.peer) ? first : second;
        assert.equal(now?.peer, expected?.peer);
      }),
    );
  });

  it('estimates the place of a member in a chunk’s order without the other members', () => {
    const members = candidates(2000);
    const key = chunkKey(hashText('a blob'), 3);
    const ranked = rank(members, key, 2000);
    for (const place of [0, 63, 1000, 1999]) {
      const before = shareBefore(hashText(ranked[place]!.peer), key) * 2000;
      // Places are random: the standard deviation is 22 in the middle.
      assert.ok(Math.abs(before - place) < 100, `${before} instead of ${place}`);
    }
  });

  it('ranks many as it ranks few', () => {
    const members = candidates(500);
    for (const key of [1, 2, 3])
      assert.deepEqual(rank(members, key, 300).slice(0, 20), rank(members, key, 20));
  });

  it('names each member once, even if more are asked for', () => {
    const ranked = rank(candidates(5), 12_345, 8);
    assert.equal(new Set(ranked.map(({ peer }) => peer)).size, 5);
  });
});

const ANY_ZONE = { mayCross: () => true, takeNextAt: () => Infinity };

describe('ChunkPicker', () => {
  const wanted = chunksOf([0, 1, 2, 3]);
  const pick = (peers: PeerSet, inOrder: number, seed = 1): number | undefined =>
    new ChunkPicker({ peers, zones: ANY_ZONE, wanted, random: seeded(seed), inOrder }).pick(0)?.index;

  it('takes the rarest chunk', () => {
    const peers = scene({ a: [1, 2, 3], b: [1, 2], c: [1] });
    assert.equal(pick(peers, 0), 3);
  });

  it('takes the first chunk if order matters', () => {
    assert.equal(pick(scene({ a: [1, 2, 3], b: [1, 2], c: [1] }), 1), 1);
  });

  it('takes chunk 0 before all others', () => {
    assert.equal(pick(scene({ a: [0, 1, 3], b: [0, 1], c: [0] }), 0), 0);
  });

  it('breaks ties at random, each chunk as often', () => {
    const peers = scene({ a: [1, 2, 3] });
    const counts = [0, 0, 0, 0];
    for (let seed = 0; seed < 3000; seed++) counts[pick(peers, 0, seed) ?? 0]!++;
    for (const index of [1, 2, 3]) assert.ok((counts[index] ?? 0) > 800, counts.join(', '));
  });

  it('passes over unwanted chunks and busy peers', () => {
    const peers = scene({ a: [3, 7], b: [2] });
    const busy = peers.get(named('a'));
    if (busy !== undefined) peers.rest(busy, 10);
    assert.equal(pick(peers, 0), 2);
    assert.equal(pick(scene({ a: [5, 7] }), 0), undefined);
  });

  it('finds a chunk as soon as a peer can give it, after a search in vain', () => {
    const peer = fc.nat(1);
    const action = fc.oneof(
      fc.record({ kind: fc.constantFrom('add', 'want', 'have'), peer, number: fc.nat(7) }),
      fc.record({ kind: fc.constantFrom('rest', 'wait', 'leave', 'join'), peer, number: fc.nat(30) }),
    );
    fc.assert(
      fc.property(fc.array(action, { maxLength: 60, size: 'max' }), (actions) => {
        const peers = scene({ 0: [], 1: [] });
        const desired = chunksOf([]);
        const options = { peers, zones: ANY_ZONE, wanted: desired, random: half, inOrder: 0 };
        const picker = new ChunkPicker(options);
        let now = 0;
        for (const { kind, peer: number, number: value } of actions) {
          const swarmPeer = peers.get(named(number));
          if (kind === 'want') desired.set(value);
          else if (kind === 'have') desired.clear(value);
          else if (kind === 'wait') now += value;
          else if (kind === 'join') peers.put(named(number), chunksOf([value % 8]), true);
          else if (kind === 'leave') peers.remove(named(number));
          else if (swarmPeer !== undefined && kind === 'add') peers.gained(swarmPeer, value);
          else if (swarmPeer !== undefined) peers.rest(swarmPeer, now + value);
          assert.deepEqual(picker.pick(now), new ChunkPicker(options).pick(now), `after ${kind}`);
        }
      }),
      { numRuns: 1000 },
    );
  });
});

describe('PeerSet', () => {
  it('prefers the least loaded peer, and one of another zone only if the own zone is very busy', () => {
    const peers = new PeerSet(1);
    peers.put(named('far'), oneChunk(), false);
    const near = peers.put(named('near'), oneChunk(), true);
    assert.equal(peers.best(0, 0, half)?.id, named('near'));
    near.outstanding = OTHER_ZONE_LOAD_FACTOR - 2;
    assert.equal(peers.best(0, 0, half)?.id, named('near'));
    near.outstanding = OTHER_ZONE_LOAD_FACTOR;
    assert.equal(peers.best(0, 0, half)?.id, named('far'));
  });

  const CHUNKS = 20;
  const name = fc.integer({ min: 0, max: 79 }); // more than two words of seats
  const bits = fc.uniqueArray(fc.nat(CHUNKS - 1));
  const action = fc.oneof(
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('handshake' as const), name, bits }) },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('add' as const), name, bits }) },
    fc.record({ kind: fc.constant('bye' as const), name, bits: fc.constant<number[]>([]) }),
  );

  it('knows which peer has which chunk while peers come and go', () => {
    fc.assert(
      fc.property(fc.array(action, { maxLength: 120, size: 'max' }), (actions) => {
        const peers = new PeerSet(CHUNKS);
        const model = new Map<PeerId, Set<number>>();
        for (const { kind, name: number, bits: indices } of actions) {
          const peer = named(number);
          const swarmPeer = peers.get(peer);
          if (kind === 'handshake') {
            peers.put(peer, chunksOf(indices, CHUNKS), true);
            model.set(peer, new Set(indices));
          } else if (kind === 'bye') {
            assert.deepEqual(
              peers.remove(peer),
              [...(model.get(peer) ?? [])].toSorted((a, b) => a - b),
            );
            model.delete(peer);
          } else if (swarmPeer !== undefined) {
            for (const index of indices) {
              peers.gained(swarmPeer, index);
              model.get(peer)?.add(index);
            }
          }
        }
        assert.equal(peers.size, model.size);
        for (let index = 0; index < CHUNKS; index++) {
          const holders = [...model].filter(([, has]) => has.has(index)).map(([peer]) => peer);
          assert.deepEqual(peers.holdersOf(index).toSorted(), holders.toSorted());
          assert.equal(peers.holders(index), holders.length);
          assert.equal(peers.isHeld(index), holders.length > 0);
          assert.equal(peers.isHeld(index, peers.free(0).all), holders.length > 0);
          for (const swarmPeer of peers.all()) {
            assert.equal(peers.has(swarmPeer, index), holders.includes(swarmPeer.id));
          }
        }
      }),
    );
  });

  it('asks nothing of a resting peer until its rest is over', () => {
    const peers = scene({ a: [0], b: [0, 1] });
    const [a, b] = [...peers.all()];
    assert.ok(a !== undefined && b !== undefined);
    peers.rest(a, 10);
    peers.rest(b, 20);
    assert.equal(peers.nextFree(0), 10);
    assert.ok(peers.free(9).all.isEmpty);
    assert.equal(peers.best(0, 9, half), undefined);
    assert.equal(peers.best(0, 10, half), a);
    assert.ok(!peers.isHeld(1, peers.free(10).all));
    assert.ok(peers.isHeld(1, peers.free(20).all));
    assert.equal(peers.nextFree(20), Infinity);
    peers.remove(b.id);
    const after = peers.put(named('c'), chunksOf([1]), true);
    assert.equal(after.seat, b.seat);
    assert.ok(peers.isFree(after, 0), 'the next peer on the seat does not rest for the one before');
  });
});

describe('UploadSlots', () => {
  it('grants, queues, refuses, and passes slots on in order', () => {
    const slots = new UploadSlots(1, 1);
    const granted: string[] = [];
    assert.equal(slots.take(() => granted.push('a'))?.atOnce, true);
    assert.equal(slots.take(() => granted.push('b'))?.atOnce, false);
    assert.equal(
      slots.take(() => granted.push('c')),
      undefined,
    );
    assert.equal(slots.load, 2);
    slots.give();
    assert.deepEqual(granted, ['a', 'b']);
    slots.give();
    assert.equal(slots.load, 0);
  });

  it('lets a request leave the queue', () => {
    const slots = new UploadSlots(1, 1);
    slots.take(() => undefined);
    const place = slots.take(() => assert.fail('it had left'));
    place?.leave();
    slots.give();
    assert.equal(slots.load, 0);
  });
});

describe('RequestWindow', () => {
  it('wakes waiting blobs in turn, in a later turn of the event loop', () => {
    const later: (() => void)[] = [];
    const window = new RequestWindow(upTo(1), {
      after: (_ms, run) => (later.push(run), (): void => undefined),
    });
    const woken: string[] = [];
    window.join(() => woken.push('a'));
    window.join(() => window.take() && woken.push('b'));
    assert.ok(window.take());
    assert.ok(!window.take());
    window.release();
    assert.deepEqual(woken, []);
    for (const run of later.splice(0)) run();
    assert.deepEqual(woken, ['a', 'b']);
    assert.ok(!window.isFree);
  });

  it('lets no blob exceed its even share while another has less than its own', () => {
    const later: (() => void)[] = [];
    const window = new RequestWindow(upTo(4), {
      after: (_ms, run) => (later.push(run), (): void => undefined),
    });
    const first = window.join(() => undefined);
    for (let held = 0; held < 4; held++) assert.ok(first.mayTake(held) && window.take());
    const second = window.join(() => second.wants(0));
    assert.ok(!second.mayTake(0));
    second.wants(0);
    window.release();
    assert.ok(!first.mayTake(3));
    assert.ok(second.mayTake(0) && window.take());
    window.release();
    second.leave();
    assert.ok(first.mayTake(2));
  });

  it('gives each blob its turn if there are more blobs than places', () => {
    const later: (() => void)[] = [];
    const window = new RequestWindow(upTo(2), {
      after: (_ms, run) => (later.push(run), (): void => undefined),
    });
    const blobs = [0, 1, 2].map(() => ({ had: 0, held: 0 }));
    const shares = blobs.map((blob) => window.join(() => pump(blob)));
    const pump = (blob: { had: number; held: number }): void => {
      const share = shares[blobs.indexOf(blob)];
      while (share?.mayTake(blob.held) === true && window.take()) {
        blob.held++;
        blob.had++;
      }
      if (share?.mayWant(blob.held) === true) share.wants(blob.held);
    };
    for (const blob of blobs) pump(blob);
    for (let transfer = 0; transfer < 30; transfer++) {
      const blob = blobs[transfer % blobs.length];
      if (blob === undefined || blob.held === 0) continue;
      blob.held--;
      window.release();
      pump(blob); // it asks for the next one at once
      for (const run of later.splice(0)) run();
    }
    for (const { had } of blobs) assert.ok(had >= 6, JSON.stringify(blobs));
  });

  it('shrinks while chunks take long, and grows again when they do not', () => {
    const window = new RequestWindow(PARAMETERS, { after: () => (): void => undefined });
    const [short, long] = PARAMETERS.chunkTimeRange;
    assert.equal(window.limit, PARAMETERS.requestsMax);
    for (let chunk = 0; chunk < 100; chunk++) window.onTransferDone(long + 1);
    assert.equal(window.limit, PARAMETERS.requestsMin);
    window.onTransferDone((short + long) / 2);
    assert.equal(window.limit, PARAMETERS.requestsMin);
    for (let chunk = 0; chunk < 100; chunk++) window.onTransferDone(short - 1);
    assert.equal(window.limit, PARAMETERS.requestsMax);
    for (let chunk = 0; chunk < 2; chunk++) window.onTransferDone(Infinity);
    assert.equal(window.limit, PARAMETERS.requestsMax - 1);
  });
});

/** A window that does not change. */
function upTo(requestsMax: number): Pick<Parameters, 'requestsMax' | 'requestsMin' | 'chunkTimeRange'> {
  return { requestsMax, requestsMin: requestsMax, chunkTimeRange: [0, Infinity] };
}

describe('TurnBatcher', () => {
  it('runs callbacks together that may wait for different times', () => {
    let now = 0;
    const timers: { readonly at: number; readonly run: () => void }[] = [];
    const batcher = new TurnBatcher(
      {
        now: () => now,
        random: () => 0,
        after: (ms, run) => (timers.push({ at: now + ms, run }), (): void => undefined),
      },
      20,
    );
    const struck: string[] = [];
    const at = new Map<string, number>();
    const within = (ms: number, name: string): (() => void) =>
      batcher.within(ms, () => {
        struck.push(name);
        at.set(name, now);
      });
    for (; now < 70; now += 7) within(20, `short ${now}`);
    for (; now < 100; now += 7) within(160, `long ${now}`);
    within(160, 'left')();
    for (const { at: due, run } of timers.toSorted((a, b) => a.at - b.at)) {
      now = due;
      run();
    }
    assert.equal(struck.length, 15);
    assert.ok(!struck.includes('left'));
    for (const [name, time] of at) {
      const began = Number(name.split(' ')[1]);
      assert.ok(time > began && time <= began + (name.startsWith('short') ? 20 : 160), `${name}: ${time}`);
    }
    const ends = (kind: string): Set<number> =>
      new Set([...at].filter(([name]) => name.startsWith(kind)).map(([, time]) => time));
    assert.equal(ends('short').size, 4);
    assert.equal(ends('long').size, 1);
  });
});

describe('DhtSearches', () => {
  it('bounds the searches for one member; others wait for the next announce', () => {
    const under: { readonly digest: string; readonly found: () => void }[] = [];
    const searches = new DhtSearches(({ digest }, found) => under.push({ digest, found: () => found([]) }));
    const begin = (name: string, by: string): void =>
      searches.begin(namedSwarm(name), named(by), () => undefined);
    for (let i = 0; i < 100; i++) begin(`made up ${i}`, 'evil');
    assert.equal(under.length, 8);
    begin('honest', 'one');
    assert.equal(under.length, 9);
    assert.ok(searches.isOwed(namedSwarm('made up 50')));
    assert.ok(!searches.isOwed(namedSwarm('made up 5')));
    under[0]?.found();
    begin('made up 50', 'evil');
    begin('made up 51', 'evil');
    assert.equal(under.length, 10);
    assert.ok(!searches.isOwed(namedSwarm('made up 50')));
  });
});

describe('Tracker', () => {
  const swarm = namedSwarm('r');

  it('names the members of the same zone first, and some of others', () => {
    const zones: Record<string, string> = {};
    for (let i = 0; i < 20; i++) zones[named(i)] = i < 10 ? 'a' : 'b';
    const tracker = trackerOf(zones);
    for (let i = 0; i < 20; i++) tracker.announce(swarm, named(i), false);
    const peers = tracker.peersFor(swarm, named(0)).map((member) => zones[member.peer]);
    assert.deepEqual(
      peers.toSorted((a = '', b = '') => a.localeCompare(b)),
      ['a', 'a', 'a', 'b'],
    );
  });

  it('keeps the entries of other members if one member announces itself everywhere', () => {
    const tracker = trackerOf({});
    for (let i = 0; i < 100; i++) tracker.announce(namedSwarm(`honest ${i}`), named(i % 10), true);
    for (let i = 0; i < 10_000; i++) tracker.announce(namedSwarm(`made up ${i}`), named('evil'), false);
    for (let i = 0; i < 100; i++) {
      assert.deepEqual(tracker.members(namedSwarm(`honest ${i}`)), [named(i % 10)]);
    }
    assert.equal(tracker.size, 100 + 512);
    assert.deepEqual(tracker.members(namedSwarm('made up 9999')), [named('evil')]);
    assert.deepEqual(tracker.members(namedSwarm('made up 0')), []);
  });

  it('counts a member once in each swarm, and not where it was forgotten', () => {
    let now = 0;
    const tracker = trackerOf({}, () => now);
    for (let turn = 0; turn < 20; turn++) {
      for (let i = 0; i < 400; i++) tracker.announce(namedSwarm(`${i}`), named('one'), true);
    }
    assert.equal(tracker.size, 400);
    now = 11 * 60_000;
    for (let i = 400; i < 800; i++) tracker.announce(namedSwarm(`${i}`), named('one'), true);
    assert.ok(tracker.size <= 512);
    // Entries of swarms that were dropped for lack of room do not count either.
    for (let i = 0; i < 4000; i++) tracker.announce(namedSwarm(`of ${i}`), named(i), false);
    assert.equal(tracker.size, 2048);
    for (let i = 0; i < 512; i++) tracker.announce(namedSwarm(`again ${i}`), named('one'), true);
    for (let i = 0; i < 512; i++) {
      assert.deepEqual(tracker.members(namedSwarm(`again ${i}`)), [named('one')]);
    }
  });

  it('names neither the asker, nor dead members, nor expired ones', () => {
    let now = 0;
    const tracker = trackerOf({}, () => now);
    assert.equal(tracker.announce(swarm, named('old'), true), 'new swarm');
    now = 11 * 60_000;
    assert.equal(tracker.announce(swarm, named('dead'), false), 'new swarm', 'all its members have expired');
    assert.equal(tracker.announce(swarm, named('dead'), false), 'known');
    assert.equal(tracker.size, 1);
    tracker.announce(swarm, named('asker'), false);
    tracker.announce(swarm, named('other'), true);
    assert.deepEqual(tracker.peersFor(swarm, named('asker')), [{ peer: named('other'), complete: true }]);
  });

  it('names the same members to an asker in each swarm, and to each asker others', () => {
    const tracker = trackerOf({});
    const swarms = [swarm, namedSwarm('another')];
    for (let i = 0; i < 200; i++) {
      for (const each of swarms) tracker.announce(each, named((i * 7) % 200), i % 2 === 0);
    }
    const times = new Map<PeerId, number>();
    for (let i = 0; i < 200; i++) {
      const [one = [], other] = swarms.map((each) =>
        tracker.peersFor(each, named(i)).map(({ peer }) => peer),
      );
      assert.deepEqual(one, other);
      assert.equal(new Set(one).size, 4);
      for (const peer of one) times.set(peer, (times.get(peer) ?? 0) + 1);
    }
    const most = Math.max(...times.values());
    assert.ok(most <= 12, `each is named 4 times on average, one was ${most} times`);
  });

  it('keeps a bounded number of members', () => {
    const tracker = trackerOf({});
    for (let i = 0; i < 2000; i++) tracker.announce(swarm, named(i), false);
    assert.ok(tracker.members(swarm).length <= 512);
  });
});

describe('inOrderOfChoice', () => {
  const choose = (members: string, far = 0): string =>
    inOrderOfChoice(
      members.split(' ').map((name) => ({ peer: named(name), complete: name.includes('whole') })),
      {
        isSameZone: (peer) => String(peer).includes('near'),
        isKnown: (peer) => String(peer).includes('known'),
        far,
      },
    )
      .map((peer) => peer.slice(named('').length))
      .join(' ');

  it('takes the same zone first, after as many of other zones as are wanted', () => {
    assert.equal(choose('far-1 near-1 far-2 near-2'), 'near-1 near-2 far-1 far-2');
    assert.equal(choose('far-1 near-1 far-2 near-2', 1), 'far-1 near-1 near-2 far-2');
    assert.equal(choose('far-1 near-1 far-2 near-2', -1), 'near-1 near-2 far-1 far-2');
  });

  it('takes known members before strangers, zone by zone', () => {
    assert.equal(
      choose('far-1 far-known near-1 near-known near-2'),
      'near-known near-1 near-2 far-known far-1',
    );
  });

  it('takes three seeds before all others, known or not', () => {
    const members = 'near-known far-whole-1 far-whole-2 near-whole-3 near-whole-4';
    assert.equal(choose(members), 'far-whole-1 far-whole-2 near-whole-3 near-known near-whole-4');
  });

  it('prefers known seeds', () => {
    const members = 'near-whole-1 near-whole-2 near-whole-3 far-known-whole-4 near-known-whole-5';
    assert.equal(
      choose(members),
      'far-known-whole-4 near-known-whole-5 near-whole-1 near-whole-2 near-whole-3',
    );
  });
});

describe('AdaptiveWindow', () => {
  it('grows while that raises the rate, as with a limit for each connection', () => {
    const { window, clock } = windowOf();
    for (let i = 0; i < 6; i++) feed(window, clock, 24, 1200 / window.size);
    assert.ok(window.size > 40, `${window.size}`);
  });

  it('shrinks back if the uplink is the limit', () => {
    const { window, clock } = windowOf();
    for (let i = 0; i < 6; i++) feed(window, clock, 24, 100);
    assert.equal(window.size, 12);
  });

  it('shrinks at once when the registry throttles', () => {
    const { window, clock } = windowOf();
    for (let i = 0; i < 4; i++) feed(window, clock, 24, 1200 / window.size);
    window.throttled();
    assert.equal(window.size, 12);
  });
});

describe('RttEstimator', () => {
  it('follows the usual time, within its bounds', () => {
    const rtt = new RttEstimator(250, 500, 1000);
    assert.equal(rtt.limit, 500);
    for (let i = 0; i < 50; i++) rtt.observe(10);
    assert.equal(rtt.limit, 250);
    for (let i = 0; i < 50; i++) rtt.observe(400);
    assert.ok(rtt.limit > 400 && rtt.limit < 1000, String(rtt.limit));
    for (let i = 0; i < 50; i++) rtt.observe(5000);
    assert.equal(rtt.limit, 1000);
  });
});
