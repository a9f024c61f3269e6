import assert from 'node:assert/strict';
import {
  contradiction,
  formatStart,
  parseCount,
  parseLayers,
  parseRate,
  parseShare,
  parseStart,
  parseSystem,
  parseSystems,
} from '../../../../bench/crowd/options.ts';
import { settingsOf } from './settings.ts';

describe('bench/crowd/options', () => {
  it('reads the values that the README shows', () => {
    assert.deepEqual(parseRate('20mbit'), { text: '20mbit', bitsPerSecond: 20e6 });
    assert.equal(parseRate('1.5gbit').bitsPerSecond, 1.5e9);
    assert.deepEqual(parseLayers('24MiB,512KiB'), [24 * 2 ** 20, 512 * 2 ** 10]);
    assert.equal(parseShare('5%'), 0.05);
    assert.equal(parseShare('0%'), 0);
    assert.deepEqual(parseStart('simultaneous'), { kind: 'simultaneous' });
    assert.deepEqual(parseStart('jitter:2s'), { kind: 'jitter', within: 2000 });
    assert.deepEqual(parseStart('rolling:20%'), { kind: 'rolling', share: 0.2 });
    assert.deepEqual(parseSystems('registry, proxy,weir'), ['registry', 'proxy', 'weir']);
    assert.equal(parseCount('50', 2, 200), 50);
  });

  it('writes a start in the form that it reads', () => {
    for (const text of ['simultaneous', 'jitter:2s', 'rolling:20%']) {
      assert.equal(formatStart(parseStart(text)), text);
    }
  });

  it('names the allowed values for a bad one', () => {
    const refused: readonly (readonly [read: () => unknown, message: RegExp])[] = [
      [() => parseRate('20'), /write 20mbit/],
      [() => parseRate('50kbit'), /at least 100kbit/],
      [() => parseRate('20mbit; reboot'), /write 20mbit/],
      [() => parseLayers('1MiB,'), /size/],
      [() => parseLayers('0B'), /at least one byte/],
      [() => parseShare('5'), /write 5%/],
      [() => parseShare('101%'), /0% to 100%/],
      [() => parseStart('jitter'), /duration/],
      [() => parseStart('jitter:20%'), /duration/],
      [() => parseStart('rolling:0%'), /No node would ever begin/],
      [() => parseStart('later'), /none of simultaneous, jitter:2s, rolling:20%/],
      [() => parseSystem('kubernetes'), /"kubernetes" is none of registry, weir, proxy/],
      [() => parseSystems('weir,weir'), /"weir" is named twice/],
      [() => parseSystems(''), /"" is none of/],
      [() => parseCount('1', 2, 200), /from 2 to 200/],
      [() => parseCount('2.5', 2, 200), /from 2 to 200/],
      [() => parseCount('1e2', 2, 200), /from 2 to 200/],
    ];
    for (const [read, message] of refused) assert.throws(read, message);
  });

  it('refuses options that contradict each other', () => {
    assert.equal(contradiction(settingsOf({ zones: 3, kill: 0.05, slow: 0.05, loss: 0.01 })), undefined);
    assert.match(
      contradiction(settingsOf({ nodes: 2, zones: 3 })) ?? '',
      /--zones 3 are more than --nodes 2/,
    );
    assert.match(contradiction(settingsOf({ kill: 0.5, slow: 0.5 })) ?? '', /leave no node/);
    assert.match(contradiction(settingsOf({ loopback: true, loss: 0.01 })) ?? '', /--loopback/);
    assert.match(contradiction(settingsOf({ loopback: true, slow: 0.1 })) ?? '', /--loopback/);
  });
});
