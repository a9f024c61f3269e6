/** Whole swarms in virtual time: the daemon's own policy, a modelled network. Same seed, same course. */
import assert from 'node:assert/strict';
import { MIB, SECOND } from '../../../src/util/clock.ts';
import { WeirError } from '../../../src/util/errors.ts';
import type { SimulatedNode } from '../../simulator/simulated-node.ts';
import { simulate, type SimulateOptions, type Start } from '../../simulator/simulate.ts';
import type { PeerId } from '../../../src/protocol/peer-id.ts';
import { ChunkLayout } from '../../../src/protocol/chunk-layout.ts';
import { ChunkOwners } from '../../../src/swarm/chunk-owners.ts';
import { namedSwarm } from '../../simulator/names.ts';
import { World, type WorldOptions } from '../../simulator/world.ts';

const swarm = namedSwarm('layer');
const LAYER = 64 * MIB;
/** Five nodes with 60 Mbit/s each, and a registry with 50. */
const SLOW_LINES: Omit<SimulateOptions, 'start' | 'seed'> = {
  nodes: 5,
  layers: [80, 50, 35, 20, 10, 5].map((size) => size * MIB),
  link: 7_500,
  registry: 6_250,
  connection: Infinity,
  throttle: Infinity,
  zones: 1,
  latency: 2,
  zoneLatency: 2,
  membershipDelay: 0,
  kill: 0,
  slow: 0,
  hang: 0,
};
const AT_ONCE = { start: { kind: 'simultaneous' }, seed: 1 } as const;
/** Virtual milliseconds after which a pull counts as hung. */
const LIMIT = 120 * SECOND;

interface Course {
  readonly world: World;
  /** Of the nodes that live. */
  readonly times: readonly number[];
  readonly share: number;
}

interface CourseOptions extends WorldOptions {
  readonly size?: number;
  /** Milliseconds over which the starts are spread. */
  readonly stagger?: number;
  readonly prepare?: (world: World) => void;
}

function run({ size = LAYER, stagger = 0, prepare, ...options }: CourseOptions): Course {
  const world = new World(options);
  prepare?.(world);
  for (const node of world.nodes) {
    world.time.after(stagger * world.random(), () => {
      if (node.isAlive && !node.kept.has(swarm.digest)) world.pull(node, swarm, size);
    });
  }
  world.time.run(() => world.nodes.every(isOver), LIMIT);
  const left = world.nodes.filter((node) => !isOver(node));
  assert.deepEqual(
    left.map(({ member }) => member.name),
    [],
    'these hang',
  );
  const times = world.nodes.flatMap((node) => node.complete.get(swarm.digest) ?? []);
  return { world, times, share: world.registry.bytes / size };
}

function isOver(node: SimulatedNode): boolean {
  return !node.isAlive || node.isFrozen || node.kept.has(swarm.digest) || node.failed.has(swarm.digest);
}

function assertAllComplete({ world }: Course): void {
  for (const node of world.nodes) {
    if (node.isAlive && !node.isFrozen) assert.ok(node.kept.has(swarm.digest), node.member.name);
  }
}

/** A pull of {@link LAYER} takes some 11 s here. */
const STARVED: CourseOptions = { nodes: 5, link: SLOW_LINES.link, registry: SLOW_LINES.registry };

/** TCP may starve one connection of many: a packet comes now and then, so that it does not count as hung. */
function starve({ registry, time }: World, isStarved: (first: number, node: SimulatedNode) => boolean): void {
  const fetch = registry.fetch.bind(registry);
  registry.fetch = (node, layout, first, count, events) => {
    if (!isStarved(first, node)) return fetch(node, layout, first, count, events);
    const crawl = (): void => {
      events.progressed(1448);
      stop = time.after(SECOND, crawl);
    };
    let stop = time.after(SECOND, crawl);
    return () => stop();
  };
}

describe('a swarm', () => {
  for (const nodes of [2, 5, 12, 50]) {
    it(`of ${nodes} that start at once costs the registry one download`, () => {
      const course = run({ nodes });
      assertAllComplete(course);
      assert.equal(course.share, 1);
      assert.deepEqual(
        course.world.nodes.flatMap(({ blamed }) => blamed),
        [],
      );
    });
  }

  it('of one behaves as if there were none: few requests, in order', () => {
    const course = run({ nodes: 1 });
    assertAllComplete(course);
    assert.equal(course.share, 1);
    assert.ok(course.world.registry.requests <= 10, `${course.world.registry.requests} requests`);
  });

  it('asks again for a chunk whose request was lost in this node, and blames nobody', () => {
    const lost = new Set<string>();
    const course = run({
      nodes: 12,
      losesRequest: ({ member }, { range }) => {
        const name = `${member.peer} ${range?.start}`;
        const isLost = lost.size < 100 && !lost.has(name);
        if (isLost) lost.add(name);
        return isLost;
      },
    });
    assertAllComplete(course);
    assert.equal(lost.size, 100);
    assert.deepEqual(
      course.world.nodes.flatMap(({ blamed }) => blamed),
      [],
    );
    assert.ok(course.world.nodes.every(({ fromPeers }) => fromPeers > 0));
  });

  it('wants a chunk again that was lost before it was written, and blames nobody', () => {
    for (const nodes of [1, 12]) {
      const lost = new Set<string>();
      const course = run({
        nodes,
        loses: ({ member }, index) => {
          const isLost = index % 5 === 0 && !lost.has(`${member.peer} ${index}`);
          if (isLost) lost.add(`${member.peer} ${index}`);
          return isLost;
        },
      });
      assertAllComplete(course);
      assert.equal(lost.size, nodes * Math.ceil(new ChunkLayout(LAYER).count / 5));
      assert.deepEqual(
        course.world.nodes.flatMap(({ blamed }) => blamed),
        [],
      );
    }
  });

  it('takes the same course with the same seed', () => {
    const once = run({ nodes: 12, stagger: 500, seed: 3 });
    const again = run({ nodes: 12, stagger: 500, seed: 3 });
    assert.deepEqual(again.times, once.times);
    assert.equal(again.world.tally.messages, once.world.tally.messages);
  });

  it('costs little more than one download if the starts are spread', () => {
    for (const seed of [1, 2, 3]) {
      const course = run({ nodes: 30, stagger: 2 * SECOND, size: 200 * MIB, seed });
      assertAllComplete(course);
      assert.ok(course.share <= 1.03, `${course.share} with seed ${seed}`);
    }
  });

  it('costs one download of each of several blobs, even if a chunk takes seconds', () => {
    const starts: readonly Start[] = [{ kind: 'simultaneous' }, { kind: 'jitter', ms: 10 * SECOND }];
    for (const seed of [1, 2, 3, 4]) {
      for (const start of starts) {
        const { result } = simulate({ ...SLOW_LINES, start, seed }, 1);
        assert.deepEqual(result.failure_reasons, []);
        const told = `${result.registry_ratio} with seed ${seed}, ${start.kind}`;
        assert.ok(result.registry_ratio <= 1.02, told);
      }
    }
  });

  it('begins an upstream chunk anew that lags far behind the others', () => {
    let begun = 0;
    const course = run({
      ...STARVED,
      prepare: (world) => starve(world, (first) => first === 20 && ++begun === 1),
    });
    assertAllComplete(course);
    assert.ok(begun > 1);
    assert.ok(course.share <= 1 + 1 / 64, `${course.share}`);
  });

  it('lets another member fetch chunk 0 if its claimant is starved', () => {
    let starved: SimulatedNode | undefined;
    const course = run({
      ...STARVED,
      prepare: (world) =>
        starve(world, (first, node) => {
          if (first === 0) starved ??= node;
          return first === 0 && node === starved;
        }),
    });
    assertAllComplete(course);
    assert.ok(starved !== undefined);
    assert.ok(Math.max(...course.times) < 15 * SECOND, String(course.times));
    assert.ok(course.share <= 1 + 2 / 64, String(course.share));
  });

  it('does not ask again and again for a slot while a chunk takes seconds', () => {
    const options: SimulateOptions = { ...SLOW_LINES, nodes: 20, link: 625, registry: 625, ...AT_ONCE };
    const { outcomes, result } = simulate({ ...options, layers: [12, 6, 3].map((size) => size * MIB) }, 1);
    assert.deepEqual(result.failure_reasons, []);
    const { busy = 0, granted = 0 } = outcomes;
    assert.ok(granted > 0 && busy <= 8 * granted, `${busy} times busy, ${granted} granted`);
  });

  it('gives a late joiner everything', () => {
    const course = run({
      nodes: 12,
      prepare: (world) => world.nodes.slice(1).forEach((node) => node.kept.set(swarm.digest, LAYER)),
    });
    assertAllComplete(course);
    assert.equal(course.share, 0);
  });

  it('finds the only member that has the blob', () => {
    const course = run({
      nodes: 12,
      prepare: (world) => {
        const [holder] = world.nodes;
        holder?.kept.set(swarm.digest, LAYER);
        holder?.swarms.announce(swarm, LAYER);
      },
    });
    assertAllComplete(course);
    assert.equal(course.share, 0);
  });

  it('completes although nodes die in the middle', () => {
    for (const seed of [1, 2, 3, 4]) {
      const course = run({
        nodes: 20,
        seed,
        prepare: (world) => {
          for (const node of world.nodes.slice(0, 3)) {
            world.time.after(100 + 300 * world.random(), () => world.kill(node));
          }
        },
      });
      assertAllComplete(course);
      assert.ok(course.share < 1.35, `${course.share} with seed ${seed}`);
    }
  });

  it('completes although nodes freeze, and blames no other node', () => {
    const course = run({
      nodes: 12,
      prepare: (world) => {
        for (const node of world.nodes.slice(0, 2)) world.time.after(200, () => world.freeze(node));
      },
    });
    assertAllComplete(course);
    const frozen = new Set(course.world.nodes.slice(0, 2).map(({ member }) => member.peer));
    for (const { blamed } of course.world.nodes) {
      for (const { peer } of blamed) assert.ok(frozen.has(peer), `${peer} was blamed`);
    }
  });

  for (const end of ['kill', 'freeze'] as const) {
    it(`finds together if no tracker replies: ${end}`, () => {
      const isTracker = (world: World): Set<string> => {
        const members = world.nodes.map(({ member }) => member);
        const { trackers } = world.parameters;
        const [first] = members;
        assert.ok(first);
        return new Set(ChunkOwners.trackers(swarm, members, trackers, first.peer).map(({ peer }) => peer));
      };
      const course = run({
        nodes: 50,
        membershipDelay: LIMIT,
        prepare: (world) => {
          const gone = isTracker(world);
          assert.equal(gone.size, world.parameters.trackers);
          for (const node of world.nodes) if (gone.has(node.member.peer)) world[end](node);
        },
      });
      assertAllComplete(course);
      assert.equal(course.world.tally.reasons.get('alone'), undefined);
      assert.ok(course.share < 1.1, `${course.share} downloads`);
    });
  }

  it('fetches from upstream within 3 s if all peers freeze', () => {
    const world = new World({ nodes: 6 });
    const [asker, ...others] = world.nodes;
    assert.ok(asker !== undefined);
    for (const node of others) node.kept.set(swarm.digest, LAYER);
    world.pull(asker, swarm, LAYER);
    let frozenAt = 0;
    world.time.after(150, () => {
      frozenAt = world.time.now;
      for (const node of others) world.freeze(node);
    });
    world.time.run(() => frozenAt > 0 && world.registry.bytes > 0, LIMIT);
    assert.ok(asker.fromPeers > 0, 'peers gave something before');
    assert.ok(world.time.now - frozenAt < 3 * SECOND, `${world.time.now - frozenAt} ms`);
    world.time.run(() => asker.kept.has(swarm.digest), LIMIT);
    assert.ok(asker.kept.has(swarm.digest));
  });

  describe('fetches a chunk at once', () => {
    /** Eight nodes on slow links: the first chunk's owners, two others, and when the registry was asked for it. */
    function slowWorld() {
      const world = new World({ nodes: 8, link: 2_500, registry: 2_500 });
      const members = world.nodes.map(({ member }) => member);
      const owners = new ChunkOwners(swarm, { live: () => members, version: 1 }).of(0);
      const others = world.nodes.filter(({ member }) => !owners.includes(member));
      const [first, second] = others as [SimulatedNode, SimulatedNode];
      const askedAt: number[] = [];
      const count = world.tally.fetching.bind(world.tally);
      world.tally.fetching = (key, index, ...rest) => {
        if (index === 0) askedAt.push(world.time.now);
        count(key, index, ...rest);
      };
      return { world, owners, first, second, askedAt };
    }

    it('that was left to an owner which begins to pull only then', () => {
      const { world, owners, first, second, askedAt } = slowWorld();
      world.pull(first, swarm, LAYER); // it is alone, and begins with the first chunk
      world.time.after(150, () => world.pull(second, swarm, LAYER)); // less than half of it is here: it is left to its owner
      world.time.after(300, () => {
        for (const { peer } of owners) world.pull(world.node(peer), swarm, LAYER);
      });
      world.time.run(() => askedAt.length > 1, LIMIT);
      assert.ok(world.time.now < 1 * SECOND, `asked for again after ${world.time.now} ms`);
    });

    it('whose claimant cancels its pull', () => {
      const { world, first, second, askedAt } = slowWorld();
      const joined = world.pull(first, swarm, LAYER);
      world.time.after(150, () => first.swarms.close(joined, false));
      world.time.after(200, () => world.pull(second, swarm, LAYER));
      world.time.run(() => askedAt.length > 1, LIMIT);
      assert.ok(world.time.now < 1 * SECOND, `asked for again after ${world.time.now} ms`);
    });
  });

  for (const isWhole of [false, true]) {
    it(`sends each peer one bye if a blob is given up that is ${isWhole ? 'whole' : 'on its way'}`, () => {
      const world = new World({ nodes: 2 });
      const [first, second] = world.nodes as [SimulatedNode, SimulatedNode];
      const told: PeerId[] = [];
      const take = second.swarms.message.bind(second.swarms);
      second.swarms.message = (from, message) => {
        if (message.kind === 'bye' && message.reason === 'done') told.push(from);
        take(from, message);
      };
      const close = first.swarms.close.bind(first.swarms);
      first.swarms.close = () => undefined; // given up instead of kept
      const joined = world.pull(first, swarm, LAYER);
      const other = world.pull(second, swarm, LAYER);
      const { have, peers } = joined.state;
      world.time.run(() => peers.size > 0 && (isWhole ? have.full : have.count > 0), LIMIT);
      assert.equal(have.full, isWhole);
      close(joined, false);
      world.time.run(() => other.state.have.full, LIMIT);
      assert.deepEqual(told, [first.member.peer]);
    });
  }

  it('completes from peers if the registry is gone after one download', () => {
    const course = run({
      nodes: 12,
      prepare: (world) => {
        world.registry.fault = () =>
          world.registry.bytes >= LAYER ? new WeirError('upstream_unreachable', 'it is gone') : undefined;
      },
    });
    assertAllComplete(course);
    assert.equal(course.share, 1);
  });

  it('fails soon, with the registry’s error, if no node can get the blob', () => {
    const world = new World({ nodes: 5 });
    world.registry.fault = () => new WeirError('upstream_denied', 'not for you');
    for (const node of world.nodes) world.pull(node, swarm, LAYER);
    world.time.run(() => world.nodes.every(({ failed }) => failed.size > 0), LIMIT);
    for (const { failed } of world.nodes) assert.equal(failed.get(swarm.digest)?.code, 'upstream_denied');
    assert.ok(world.time.now < 10 * SECOND, `${world.time.now} ms`);
  });

  it('asks for more chunks with one request if the registry throttles', () => {
    let throttled = 0;
    const course = run({
      nodes: 12,
      size: 256 * MIB,
      prepare: (world) => {
        world.registry.fault = () => {
          if (world.registry.requests % 3 !== 0) return undefined;
          throttled++;
          return new WeirError('upstream_throttled', 'slow down');
        };
      },
    });
    assertAllComplete(course);
    assert.ok(throttled > 0);
    assert.ok(
      course.world.registry.requests < 90,
      `${course.world.registry.requests} requests for 128 chunks`,
    );
    assert.ok(course.share < 1.3, `${course.share}`);
  });

  it('prefers peers of its own zone', () => {
    const course = run({ nodes: 30, zones: 3, size: 128 * MIB });
    const { nodes } = course.world;
    const all = nodes.reduce((sum, { fromPeers }) => sum + fromPeers, 0);
    const other = nodes.reduce((sum, { fromOtherZones }) => sum + fromOtherZones, 0);
    const same = all - other;
    // By chance a third would be of the same zone.
    assert.ok(same > other, `${same} within, ${other} across`);
  });

  for (const [members, pulling] of [
    [600, 12],
    [2000, 20],
    [2000, 150],
  ] as const) {
    it(`of ${pulling} in a cluster of ${members} costs the registry one download too`, () => {
      const world = new World({ nodes: members, zones: 3 });
      const few = world.nodes
        .filter((_, index) => index % Math.floor(members / pulling) === 0)
        .slice(0, pulling);
      for (const node of few) world.pull(node, swarm, LAYER);
      world.time.run(() => few.every(isOver), LIMIT);
      for (const node of few) assert.ok(node.kept.has(swarm.digest), node.member.name);
      assert.ok(world.registry.bytes <= 1.05 * LAYER, `${world.registry.bytes / LAYER}`);
      // Of the lower bound; every one by itself would take as long as all behind each other.
      assert.ok(world.time.now < 4 * (LAYER / 125_000), `${world.time.now} ms`);
    });
  }

  it('of 12 in a cluster of 600, one in ten of which is frozen, finds together past silent trackers', () => {
    const world = new World({ nodes: 600, zones: 3 });
    const few = world.nodes.filter((_, index) => index % 50 === 0);
    world.nodes.filter((_, index) => index % 10 === 3).forEach((node) => world.freeze(node));
    for (const node of few) world.pull(node, swarm, LAYER);
    world.time.run(() => few.every(isOver), LIMIT);
    for (const node of few) assert.ok(node.kept.has(swarm.digest), node.member.name);
    assert.ok(world.registry.bytes <= 1.25 * LAYER, `${world.registry.bytes / LAYER}`);
  });

  it('bounds the members that a node speaks to by its peers and owners', function () {
    this.timeout(60 * SECOND);
    const { world } = run({ nodes: 600, size: 16 * MIB });
    assert.ok(mostConnections(world) < 130, `${mostConnections(world)}`);
    const mean = meanConnections(world);
    assert.ok(mean < 35, `${mean} on average`);
  });

  it('meets the same members with each blob of an image', function () {
    this.timeout(60 * SECOND);
    const world = new World({ nodes: 400 });
    const layers = ['one', 'two', 'three', 'four'].map((name) => namedSwarm(name));
    for (const layer of layers) {
      for (const node of world.nodes) world.pull(node, layer, 4 * MIB);
      world.time.run(() => world.nodes.every((node) => node.kept.has(layer.digest)), LIMIT);
    }
    const mean = meanConnections(world);
    assert.ok(mean < 60, `${mean} on average`);
  });

  it('bounds them if many nodes die: no backup owner is asked by all', function () {
    this.timeout(60 * SECOND);
    const { world } = run({
      nodes: 600,
      size: 16 * MIB,
      membershipDelay: 50,
      prepare: (made) => {
        for (const node of made.nodes.slice(0, 60))
          made.time.after(200 * made.random(), () => made.kill(node));
      },
    });
    // A member that takes a dead tracker's place hears from two groups of 50.
    assert.ok(mostConnections(world) < 160, `${mostConnections(world)}`);
  });
});

function mostConnections({ nodes }: World): number {
  return Math.max(...nodes.map(({ connections }) => connections.most));
}

function meanConnections({ nodes }: World): number {
  return nodes.reduce((sum, { connections }) => sum + connections.most, 0) / nodes.length;
}
