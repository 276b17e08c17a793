/** Makes the tests that are imported after it run over the real engine and a port within the process. */
import { inProcess } from '../in-process';

process.env['TEST_ENGINE'] = 'real';
Object.assign(process.env, inProcess);
