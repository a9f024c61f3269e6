import assert from 'node:assert/strict';
import { countConnections, receivedBytes, sentBytes } from '../../../../bench/crowd/network.ts';

describe('bench/crowd/network', () => {
  it("reads an interface's sent bytes without TCP/IP headers, and its received bytes with them", () => {
    const table = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     999       9    0    0    0     0          0         0      999       9    0    0    0     0       0          0
  eth0:    5000      50    0    0    0     0          0         0    10000      10    0    0    0     0       0          0
`;
    assert.equal(sentBytes(table), 10_000 - 10 * 66);
    assert.equal(receivedBytes(table), 5000);
    assert.throws(() => sentBytes('lo: 1 2'), /no eth0/);
    assert.throws(() => receivedBytes('lo: 1 2'), /no eth0/);
  });

  it('counts established connections of one address', () => {
    // 198.19.40.10 in the kernel's order is 0A2813C6.
    const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0A2813C6:12A4 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1
   1: 0A2813C6:12A5 0B2813C6:9C40 01 00000000:00000000 00:00000000 00000000     0        0 2
   2: 0A2812C6:12A2 012812C6:9C40 01 00000000:00000000 00:00000000 00000000     0        0 3
`;
    assert.equal(countConnections(table, '198.19.40.10'), 1);
  });
});
