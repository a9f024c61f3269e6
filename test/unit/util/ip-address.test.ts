import assert from 'node:assert/strict';
import { addressOf, endpointsOf, isLoopbackHost, placeOf, placesOf } from '../../../src/util/ip-address.ts';

describe('a place', () => {
  it('is an IPv4 address, also as a socket of both families shows it', () => {
    assert.equal(placeOf('10.0.0.1'), '10.0.0.1');
    assert.equal(placeOf('::ffff:10.0.0.1'), '10.0.0.1');
    assert.equal(placeOf('::FFFF:10.0.0.1'), '10.0.0.1');
  });

  it('is the /64 of an IPv6 address, however that is written', () => {
    const network = placeOf('2001:db8:0:7::1');
    assert.equal(network, '2001:db8:0:7::/64');
    for (const other of [
      '2001:db8::7:ffff:ffff:ffff:ffff',
      '2001:0DB8:0000:0007:1:2:3:4',
      '2001:db8:0:7::',
    ]) {
      assert.equal(placeOf(other), network, other);
    }
    assert.notEqual(placeOf('2001:db8:0:8::1'), network);
    assert.equal(placeOf('::1'), '0:0:0:0::/64');
    assert.equal(placeOf('fe80::1%eth0'), placeOf('fe80::2%eth1'));
    assert.equal(placeOf('64:ff9b::10.0.0.1'), '64:ff9b:0:0::/64');
    assert.equal(placeOf('1:2:3:4:5:6:10.0.0.1'), '1:2:3:4::/64');
  });

  it('has one spelling for an address', () => {
    assert.equal(addressOf('2001:DB8::1'), '2001:db8:0:0:0:0:0:1');
    assert.equal(addressOf('2001:db8:0:0::0:1'), addressOf('2001:db8::1'));
    assert.equal(addressOf('64:ff9b::10.0.0.1'), '64:ff9b:0:0:0:0:a00:1');
    assert.equal(placeOf(addressOf('2001:db8::1')), placeOf('2001:db8::1'));
    assert.deepEqual(endpointsOf(['/ip6/fd00::1/tcp/7']), [{ address: 'fd00:0:0:0:0:0:0:1', port: '7' }]);
  });

  it('is only this machine if it is loopback', () => {
    for (const host of ['127.0.0.1', '127.9.9.9', '::1', 'localhost', '::ffff:127.0.0.1']) {
      assert.ok(isLoopbackHost(addressOf(host)), host);
    }
    for (const host of ['10.0.0.1', '::2', 'localhost.test'])
      assert.ok(!isLoopbackHost(addressOf(host)), host);
  });

  it('is a name, in lower case, if there is no address', () => {
    assert.equal(placeOf('Node-1.Example'), 'node-1.example');
  });

  it('is named by each multiaddr of a member, and counted once', () => {
    const addresses = [
      '/ip4/10.0.0.1/tcp/1',
      '/ip4/10.0.0.1/tcp/2',
      '/ip6/fd00::1/tcp/1',
      '/dns/node.test/tcp/1',
    ];
    assert.deepEqual(placesOf(addresses), ['10.0.0.1', 'fd00:0:0:0::/64', 'node.test']);
    assert.deepEqual(placesOf(['nonsense']), []);
  });
});
