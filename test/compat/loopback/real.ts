/** Makes the tests that are imported after it run over the real engine and its in-process port. */
process.env['TEST_ENGINE'] = 'real';
process.env['MILLRACE_PORT'] = 'loopback';
