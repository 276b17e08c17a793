/** Path of a helper of test/tools, compiled when it is missing or older than its sources. */
export function nativeTool(name: 'bridge' | 'flood' | 'load'): string;
