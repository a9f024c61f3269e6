/**
 * The bill of materials of an image, as CycloneDX: the npm packages whose code is in the bundle, Node.js, and the
 * Debian packages that files were taken from. Nothing in it depends on when it was made.
 */
import { Contrib, Enums, Models, Serialize, Spec } from '@cyclonedx/cyclonedx-library';
import { PackageURL } from 'packageurl-js';
import parseExpression from 'spdx-expression-parse';
import type { NpmPackage } from './bundle.ts';
import type { DebianPackage } from './debian.ts';
import type { NodePackage } from './node-package.ts';
import type { Architecture } from './platforms.ts';

export interface SbomParts {
  readonly version: string;
  readonly arch: Architecture;
  readonly npm: readonly NpmPackage[];
  readonly node: NodePackage;
  readonly debian: readonly DebianPackage[];
}

const DISTRIBUTION = 'debian-13';

/** @returns JSON of CycloneDX 1.6 */
export function makeSbom({ version, arch, npm, node, debian }: SbomParts): string {
  const licenses = new Contrib.License.Factories.LicenseFactory(parseExpression);
  const licensed = (part: Models.Component, license: string): Models.Component => {
    if (license !== 'NOASSERTION') part.licenses.add(licenses.makeFromString(license));
    return part;
  };
  const { Application, Library, OperatingSystem, Platform } = Enums.ComponentType;
  const weir = new Models.Component(Application, 'weir', { version, bomRef: 'weir' });
  const components = [
    ...npm.map((each) =>
      licensed(component(Library, each.name, each.version, npmUrl(each.name, each.version)), each.license),
    ),
    component(Platform, node.name, node.version, npmUrl(node.name, node.version)),
    ...debian.map((each) => {
      const purl = new PackageURL('deb', 'debian', each.name, each.version, {
        arch: each.architecture,
        distro: DISTRIBUTION,
      }).toString();
      const found = component(Library, each.name, each.version, purl);
      found.hashes.set(Enums.HashAlgorithm['SHA-256'], each.sha256);
      return found;
    }),
    component(OperatingSystem, 'debian', DISTRIBUTION.slice('debian-'.length), `os-${arch.name}`),
  ];
  for (const each of components) weir.dependencies.add(each.bomRef);
  const bom = new Models.Bom({
    metadata: new Models.Metadata({ component: licensed(weir, 'Apache-2.0') }),
    components: new Models.ComponentRepository(components),
  });
  const normalizers = new Serialize.JSON.Normalize.Factory(Spec.Spec1dot6);
  const json = new Serialize.JsonSerializer(normalizers).serialize(bom, { sortLists: true, space: 2 });
  return `${json}\n`;
}

/** @param reference a package URL, which then names it, or another name */
function component(
  type: Enums.ComponentType,
  name: string,
  version: string,
  reference: string,
): Models.Component {
  const group = name.startsWith('@') ? name.slice(0, name.indexOf('/')) : undefined;
  const own = group === undefined ? name : name.slice(group.length + 1);
  return new Models.Component(type, own, {
    version,
    bomRef: reference,
    ...(group !== undefined && { group }),
    ...(reference.startsWith('pkg:') && { purl: reference }),
  });
}

function npmUrl(name: string, version: string): string {
  const slash = name.indexOf('/');
  const [scope, own] = slash === -1 ? [null, name] : [name.slice(0, slash), name.slice(slash + 1)];
  return new PackageURL('npm', scope, own, version).toString();
}
