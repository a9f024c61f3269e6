import assert from 'node:assert/strict';
import { formatTable } from '../../../../bench/support/table.ts';

describe('bench/support/table', () => {
  it('lines names up on the left, figures on the right, and the last column on the left', () => {
    const rows = [['NAME', 'one', 'note'], ['a', '1'], [], ['bb', '200.5', 'ok']];
    assert.equal(formatTable(rows), ['NAME    one  note', 'a         1', '', 'bb    200.5  ok'].join('\n'));
  });
});
