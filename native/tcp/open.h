// SPDX-License-Identifier: MIT
// Opening: connect, listen, accept, and closing what listens.
#pragma once

#include "tcp/core.h"

namespace millrace::tcp {

Result<Connection*> open_connection(Core& core, Instant now, const wire::Endpoint& local,
                                    const wire::Endpoint& remote, const ConnectionOptions& options,
                                    uint32_t user);
Result<Listener*> open_listener(Core& core, const wire::Endpoint& local, bool dual_stack,
                                uint32_t backlog, const ConnectionOptions& options, uint32_t user);
void close_listener(Core& core, Instant now, Listener& listener);
Connection* accept_connection(Core& core, Listener& listener, uint32_t user);

}  // namespace millrace::tcp
