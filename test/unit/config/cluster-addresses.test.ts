/** Addresses of peers as operators write them. */
import assert from 'node:assert/strict';
import { readAnnounced, readBootstrap, readPeer } from '../../../src/config/cluster-addresses.ts';
import { Identity } from '../../../src/protocol/identity.ts';

const { peer } = Identity.generate();

describe('readBootstrap', () => {
  for (const text of [
    'weir.kube-system.svc:4772',
    'localhost:1',
    '10.0.0.7:4772',
    '[fd00::7]:4772',
    '/ip4/10.0.0.7/tcp/4772',
    '/ip6/fd00::7/tcp/4772',
    '/dns4/weir.example/tcp/4772',
    `/ip4/10.0.0.7/tcp/4772/p2p/${peer}`,
  ]) {
    it(`takes ${text}`, () => assert.equal(readBootstrap(text), text));
  }

  for (const text of [
    '',
    'weir',
    ':4772',
    'weir:0',
    'weir:70000',
    'we ir:1',
    'fd00::7:4772',
    '[10.0.0.7]:4772',
    '/ip4/10.0.0.777/tcp/4772',
    '/ip4/10.0.0.7/udp/4772',
    '/ip6/zz/tcp/1',
    '/ip4/10.0.0.7/tcp/4772/p2p/nobody',
    'http://weir:4772',
  ]) {
    it(`refuses ${JSON.stringify(text)}`, () =>
      assert.throws(() => readBootstrap(text), /^Error: (is|has) no/));
  }
});

describe('readAnnounced', () => {
  it('accepts addresses with or without a port, but no names', () => {
    for (const text of ['10.0.0.7', 'fd00::7', '10.0.0.7:4772', '[fd00::7]:4772', '/ip4/10.0.0.7/tcp/1']) {
      assert.equal(readAnnounced(text), text);
    }
    for (const text of ['node-1', 'node-1:4772', '10.0.0.7:0', '']) assert.throws(() => readAnnounced(text));
  });
});

describe('readPeer', () => {
  it('accepts only peer IDs', () => {
    assert.equal(readPeer(peer), peer);
    assert.throws(() => readPeer('node-1'), /is no peer ID/);
  });
});
