import assert from 'node:assert/strict';
import { parseRegistryHost, type RegistryHost, type RepositoryName } from '../../../src/oci/repository.ts';
import { endpointsOf, isThisMachine, requestTarget } from '../../../src/upstream/endpoint.ts';
import { proxyFor } from '../../../src/upstream/proxy.ts';
import type { RegistryConfig } from '../../../src/upstream/registry-config.ts';

function urls(host: string, config: Readonly<Record<string, RegistryConfig>> = {}): readonly string[] {
  const registries = new Map(Object.entries(config)) as unknown as ReadonlyMap<RegistryHost, RegistryConfig>;
  return endpointsOf(parseRegistryHost(host), registries).map(({ origin, path }) => origin + path);
}

describe('upstream: endpoint', () => {
  it('reaches Docker Hub at registry-1.docker.io', () => {
    assert.deepEqual(urls('docker.io'), ['https://registry-1.docker.io/v2']);
    assert.deepEqual(urls('index.docker.io'), ['https://registry-1.docker.io/v2']);
  });

  it('uses plain HTTP only to this machine', () => {
    assert.deepEqual(urls('localhost:5000'), ['http://localhost:5000/v2']);
    assert.deepEqual(urls('127.0.0.2:5000'), ['http://127.0.0.2:5000/v2']);
    assert.deepEqual(urls('[::1]:5000'), ['http://[::1]:5000/v2']);
    assert.deepEqual(urls('10.0.0.1:5000'), ['https://10.0.0.1:5000/v2']);
    assert.deepEqual(urls('127.example.org'), ['https://127.example.org/v2']);
  });

  it('follows the configuration', () => {
    assert.deepEqual(urls('a.test', { 'a.test': { plainHttp: true } }), ['http://a.test/v2']);
    assert.deepEqual(urls('localhost', { localhost: { plainHttp: false } }), ['https://localhost/v2']);
    assert.deepEqual(urls('localhost', { localhost: { caFiles: ['/ca.pem'] } }), ['https://localhost/v2']);
    const endpoint = new URL('https://b.test:8443/registry/');
    assert.deepEqual(urls('a.test', { 'a.test': { endpoint } }), ['https://b.test:8443/registry/v2']);
  });

  it('lists mirrors first, with their own credentials, and tells them the registry', () => {
    const mirrors = [new URL('https://m.test/v2/hub'), new URL('http://under_score.test')];
    const registries = new Map([['docker.io', { mirrors }]]) as unknown as Map<RegistryHost, RegistryConfig>;
    const [first, second, own] = endpointsOf(parseRegistryHost('docker.io'), registries);
    assert.ok(first && second && own);
    assert.equal(first.credentialsOf, 'm.test');
    assert.equal(second.credentialsOf, undefined);
    assert.equal(own.credentialsOf, 'docker.io');
    const name = 'library/a' as RepositoryName;
    assert.equal(requestTarget(first, name, 'blobs/x'), '/v2/hub/library/a/blobs/x?ns=docker.io');
    const query = new URLSearchParams({ ns: 'evil', n: '3' });
    assert.equal(requestTarget(own, name, 'tags/list', query), '/v2/library/a/tags/list?n=3');
  });

  it('refuses names that are no hosts', () => {
    assert.throws(() => urls('256.0.0.1'), { code: 'name_invalid' });
  });

  it('knows loopback addresses', () => {
    for (const host of ['localhost', '127.0.0.1', '127.9.9.9', '[::1]']) assert.ok(isThisMachine(host), host);
    for (const host of ['127.evil.test', 'localhost.evil.test', '[::2]', '128.0.0.1']) {
      assert.ok(!isThisMachine(host), host);
    }
  });
});

describe('upstream: proxy', () => {
  const proxy = { HTTP_PROXY: 'http://p:1', https_proxy: 'q:2' };
  const via = (url: string, more = {}): string | undefined =>
    proxyFor(new URL(url), { ...proxy, ...more })?.httpsProxy;

  it('follows the scheme, and lower case first', () => {
    assert.equal(via('http://a.test'), 'http://p:1/');
    assert.equal(via('https://a.test'), 'http://q:2/');
    assert.equal(via('https://a.test', { https_proxy: '' }), undefined);
    assert.equal(proxyFor(new URL('https://a.test'), { HTTP_PROXY: 'http://p:1' }), undefined);
  });

  it('is not used for this machine, nor for ranges in NO_PROXY', () => {
    assert.equal(via('http://localhost:5000'), undefined);
    assert.equal(via('http://[::1]:5000'), undefined);
    assert.equal(via('http://10.1.2.3', { NO_PROXY: 'x, 10.0.0.0/8' }), undefined);
    assert.equal(via('http://[fd00::1]', { NO_PROXY: 'fd00::/8' }), undefined);
    assert.equal(via('http://11.1.2.3', { NO_PROXY: 'nonsense/99,10.0.0.0/8,1.2.3.4/x' }), 'http://p:1/');
  });

  it('must be a URL', () => {
    assert.throws(() => via('http://a.test', { http_proxy: 'http://' }), { code: 'config_invalid' });
  });
});
