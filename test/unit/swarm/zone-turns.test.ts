import assert from 'node:assert/strict';
import { registryBlobId } from '../../../src/oci/registry-blob.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import { parseRegistryHost } from '../../../src/oci/repository.ts';
import { Bitfield } from '../../../src/protocol/bitfield.ts';
import { chunkKey, hashText } from '../../../src/cluster/hrw.ts';
import { PARAMETERS } from '../../../src/swarm/parameters.ts';
import { PeerSet } from '../../../src/swarm/peer-set.ts';
import { ZoneTurns } from '../../../src/swarm/zone-turns.ts';
import { memberNamed } from '../../simulator/names.ts';

const CHUNKS = 50;
const [LEAST, MOST] = PARAMETERS.zonePatience;
const BLOB = hashText(
  registryBlobId({ registry: parseRegistryHost('registry.test'), digest: digestOf(Buffer.from('blob')) }),
);
const ALL = [0, 1, 2, 3];
const FAR = 9;
const chunks = [...Array(CHUNKS).keys()];

function named(member: number): ReturnType<typeof memberNamed>['peer'] {
  return memberNamed(member, 1).peer;
}

interface View {
  readonly turns: ZoneTurns;
  readonly peers: PeerSet;
  now: number;
  /** Milliseconds of a transfer. */
  usual: number;
}

/** What one member of a zone sees whose peers are these members of it, and one of another zone. */
function viewOf(member: number, others: readonly number[]): View {
  const peers = new PeerSet(CHUNKS);
  for (const other of others) {
    if (other !== member) peers.put(named(other), new Bitfield(CHUNKS), true);
  }
  peers.put(named(FAR), new Bitfield(CHUNKS), false);
  const time = { now: 0, usual: 0 };
  const state = {
    self: named(member),
    get now() {
      return time.now;
    },
    peers,
    owners: { keyOf: (index: number) => chunkKey(BLOB, index) },
    environment: { parameters: PARAMETERS },
  };
  return Object.assign(time, { peers, turns: new ZoneTurns(state as never, () => time.usual) });
}

describe('swarm: turns at the border of a zone', () => {
  it('one of the members that pull takes a chunk at once, and each has its share', () => {
    const views = ALL.map((member) => viewOf(member, ALL));
    const firsts = chunks.map((index) => views.filter(({ turns }) => turns.mayCross(index, false)));
    assert.ok(firsts.every((first) => first.length === 1));
    for (const view of views) {
      const share = firsts.filter(([first]) => first === view).length;
      assert.ok(share > CHUNKS / 12, `${share} of ${CHUNKS}`);
    }
  });

  it('the next has its turn after the least time, or twice a usual transfer, and so on', () => {
    const views = ALL.map((member) => viewOf(member, ALL));
    const allowed = (at: number): number => {
      for (const view of views) view.now = at;
      return views.filter(({ turns }) => turns.mayCross(7, false)).length;
    };
    assert.deepEqual([0, LEAST - 1, LEAST, 2 * LEAST, 3 * LEAST].map(allowed), [1, 1, 2, 3, 4]);
    for (const view of views) view.usual = LEAST;
    assert.deepEqual([2 * LEAST - 1, 2 * LEAST, 4 * LEAST].map(allowed), [1, 2, 3]);
    for (const view of views) view.usual = 100 * MOST;
    assert.deepEqual([MOST - 1, MOST].map(allowed), [1, 2]);
  });

  it('all of it belongs to a member that is alone in its zone, or whose peers have left', () => {
    const alone = viewOf(0, []);
    assert.ok(chunks.every((index) => alone.turns.mayCross(index, false)));
    const left = viewOf(0, ALL);
    assert.ok(!chunks.every((index) => left.turns.mayCross(index, false)));
    for (const other of [1, 2, 3]) left.peers.remove(named(other));
    assert.ok(chunks.every((index) => left.turns.mayCross(index, false)));
  });

  it('a chunk that a peer of the zone has is left to it for a while', () => {
    const alone = viewOf(0, []);
    assert.ok(!alone.turns.mayCross(3, true));
    assert.equal(alone.turns.takeNextAt(), LEAST);
    assert.equal(alone.turns.takeNextAt(), Infinity);
    alone.now = LEAST;
    assert.ok(alone.turns.mayCross(3, true));
  });
});
