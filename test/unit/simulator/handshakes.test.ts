import assert from 'node:assert/strict';
import { Handshakes } from '../../simulator/handshakes.ts';

describe('Simulated handshakes', () => {
  it('opens a connection for each request under way, and reuses it after a whole answer', () => {
    const handshakes = new Handshakes<string>();
    assert.equal(handshakes.begin('a'), 2);
    assert.equal(handshakes.begin('a'), 2); // the first one is in use
    assert.equal(handshakes.begin('b'), 2);
    handshakes.end('a');
    assert.equal(handshakes.begin('a'), 0);
    assert.equal(handshakes.begin('a'), 2); // one of the two was never given back: it was given up
  });
});
