/** Where libuv's own versions differ in what a program sees. */

/**
 * Until 1.52 (libuv#4997) libuv ends a stream that it finds hung up behind bytes which it has just read: the error itself
 * it does not read. Which it does shows in nothing but its version.
 */
export const HANG_UP_IS_END = isOlder(process.versions.uv, [1, 52]);

function isOlder(version: string, [major, minor]: readonly [number, number]): boolean {
  const [first = 0, second = 0] = version.split('.').map(Number);
  return first < major || (first === major && second < minor);
}
