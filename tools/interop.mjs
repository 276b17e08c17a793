// Every kind of kernel peer (test/e2e/interop.test.ts), 10 MB each way, as root, in network namespaces of its own:
//
//   npm run interop
import { runE2e } from './one-e2e.mjs';

runE2e('interop', { E2E_INTEROP: 'all' });
