import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { drawCells } from '../../../../src/cli/client/terminal.ts';
import { ImageMap, Share } from '../../../../src/cli/demo/share.ts';
import { digestOf } from '../../../../src/oci/digest.ts';
import { bitmapOf, transferOf } from '../../status/fixture.ts';

const digest = (name: string): ReturnType<typeof digestOf> => digestOf(Buffer.from(name));
const map = new ImageMap([
  { digest: digest('a'), size: 800 },
  { digest: digest('b'), size: 200 },
]);
const picture = (share: Share, width = 10): string => drawCells(share.cells(width), false);

describe('a share of the image', () => {
  it('shows the source of each chunk of each blob', () => {
    const share = new Share(map);
    assert.equal(picture(share), '··········');
    share.applyTransfers([
      transferOf('a', {
        size: 800,
        chunks: 8,
        bitmap: bitmapOf(8, [0, 2, 7]),
        upstream_bitmap: bitmapOf(8, [2]),
      }),
      transferOf('b', { size: 200, chunks: 1, bitmap: bitmapOf(1, [0]), upstream_bitmap: bitmapOf(1, [0]) }),
      transferOf('of another image'),
    ]);
    assert.equal(picture(share), '▒·█····▒██');
    assert.deepEqual([share.present, share.from('upstream'), share.from('peers')], [500, 300, 200]);
  });

  it('divides new chunks by the sources of bytes if the node does not report the source of each chunk', () => {
    const share = new Share(map);
    const said = (indices: readonly number[], upstream: number, peers: number): void =>
      share.applyTransfers([
        transferOf('a', {
          size: 800,
          chunks: 8,
          bitmap: bitmapOf(8, indices),
          upstream_bitmap: undefined,
          sources: { upstream, peers, local: 0 },
        }),
      ]);
    said([0], 100, 0);
    assert.equal(picture(share), '█·········');
    said([0, 3, 4], 100, 200);
    assert.equal(picture(share), '█··▒▒·····', 'what was told apart once stays');
    said([0, 1, 2, 3, 4, 5, 6, 7], 200, 600);
    assert.deepEqual([share.from('upstream'), share.from('peers')], [200, 600]);
  });

  it('of a client without a node grows with what it receives', () => {
    const share = new Share(map);
    share.applyReceived(digest('a'), 400);
    assert.equal(picture(share), '████······');
    share.applyReceived(digest('b'), 200);
    share.applyFinished(digest('a'), 'registry');
    assert.equal(share.present, 1000);
  });

  it('is whole once the client has all, even if the status was not read in time', () => {
    const share = new Share(map);
    share.applyTransfers([
      transferOf('a', { size: 800, chunks: 8, bitmap: bitmapOf(8, [0]), upstream_bitmap: bitmapOf(8, [0]) }),
    ]);
    share.applyFinished(digest('a'), 'peers');
    share.applyFinished(digest('b'), 'store');
    assert.equal(picture(share), '█▒▒▒▒▒▒▒▪▪');
    assert.equal(share.present, 1000);
  });

  it('has a rate of the last second', () => {
    const share = new Share(map);
    assert.equal(share.rate, 0);
    share.sample(0);
    share.applyReceived(digest('b'), 200);
    share.sample(500);
    assert.equal(share.rate, 400);
    share.sample(1200);
    assert.equal(share.rate, 0);
  });

  it('property: a bar shows each source, even a rare one, about as often as it has bytes', () => {
    const source = fc.constantFrom('upstream', 'peers');
    fc.assert(
      fc.property(
        fc.array(source, { minLength: 1, maxLength: 200 }),
        fc.integer({ min: 8, max: 64 }),
        (chunks, width) => {
          const one = new ImageMap([{ digest: digest('a'), size: 1000 }]);
          const share = new Share(one);
          const of = (wanted: string): readonly number[] =>
            [...chunks.keys()].filter((index) => chunks[index] === wanted);
          const all = bitmapOf(chunks.length, [...chunks.keys()]);
          const upstream = bitmapOf(chunks.length, of('upstream'));
          share.applyTransfers([
            transferOf('a', { size: 1000, chunks: chunks.length, bitmap: all, upstream_bitmap: upstream }),
          ]);
          const cells = share.cells(width);
          assert.ok(!cells.includes('none'));
          const shown = cells.filter((cell) => cell === 'upstream').length / width;
          assert.ok(Math.abs(shown - of('upstream').length / chunks.length) <= 2 / width + 1e-9);
        },
      ),
    );
  });

  it('of an empty image is empty', () => {
    const share = new Share(new ImageMap([]));
    assert.deepEqual([share.present, picture(share, 3)], [0, '···']);
  });
});
