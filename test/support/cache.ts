/** The folder of what test/setup.sh makes once and keeps: trees of Debian, and the conformance suite. */
export const TEST_CACHE: string = process.env['WEIR_TEST_CACHE'] ?? '/var/cache/weir-test';
