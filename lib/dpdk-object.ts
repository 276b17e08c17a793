/** Where the shared object of port dpdk is: compiled with the addon where DPDK's headers are, never loaded unasked. */
import { join } from 'node:path';

export const DPDK_OBJECT = join(__dirname, '..', '..', 'build', 'Release', 'dpdk', 'millrace_dpdk.so');
