/** Callers that name one registry after the other must not make a node run many credential helpers. */
import assert from 'node:assert/strict';
import { chmod, readFile, writeFile } from 'node:fs/promises';
import { delimiter } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { request } from '../support/client.ts';
import { freePort } from '../support/ports.ts';
import { TempDir } from '../support/temp.ts';
import { WeirNode } from '../support/weir.ts';

const CALLERS = 24;
const MOST_HELPERS = 4;

describe('callers who make up registries', () => {
  it(`make the node run at most ${MOST_HELPERS} credential helpers at a time`, async () => {
    await using dir = await TempDir.create('helpers');
    const [log, go, config] = [dir.join('log'), dir.join('go'), dir.join('config.json')];
    // It logs its beginning and its end, and ends when it may.
    const script = `echo begin >> '${log}'; until test -e '${go}'; do sleep 0.05; done; echo end >> '${log}'; exit 1`;
    await writeFile(dir.join('docker-credential-slow'), `#!/bin/sh\n${script}\n`);
    await chmod(dir.join('docker-credential-slow'), 0o755);
    await writeFile(config, JSON.stringify({ credsStore: 'slow' }));
    await using node = await WeirNode.start({
      env: { PATH: `${dir.path}${delimiter}${process.env['PATH'] ?? ''}` },
      settings: { 'cluster.mode': 'off', 'upstream.docker-config': config },
    });
    const lines = async (): Promise<readonly string[]> =>
      (await readFile(log, 'utf8').catch(() => '')).split('\n').filter((line) => line !== '');
    const port = await freePort(); // nothing answers there
    const asked = Array.from({ length: CALLERS }, (_, i) =>
      request(node.urlOf(`127.0.0.${i + 1}:${port}`, 'x/y/tags/list')),
    );
    while ((await lines()).length < MOST_HELPERS) await delay(20);
    while ((await node.metrics()).sum('weir_mirror_in_flight') < CALLERS) await delay(20);
    await writeFile(go, '');
    for (const { status } of await Promise.all(asked)) assert.equal(status, 502);
    while ((await lines()).length < 2 * CALLERS) await delay(20);
    let [running, most] = [0, 0];
    for (const line of await lines()) {
      running += line === 'begin' ? 1 : -1;
      most = Math.max(most, running);
    }
    assert.equal(most, MOST_HELPERS);
  });
});
