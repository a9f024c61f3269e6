import assert from 'node:assert/strict';
import { stripVTControlCharacters } from 'node:util';
import { MIB } from '../../../../src/util/clock.ts';
import { renderLine, renderPicture, type Puller, type Scene } from '../../../../src/cli/demo/picture.ts';
import { ImageMap, Share } from '../../../../src/cli/demo/share.ts';
import { digestOf } from '../../../../src/oci/digest.ts';

const digest = digestOf(Buffer.from('a'));
const map = new ImageMap([{ digest, size: 64 * MIB }]);

function puller(name: string, received: number, more: Partial<Puller> = {}): Puller {
  const share = new Share(map);
  share.applyReceived(digest, received);
  return { name, share, ...more };
}

function scene(pullers: readonly Puller[], more: Partial<Scene> = {}): Scene {
  return { title: 'Title', isSwarm: true, pullers, registryBytes: 32 * MIB, seconds: 3.14, ...more };
}

const options = { columns: 80, rows: 24, color: false };

describe("the demo's picture", () => {
  it('has a line for each puller, and the bytes of the registry', () => {
    const pullers = [
      puller('node-1', 32 * MIB),
      puller('node-2', 64 * MIB, { seconds: 2.5 }),
      puller('node-3', 16 * MIB, { failure: 'upstream_unreachable' }),
    ];
    assert.deepEqual(renderPicture(scene(pullers), options), [
      'Title',
      '   3.1 s   58 %  112.0 / 192.0 MiB  registry sent 32.0 MiB = 0.50 × image',
      '  node    image                                registry      peers         rate',
      '  node-1  ██████████████··············  50 %   32.0 MiB        0 B',
      '  node-2  ████████████████████████████ 100 %   64.0 MiB        0 B    in 2.50 s',
      '  node-3  ███████·····················  25 %   16.0 MiB        0 B  upstream_u…',
      '          █ from the registry  ▒ from peers  · not here yet',
    ]);
  });

  it('fits on the screen with any number of pullers, with and without colour', () => {
    for (const color of [true, false]) {
      for (const count of [1, 5, 17, 18, 64]) {
        const pullers = Array.from({ length: count }, (_, n) =>
          puller(`client-${n}`, n * MIB, { seconds: 100.5 }),
        );
        const lines = renderPicture(scene(pullers, { isSwarm: false }), { ...options, color });
        assert.ok(lines.length < 24, `${count}: ${lines.length} lines`);
        for (const line of lines) assert.ok(stripVTControlCharacters(line).length < 80, line);
        if (!color) assert.equal(lines.join(''), stripVTControlCharacters(lines.join('')));
        if (count === 64) assert.match(lines.join('\n'), /… and 47 more, 26 % to 98 %/);
      }
    }
  });

  it('is one line for a log', () => {
    const pullers = [puller('a', 16 * MIB), puller('b', 48 * MIB)];
    assert.equal(
      renderLine(scene(pullers)),
      '   3.1 s   50 %  64.0 / 128.0 MiB  registry sent 32.0 MiB = 0.50 × image, 25 % to 75 %',
    );
    assert.match(renderLine(scene([])), /0 \/ 0 B {2}registry sent 32\.0 MiB$/);
  });
});
