import assert from 'node:assert/strict';
import type { PulledImage } from '../../../../src/cli/client/pull-image.ts';
import {
  findMerits,
  findProblems,
  findShortfalls,
  renderTable,
  type DemoOutcome,
} from '../../../../src/cli/demo/demo-report.ts';
import type { WaveOutcome } from '../../../../src/cli/demo/wave.ts';
import { WeirError } from '../../../../src/util/errors.ts';
import { digestOf } from '../../../../src/oci/digest.ts';

const digest = digestOf(Buffer.from('a'));
const blob = { digest, seconds: 1, firstByteSeconds: 0.1, source: 'peers', retries: 0 };
const pulled: PulledImage = {
  digest,
  blobs: [
    { ...blob, role: 'manifest', size: 7 },
    { ...blob, role: 'layer', size: 1000 },
  ],
  bytes: 1007,
  seconds: 2,
  firstByteSeconds: 0.1,
  requests: 3,
};

function wave(pulls: number, registryBytes: number, more: Partial<WaveOutcome> = {}): WaveOutcome {
  return {
    pulls: Array.from({ length: pulls }, (_, index) => ({ name: `node-${index + 1}`, pulled })),
    seconds: 2,
    registryBytes,
    registryRequests: 4,
    peerBytes: 0,
    ...more,
  };
}

function outcome(more: Partial<DemoOutcome> = {}): DemoOutcome {
  const direct = wave(5, 5000, { seconds: 10 });
  return {
    direct,
    swarm: wave(5, 1000, { peerBytes: 4000 }),
    last: wave(1, 0),
    nodes: 5,
    endings: [],
    ...more,
  };
}

const problemsOf = (more: Partial<DemoOutcome>): string => findProblems(outcome(more)).join('\n');

describe('demo report', () => {
  it('has no problem if each byte left the registry once', () => {
    assert.deepEqual(findProblems(outcome()), []);
    assert.deepEqual(findProblems(outcome({ swarm: wave(5, 1100) })), []);
    assert.deepEqual(findMerits(outcome()), [
      'every digest is right, all 22 of them',
      'the registry sent 1.00 images, not 5.00',
      '5 nodes in 2.00 s instead of 10.00 s: 5.0 times as fast',
      'a node that came later got all of it from its peers in 2.00 s',
    ]);
    assert.deepEqual(findShortfalls(outcome()), []);
  });

  it('tells how many times as fast the swarm was from three times on, and praises no slowdown', () => {
    const at = (seconds: number): DemoOutcome => outcome({ swarm: wave(5, 1000, { seconds }) });
    assert.equal(findMerits(at(10 / 3))[2], '5 nodes in 3.33 s instead of 10.00 s: 3.0 times as fast');
    assert.equal(findMerits(at(3.4))[2], '5 nodes in 3.40 s instead of 10.00 s');
    for (const seconds of [10, 12]) {
      assert.equal(findMerits(at(seconds)).length, 3);
      assert.match(
        findShortfalls(at(seconds)).join(''),
        new RegExp(`^no time was saved here: 5 nodes took ${seconds}`),
      );
    }
  });

  it('lists the problems', () => {
    assert.match(
      problemsOf({ swarm: wave(5, 1101) }),
      /^the swarm cost the registry 1\.1 KiB for an image of 1000 B$/,
    );
    assert.match(problemsOf({ last: wave(1, 1) }), /^the late joiner cost the registry 1 B of blobs$/);
    assert.match(problemsOf({ nodes: 1, last: wave(1, 1) }), /^the warm pull cost/);
    assert.match(problemsOf({ endings: ['node-2 had ended by itself'] }), /^node-2 had ended by itself$/);
    const error = new WeirError('digest_mismatch', 'other bytes');
    const failed = wave(5, 1000, { pulls: [{ name: 'node-1', error }, ...wave(4, 0).pulls] });
    assert.match(problemsOf({ swarm: failed }), /^node-1 could not pull: other bytes$/);
    const other = { ...pulled, digest: digestOf(Buffer.from('b')) };
    assert.match(
      problemsOf({ last: wave(1, 0, { pulls: [{ name: 'joiner', pulled: other }] }) }),
      /same image/,
    );
  });

  it('is a table of 80 columns', () => {
    const lines = renderTable(outcome(), { color: false });
    for (const line of lines) assert.ok(line.length <= 80);
    const table = lines.join('\n');
    assert.match(table, /^ +registry only +swarm +late joiner$/m);
    assert.match(table, /time +10\.00 s +2\.00 s +2\.00 s$/m);
    assert.match(table, /speed-up +– +5\.0 × +–$/m);
    assert.match(table, /registry \/ image +5\.00 × +1\.00 × +0\.00 ×$/m);
    assert.match(table, /digests checked +5 × 2 +5 × 2 +1 × 2$/m);
  });

  it('compares cold and warm for one node', () => {
    const one = outcome({
      nodes: 1,
      direct: wave(1, 1000),
      swarm: wave(1, 1000),
      last: wave(1, 0, { seconds: 0.5 }),
    });
    const table = renderTable(one, { color: false }).join('\n');
    assert.match(table, /^ +registry only +node, cold +node, warm$/m);
    assert.match(table, /speed-up +– +1\.0 × +4\.0 ×$/m);
    assert.equal(findMerits(one)[1], '2.00 s cold, 500 ms warm, nothing fetched twice');
  });
});
