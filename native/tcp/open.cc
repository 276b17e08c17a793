// SPDX-License-Identifier: MIT
#include "tcp/open.h"

#include "tcp/emit.h"
#include "tcp/lifecycle.h"
#include "tcp/receive.h"
#include "tcp/timers.h"

namespace millrace::tcp {

namespace {

constexpr Duration kReuseAfter = Duration::seconds(1);

bool conflicts(const Listener& a, const wire::Endpoint& local, bool dual_stack) {
  if (a.local.port != local.port) return false;
  if (a.local.address == local.address) return true;
  const bool a_any = a.local.address.is_unspecified();
  const bool b_any = local.address.is_unspecified();
  const bool same_family = a.local.address.is_v4() == local.address.is_v4();
  // As Linux with SO_REUSEADDR, which Node sets: a wildcard and an address of its own may not both
  // listen, and :: with dual stack takes the IPv4 wildcard's place too.
  if (a_any || b_any) return same_family || (a_any && a.dual_stack) || (b_any && dual_stack);
  return false;
}

// Linux's tcp_tw_reuse: a 4-tuple that has been in TIME-WAIT for a second may be used again by who
// holds it. Timestamps keep what is left of the old connection apart from the new one (RFC 6191,
// RFC 7323 5.3).
bool reuse_time_wait(Core& core, Instant now, FlowNode& node, Seq& used_before) {
  if (!core.options.reuse_time_wait || node.half_open) return false;
  Connection& c = static_cast<Connection&>(node);
  if (c.state != State::kTimeWait || c.owned || !c.timestamps) return false;
  if (c.life_at > now + core.options.time_wait - kReuseAfter) return false;
  used_before = c.snd.nxt;
  ++core.counters.tcp_time_wait_reused;
  bury(core, c);
  reap(core, c);
  return true;
}

}  // namespace

Result<Connection*> open_connection(Core& core, Instant now, const wire::Endpoint& local,
                                    const wire::Endpoint& remote, const ConnectionOptions& options,
                                    uint32_t user) {
  MR_ASSERT(local.port != 0);
  Result<net::Path> path = core.ip.resolve(local.address, remote.address);
  if (!path) return path.error();
  const wire::FlowKey key{{path->local, local.port}, remote};
  const uint64_t hash = core.flow_hash(key);
  Seq used_before;
  bool reused = false;
  if (FlowNode* other = core.find(key, hash)) {
    reused = reuse_time_wait(core, now, *other, used_before);
    if (!reused) return Error{EADDRINUSE};
  }
  Connection* c = create_connection(core, key, hash, options, *path);
  if (!c) return Error{ENOBUFS};
  ++core.counters.tcp_active_opens;
  c->user = user;
  c->owned = true;
  c->state = State::kSynSent;
  c->snd.iss = core.initial_seq(now, key);
  if (reused && c->snd.iss <= used_before) c->snd.iss = used_before + 65537;
  c->snd.una = c->snd.iss;
  c->snd.nxt = c->snd.end = c->snd.iss + 1;
  c->loss.stalled_since = now;  // of the first SYN, for its round trip
  update_mss(core, *c);
  send_syn(core, now, *c);
  if (c->soft_error == EHOSTUNREACH) c->soft_error = 0;  // perhaps it is only not resolved yet
  c->retransmit_mode = RetransmitMode::kTimeout;
  set_deadline(core, *c, c->retransmit_at, now + Duration::micros(RttEstimator::kInitialRtoUs));
  return c;
}

Result<Listener*> open_listener(Core& core, const wire::Endpoint& local, bool dual_stack,
                                uint32_t backlog, const ConnectionOptions& options, uint32_t user) {
  const Listener* other = core.ports.find(
      local.port, [&](const Listener& l) { return conflicts(l, local, dual_stack); });
  if (other) return Error{EADDRINUSE};
  Listener* l = core.listeners.create();
  if (!l) return Error{ENFILE};
  l->local = local;
  l->dual_stack = dual_stack;
  l->backlog = backlog;
  l->options = options;
  l->user = user;
  core.ports.insert(l, local.port);
  core.all_listeners.push_back(l);
  return l;
}

void close_listener(Core& core, Instant now, Listener& l) {
  while (HalfOpen* h = l.half_open.front()) destroy_half_open(core, *h);
  while (Connection* c = l.acceptable.front()) {
    leave_accept_queue(*c);
    if (c->state != State::kClosed) send_reset(core, now, *c);
    bury(core, *c);
    reap(core, *c);
  }
  core.ports.remove(&l);
  static_cast<ListNode<AllTag>&>(l).unlink();
  core.listeners.destroy(&l);
}

Connection* accept_connection(Core&, Listener& l, uint32_t user) {
  Connection* c = l.acceptable.pop_front();
  if (!c) return nullptr;
  --l.ready;
  c->queued = false;
  c->listener = nullptr;
  c->owned = true;
  c->user = user;
  return c;
}

}  // namespace millrace::tcp
