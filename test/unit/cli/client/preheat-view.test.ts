import assert from 'node:assert/strict';
import { createPreheatDisplay } from '../../../../src/cli/client/preheat-display.ts';
import { renderPreheat } from '../../../../src/cli/client/preheat-view.ts';
import { SECOND } from '../../../../src/util/clock.ts';
import { VirtualClock } from '../../network/virtual-clock.ts';
import { reportOf } from '../../preheat/report.ts';

describe('renderPreheat', () => {
  it('shows the images, the sum, and the nodes that matter first', () => {
    const lines = renderPreheat(reportOf(), { columns: 120, rows: undefined, color: false });
    assert.deepEqual(lines, [
      'ghcr.io/org/app:v1',
      'docker.io/library/alpine:3',
      `preheat ${'ab'.repeat(16)} running: 1 of 3 nodes (--nodes 3) done, 1 failed, 13.0 / 15.0 MiB`,
      '  node-3                        failed    3.0 / 3.0 MiB  a',
      '    docker.io/library/alpine:3: failed: manifest_unknown: upstream has no image',
      '  node-2                        pulling   4.0 / 6.0 MiB  b',
      '  node-1                        done      6.0 / 6.0 MiB  a',
    ]);
  });

  it('fits into a terminal, whatever nodes say', () => {
    const lines = renderPreheat(reportOf(), { columns: 50, rows: 5, color: false });
    assert.equal(lines.length, 4);
    assert.ok(
      lines.every((line) => line.length <= 60 && /^[\x20-\x7e…]*$/.test(line)),
      lines.join('\n'),
    );
  });

  it('says when a later order starts', () => {
    const report = reportOf({ state: 'scheduled', zone: 'eu-1a', nodes: 'all', done: 0, failed: 0 });
    const [, , sum] = renderPreheat(report, { columns: 200, rows: undefined, color: false });
    assert.match(
      sum ?? '',
      /scheduled: 0 of 3 nodes in zone eu-1a done, 13\.0 \/ 15\.0 MiB, starts at 2026-11-30T12:00:00\.000Z$/,
    );
  });
});

describe('createPreheatDisplay', () => {
  it('writes a line when another node is over, each ten seconds, and all at the end', async () => {
    const clock = new VirtualClock();
    let text = '';
    const output = { write: (part: string) => (text += part) } as unknown as NodeJS.WritableStream;
    using display = await createPreheatDisplay(output, { color: false, clock });
    const lines = (): number => text.split('\n').length - 1;
    display.show(reportOf(), false);
    assert.equal(lines(), 1);
    await clock.advance(SECOND);
    display.show(reportOf(), false);
    assert.equal(lines(), 1);
    display.show(reportOf({ done: 2 }), false);
    assert.equal(lines(), 2);
    await clock.advance(10 * SECOND);
    display.show(reportOf({ done: 2 }), false);
    assert.equal(lines(), 3);
    display.show(reportOf({ done: 2, state: 'partial' }), true);
    assert.equal(lines(), 10);
  });
});
