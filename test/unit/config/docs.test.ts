import assert from 'node:assert/strict';
import { generateDocuments } from '../../../docs/generate.ts';

describe('Generated docs', () => {
  it('are up to date (npm run docs writes them)', async () => {
    for (const { file, before, after } of await generateDocuments()) assert.equal(before, after, file);
  });
});
