import assert from 'node:assert/strict';
import type { CID } from 'multiformats/cid';
import { HOUR, SECOND } from '../../../src/util/clock.ts';
import { digestOf, parseDigest, type Digest } from '../../../src/oci/digest.ts';
import { Identity } from '../../../src/protocol/identity.ts';
import type { PeerId } from '../../../src/protocol/peer-id.ts';
import { cidOf, type ContentRouting } from '../../../src/network/content-routing.ts';
import { ProviderAnnouncer } from '../../../src/network/provider-announcer.ts';
import { ProviderSearch } from '../../../src/network/provider-search.ts';
import { VirtualClock } from './virtual-clock.ts';

const digest = (text: string | number): Digest => digestOf(Buffer.from(String(text)));
const nameByCid = (names: readonly (string | number)[]): ReadonlyMap<string, string> =>
  new Map(names.map((name) => [cidOf(digest(name)).toString(), String(name)]));

/** A DHT in memory. */
class FakeNetwork implements ContentRouting {
  readonly validity: number = 24 * HOUR;
  readonly provided: string[] = [];
  readonly withdrawn: string[] = [];
  searches = 0;
  running = 0;
  mostRunning = 0;
  /** How many members take an announcement; or the error that it fails with. */
  takers: number | Error = 3;
  holders: readonly PeerId[] = [];
  /** A search that has found the holders goes on until it is aborted. */
  endless = false;
  aborted = 0;
  readonly #clock: VirtualClock;

  constructor(clock: VirtualClock) {
    this.#clock = clock;
  }

  async provide(cid: CID, { signal }: { readonly signal: AbortSignal }): Promise<number> {
    this.running += 1;
    this.mostRunning = Math.max(this.mostRunning, this.running);
    await this.#clock.sleep(100, { signal });
    this.running -= 1;
    if (this.takers instanceof Error) throw this.takers;
    if (this.takers > 0) this.provided.push(cid.toString());
    return this.takers;
  }

  async withdraw(cid: CID): Promise<void> {
    this.withdrawn.push(cid.toString());
  }

  async *find(_cid: CID, { signal }: { readonly signal: AbortSignal }): AsyncGenerator<PeerId, void> {
    this.searches += 1;
    for (const holder of this.holders) {
      await this.#clock.sleep(50);
      yield holder;
    }
    if (!this.endless) return;
    const { promise, reject } = Promise.withResolvers<void>();
    signal.addEventListener('abort', () => {
      this.aborted += 1;
      reject(signal.reason);
    });
    await promise;
  }
}

describe('the CID of a digest', () => {
  it('has version 1, codec raw and the digest itself (golden)', () => {
    // sha256 and sha512 of nothing.
    const empty = parseDigest('sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');
    const cid = cidOf(empty);
    assert.equal(cid.toString(), 'bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku');
    assert.equal(Buffer.from(cid.bytes).toString('hex'), `01551220${empty.slice(7)}`);
    const long = digestOf(new Uint8Array(), 'sha512');
    assert.equal(Buffer.from(cidOf(long).bytes).toString('hex'), `01551340${long.slice(7)}`);
  });
});

describe('ProviderAnnouncer', () => {
  let clock: VirtualClock;
  let network: FakeNetwork;
  let queue: ProviderAnnouncer;
  let isBusy: boolean;
  let members: number;
  let dead: readonly PeerId[];
  const problems: unknown[] = [];
  const names = nameByCid(Array.from({ length: 200 }, (_, i) => i));
  const provided = (): readonly string[] => network.provided.map((cid) => names.get(cid) ?? cid);
  const makeQueue = (): ProviderAnnouncer =>
    new ProviderAnnouncer({
      routing: network,
      isBusy: () => isBusy,
      members: () => members,
      isLive: (peer) => !dead.includes(peer),
      clock,
      onProblem: (error) => problems.push(error),
    });

  beforeEach(() => {
    clock = new VirtualClock();
    network = new FakeNetwork(clock);
    problems.length = 0;
    isBusy = false;
    members = 2;
    dead = [];
    queue = makeQueue();
  });
  afterEach(() => queue[Symbol.asyncDispose]());

  it('announces the newest first, each once, slowly', async () => {
    for (let i = 0; i < 40; i += 1) queue.provide(digest(i));
    queue.provide(digest(5));
    await clock.advance(10 * SECOND);
    assert.ok(network.mostRunning <= 2);
    assert.ok(
      network.provided.length >= 15 && network.provided.length <= 25,
      `${network.provided.length} in 10 s`,
    );
    assert.deepEqual(provided().slice(0, 3), ['39', '38', '37']);
    await clock.advance(20 * SECOND);
    assert.equal(network.provided.length, 40);
    assert.deepEqual(queue.counts, { waiting: 0, announced: 40, covered: 0 });
    queue.provide(digest(7));
    await clock.advance(HOUR);
    assert.equal(network.provided.length, 40);
  });

  it('announces more slowly with more members, down to a minimum rate', async () => {
    const inAMinute = async (count: number): Promise<number> => {
      members = count;
      const before = network.provided.length;
      for (let i = 0; i < 150; i += 1) queue.provide(digest(i));
      await clock.advance(60 * SECOND);
      return network.provided.length - before;
    };
    const few = await inAMinute(5);
    assert.ok(few > 100 && few < 130, `${few} in a minute with 5 members`);
    await queue[Symbol.asyncDispose]();
    for (const [count, least, most] of [
      [20, 26, 34],
      [5000, 10, 14],
    ] as const) {
      queue = makeQueue();
      const many = await inAMinute(count);
      assert.ok(many >= least && many <= most, `${many} in a minute with ${count} members`);
      await queue[Symbol.asyncDispose]();
    }
  });

  it('renews a record before it expires', async () => {
    queue.provide(digest(1));
    await clock.advance(18 * HOUR);
    assert.equal(network.provided.length, 1);
    await clock.advance(4 * HOUR);
    assert.equal(network.provided.length, 2);
    await clock.advance(22 * HOUR);
    assert.equal(network.provided.length, 3);
  });

  it('waits while the node pulls, but not for ever', async () => {
    queue.provide(digest(1));
    await clock.advance(SECOND);
    isBusy = true;
    queue.provide(digest(2));
    queue.provide(digest(3));
    await clock.advance(60 * SECOND);
    queue.withdraw(digest(3));
    assert.deepEqual(provided(), ['1']);
    isBusy = false;
    await clock.advance(2 * SECOND);
    assert.deepEqual(provided(), ['1', '2']);
    isBusy = true;
    queue.provide(digest(4));
    await clock.advance(299 * SECOND);
    assert.deepEqual(provided(), ['1', '2']);
    await clock.advance(3 * SECOND);
    assert.deepEqual(provided(), ['1', '2', '4']);
    assert.deepEqual(queue.counts, { waiting: 0, announced: 3, covered: 0 });
  });

  it('forgets withdrawn blobs, before and after their announcement', async () => {
    queue.provide(digest(1));
    queue.provide(digest(2));
    queue.provide(digest(3));
    queue.withdraw(digest(1));
    await clock.advance(SECOND / 2);
    queue.withdraw(digest(2));
    await clock.advance(48 * HOUR);
    assert.ok(!provided().includes('1'));
    assert.equal(provided().filter((name) => name === '2').length, 1);
    assert.deepEqual(
      network.withdrawn.map((cid) => names.get(cid)),
      ['2'],
    );
    assert.deepEqual(queue.counts, { waiting: 0, announced: 1, covered: 0 });
  });

  it('retries less and less often while nobody takes announcements', async () => {
    network.takers = 0;
    queue.provide(digest(1));
    await clock.advance(10 * 60 * SECOND);
    assert.deepEqual(queue.counts, { waiting: 1, announced: 0, covered: 0 });
    network.takers = 2;
    await clock.advance(6 * 60 * SECOND);
    assert.deepEqual(provided(), ['1']);
  });

  it('survives a failing network, and reports it', async () => {
    network.takers = new Error('no network');
    queue.provide(digest(1));
    await clock.advance(SECOND);
    assert.ok(problems.length > 0);
    network.takers = 1;
    await clock.advance(60 * SECOND);
    assert.deepEqual(provided(), ['1']);
  });

  const others = Array.from({ length: 12 }, () => Identity.generate().peer);

  it('does not announce a blob with enough holders, and checks again later', async () => {
    network.holders = others.slice(0, 10);
    queue.provide(digest(1));
    await clock.advance(3 * HOUR - SECOND);
    assert.deepEqual(provided(), []);
    assert.deepEqual(queue.counts, { waiting: 0, announced: 0, covered: 1 });
    queue.provide(digest(1));
    await clock.advance(2 * HOUR);
    assert.ok(network.searches === 2, `${network.searches} searches`);
    network.holders = others.slice(0, 9);
    await clock.advance(4 * HOUR);
    assert.deepEqual(provided(), ['1']);
    assert.deepEqual(queue.counts, { waiting: 0, announced: 1, covered: 0 });
  });

  it('counts each other holder once, and only live ones', async () => {
    network.holders = [...others.slice(0, 9), ...others.slice(0, 9)];
    queue.provide(digest(1));
    await clock.advance(3 * SECOND);
    assert.deepEqual(provided(), ['1']);
    network.holders = others;
    dead = others.slice(0, 3);
    queue.provide(digest(2));
    await clock.advance(3 * SECOND);
    assert.deepEqual(provided(), ['1', '2']);
    dead = others.slice(0, 2);
    queue.provide(digest(3));
    await clock.advance(3 * SECOND);
    assert.deepEqual(provided(), ['1', '2']);
  });

  it('renews its own announcements, however many other holders there are', async () => {
    queue.provide(digest(1));
    await clock.advance(SECOND);
    network.holders = others;
    await clock.advance(21 * HOUR);
    assert.deepEqual(provided(), ['1', '1']);
  });

  it('forgets blobs that are withdrawn while covered, or being looked up', async () => {
    network.holders = others;
    queue.provide(digest(1));
    await clock.advance(SECOND);
    queue.withdraw(digest(1));
    network.holders = others.slice(0, 3);
    queue.provide(digest(2));
    await clock.advance(75);
    queue.withdraw(digest(2));
    await clock.advance(8 * HOUR);
    assert.deepEqual(provided(), []);
    assert.deepEqual(queue.counts, { waiting: 0, announced: 0, covered: 0 });
  });

  it('wakes both workers for blobs that arrive while they sleep', async () => {
    await clock.advance(SECOND);
    queue.provide(digest(1));
    queue.provide(digest(2));
    await clock.advance(50);
    assert.equal(network.running, 2);
  });
});

describe('ProviderSearch', () => {
  let clock: VirtualClock;
  let network: FakeNetwork;
  let routing: ProviderSearch;
  const problems: unknown[] = [];
  const peers = Array.from({ length: 12 }, () => Identity.generate().peer);
  const { signal } = new AbortController();

  beforeEach(() => {
    clock = new VirtualClock();
    network = new FakeNetwork(clock);
    problems.length = 0;
    routing = new ProviderSearch({ routing: network, clock, onProblem: (error) => problems.push(error) });
  });
  afterEach(() => routing[Symbol.asyncDispose]());
  const found = async (waiting: Promise<readonly PeerId[]>, ms: number): Promise<readonly PeerId[]> => {
    await clock.advance(ms);
    return await waiting;
  };

  it('returns the holders found by the deadline', async () => {
    network.holders = peers.slice(0, 5);
    const first = routing.find(digest(1), { signal, deadline: 120 });
    const second = routing.find(digest(1), { signal, deadline: 10_000 });
    assert.deepEqual(await found(first, 120), peers.slice(0, 2));
    assert.deepEqual(await found(second, 500), peers.slice(0, 5));
    assert.equal(network.searches, 1);
  });

  it('ends with ten holders', async () => {
    network.holders = peers;
    assert.equal((await found(routing.find(digest(1), { signal, deadline: 10_000 }), 2000)).length, 10);
  });

  it('remembers a result, and an empty one for less time', async () => {
    assert.deepEqual(await found(routing.find(digest(1), { signal, deadline: 100 }), 100), []);
    network.holders = peers.slice(0, 1);
    assert.deepEqual(await found(routing.find(digest(1), { signal, deadline: 100 }), 100), []);
    await clock.advance(6 * SECOND);
    assert.equal((await found(routing.find(digest(1), { signal, deadline: 100 }), 100)).length, 1);
    await clock.advance(20 * SECOND);
    assert.equal((await found(routing.find(digest(1), { signal, deadline: 100 }), 0)).length, 1);
    assert.equal(network.searches, 2);
    await clock.advance(20 * SECOND);
    await found(routing.find(digest(1), { signal, deadline: 100 }), 100);
    assert.equal(network.searches, 3);
  });

  it('lets a caller leave, and searches on for the others', async () => {
    network.holders = peers.slice(0, 4);
    const stop = new AbortController();
    const first = routing.find(digest(1), { signal: stop.signal, deadline: 10_000 });
    const second = routing.find(digest(1), { signal, deadline: 10_000 });
    stop.abort(new Error('enough'));
    await assert.rejects(first, /enough/);
    assert.equal((await found(second, 1000)).length, 4);
  });

  it('limits the number of searches', async () => {
    network.endless = true;
    const finds = Array.from({ length: 30 }, (_, i) => routing.find(digest(i), { signal, deadline: 100 }));
    await clock.advance(100);
    assert.ok((await Promise.all(finds)).every((list) => list.length === 0));
    assert.equal(network.searches, 16);
    await routing[Symbol.asyncDispose]();
    assert.equal(network.aborted, 16);
    assert.deepEqual(problems, []);
  });
});
