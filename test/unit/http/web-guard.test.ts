/** Requests that a server for programs accepts, by their Host header and by the headers of browsers. */
import assert from 'node:assert/strict';
import type { IncomingHttpHeaders } from 'node:http';
import * as fc from 'fast-check';
import { isWeirError } from '../../../src/util/errors.ts';
import { isLoopback, plainAddress } from '../../../src/util/ip-address.ts';
import { WebGuard } from '../../../src/http/web-guard.ts';

interface Case {
  /** Default: loopback, as the mirror listens. */
  readonly listen?: readonly string[];
  readonly hosts?: readonly string[];
  readonly headers?: IncomingHttpHeaders;
  readonly localAddress?: string;
  readonly httpVersion?: string;
}

const LOOPBACK = ['127.0.0.1', '::1'];

/** The code with which it refuses; undefined if it does not. */
function verdict({ listen = LOOPBACK, hosts = [], headers = {}, ...rest }: Case): string | undefined {
  const { localAddress = '127.0.0.1', httpVersion = '1.1' } = rest;
  const addresses = listen.map((host) => ({ host, port: 4770 }));
  const guard = new WebGuard({ listen: addresses, hosts, setting: 'mirror.hosts' });
  try {
    guard.check({ headers, httpVersion, localAddress });
    return undefined;
  } catch (error) {
    assert.ok(isWeirError(error));
    if (error.code === 'host_not_allowed') assert.match(error.message, /add it to mirror\.hosts/);
    return error.code;
  }
}

const host = (name: string, rest: Case = {}): string | undefined =>
  verdict({ headers: { host: name }, ...rest });

const NODE = '10.0.0.7';

describe('WebGuard', () => {
  it('accepts the names that runtimes and tools use for a mirror on loopback', () => {
    const names = [
      '127.0.0.1:4770',
      '127.0.0.1',
      'localhost:4770',
      'localhost',
      'LOCALHOST:1',
      'localhost.:4770',
    ];
    const literals = ['[::1]:4770', '[::1]', '[0:0:0:0:0:0:0:1]:4770', '127.8.9.10:80'];
    for (const name of [...names, ...literals]) assert.equal(host(name), undefined, name);
  });

  it('refuses any other name, and an address that it does not listen on', () => {
    const names = [
      'attacker.example:4770',
      'attacker.example',
      'localhost.attacker.example',
      '127.0.0.1.nip.io:4770',
    ];
    const literals = [`${NODE}:4770`, '[fd00::7]:4770', '0.0.0.0:4770', '169.254.169.254'];
    const malformed = [
      '',
      ' ',
      ':4770',
      '127.0.0.1:4770:1',
      'a@127.0.0.1',
      '127.0.0.1/x',
      '[::1',
      '[x]',
      '[127.0.0.1]',
      '127.1',
      'a b',
    ];
    for (const name of [...names, ...literals, ...malformed])
      assert.equal(host(name), 'host_not_allowed', name);
  });

  it('accepts the configured names, in any case and with any port', () => {
    const hosts = ['Weir.example', '192.0.2.7', 'fd00:0::7'];
    for (const name of [
      'weir.example',
      'WEIR.EXAMPLE:80',
      'weir.example.',
      '192.0.2.7:1',
      '[fd00::7]:4770',
    ]) {
      assert.equal(host(name, { hosts }), undefined, name);
    }
    assert.equal(host('x.weir.example', { hosts }), 'host_not_allowed');
  });

  it('accepts the addresses that it listens on', () => {
    const listen = [NODE, 'fd00::7'];
    for (const name of [NODE, `${NODE}:4770`, '[FD00::0007]:4770'])
      assert.equal(host(name, { listen }), undefined, name);
    for (const name of ['127.0.0.1', '[::1]', '10.0.0.8'])
      assert.equal(host(name, { listen }), 'host_not_allowed', name);
  });

  it('accepts the address of the connection if it listens on all addresses', () => {
    const listen = ['0.0.0.0', '::'];
    assert.equal(host(`${NODE}:4770`, { listen, localAddress: NODE }), undefined);
    assert.equal(host(`${NODE}:4770`, { listen, localAddress: `::ffff:${NODE}` }), undefined);
    assert.equal(host('[fd00::7]:4770', { listen, localAddress: 'fd00::7' }), undefined);
    assert.equal(host('[fe80::7]', { listen, localAddress: 'fe80::7%eth0' }), undefined);
    // A published port of a container, or `curl 0.0.0.0`.
    for (const name of ['127.0.0.1:4701', '[::1]', 'localhost:4701', '0.0.0.0:4770']) {
      assert.equal(host(name, { listen, localAddress: '172.18.0.2' }), undefined, name);
    }
    assert.equal(host('10.0.0.8', { listen, localAddress: NODE }), 'host_not_allowed');
    assert.equal(host('attacker.example', { listen, localAddress: NODE }), 'host_not_allowed');
  });

  it('wants a Host header, except with HTTP/1.0', () => {
    assert.equal(verdict({}), 'bad_request');
    assert.equal(verdict({ httpVersion: '1.0' }), undefined);
    assert.equal(host('attacker.example', { httpVersion: '1.0' }), 'host_not_allowed');
  });

  it('refuses the requests that a browser sends for a page of another site', () => {
    const site = (name: string): string | undefined =>
      verdict({ headers: { host: 'localhost', 'sec-fetch-site': name } });
    for (const name of ['cross-site', 'same-site', '', 'none, cross-site', 'Cross-Site']) {
      assert.equal(site(name), 'cross_site', name);
    }
    for (const name of ['none', 'same-origin']) assert.equal(site(name), undefined, name);
    for (const origin of ['http://attacker.example', 'null', '', 'http://localhost']) {
      assert.equal(verdict({ headers: { host: 'localhost', origin } }), 'cross_site', origin);
    }
  });

  it('never accepts a name that is not its own, whatever text surrounds it', () => {
    const label = fc.stringMatching(/^[a-z][a-z0-9-]{0,20}$/);
    const names = fc.tuple(label, label).map((labels) => labels.join('.'));
    fc.assert(
      fc.property(
        names,
        fc.option(fc.nat(65_535)),
        fc.constantFrom('127.0.0.1', NODE),
        (name, port, localAddress) => {
          const written = port === null ? name : `${name}:${port}`;
          for (const listen of [LOOPBACK, ['0.0.0.0'], [NODE]]) {
            assert.equal(host(written, { listen, localAddress }), 'host_not_allowed');
          }
        },
      ),
    );
    fc.assert(
      fc.property(fc.string(), (text) => void host(text)),
      { numRuns: 500 },
    );
  });
});

describe('addresses', () => {
  it('have one spelling', () => {
    assert.equal(plainAddress('FD00:0:0::0007'), 'fd00::7');
    assert.equal(plainAddress('::ffff:10.0.0.7'), NODE);
    assert.equal(plainAddress('::ffff:a00:7'), NODE);
    assert.equal(plainAddress('fe80::7%eth0'), 'fe80::7');
    for (const none of ['localhost', '', '10.0.0', '[::1]'])
      assert.equal(plainAddress(none), undefined, none);
  });

  it('of loopback are known in all their forms', () => {
    const loopback = ['127.0.0.1', '127.255.0.9', '::1', '::ffff:127.0.0.1', '::ffff:7f00:1'];
    for (const address of loopback) assert.ok(isLoopback(address), address);
    const others = ['128.0.0.1', '10.0.0.7', '0.0.0.0', '::', 'fe80::1', '::ffff:10.0.0.7', '', undefined];
    for (const address of others) assert.ok(!isLoopback(address), `${address}`);
  });
});
