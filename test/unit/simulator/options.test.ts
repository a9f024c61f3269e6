import assert from 'node:assert/strict';
import { InvalidArgumentError } from 'commander';
import {
  parseCores,
  parseLayers,
  parseNodes,
  parsePolicy,
  parseRate,
  parseShare,
  parseStart,
} from '../../../bench/simulate/options.ts';

describe('Simulator options', () => {
  it('reads rates, layers, numbers of nodes, shares and starts', () => {
    assert.equal(parseRate('20mbit'), 2500);
    assert.equal(parseRate('1gbit'), 125_000);
    assert.deepEqual(parseLayers('2MiB,1MiB'), [2 ** 21, 2 ** 20]);
    assert.deepEqual(parseNodes('10,5000'), [10, 5000]);
    assert.equal(parseShare('5%'), 0.05);
    assert.equal(parseCores('0.25'), 0.25);
    assert.deepEqual(parsePolicy('requestsMax=4,inOrderShare=0.5'), { requestsMax: 4, inOrderShare: 0.5 });
    assert.deepEqual(parseStart('simultaneous'), { kind: 'simultaneous' });
    assert.deepEqual(parseStart('jitter:2s'), { kind: 'jitter', ms: 2000 });
    assert.deepEqual(parseStart('rolling:20%'), { kind: 'rolling', share: 0.2 });
  });

  it('refuses malformed values', () => {
    const refused: readonly (readonly [(text: string) => unknown, string])[] = [
      [parseRate, '20'],
      [parseRate, '0mbit'],
      [parseLayers, '2MiB,'],
      [parseLayers, '0B'],
      [parseNodes, '5001'],
      [parseNodes, '1.5'],
      [parseShare, '101%'],
      [parseShare, '5'],
      [parseCores, '0'],
      [parseCores, '2 cores'],
      [parseCores, '1000'],
      [parsePolicy, 'bogus=1'],
      [parsePolicy, 'requests'],
      [parsePolicy, 'requestsMax=many'],
      [parsePolicy, 'busy=1'],
      [parseStart, 'jitter'],
      [parseStart, 'rolling:2s'],
      [parseStart, 'simultaneous:1s'],
    ];
    for (const [parse, text] of refused) assert.throws(() => parse(text), InvalidArgumentError, text);
  });
});
