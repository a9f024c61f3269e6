/** The configuration of the cluster. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { dataAddresses, listenOn, readClusterKeys } from '../../../src/daemon/cluster-settings.ts';
import { isWeirError } from '../../../src/util/errors.ts';
import { TempDir } from '../../support/temp.ts';

describe('listenOn', () => {
  const everywhere = [
    { host: '0.0.0.0', port: 4772 },
    { host: '::', port: 4772 },
  ];

  it('listens on loopback without a key', () => {
    assert.deepEqual(listenOn(everywhere, 'loopback'), [
      { host: '127.0.0.1', port: 4772 },
      { host: '::1', port: 4772 },
    ]);
    const other = [{ host: '10.0.0.7', port: 1 }];
    assert.deepEqual(listenOn(other, 'loopback'), [{ host: '127.0.0.1', port: 1 }]);
    const own = [{ host: '127.0.0.9', port: 1 }];
    assert.deepEqual(listenOn(own, 'loopback'), own);
  });

  it('listens on the given addresses with a key, or in an open cluster', () => {
    assert.deepEqual(listenOn(everywhere, 'keyed'), everywhere);
    assert.deepEqual(listenOn(everywhere, 'open'), everywhere);
  });
});

describe('dataAddresses', () => {
  it('gives the hosts of the multiaddrs if the peer port is on all interfaces', () => {
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

describe('readClusterKeys', () => {
  it('reads a key without its newline', async () => {
    await using dir = await TempDir.create('key');
    const path = dir.join('key');
    assert.deepEqual(await readClusterKeys(''), []);
    await writeFile(path, 'thirty-two letters, and no less!\n');
    const key = Buffer.from((await readClusterKeys(path))[0] ?? []).toString();
    assert.equal(key, 'thirty-two letters, and no less!');
    await assert.rejects(readClusterKeys(dir.join('absent')), (error) =>
      isWeirError(error, 'config_invalid'),
    );
  });

  it('reads two keys, the preferred one first', async () => {
    await using dir = await TempDir.create('key');
    const path = dir.join('key');
    const [first, second] = ['thirty-two letters, and no less!', 'another one of thirty-two letters'];
    const texts = async (text: string): Promise<readonly string[]> => {
      await writeFile(path, text);
      return (await readClusterKeys(path)).map((key) => Buffer.from(key).toString());
    };
    assert.deepEqual(await texts(`${first}\n${second}\n`), [first, second]);
    assert.deepEqual(await texts(`\n${second} \r\n\n ${first}\n\n`), [second, first]);
    assert.deepEqual(await texts(`${first}\n${first}\n`), [first]);
    const refuses = (text: string, why: RegExp): Promise<void> =>
      assert.rejects(
        texts(text),
        (error: Error) => isWeirError(error, 'config_invalid') && why.test(error.message),
      );
    await refuses(`${first}\n${second}\n${first}!\n`, /more than 2 cluster keys/);
    await refuses(`${first}\nshort\n`, /the second cluster key in .* could be guessed/);
  });

  it('accepts any key of the suggested command and of common programs', async () => {
    await using dir = await TempDir.create('key');
    const encodings = [32, 16].map((bytes) => [bytes, bytes === 32 ? 'base64' : 'hex'] as const);
    for (const [bytes, encoding] of encodings) {
      for (let round = 0; round < 100; round++) {
        const text = randomBytes(bytes).toString(encoding);
        await writeFile(dir.join('key'), text);
        assert.equal(Buffer.from((await readClusterKeys(dir.join('key')))[0] ?? []).toString(), text);
      }
    }
  });

  it('refuses a key that could be guessed, says how to make one, and does not show it', async () => {
    await using dir = await TempDir.create('key');
    const path = dir.join('key');
    const weak = ['brief', 'thirty-one letters, too few ...', 'changeme'.repeat(8), 'a'.repeat(64), ''];
    for (const text of [...weak, randomBytes(4097).toString('latin1').replaceAll(/\s/g, 'x')]) {
      await writeFile(path, `${text}\n`, 'latin1');
      await assert.rejects(readClusterKeys(path), (error) => {
        assert.ok(isWeirError(error, 'config_invalid'), text);
        assert.match(error.message, /umask 077; openssl rand -base64 32/);
        assert.ok(text === '' || !error.message.includes(text));
        return true;
      });
    }
  });
});
