import assert from 'node:assert/strict';
import { stripVTControlCharacters } from 'node:util';
import * as fc from 'fast-check';
import { formatAge, formatShare } from '../../../../src/cli/client/format.ts';
import { renderPeers } from '../../../../src/cli/client/peers-view.ts';
import { renderStatus } from '../../../../src/cli/client/status-view.ts';
import {
  cut,
  drawCells,
  fitRows,
  legend,
  printable,
  shareCells,
} from '../../../../src/cli/client/terminal.ts';
import { MIB } from '../../../../src/util/clock.ts';
import { peerOf, peerReportOf, statusOf, storeOf, transferOf } from '../../status/fixture.ts';

const NOW = Date.parse('2026-01-01T00:00:00Z');
const plain = { columns: 80, color: false, now: NOW };
const until = (seconds: number): string => new Date(NOW + seconds * 1000).toISOString();
const suspect = { peer: peerOf(4), name: 'node-4', reason: 'stalled', until: until(25), banned: false };

const end = (n: number): string => `…${peerOf(n).slice(-8)}`;

const bar = (whole: number): string => {
  const shares = [
    ['upstream', 1],
    ['peers', 2],
  ] as const;
  return drawCells(shareCells(shares, whole, 8), false);
};

describe('the status for people', () => {
  it('shows node, cluster, zones, transfers with their sources, and suspects', () => {
    const report = statusOf({
      transfers: [
        transferOf('a'),
        transferOf('b', { state: 'complete', present_bytes: 20 * MIB, seconds: 1.23 }),
        transferOf('c', { repository: 'team/tool', state: 'failed', error: 'upstream_denied: no' }),
      ],
      suspects: [suspect],
      store: storeOf({ pins: 3, pinned_bytes: 1200 * MIB, state: 'shrinking' }),
    });
    assert.equal(
      renderStatus(report, plain).join('\n'),
      [
        'node       node-a  zone eu-1a  weir 1.2.3  up 3 h 12 m',
        `peer       ${peerOf(1)}`,
        'cluster    12 members (eu-1a 4, eu-1b 8), 9 connections',
        'received   1.2 GiB from peers (12.0 MiB other zones), 30.0 MiB from registries',
        'sent       2.9 GiB to peers, 1.2 GiB to runtimes',
        'saved      1.2 GiB: 97 % of the bytes for runtimes did not come from a registry',
        'store      4.0 / 20.0 GiB in 21 blobs (1.2 GiB pinned), 50 % of the disk free',
        '           the disk is filling up: the store shrinks',
        '',
        'transfers  1 running, 2 ended      █ from the registry  ▒ from peers  ▪ was here',
        '  registry.example:5000/team/app',
        '    ca978112ca1b  ██▒▒▒▒▒▒▒▒··········   50 %     10.0 / 20.0 MiB  5.0 MiB/s',
        '    3e23e8160039  ██▒▒▒▒▒▒▒▒··········  100 %            20.0 MiB  in 1.23 s',
        '  registry.example:5000/team/tool',
        '    2e7d2c03a950  ██▒▒▒▒▒▒▒▒··········   50 %     10.0 / 20.0 MiB  failed',
        '      upstream_denied: no',
        '',
        'suspects',
        `  node-4 …${peerOf(4).slice(-8)}  stalled, 25 s left`,
      ].join('\n'),
    );
  });

  it('takes rates from an earlier report, if there is one', () => {
    const before = {
      report: statusOf({ transfers: [transferOf('a', { present_bytes: 4 * MIB })] }),
      seconds: 2,
    };
    assert.match(
      renderStatus(statusOf({ transfers: [transferOf('a')] }), { ...plain, before }).join('\n'),
      / 3\.0 MiB\/s$/m,
    );
  });

  it('describes a node without a cluster', () => {
    const cluster = { mode: 'off', members: 1, connections: 0, zones: { '': 1 } } as const;
    const totals = { ...statusOf().totals, to_runtimes: 0, saved: 0 };
    const lines = renderStatus(statusOf({ cluster, totals, transfers: [], zone: '' }), plain).join('\n');
    assert.match(lines, /^node {7}node-a {2}weir/m);
    assert.match(lines, /^cluster {4}off: this node is on its own$/m);
    assert.match(lines, /^saved {6}nothing yet/m);
    assert.match(lines, /^transfers {2}none in the last 10 minutes$/m);
    const lone = renderStatus(statusOf({ cluster: { ...cluster, mode: 'loopback' } }), plain).join('\n');
    assert.match(lone, /^cluster {4}no other member, 0 connections; no cluster key: this machine only$/m);
  });

  it('fits into the columns for any report, and strips control characters of foreign text', () => {
    const text = fc.string({ unit: 'binary', maxLength: 300 });
    fc.assert(
      fc.property(text, fc.integer({ min: 60, max: 200 }), fc.boolean(), (name, columns, color) => {
        const transfers = [transferOf('a', { registry: name, state: 'failed', error: name })];
        const suspects = [{ ...suspect, name, reason: name }];
        const report = statusOf({ name, zone: name, version: name, transfers, suspects });
        for (const line of renderStatus(report, { columns, color, now: NOW })) {
          const bare = stripVTControlCharacters(line);
          assert.ok(bare.length <= Math.max(80, columns), bare);
          assert.doesNotMatch(bare, /[\p{Cc}\p{Cf}]/u);
          if (!color) assert.equal(bare, line);
        }
      }),
    );
  });
});

describe('the peers for people', () => {
  const ban = { ...suspect, reason: 'wrong-hash', until: until(300), banned: true };
  const gone = { connected: false, direction: undefined, rtt_ms: undefined, leaving: true };
  const peers = [peerReportOf(3, { suspect: ban }), peerReportOf(2, gone)];

  it('are a table by zone and name', () => {
    assert.deepEqual(renderPeers({ peers }, { ...plain, columns: undefined }), [
      'NAME    ZONE   STATE                         LINK     RTT  SWARMS     FROM        TO  PEER',
      `node-2  eu-1a  leaving                       –          –       2  2.0 MiB  20.0 MiB  ${end(2)}`,
      `node-3  eu-1b  banned: wrong-hash, 5 m left  in    1.2 ms       3  3.0 MiB  30.0 MiB  ${end(3)}`,
    ]);
    assert.deepEqual(renderPeers({ peers: [] }, plain), ['no other member is known']);
  });

  it('fit into a terminal', () => {
    for (const line of renderPeers({ peers }, { ...plain, color: true })) {
      assert.ok(stripVTControlCharacters(line).length <= 80);
    }
  });
});

describe('Pictures in a terminal', () => {
  it('show sources by shape without colour', () => {
    assert.equal(drawCells(['upstream', 'upstream', 'peers', 'local', 'none'], false), '██▒▪·');
    assert.equal(stripVTControlCharacters(drawCells(['upstream', 'peers'], true)), '█▒');
    assert.equal(legend(['peers', 'none'], false), '▒ from peers  · not here yet');
  });

  it('fill bars by shares', () => {
    assert.deepEqual([bar(4), bar(3), bar(0)], ['██▒▒▒▒··', '██▒▒▒▒▒▒', '········']);
  });

  it('fit on the screen', () => {
    const lines = ['1', '2', '3', '4'];
    assert.deepEqual(fitRows(lines, 5), lines);
    assert.deepEqual(fitRows(lines, 4), ['1', '2', '  … 2 more lines']);
    assert.deepEqual([cut('abcdef', 6), cut('abcdef', 4)], ['abcdef', 'abc…']);
    assert.equal(printable('a\u001b[2Jb\nc\u202ed'), 'ab c d');
  });

  it('write times and shares short', () => {
    assert.deepEqual([5.9, 60, 3599, 3600, 11_520, 90_000].map(formatAge), [
      '5 s',
      '1 m',
      '59 m',
      '1 h 0 m',
      '3 h 12 m',
      '1 d 1 h',
    ]);
    assert.deepEqual(
      [formatShare(1, 3), formatShare(999, 1000), formatShare(1, 1), formatShare(0, 0)],
      ['33 %', '99 %', '100 %', '–'],
    );
  });
});
