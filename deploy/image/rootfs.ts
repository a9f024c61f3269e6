/**
 * The two layers of the image, as folders. `base` is Node.js and the Debian packages that it needs, and changes only with
 * those. `program` is Weir itself, some MiB: an upgrade of a node fetches only this one.
 */
import { chmod, copyFile, cp, mkdir, realpath, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { NpmPackage } from './bundle.ts';
import { runOk } from './command.ts';
import { caBundle, type DebianPackage } from './debian.ts';
import type { NodePackage } from './node-package.ts';
import type { Architecture } from './platforms.ts';

/** The user that the image runs as unless it is told otherwise; Debian gives out 65532 to nobody. */
export const UID = 65_532;
export const DATA_FOLDER = '/var/lib/weir';
export const SBOM_PATH = 'usr/share/sbom/weir.cdx.json';

/** Libraries that `readelf -d` names for Node.js, by package. Others are left out. */
const LIBRARIES: Readonly<Record<string, readonly string[]>> = {
  libatomic1: ['libatomic.so.1'],
  libc6: ['libc.so.6', 'libdl.so.2', 'libm.so.6', 'libpthread.so.0'],
  'libgcc-s1': ['libgcc_s.so.1'],
  'libstdc++6': ['libstdc++.so.6'],
};

const PASSWD = `root:x:0:0:root:/:/sbin/nologin\nweir:x:${UID}:${UID}:weir:${DATA_FOLDER}:/sbin/nologin\n`;
const GROUP = `root:x:0:\nweir:x:${UID}:\n`;
const NSSWITCH = 'passwd: files\ngroup: files\nhosts: files dns\n';

export async function makeBase(
  folder: string,
  arch: Architecture,
  node: NodePackage,
  debian: readonly DebianPackage[],
): Promise<void> {
  const at = (...parts: readonly string[]): string => join(folder, ...parts);
  const of = (name: string): DebianPackage => {
    const found = debian.find((each) => each.name === name);
    if (found === undefined) throw new Error(`Debian's ${name} was not fetched`);
    return found;
  };
  for (const path of ['etc/ssl/certs', 'tmp', 'usr/bin', 'usr/lib64', `usr/lib/${arch.triplet}`, 'var/lib']) {
    await mkdir(at(path), { recursive: true });
  }
  await symlink('usr/lib', at('lib'));
  await symlink('usr/lib64', at('lib64'));
  await copyFile(join(node.folder, 'bin/node'), at('usr/bin/node'));
  await chmod(at('usr/bin/node'), 0o755);
  for (const [name, sonames] of Object.entries(LIBRARIES)) {
    for (const soname of sonames) {
      const library = join('usr/lib', arch.triplet, soname);
      await copyFile(await realpath(join(of(name).folder, library)), at(library));
    }
  }
  const linker = join('usr', arch.interpreter);
  const linkerFile = await realpath(join(of('libc6').folder, 'usr/lib', arch.triplet, linkerName(arch)));
  await copyFile(linkerFile, at(linker));
  await chmod(at(linker), 0o755);

  await writeFile(at('etc/ssl/certs/ca-certificates.crt'), await caBundle(of('ca-certificates')));
  await copyFile(join(of('base-files').folder, 'usr/lib/os-release'), at('etc/os-release'));
  await writeFile(at('etc/passwd'), PASSWD);
  await writeFile(at('etc/group'), GROUP);
  await writeFile(at('etc/nsswitch.conf'), NSSWITCH);
  await writeNotice(at('usr/share/doc/nodejs/LICENSE'), join(node.folder, 'LICENSE'));
  for (const { name, control, folder: unpacked } of debian) {
    // Scanners for vulnerabilities look here in images without a package database.
    await mkdir(at('var/lib/dpkg/status.d'), { recursive: true });
    await writeFile(at('var/lib/dpkg/status.d', name), `${control}\n`);
    const documents = join(unpacked, 'usr/share/doc', name);
    await writeNotice(at('usr/share/doc', name, 'copyright'), join(await realpath(documents), 'copyright'));
  }
  await normalizeModes(folder);
  await chmod(at('tmp'), 0o1777);
}

export async function makeProgram(
  folder: string,
  bundled: string,
  packages: readonly NpmPackage[],
  license: string,
  sbom: string,
): Promise<void> {
  const program = join(folder, 'usr/lib/weir/cli');
  await cp(bundled, program, { recursive: true });
  await symlink('main.mjs', join(program, 'weir')); // `weir demo` starts nodes by that name, as in src/cli
  await mkdir(join(folder, 'usr/bin'), { recursive: true });
  await symlink('../lib/weir/cli/main.mjs', join(folder, 'usr/bin/weir'));
  await mkdir(join(folder, 'usr/share/doc/weir'), { recursive: true });
  await copyFile(license, join(folder, 'usr/share/doc/weir/LICENSE'));
  await writeFile(join(folder, 'usr/share/doc/weir/third-party'), thirdParty(packages));
  await mkdir(dirname(join(folder, SBOM_PATH)), { recursive: true });
  await writeFile(join(folder, SBOM_PATH), sbom);
  await normalizeModes(folder);
}

function thirdParty(packages: readonly NpmPackage[]): string {
  return packages
    .map(({ name, version, license, notice }) => `${name} ${version} (${license})\n\n${notice}\n`)
    .join(`\n${'-'.repeat(80)}\n\n`);
}

function linkerName({ interpreter }: Architecture): string {
  return interpreter.slice(interpreter.lastIndexOf('/') + 1);
}

/** Sets modes that depend neither on the umask nor on the modes of the sources. */
async function normalizeModes(folder: string): Promise<void> {
  await runOk('chmod', ['-R', 'u=rwX,go=rX', folder]);
}

async function writeNotice(target: string, source: string): Promise<void> {
  await mkdir(dirname(target), { recursive: true });
  await copyFile(source, target);
}
