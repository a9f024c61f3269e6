import assert from 'node:assert/strict';
import { stripVTControlCharacters } from 'node:util';
import { describeSources, renderPulls } from '../../../../src/cli/client/pulls-view.ts';
import { renderStatus } from '../../../../src/cli/client/status-view.ts';
import { MIB } from '../../../../src/util/clock.ts';
import { blobPullOf, peerOf, pullOf, statusOf } from '../../status/fixture.ts';

const NONE = { store: 0, peers: 0, registry: 0 };
const failed = pullOf({
  image: `docker.io/library/alpine@sha256:${'ab'.repeat(32)}`,
  state: 'failed',
  code: 'upstream_timeout',
  seconds: 200,
  blobs: [1, 2, 3, 4, 5].map((seconds) => blobPullOf({ seconds, bytes: 0, sources: NONE, peers: [] })),
});

describe('the pulls for people', () => {
  it('are a line for each image, with the figures of the whole and of its slowest blobs', () => {
    const lines = renderPulls({ pulls: [pullOf(), failed] }, { columns: undefined, color: false });
    assert.deepEqual(lines, [
      '                OUTCOME               TIME     BYTES  STORE  PEERS  REGISTRY  WAITED FOR',
      'registry.example:5000/team/app:v1  12:03:09  containerd/2.1.4',
      '  image         complete            2.50 s  10.0 MiB    0 %   90 %      10 %  arriving 1.20 s, manifests 500 ms; most from node-2 (6.0 MiB)',
      '  dac1d7cfa950  complete            1.50 s  10.0 MiB    0 %   90 %      10 %  arriving 1.20 s, peers 250 ms; most from node-2 (6.0 MiB)',
      'docker.io/library/alpine@sha256:abababababab  12:03:09  containerd/2.1.4',
      '  image         upstream_timeout  3 m 20 s  10.0 MiB    0 %   90 %      10 %  arriving 1.20 s, manifests 500 ms; most from node-2 (6.0 MiB)',
      '  dac1d7cfa950  complete            5.00 s       0 B      –      –         –  arriving 1.20 s, peers 250 ms',
      '  dac1d7cfa950  complete            4.00 s       0 B      –      –         –  arriving 1.20 s, peers 250 ms',
      '  dac1d7cfa950  complete            3.00 s       0 B      –      –         –  arriving 1.20 s, peers 250 ms',
      '  2 more',
    ]);
  });

  it('fit into a terminal, without control characters of strangers', () => {
    const evil = pullOf({
      client: 'a\u001B[2Jb',
      peers: [{ peer: peerOf(2), name: 'x\u001B[31m', bytes: 1 }],
    });
    for (const color of [true, false]) {
      for (const line of renderPulls({ pulls: [evil, failed] }, { columns: 80, color })) {
        assert.ok(stripVTControlCharacters(line).length <= 80, line);
        assert.ok(!line.includes('\u001B[2J'));
      }
    }
  });

  it('are told if there are none', () => {
    assert.deepEqual(renderPulls({ pulls: [] }, { columns: 80, color: false }), [
      'no pull that is asked for',
    ]);
  });

  it('are a part of the status', () => {
    const report = statusOf({ images: [pullOf(), failed, pullOf({ state: 'pulling' })] });
    const lines = renderStatus(report, { columns: 80, color: false, now: 0 });
    assert.deepEqual(lines.slice(lines.findIndex((line) => line.startsWith('images'))), [
      'images     the last 3; weir pulls tells more',
      '  registry.example:5000/team/app:v1',
      '    12:03:09  █▒▒▒▒▒▒▒▒▒    10.0 MiB  in 2.50 s',
      '  docker.io/library/alpine@sha256:abababababab',
      '    12:03:09  █▒▒▒▒▒▒▒▒▒    10.0 MiB  in 3 m 20 s  failed',
      '  registry.example:5000/team/app:v1',
      '    12:03:09  █▒▒▒▒▒▒▒▒▒    10.0 MiB  for 2.50 s',
    ]);
  });

  it('have their sources in words', () => {
    assert.equal(
      describeSources(pullOf()),
      '9.0 MiB from peers (most: node-2 6.0 MiB), 1.0 MiB from the registry',
    );
    const sources = { ...NONE, store: 3 * MIB };
    assert.equal(describeSources(pullOf({ sources, peers: [] })), '3.0 MiB from the store');
  });
});
