/**
 * What is sent to an API server, and what is made of its answers. The answers here are written down from Kubernetes'
 * API reference; that a real API server gives them is not tested, as none can be had.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { copyFile, readFile, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { KubernetesApi } from '../../../../src/cli/kubernetes/api.ts';
import { untilReady, zoneOf } from '../../../../src/cli/kubernetes/questions.ts';
import { CertificateAuthority } from '../../../support/certificates.ts';
import { shared } from '../../../support/fixture.ts';
import { requires } from '../../../support/requires.ts';
import { TempDir } from '../../../support/temp.ts';

/** Answers in their order; one that is an error is thrown. */
function asked(...answers: readonly unknown[]): { get(path: string): Promise<unknown>; paths: string[] } {
  const left = [...answers];
  const paths: string[] = [];
  const get = async (path: string): Promise<unknown> => {
    paths.push(path);
    const answer = left.shift();
    if (answer instanceof Error) throw answer;
    return answer;
  };
  return { get, paths };
}

const daemonSet = (status: object, generation = 2): object => ({ metadata: { generation }, status });
const NAME = { namespace: 'weir', name: 'weir-restore' };

describe('Kubernetes requests of the chart', () => {
  it('the zone is the label of the node, or empty without one', async () => {
    const api = asked({ metadata: { labels: { 'topology.kubernetes.io/zone': 'eu-1a' } } }, { metadata: {} });
    assert.equal(await zoneOf(api, 'node-1'), 'eu-1a');
    assert.equal(await zoneOf(api, 'node/2'), '');
    assert.deepEqual(api.paths, ['/api/v1/nodes/node-1', '/api/v1/nodes/node%2F2']);
  });

  it('a DaemonSet is ready when this generation was seen and each node has a ready pod', async () => {
    const api = asked(
      daemonSet({}),
      daemonSet({ observedGeneration: 1, desiredNumberScheduled: 0, numberReady: 0 }),
      new Error('the API server restarts'),
      daemonSet({ observedGeneration: 2, desiredNumberScheduled: 3, numberReady: 2 }),
      daemonSet({ observedGeneration: 2, desiredNumberScheduled: 3, numberReady: 3 }),
    );
    let time = 0;
    const clock = { now: () => time, sleep: async (ms: number) => void (time += ms) };
    assert.equal(await untilReady(api, NAME, { clock, timeout: 60_000 }), 3);
    assert.equal(api.paths.length, 5);
    assert.equal(api.paths[0], '/apis/apps/v1/namespaces/weir/daemonsets/weir-restore');
  });

  it('reports the number of ready nodes after the time-out', async () => {
    const status = { observedGeneration: 2, desiredNumberScheduled: 3, numberReady: 2 };
    const api = asked(daemonSet(status), daemonSet(status), daemonSet(status));
    let time = 0;
    const clock = { now: () => time, sleep: async (ms: number) => void (time += ms) };
    const waiting = untilReady(api, NAME, { clock, timeout: 2000 });
    await assert.rejects(waiting, /weir\/weir-restore: ready on 2 of 3 nodes/);
  });
});

requires('openssl')('kubernetes: the API server', () => {
  const lab = shared(async (stack) => {
    const dir = stack.use(await TempDir.create('kubernetes'));
    const ca = await CertificateAuthority.create(dir);
    const { cert, key } = await ca.issue('127.0.0.1');
    await copyFile(ca.file, dir.join('ca.crt'));
    await writeFile(dir.join('token'), 'secret-token\n');
    const seen: (string | undefined)[] = [];
    const server: Server = createServer(
      { cert: await readFile(cert), key: await readFile(key) },
      (request, response) => {
        seen.push(request.headers.authorization);
        const isAllowed = request.url === '/yes';
        response.writeHead(isAllowed ? 200 : 403, { 'content-type': 'application/json' });
        response.end(isAllowed ? '{"a":1}' : '{"message":"forbidden"}');
      },
    );
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    stack.defer(() => void server.close());
    const { port } = server.address() as AddressInfo;
    const env = { KUBERNETES_SERVICE_HOST: '127.0.0.1', KUBERNETES_SERVICE_PORT: String(port) };
    return { dir, env, seen };
  });

  it('gets the token of the service account over TLS of the cluster', async () => {
    const { dir, env, seen } = lab();
    await using api = await KubernetesApi.open({ env, folder: dir.path });
    assert.deepEqual(await api.get('/yes'), { a: 1 });
    assert.equal(seen.at(-1), 'Bearer secret-token');
  });

  it('reports the path and the answer of a refusal, but not the token', async () => {
    const { dir, env } = lab();
    await using api = await KubernetesApi.open({ env, folder: dir.path });
    const failure = await api.get('/no').catch((error: unknown) => error);
    assert.match(String(failure), /cannot read \/no from the API server: 403: .*forbidden/);
    assert.ok(!String(failure).includes('secret-token'));
  });

  it('reports that it is outside of a pod', async () => {
    await assert.rejects(KubernetesApi.open({ env: {} }), /run this in a pod/);
  });
});
