/** What the configuration says about the cluster. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { dataAddresses, listenOn, readClusterKey } from '../../../src/daemon/cluster-settings.ts';
import { isWeirError } from '../../../src/errors.ts';
import { TempDir } from '../../support/temp.ts';

describe('listenOn', () => {
  const everywhere = [
    { host: '0.0.0.0', port: 4772 },
    { host: '::', port: 4772 },
  ];

  it('keeps to this machine while there is no key', () => {
    assert.deepEqual(listenOn(everywhere, 'loopback'), [
      { host: '127.0.0.1', port: 4772 },
      { host: '::1', port: 4772 },
    ]);
    const other = [{ host: '10.0.0.7', port: 1 }];
    assert.deepEqual(listenOn(other, 'loopback'), [{ host: '127.0.0.1', port: 1 }]);
    const own = [{ host: '127.0.0.9', port: 1 }];
    assert.deepEqual(listenOn(own, 'loopback'), own);
  });

  it('listens where it is told with a key, or where that is waived', () => {
    assert.deepEqual(listenOn(everywhere, 'keyed'), everywhere);
    assert.deepEqual(listenOn(everywhere, 'open'), everywhere);
  });
});

describe('dataAddresses', () => {
  it('names the hosts of the control plane where the data port is everywhere', () => {
    const listening = [
      { host: '0.0.0.0', port: 4773 },
      { host: '::', port: 4773 },
    ];
    const control = ['/ip4/10.0.0.7/tcp/4772', '/ip4/10.0.0.7/tcp/9', '/ip6/fd00::7/tcp/4772'];
    assert.deepEqual(dataAddresses(listening, control), [
      { host: '10.0.0.7', port: 4773 },
      { host: 'fd00::7', port: 4773 },
    ]);
    assert.deepEqual(dataAddresses([{ host: '10.0.0.8', port: 1 }], control), [
      { host: '10.0.0.8', port: 1 },
    ]);
  });
});

describe('readClusterKey', () => {
  it('reads a key without the end of its line, and refuses what can be guessed', async () => {
    await using dir = await TempDir.create('key');
    const path = dir.join('key');
    assert.equal(await readClusterKey(''), undefined);
    await writeFile(path, 'sixteen letters!\n');
    assert.equal(Buffer.from((await readClusterKey(path)) ?? []).toString(), 'sixteen letters!');
    await writeFile(path, 'short\n');
    await assert.rejects(readClusterKey(path), (error) => {
      assert.ok(isWeirError(error, 'config_invalid'));
      assert.match(error.message, /openssl rand -base64 32/);
      assert.ok(!error.message.includes('short\n'));
      return true;
    });
    await assert.rejects(readClusterKey(dir.join('absent')), (error) => isWeirError(error, 'config_invalid'));
  });
});
