import assert from 'node:assert/strict';
import * as v from 'valibot';
import { hasChunk, peersSchema, statusSchema } from '../../../src/status/status-report.ts';
import { bitmapOf, peerOf, peerReportOf, statusOf, transferOf } from './fixture.ts';

const suspect = { reason: 'stalled', until: new Date(0).toISOString(), banned: false };

describe('Reports of the admin address', () => {
  it('survive JSON unchanged', () => {
    const status = statusOf({
      transfers: [transferOf('a'), transferOf('b', { state: 'failed', error: 'peer_cut: gone' })],
      suspects: [{ peer: peerOf(9), name: 'node-9', ...suspect }],
      cluster: {
        ...statusOf().cluster,
        alone: { reason: 'refused', at: 'a:1', problem: 'no', cure: 'start it', seconds: 31 },
      },
      unstored: {
        quota: 1,
        disk: 0,
        room: 0,
        unusable: 2,
        last: {
          digest: transferOf('a').digest,
          cause: 'quota',
          problem: 'no room',
          at: new Date(0).toISOString(),
        },
      },
    });
    assert.deepEqual(v.parse(statusSchema, JSON.parse(JSON.stringify(status))), status);
    const peers = { peers: [peerReportOf(2), peerReportOf(3, { suspect })] };
    assert.deepEqual(v.parse(peersSchema, JSON.parse(JSON.stringify(peers))), peers);
  });

  it('may lack optional fields and have fields of a later version', () => {
    const { direction: _, rtt_ms: __, ...peer } = peerReportOf(2);
    assert.ok(v.is(peersSchema, { peers: [{ ...peer, colour: 'blue' }], more: 1 }));
    const { upstream_bitmap: ___, ...transfer } = transferOf('a');
    assert.ok(v.is(statusSchema, statusOf({ transfers: [transfer] })));
  });

  it('are refused if a field is missing or invalid', () => {
    const { totals: _, ...partial } = statusOf();
    assert.ok(!v.is(statusSchema, partial));
    for (const wrong of [
      { size: -1 },
      { bitmap: '*' },
      { digest: 'sha256:x' },
      { state: 'lost' },
      { seconds: '1' },
    ]) {
      const transfers = [{ ...transferOf('a'), ...wrong }];
      assert.ok(!v.is(statusSchema, { ...statusOf(), transfers }), JSON.stringify(wrong));
    }
    assert.ok(!v.is(statusSchema, { ...statusOf(), peer: 'somebody' }));
  });
});

describe('the bitmap of a transfer', () => {
  it('has its first chunk in the highest bit of the first byte', () => {
    assert.equal(bitmapOf(10, [0, 9]), Buffer.from([0x80, 0x40]).toString('base64'));
    const bits = Buffer.from(bitmapOf(10, [0, 9]), 'base64');
    const set = Array.from({ length: 12 }, (_, index) => index).filter((index) => hasChunk(bits, index));
    assert.deepEqual(set, [0, 9]);
  });
});
