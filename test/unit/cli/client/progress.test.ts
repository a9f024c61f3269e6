import assert from 'node:assert/strict';
import { Writable } from 'node:stream';
import { stripVTControlCharacters } from 'node:util';
import { createPullDisplay } from '../../../../src/cli/client/display.ts';
import { formatBytes, formatPart, formatRate, formatSeconds } from '../../../../src/cli/client/format.ts';
import { PullProgress } from '../../../../src/cli/client/progress.ts';
import type { PlannedBlob, PulledBlob, PullEvent } from '../../../../src/cli/client/pull-image.ts';
import { MIB } from '../../../../src/util/clock.ts';
import { digestOf } from '../../../../src/oci/digest.ts';

const blobOf = (name: string, size: number): PlannedBlob => ({
  role: name === 'config' ? 'config' : 'layer',
  mediaType: 'x',
  digest: digestOf(Buffer.from(name)),
  size,
});
const finished = (blob: PlannedBlob): PullEvent => {
  const { digest, size, role } = blob;
  const result: PulledBlob = {
    digest,
    size,
    role,
    seconds: 1,
    firstByteSeconds: 0.1,
    source: 'upstream',
    retries: 0,
  };
  return { kind: 'finished', blob, result };
};

describe('numbers for people', () => {
  it('are short', () => {
    assert.deepEqual([0, 1023, 1024, 120 * MIB, 1048525, 5 * 1024 ** 4].map(formatBytes), [
      '0 B',
      '1023 B',
      '1.0 KiB',
      '120.0 MiB',
      '1.0 MiB',
      '5.0 TiB',
    ]);
    assert.equal(formatPart(MIB / 2, 20 * MIB), '0.5 / 20.0 MiB');
    assert.equal(formatPart(5, 10), '5 / 10 B');
    assert.deepEqual([0, 0.038, 0.9996, 2.515, 59.996, 187].map(formatSeconds), [
      '0 ms',
      '38 ms',
      '1.00 s',
      '2.52 s',
      '1 m 00 s',
      '3 m 07 s',
    ]);
    assert.equal(formatRate(MIB, 0), '–');
  });
});

describe('progress of a pull', () => {
  it('fits into 80 columns, without colour codes if none are wanted', () => {
    const progress = new PullProgress();
    const [config, layer, waiting] = [
      blobOf('config', 945),
      blobOf('a', 1023.9 * MIB),
      blobOf('b', 20 * MIB),
    ];
    progress.apply({ kind: 'planned', digest: config.digest, blobs: [config, layer, waiting] });
    progress.apply({ kind: 'started', blob: layer });
    progress.apply({ kind: 'bytes', blob: layer, received: 1000.1 * MIB });
    progress.apply(finished(config));
    const plain = progress.render({ columns: 80, color: false, seconds: 1 });
    assert.equal(plain.length, 4);
    for (const line of plain) assert.ok(line.length <= 80, line);
    assert.match(plain[1] ?? '', /^ {2}layer {3}[0-9a-f]{12} {2}━+─ +1000\.1 \/ 1023\.9 MiB$/);
    assert.match(plain.at(-1) ?? '', /total .* 1\.0 \/ 1\.0 GiB {2}1000\.1 MiB\/s$/);
    const colored = progress.render({ columns: 80, color: true, seconds: 1 });
    assert.notDeepEqual(colored, plain);
    assert.deepEqual(colored.map(stripVTControlCharacters), plain);
  });

  it('of an image of many layers fits on a screen', () => {
    const progress = new PullProgress();
    const blobs = Array.from({ length: 60 }, (_, index) => blobOf(String(index), 10));
    progress.apply({ kind: 'planned', digest: digestOf(Buffer.from('x')), blobs });
    for (const blob of blobs.slice(0, 30)) progress.apply(finished(blob));
    for (const blob of blobs.slice(30, 33)) progress.apply({ kind: 'started', blob });
    const lines = progress.render({ columns: 80, color: false, seconds: 1 });
    assert.equal(lines.length, 5);
    assert.match(lines.at(-2) ?? '', /30 of 60 blobs done/);
  });

  it('is plain lines without a terminal', async () => {
    let text = '';
    const output = new Writable({
      write: (chunk: Buffer, _, done) => {
        text += chunk.toString();
        done();
      },
    });
    const blob = blobOf('a', 10);
    {
      using display = await createPullDisplay(output, { color: true });
      display.onProgress({ kind: 'planned', digest: blob.digest, blobs: [blob] });
      display.onProgress(finished(blob));
    }
    assert.equal(
      text,
      `  1 blobs, 10 B\n  layer ${blob.digest.slice(7, 19)}: 10 B in 1.00 s from upstream\n`,
    );
  });
});
