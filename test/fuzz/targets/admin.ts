/** What the admin address is asked, and what a mirror says of a failure. */
import assert from 'node:assert/strict';
import { mirrorMessage } from '../../../src/cli/client/mirror-message.ts';
import { AdminToken } from '../../../src/daemon/admin-token.ts';
import { matchesPattern, parsePullsQuery } from '../../../src/daemon/pull-ring.ts';
import { MAX_PULLS } from '../../../src/status/pull-report.ts';
import { pure, splitLine } from '../harness/target.ts';

export const pullsQuery = pure({
  name: 'pulls-query',
  seeds: ['', 'slow=10&image=team/*:v1&limit=5', 'slow=2.5', 'image=%2A%E2%82', 'limit=1000&limit=1'],
  words: ['slow=', 'image=', 'limit=', '&', '*', '%', '1e9', '.', '-1'],
  run: (input) => {
    const query = parsePullsQuery(new URLSearchParams(input.toString('utf8')));
    if (typeof query === 'string') {
      assert.ok(query.length < 600); // 80 characters, each of which may be escaped
      return;
    }
    assert.ok(Number.isFinite(query.slow) && query.slow >= 0);
    assert.ok(Number.isInteger(query.limit) && query.limit >= 1 && query.limit <= MAX_PULLS);
  },
});

export const pullsPattern = pure({
  name: 'pulls-pattern',
  seeds: ['team/*:v1\nregistry.example/team/app:v1', '*a*a*a*a*b\naaaaaaaaaaaaaaaaaaaa', '*\n', 'x\nx'],
  words: ['*', '\n', 'a*', '**'],
  run: (input) => {
    const [pattern, rest] = splitLine(input);
    const text = rest.toString('utf8');
    const found = matchesPattern(text, pattern);
    if (!pattern.includes('*')) assert.equal(found, text.includes(pattern));
    if (found) assert.ok(matchesPattern(`x${text}x`, `*${pattern}*`));
  },
});

export const adminToken = pure({
  name: 'admin-token',
  seeds: [`Bearer ${'a'.repeat(43)}`, 'bearer x', `Basic ${'a'.repeat(43)}`, 'Bearer'],
  words: ['Bearer ', 'a'.repeat(43), 'b'],
  run: (input) => {
    const header = input.toString('utf8');
    const token = new AdminToken('a'.repeat(43));
    const isRight = /^bearer +a{43}$/i.test(header) && header.endsWith('a'.repeat(43));
    assert.equal(token.isGivenBy(header), isRight);
    assert.ok(!new AdminToken(undefined).isGivenBy(header));
  },
});

export const mirrorError = pure({
  name: 'mirror-error',
  seeds: [
    '{"errors":[{"code":"BLOB_UNKNOWN","message":"no first byte","detail":{"weir":"upstream_timeout"}}]}',
    '{"errors":[{"message":"denied","detail":[{"Type":"repository"}]}]}',
    '{"errors":[]}',
    'Not Found',
  ],
  words: ['"errors"', '"message"', '"detail"', '"weir"', '\\u001b[2J', '\\n', 'null', '{', '[', '1e999'],
  run: async (input) => {
    const said = await mirrorMessage({ read: () => Promise.resolve(input) });
    if (said === undefined) return;
    assert.ok(said.length > 0 && said.length <= 600);
    assert.doesNotMatch(said, /\p{Cc}/u, 'it moves the cursor');
  },
});
