import assert from 'node:assert/strict';
import type { PulledImage } from '../../../src/client/pull-image.ts';
import { findProblems, renderTable, type DemoOutcome } from '../../../src/demo/report.ts';
import { digestOf } from '../../../src/oci/digest.ts';

const digest = digestOf(Buffer.from('a'));
const blob = {
  digest,
  size: 1000,
  seconds: 1,
  firstByteSeconds: 0.1,
  source: 'store',
  retries: 0,
  role: 'layer' as const,
};
const pulled: PulledImage = {
  digest,
  blobs: [blob],
  bytes: 1000,
  seconds: 2,
  firstByteSeconds: 0.1,
  requests: 3,
};

function outcome(coldBytes: number, warmBytes: number, more: Partial<DemoOutcome> = {}): DemoOutcome {
  return {
    cold: { pulled, upstream: { requests: 3, blobBytes: coldBytes } },
    warm: { pulled, upstream: { requests: 0, blobBytes: warmBytes } },
    isNodeRunning: true,
    ...more,
  };
}

describe('demo report', () => {
  it('has nothing to object to where each byte left the registry once', () => {
    assert.deepEqual(findProblems(outcome(1000, 0)), []);
    assert.deepEqual(findProblems(outcome(1050, 0)), []);
  });

  it('tells what is wrong', () => {
    assert.match(findProblems(outcome(1051, 0)).join(), /cold pull cost the registry/);
    assert.match(findProblems(outcome(1000, 1)).join(), /warm pull cost the registry/);
    assert.match(findProblems(outcome(1000, 0, { isNodeRunning: false })).join(), /node ended/);
    const other = { ...pulled, digest: digestOf(Buffer.from('b')) };
    const warm = { pulled: other, upstream: { requests: 0, blobBytes: 0 } };
    assert.match(findProblems(outcome(1000, 0, { warm })).join(), /another image/);
  });

  it('is a table of 80 columns', () => {
    const lines = renderTable(outcome(1000, 0), { color: false });
    for (const line of lines) assert.ok(line.length <= 80);
    assert.match(lines.join('\n'), /from the registry +1000 B +0 B/);
  });
});
