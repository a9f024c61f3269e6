import assert from 'node:assert/strict';
import { generateDocuments } from '../../../docs/generate.ts';

describe('docs', () => {
  it('hold what the code says (npm run docs writes it)', async () => {
    for (const { file, before, after } of await generateDocuments()) assert.equal(before, after, file);
  });
});
