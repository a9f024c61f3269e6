/** Files of registries.conf(5) with remapped, mirrored, blocked and insecure registries, and prefixes of all kinds. */
import * as fc from 'fast-check';
import { stringify as tomlOf } from 'smol-toml';
import { areAccepted } from './registries-conf.ts';

const location = fc.constantFrom(
  'docker.io',
  'harbor.corp/hub',
  'm.corp',
  'm.corp:5000',
  'm.corp:5000/all',
  'localhost/x',
);
const prefix = fc.constantFrom(
  'docker.io',
  'docker.io/library',
  'quay.io',
  '*.io',
  '*.corp',
  'reg.corp',
  'reg.corp:5000',
  'docker.io:443',
);
const usage = fc.constantFrom('all', 'digest-only', 'tag-only');
const table = fc
  .record(
    {
      prefix,
      location,
      insecure: fc.boolean(),
      blocked: fc.boolean(),
      mirror: fc.array(
        fc.record(
          { location, insecure: fc.boolean(), 'pull-from-mirror': usage },
          { requiredKeys: ['location'] },
        ),
        { maxLength: 2 },
      ),
    },
    { requiredKeys: ['prefix'] },
  )
  // A table for subdomains has no location of its own, and another one must have one.
  .filter((each) => each.prefix.startsWith('*') === (each.location === undefined));

/** What may be pulled by them. */
export const REFERENCES = [
  'docker.io/library/x',
  'docker.io/org/x',
  'docker.io:443/library/x',
  'quay.io/a/b',
  'quay.io:443/a/b',
  'ghcr.io/a/b',
  'reg.corp/x',
  'reg.corp:5000/x',
  'reg.corp:443/x',
];

export const registriesConf: fc.Arbitrary<string> = fc
  .uniqueArray(table, { maxLength: 4, selector: (each) => each.prefix })
  .map((registry) => tomlOf({ registry }))
  .filter((text) => areAccepted([text]));
