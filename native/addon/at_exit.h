// SPDX-License-Identifier: MIT
// The end of the process. exit(3) runs no cleanup of Node's environments, yet peers must get what
// was written before it: an atexit handler lets every stack that is still alive settle. Nobody may
// get through to the process while it only waits for that, so what listens is closed before.
#pragma once

#include <memory>

#include "stack/driver.h"

namespace millrace {

// From now on `driver` is settled at the end of the process, waiting `at_most` for its peers.
void settle_at_exit(const std::shared_ptr<Driver>& driver, Duration at_most);
// At the end of the process `descriptor` is closed before `driver` settles, unless it is kept again
// before: whoever closes it earlier must say so, for its number may be another file's then.
void close_at_exit(const std::shared_ptr<Driver>& driver, int descriptor);
void keep_at_exit(const std::shared_ptr<Driver>& driver, int descriptor);
// Settles it now, once and for all.
void settle_now(const std::shared_ptr<Driver>& driver);

}  // namespace millrace
