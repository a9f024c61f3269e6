/**
 * The Debian part of the image, for each architecture: the shared libraries that Node.js is linked with, the certificate
 * authorities, and the files by which scanners know a Debian. Debian's apt fetches and verifies them, with a state of its
 * own: the machine's state is left alone and needs no foreign architecture.
 */
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runOk } from './command.ts';
import type { Architecture } from './platforms.ts';

export const SUITE = 'trixie';
const DEFAULT_MIRROR = 'http://deb.debian.org';
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';

/** gcc-14-base has the licences of the libraries of GCC. */
const PACKAGES = [
  'base-files',
  'ca-certificates',
  'gcc-14-base',
  'libatomic1',
  'libc6',
  'libgcc-s1',
  'libstdc++6',
] as const;

export interface DebianPackage {
  readonly name: string;
  readonly version: string;
  readonly architecture: string;
  readonly sha256: string;
  /** Its control file. */
  readonly control: string;
  /** Folder in which all of them are unpacked. */
  readonly folder: string;
}

/** Fetches packages that are newer than those of `cache`, and unpacks them there. */
export async function fetchDebian(cache: string, arch: Architecture): Promise<readonly DebianPackage[]> {
  const home = join(cache, `debian-${SUITE}-${arch.name}`);
  const pool = join(home, 'pool');
  await mkdir(join(home, 'state', 'lists', 'partial'), { recursive: true });
  await mkdir(join(home, 'cache', 'archives', 'partial'), { recursive: true });
  await rm(pool, { recursive: true, force: true });
  await mkdir(pool, { recursive: true });
  await writeFile(join(home, 'status'), '');
  await writeFile(join(home, 'sources.list'), sourcesList(arch));
  const apt = (...args: readonly string[]): Promise<string> =>
    runOk('apt-get', [...aptOptions(home, arch), ...args], { cwd: pool });
  await apt('update');
  await apt('download', ...PACKAGES);
  const files = (await readdir(pool)).toSorted();
  const unpacked = join(home, 'unpacked');
  await rm(unpacked, { recursive: true, force: true });
  await mkdir(unpacked);
  return Promise.all(files.map((file) => unpack(join(pool, file), unpacked)));
}

function sourcesList(arch: Architecture): string {
  const mirror = process.env['DEBIAN_MIRROR'] ?? DEFAULT_MIRROR;
  const options = `[arch=${arch.name} signed-by=${KEYRING}]`;
  return [
    `deb ${options} ${mirror}/debian ${SUITE} main`,
    `deb ${options} ${mirror}/debian ${SUITE}-updates main`,
    `deb ${options} ${mirror}/debian-security ${SUITE}-security main`,
    '',
  ].join('\n');
}

function aptOptions(home: string, arch: Architecture): readonly string[] {
  const options = {
    'Dir::State': join(home, 'state'),
    'Dir::State::status': join(home, 'status'),
    'Dir::Cache': join(home, 'cache'),
    'Dir::Etc::SourceList': join(home, 'sources.list'),
    'Dir::Etc::SourceParts': '-',
    'APT::Architecture': arch.name,
    'APT::Architectures': arch.name,
    'APT::Sandbox::User': 'root', // its own user could not write here
    'APT::Update::Error-Mode': 'any', // a mirror that cannot be reached must not go unnoticed
    'Acquire::Languages': 'none',
    'Acquire::Retries': '3',
  };
  return ['-qq', ...Object.entries(options).flatMap(([name, value]) => ['-o', `${name}=${value}`])];
}

async function unpack(file: string, folder: string): Promise<DebianPackage> {
  const field = (name: string): Promise<string> => runOk('dpkg-deb', ['--field', file, name]);
  const [name, version, architecture] = [
    await field('Package'),
    await field('Version'),
    await field('Architecture'),
  ];
  await runOk('dpkg-deb', ['--extract', file, folder]);
  const [sha256 = ''] = (await runOk('sha256sum', [file])).split(' ');
  return { name, version, architecture, sha256, control: await runOk('dpkg-deb', ['--field', file]), folder };
}

/** All certificate authorities that Debian ships, in one file, as its update-ca-certificates writes it. */
export async function caBundle(caCertificates: DebianPackage): Promise<string> {
  const folder = join(caCertificates.folder, 'usr/share/ca-certificates/mozilla');
  const names = (await readdir(folder)).filter((name) => name.endsWith('.crt')).toSorted();
  const texts = await Promise.all(names.map((name) => readFile(join(folder, name), 'utf8')));
  return texts.map((text) => `${text.trimEnd()}\n`).join('');
}
