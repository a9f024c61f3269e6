/**
 * The life of chunks under random events: requests, answers, lies, deaths and clock jumps. Each member has a table of
 * its own (ChunkTable) and grants claims for the chunks that it owns (Claims), as in a swarm without messages between.
 *
 * WEIR_STEPS=100000000 takes more steps than usual.
 */
import assert from 'node:assert/strict';
import { SECOND } from '../../../src/util/clock.ts';
import type { PeerId } from '../../../src/protocol/peer-id.ts';
import { ChunkTable } from '../../../src/swarm/chunk-table.ts';
import { Claims } from '../../../src/swarm/claims.ts';
import { CLAIM_OVERDUE, CLAIM_TIMEOUT } from '../../../src/swarm/parameters.ts';
import { namedSwarm } from '../../simulator/names.ts';
import { seeded } from '../../simulator/random.ts';

const STEPS = Number(process.env['WEIR_STEPS'] ?? 1_000_000);
const MEMBERS = 5;
const CHUNKS = 12;
/** Steps of one course: then all faults end, and all members must come to have all chunks. */
const COURSE = 2_000;
/** Steps without faults after which a course counts as hung. */
const PATIENCE = 20_000;
const swarm = namedSwarm('blob');

/** A request that is under way, or its bytes that are being written. */
interface Job {
  readonly index: number;
  /** Undefined: from upstream. */
  readonly from: Node | undefined;
  /** The claims in which it is; a member that died has lost its own. */
  readonly granter: Claims | undefined;
  isWriting: boolean;
}

interface Node {
  readonly peer: PeerId;
  table: ChunkTable;
  claims: Claims;
  isLive: boolean;
  readonly jobs: Set<Job>;
}

class Course {
  readonly #random: () => number;
  readonly #nodes: readonly Node[];
  /** Who has which claim, since when, and when it was renewed last. */
  readonly #granted: Map<Claims, Map<number, { node: Node; since: number; renewedAt: number }>> = new Map();
  #now = 0;
  #hasFaults = true;

  constructor(seed: number) {
    this.#random = seeded(seed);
    this.#nodes = Array.from({ length: MEMBERS }, (_, at) => ({
      peer: `peer-${at}` as PeerId,
      table: new ChunkTable(CHUNKS),
      claims: this.#newClaims(),
      isLive: true,
      jobs: new Set(),
    }));
  }

  run(): void {
    for (let step = 0; step < COURSE; step++) this.#step();
    this.#hasFaults = false;
    for (const node of this.#nodes) node.isLive = true;
    for (let step = 0; step < PATIENCE && !this.#isOver; step++) this.#step();
    assert.ok(this.#isOver, 'some member never gets all chunks');
  }

  get #isOver(): boolean {
    return this.#nodes.every(({ table }) => table.have.full);
  }

  #newClaims(): Claims {
    return new Claims(
      { now: () => this.#now },
      (peer) => this.#nodes.find((node) => node.peer === peer)?.isLive === true,
    );
  }

  #pick<T>(items: readonly T[]): T | undefined {
    return items[Math.floor(this.#random() * items.length)];
  }

  #step(): void {
    this.#now += 10;
    const node = this.#pick(this.#nodes.filter(({ isLive }) => isLive));
    const chance = this.#random();
    if (this.#hasFaults && chance < 0.02) this.#fault();
    if (node?.isLive !== true) return;
    if (chance < 0.5) this.#ask(node, Math.floor(this.#random() * CHUNKS));
    else {
      const job = this.#pick([...node.jobs]);
      if (job !== undefined) this.#goOn(node, job);
    }
    for (let index = 0; index < CHUNKS; index++) assertConsistent(node, index);
  }

  #fault(): void {
    const node = this.#pick(this.#nodes);
    if (node === undefined) return;
    if (this.#random() < 0.3) this.#now += this.#random() * 10 * SECOND;
    else if (node.isLive) this.#die(node);
    else node.isLive = true;
  }

  #die(node: Node): void {
    node.isLive = false;
    node.jobs.clear();
    node.table = new ChunkTable(CHUNKS);
    node.claims = this.#newClaims();
    for (const other of this.#nodes) {
      for (const job of Array.from(other.jobs)) {
        if (job.from === node && !job.isWriting) this.#end(other, job);
      }
      for (let index = 0; index < CHUNKS; index++) {
        if (!other.table.have.has(index) && this.#holders(index).length === 0) other.table.doubt(index);
      }
    }
  }

  #holders(index: number, except?: Node): readonly Node[] {
    return this.#nodes.filter((node) => node !== except && node.isLive && node.table.have.has(index));
  }

  /** Asks a member that has the chunk, or for the claim on it. A chunk that is late is asked of a second source. */
  #ask(node: Node, index: number): void {
    const { table } = node;
    const holder = this.#pick(this.#holders(index, node));
    const isSecond =
      table.stateOf(index) === 'requested' && table.requests(index) < 2 && this.#random() < 0.1;
    if (table.stateOf(index) !== 'missing' && !isSecond) return;
    if (holder !== undefined) return this.#begin(node, index, holder, undefined);
    const owner = this.#nodes.slice(index % MEMBERS).find(({ isLive }) => isLive) ?? node;
    const others = this.#fetchers(owner, index).filter((other) => other !== node);
    if (this.#take(owner.claims, index, node)) {
      assert.deepEqual(others, [], `chunk ${index} is granted to two members`);
      if (!isSecond) this.#begin(node, index, undefined, owner.claims);
    }
  }

  #take(claims: Claims, index: number, node: Node): boolean {
    if (!claims.take(swarm, index, node.peer)) return false;
    const granted = this.#granted.get(claims) ?? new Map();
    this.#granted.set(claims, granted);
    const before = granted.get(index);
    const isRenewal = before?.node === node && this.#now - before.renewedAt < CLAIM_TIMEOUT;
    const since = isRenewal ? before.since : this.#now;
    granted.set(index, { node, since, renewedAt: this.#now });
    return true;
  }

  #give(claims: Claims | undefined, index: number, node: Node): void {
    claims?.release(swarm, index, node.peer);
    this.#forget(claims, index, node);
  }

  #forget(claims: Claims | undefined, index: number, node: Node): void {
    if (claims === undefined) return;
    const granted = this.#granted.get(claims);
    if (granted?.get(index)?.node === node) granted.delete(index);
  }

  /** The live member that fetches the chunk from upstream by a claim of this owner that holds. */
  #fetchers(owner: Node, index: number): readonly Node[] {
    const claim = this.#granted.get(owner.claims)?.get(index);
    if (claim === undefined || this.#now - claim.renewedAt >= CLAIM_TIMEOUT) return [];
    if (this.#now - claim.since >= CLAIM_OVERDUE) return [];
    const isFetch = (job: Job): boolean =>
      job.index === index && job.granter === owner.claims && !job.isWriting;
    return this.#nodes.filter(
      (node) => node === claim.node && node.isLive && [...node.jobs].some((job) => isFetch(job)),
    );
  }

  #begin(node: Node, index: number, from: Node | undefined, granter: Claims | undefined): void {
    node.table.begin(index);
    node.jobs.add({ index, from, granter, isWriting: false });
  }

  #end(node: Node, job: Job): void {
    node.jobs.delete(job);
    if (job.isWriting) node.table.stopWriting(job.index);
    else node.table.end(job.index);
  }

  #goOn(node: Node, job: Job): void {
    const { index, granter } = job;
    if (job.isWriting) return this.#written(node, job);
    const chance = this.#random();
    if (this.#hasFaults && chance < 0.1) {
      this.#end(node, job);
      this.#give(granter, index, node);
    } else if (chance < 0.5) {
      if (granter !== undefined) this.#take(granter, index, node);
    } else {
      node.table.startWriting(index);
      node.table.end(index);
      job.isWriting = true;
    }
  }

  /** A lie, or a thread that ended, leaves the chunk missing. */
  #written(node: Node, job: Job): void {
    const { index, granter } = job;
    this.#end(node, job);
    if (this.#hasFaults && this.#random() < 0.2) {
      this.#give(granter, index, node);
      return;
    }
    node.table.arrive(index);
    granter?.done(swarm, index, node.peer);
    this.#forget(granter, index, node);
    for (const other of Array.from(node.jobs)) {
      if (other.index === index && !other.isWriting) this.#end(node, other);
    }
    for (const { isLive, table } of this.#nodes) if (isLive) table.enter(index);
  }
}

function assertConsistent({ table, jobs }: Node, index: number): void {
  const state = table.stateOf(index);
  const own = [...jobs].filter((job) => job.index === index);
  const writes = own.filter(({ isWriting }) => isWriting).length;
  assert.equal(table.requests(index), own.length - writes);
  assert.equal(table.isWriting(index), writes > 0);
  assert.equal(table.missing.has(index), state === 'missing');
  assert.equal(table.have.has(index), state === 'have');
  if (state === 'have') assert.ok(table.attested.has(index), 'what is here has entered the cluster');
  if (state === 'missing') assert.equal(own.length, 0, 'a chunk on its way counts as missing');
}

describe('ChunkTable', () => {
  it(`loses no chunk, and lets none be fetched by two, in ${STEPS} random steps`, function () {
    this.timeout(STEPS);
    for (let seed = 0; seed < STEPS / COURSE; seed++) new Course(seed).run();
  });

  it('counts a chunk as missing again only when all its requests are over', () => {
    const table = new ChunkTable(2);
    table.begin(1);
    table.begin(1);
    table.end(1);
    assert.equal(table.stateOf(1), 'requested');
    table.startWriting(1);
    table.end(1);
    assert.equal(table.stateOf(1), 'writing');
    table.stopWriting(1);
    assert.equal(table.stateOf(1), 'missing');
    table.arrive(1);
    table.end(1); // a late answer
    assert.equal(table.stateOf(1), 'have');
    assert.ok(!table.missing.has(1));
  });
});
