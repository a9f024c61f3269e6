import { MemoryStore } from '../../support/memory-store.ts';
import { storeConformance } from '../../support/conformance.ts';

describe('MemoryStore', () => {
  storeConformance(() => Promise.resolve(new MemoryStore()));
});
