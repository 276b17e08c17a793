// SPDX-License-Identifier: MIT
#include "addon/stack_wrap.h"

#include <net/if.h>

#include <array>
#include <cerrno>
#include <cstdlib>

#include "addon/at_exit.h"
#include "addon/option_reader.h"
#include "base/clock_os.h"

namespace millrace {

namespace {

constexpr size_t kPiecesMax = 64;  // of one write by call

OpenConfig open_config(OptionReader& o) {
  OpenConfig config;
  config.port = o.text("port");
  o.each("interfaces", [&](napi_value name) { config.interfaces.push_back(o.to_text(name)); });
  config.dpdk.arguments = o.text("dpdkArgs");
  config.dpdk.device = o.text("dpdkDevice");
  config.dpdk.addresses = o.text("dpdkAddress");
  config.dpdk.neighbors = o.text("dpdkNeighbors");
  config.dpdk.tap = o.text("dpdkTap");
  config.dpdk.object_file = o.text("dpdkObject");
  config.dpdk.shared = o.flag("dpdkShared");
  config.dpdk.verbose = o.flag("debug");
  config.queues = o.number("queues");
  config.xdp_mode = o.text("xdpMode");
  config.fault = o.text("fault");
  config.pcap_file = o.text("pcapFile");
  StackConfig& stack = config.stack;
  stack.clock = monotonic_now;
  stack.frames = o.number("frames");
  stack.frame_bytes = o.number("frameBytes");
  stack.shared.sockets = o.number("socketsMax");
  stack.udp.sockets_max = o.number("udpSocketsMax");
  stack.udp.receive_buffer_bytes = o.number("udpReceiveBufferBytes");
  stack.tcp.connections_max = o.number("connectionsMax");
  stack.tcp.listeners_max = o.number("listenersMax");
  stack.tcp.send_buffer_bytes = o.number("sendBufferBytes");
  stack.tcp.receive_buffer_bytes = o.number("receiveBufferBytes");
  stack.tcp.hold_acks = true;
  stack.tcp.reuse_time_wait = is_in_process(config);
  tcp::ConnectionOptions& defaults = stack.tcp.defaults;
  const std::string congestion = o.text("congestion");
  defaults.congestion = congestion == "newreno" ? tcp::CongestionControl::kNewReno
                        : congestion == "bbr"   ? tcp::CongestionControl::kBbr
                                                : tcp::CongestionControl::kCubic;
  const std::string ecn = o.text("ecn");
  stack.tcp.ecn = ecn == "on" ? tcp::Ecn::kOn : ecn == "off" ? tcp::Ecn::kOff : tcp::Ecn::kPassive;
  const std::string probing = o.text("mtuProbing");
  stack.tcp.mtu_probing = probing == "always"       ? tcp::MtuProbing::kAlways
                          : probing == "black-hole" ? tcp::MtuProbing::kBlackHole
                                                    : tcp::MtuProbing::kOff;
  stack.net.path_mtu_min_bytes = o.number("pathMtuMinBytes");
  // In this process every segment arrives at once: there is nothing to gain by holding one back.
  defaults.nodelay = is_in_process(config);
  defaults.keepalive = o.flag("keepalive");
  defaults.keepalive_idle = Duration::seconds(o.number("keepaliveIdleSeconds"));
  return config;
}

// A slot or a negative errno.
template <typename T>
Napi::Value outcome(Napi::Env env, Result<T>& result, uint32_t slot) {
  return Napi::Number::New(env, result.ok() ? double(slot) : -double(result.error().code));
}

}  // namespace

Napi::Function StackWrap::define(Napi::Env env) {
  using W = StackWrap;
  return DefineClass(env, "Stack",
                     {InstanceMethod<&W::shared_memory>("sharedMemory"),
                      InstanceMethod<&W::frame_memory>("frameMemory"),
                      InstanceMethod<&W::layout>("layout"),
                      InstanceMethod<&W::add_slab>("addSlab"),
                      InstanceMethod<&W::flush>("flush"),
                      InstanceMethod<&W::hold>("hold"),
                      InstanceMethod<&W::at_round_end>("atRoundEnd"),
                      InstanceMethod<&W::close>("close"),
                      InstanceMethod<&W::settle>("settle"),
                      InstanceMethod<&W::probe>("probe"),
                      InstanceMethod<&W::report>("report"),
                      InstanceMethod<&W::create_context>("createContext"),
                      InstanceMethod<&W::free_context>("freeContext"),
                      InstanceMethod<&W::tcp_reaches>("tcpReaches"),
                      InstanceMethod<&W::tcp_connect>("tcpConnect"),
                      InstanceMethod<&W::tcp_listen>("tcpListen"),
                      InstanceMethod<&W::close_at_exit>("closeAtExit"),
                      InstanceMethod<&W::keep_at_exit>("keepAtExit"),
                      InstanceMethod<&W::tcp_peer>("tcpPeer"),
                      InstanceMethod<&W::tcp_hand_over>("tcpHandOver"),
                      InstanceMethod<&W::tcp_info>("tcpInfo"),
                      InstanceMethod<&W::tcp_take>("tcpTake"),
                      InstanceMethod<&W::tcp_write>("tcpWrite"),
                      InstanceMethod<&W::tcp_listener_congestion>("tcpListenerCongestion"),
                      InstanceMethod<&W::udp_bind>("udpBind"),
                      InstanceMethod<&W::udp_connect>("udpConnect"),
                      InstanceMethod<&W::udp_disconnect>("udpDisconnect"),
                      InstanceMethod<&W::udp_membership>("udpMembership"),
                      InstanceMethod<&W::udp_limit>("udpLimit"),
                      InstanceMethod<&W::close_socket>("closeSocket"),
                      InstanceMethod<&W::counter_names>("counterNames"),
                      InstanceMethod<&W::counters>("counters"),
                      InstanceMethod<&W::ports>("ports"),
                      InstanceMethod<&W::refusals>("refusals"),
                      InstanceMethod<&W::take_refusal>("takeRefusal")});
}

// new Stack(config, dispatch, nextPost, runPost); throws an Error with `errno` when it cannot be
// opened.
StackWrap::StackWrap(const Napi::CallbackInfo& info) : Napi::ObjectWrap<StackWrap>(info) {
  const Napi::Env env = info.Env();
  OptionReader o(env, info[0]);
  const OpenConfig config = open_config(o);
  DriverConfig driver;
  driver.guardian_after = Duration::millis(o.number("guardianMs"));
  const Duration linger = Duration::millis(o.number("lingerMs"));
  const LoopConfig loop{o.number("spinUs"), is_in_process(config)};
  if (o.failed()) return;  // the thread is being ended: nobody will use this
  OpenError failure;
  auto stack = open_stack(config, failure);
  if (!stack) {
    auto error = Napi::Error::New(env, failure.text);
    error.Set("errno", Napi::Number::New(env, -failure.code));
    error.ThrowAsJavaScriptException();
    return;
  }
  driver_ = std::make_shared<Driver>(std::move(stack), driver);
  settle_at_exit(driver_, linger);
  loop_ = std::make_unique<Loop>(env, driver_, loop, info[1].As<Napi::Function>(),
                                 info[2].As<Napi::Function>(), info[3].As<Napi::Function>());
  napi_add_async_cleanup_hook(
      env,
      [](napi_async_cleanup_hook_handle, void* self) { static_cast<StackWrap*>(self)->end(true); },
      this, &cleanup_);
}

StackWrap::~StackWrap() = default;

// Sockets are settled, libuv's handles closed; memory stays until its last ArrayBuffer is gone.
void StackWrap::end(bool at_cleanup) {
  if (!loop_) return;
  settle_now(driver_);
  loop_->close(
      [](void* argument) {
        auto* self = static_cast<StackWrap*>(argument);
        self->loop_.reset();
        self->driver_.reset();
        if (self->cleanup_) napi_remove_async_cleanup_hook(self->cleanup_);
        self->cleanup_ = nullptr;
      },
      this);
}

void StackWrap::close(Info) {
  end(false);
}

// --- memory

Napi::Value StackWrap::external(Napi::Env env, uint8_t* data, size_t bytes) {
  auto* keep = new std::shared_ptr<Driver>(driver_);
  return Napi::ArrayBuffer::New(
      env, data, bytes, [](Napi::Env, void*, std::shared_ptr<Driver>* hint) { delete hint; }, keep);
}

Napi::Value StackWrap::shared_memory(Info info) {
  const SharedArea& shared = driver_->stack().shared();
  return external(info.Env(), shared.data(), shared.bytes());
}

Napi::Value StackWrap::frame_memory(Info info) {
  FramePool& pool = driver_->stack().pool();
  return external(info.Env(), pool.memory(), pool.memory_bytes());
}

Napi::Value StackWrap::layout(Info info) {
  const SharedArea& shared = driver_->stack().shared();
  auto o = Napi::Object::New(info.Env());
  const auto put = [&o](const char* name, uint32_t value) { o.Set(name, double(value)); };
  put("commandsWord", shared.commands_word());
  put("eventsWord", shared.events_word());
  put("framesWord", shared.frames_word());
  put("socketsWord", shared.sockets_word());
  put("commands", shared.sizes().commands);
  put("events", shared.sizes().events);
  put("frames", shared.sizes().frames);
  put("sockets", shared.sizes().sockets);
  put("frameBytes", driver_->stack().pool().frame_bytes());
  put("frameHeadroom", FramePool::kTxHeadroom);
  return o;
}

void StackWrap::add_slab(Info info) {
  auto slab = info[0].As<Napi::ArrayBuffer>();
  auto* memory = static_cast<uint8_t*>(slab.Data());
  const uint32_t bytes = uint32_t(slab.ByteLength());
  const uint32_t id = info[1].As<Napi::Number>().Uint32Value();
  driver_->with_stack([&](Stack& stack, Instant) {
    stack.add_slab(memory, bytes, id);
    return 0;
  });
}

// --- running

void StackWrap::flush(Info) {
  if (driver_) driver_->turn_early();
}

void StackWrap::at_round_end(Info info) {
  if (loop_) loop_->at_round_end(info[0].As<Napi::Function>(), info[1].As<Napi::Function>());
}

void StackWrap::hold(Info info) {
  if (loop_) loop_->hold(info[0].As<Napi::Boolean>());
}

void StackWrap::settle(Info) {
  if (loop_) loop_->settle();
}

void StackWrap::probe(Info) {}

void StackWrap::report(Info info) {
  if (loop_) loop_->report(info[0]);
}

Napi::Value StackWrap::create_context(Info info) {
  return Napi::Number::New(info.Env(), loop_ ? loop_->contexts().create(info[0], info[1]) : 0);
}

void StackWrap::free_context(Info info) {
  if (loop_) loop_->contexts().release(info[0].As<Napi::Number>().Uint32Value());
}

// --- sockets. Addresses lie in the shared header: the remote one first, the local one behind it.

wire::Endpoint StackWrap::endpoint(uint32_t offset, uint32_t port) const {
  const uint32_t* words = driver_->stack().shared().words() + header::kAddresses + offset;
  return {get_address(words), uint16_t(port)};
}

Napi::Value StackWrap::tcp_reaches(Info info) {
  const auto remote = endpoint(0, info[0].As<Napi::Number>().Uint32Value());
  return Napi::Boolean::New(
      info.Env(), driver_->with_stack([&](Stack& s, Instant) { return s.tcp_reaches(remote); }));
}

Napi::Value StackWrap::tcp_connect(Info info) {
  const auto remote = endpoint(0, info[0].As<Napi::Number>().Uint32Value());
  const auto local = endpoint(4, info[1].As<Napi::Number>().Uint32Value());
  auto opened = driver_->with_stack(
      [&](Stack& stack, Instant now) { return stack.connect(now, local, remote); });
  if (opened.ok()) {
    uint32_t* words = driver_->stack().shared().words() + header::kAddresses;
    put_address(words + 4, opened->flow.local.address);
    words[8] = opened->flow.local.port;
  }
  return outcome(info.Env(), opened, opened.ok() ? opened->slot : 0);
}

Napi::Value StackWrap::tcp_listen(Info info) {
  const auto local = endpoint(4, info[0].As<Napi::Number>().Uint32Value());
  const bool dual_stack = info[1].As<Napi::Boolean>();
  const uint32_t backlog = info[2].As<Napi::Number>().Uint32Value();
  auto slot = driver_->with_stack(
      [&](Stack& stack, Instant now) { return stack.listen(now, local, dual_stack, backlog); });
  return outcome(info.Env(), slot, slot.ok() ? *slot : 0);
}

// The slot of the other end, -1: not in this stack.
Napi::Value StackWrap::tcp_peer(Info info) {
  const uint32_t slot = info[0].As<Napi::Number>().Uint32Value();
  const auto peer = driver_->with_stack([&](Stack& stack, Instant) { return stack.peer_of(slot); });
  return Napi::Number::New(info.Env(), peer ? double(*peer) : -1.0);
}

// ([{slot, unread: Uint8Array[], wide}]): a negative errno, or [{fd, unsent: Buffer}].
Napi::Value StackWrap::tcp_hand_over(Info info) {
  const Napi::Env env = info.Env();
  std::vector<Stack::Leaving> ends;
  OptionReader list(env, info[0]);
  bool failed = false;
  list.each_element([&](napi_value element) {
    OptionReader o(env, element);
    Stack::Leaving end;
    end.slot = o.number("slot");
    end.wide = o.flag("wide");
    o.each("unread", [&](napi_value value) {
      const Napi::Uint8Array bytes(env, value);
      end.unread.push_back({bytes.Data(), bytes.ByteLength()});
    });
    failed |= o.failed();
    ends.push_back(std::move(end));
  });
  if (failed || list.failed()) return Napi::Number::New(env, -EINTR);  // the thread is being ended
  std::vector<Stack::HandedOver> made;
  const Error error = driver_->with_stack(
      [&](Stack& stack, Instant now) { return stack.hand_over(now, ends, made); });
  if (error) return Napi::Number::New(env, -error.code);
  auto out = Napi::Array::New(env, made.size());
  for (uint32_t i = 0; i < made.size(); ++i) {
    auto o = Napi::Object::New(env);
    o.Set("fd", double(made[i].fd));
    o.Set("unsent", Napi::Buffer<uint8_t>::Copy(env, made[i].unsent.data(), made[i].unsent.size()));
    out.Set(i, o);
  }
  return out;
}

// (slot, algorithm)
void StackWrap::tcp_listener_congestion(Info info) {
  const uint32_t slot = info[0].As<Napi::Number>().Uint32Value();
  const uint32_t algorithm = info[1].As<Napi::Number>().Uint32Value();
  MR_ASSERT(algorithm < tcp::kCongestionControls);
  driver_->with_stack([&](Stack& stack, Instant) {
    stack.set_listener_congestion(slot, tcp::CongestionControl(algorithm));
    return 0;
  });
}

// (slot): null, or the fields of NativeTcpInfo.
Napi::Value StackWrap::tcp_info(Info info) {
  const Napi::Env env = info.Env();
  const uint32_t slot = info[0].As<Napi::Number>().Uint32Value();
  const auto i =
      driver_->with_stack([&](Stack& stack, Instant now) { return stack.tcp_info(now, slot); });
  if (!i) return env.Null();
  auto o = Napi::Object::New(env);
  const auto put = [&o](const char* name, uint64_t value) { o.Set(name, double(value)); };
  put("state", i->state);
  o.Set("congestion", i->congestion);
  put("mssBytes", i->mss_bytes);
  put("congestionWindowBytes", i->cwnd_bytes);
  put("slowStartThresholdBytes", i->ssthresh_bytes);
  put("pacingBytesPerS", i->pacing_bytes_per_s);
  put("rttUs", i->srtt_us);
  put("rttVarianceUs", i->rttvar_us);
  put("rttMinUs", i->min_rtt_us);
  put("rtoUs", i->rto_us);
  put("sendWindowBytes", i->send_window_bytes);
  put("receiveWindowBytes", i->receive_window_bytes);
  put("bytesSent", i->bytes_sent);
  put("bytesAcknowledged", i->bytes_acked);
  put("bytesReceived", i->bytes_received);
  put("bytesRetransmitted", i->bytes_retransmitted);
  put("segmentsSent", i->segments_sent);
  put("segmentsReceived", i->segments_received);
  put("segmentsRetransmitted", i->segments_retransmitted);
  return o;
}

// (slot, generation): the bytes that a bulk event stands for, in memory of their own; undefined:
// there are none any more.
Napi::Value StackWrap::tcp_take(Info info) {
  const Napi::Env env = info.Env();
  const uint32_t slot = info[0].As<Napi::Number>().Uint32Value();
  const uint32_t generation = info[1].As<Napi::Number>().Uint32Value();
  const uint32_t bytes = driver_->with_stack(
      [&](Stack& stack, Instant) { return stack.answer_bulk(slot, generation); });
  if (bytes == 0) return env.Undefined();
  // Without the baton: this may collect garbage. Node does not zero it, and it is filled below.
  void* memory = nullptr;
  napi_value buffer = nullptr;
  const bool made = napi_create_buffer(env, bytes, &memory, &buffer) == napi_ok;
  driver_->with_stack([&](Stack& stack, Instant now) {
    if (made) {
      stack.take_bulk(now, slot, {static_cast<uint8_t*>(memory), bytes});
    } else {
      stack.repeat_bulk(slot);
    }
    return 0;
  });
  loop_->run_again();
  return made ? Napi::Value(env, buffer) : env.Undefined();
}

// (slot, generation, [Uint8Array, ...], bytes): writes the first `bytes` of them, or as many as
// there is memory for, of so many pieces, and returns their number: JavaScript has another way for
// the rest.
Napi::Value StackWrap::tcp_write(Info info) {
  const Napi::Env env = info.Env();
  const uint32_t slot = info[0].As<Napi::Number>().Uint32Value();
  const uint32_t generation = info[1].As<Napi::Number>().Uint32Value();
  const uint32_t limit = info[3].As<Napi::Number>().Uint32Value();
  std::array<std::span<const uint8_t>, kPiecesMax> pieces;
  size_t count = 0;
  OptionReader(env, info[2]).each_element([&](napi_value element) {
    void* data = nullptr;
    size_t bytes = 0;
    if (count < pieces.size() && napi_get_typedarray_info(env, element, nullptr, &bytes, &data,
                                                          nullptr, nullptr) == napi_ok) {
      pieces[count++] = {static_cast<const uint8_t*>(data), bytes};
    }
  });
  bool enough = false;
  const uint32_t taken = driver_->with_stack([&](Stack& stack, Instant now) {
    uint32_t total = 0;
    for (const auto& piece : std::span(pieces).first(count)) {
      const auto wanted = piece.first(std::min<size_t>(piece.size(), limit - total));
      const uint32_t n = stack.write_bulk(now, slot, generation, wanted);
      total += n;
      if (n < piece.size()) break;
    }
    enough = stack.writes_enough();
    return total;
  });
  if (enough) driver_->turn_early();
  loop_->run_again();
  return Napi::Number::New(env, taken);
}

void StackWrap::close_at_exit(Info info) {
  millrace::close_at_exit(driver_, info[0].As<Napi::Number>().Int32Value());
}

void StackWrap::keep_at_exit(Info info) {
  millrace::keep_at_exit(driver_, info[0].As<Napi::Number>().Int32Value());
}

Napi::Value StackWrap::udp_bind(Info info) {
  const auto local = endpoint(4, info[0].As<Napi::Number>().Uint32Value());
  const bool dual_stack = info[1].As<Napi::Boolean>();
  auto slot = driver_->with_stack(
      [&](Stack& stack, Instant now) { return stack.bind(now, local, dual_stack); });
  return outcome(info.Env(), slot, slot.ok() ? *slot : 0);
}

Napi::Value StackWrap::udp_connect(Info info) {
  const uint32_t slot = info[0].As<Napi::Number>().Uint32Value();
  const auto remote = endpoint(0, info[1].As<Napi::Number>().Uint32Value());
  const Error error =
      driver_->with_stack([&](Stack& stack, Instant) { return stack.udp_connect(slot, remote); });
  return Napi::Number::New(info.Env(), -error.code);
}

void StackWrap::udp_disconnect(Info info) {
  const uint32_t slot = info[0].As<Napi::Number>().Uint32Value();
  driver_->with_stack([&](Stack& stack, Instant) {
    stack.udp_disconnect(slot);
    return 0;
  });
}

// (slot, join, zone): group, interface and source are in the scratch words; `zone` names the
// interface where an address cannot (IPv6), else it is empty.
Napi::Value StackWrap::udp_membership(Info info) {
  const uint32_t slot = info[0].As<Napi::Number>().Uint32Value();
  const bool join = info[1].As<Napi::Boolean>();
  const std::string zone = info[2].As<Napi::String>();
  Stack::Membership wanted{.group = endpoint(0, 0).address,
                           .source = endpoint(12, 0).address,
                           .by = endpoint(4, 0).address};
  if (!zone.empty()) {
    const bool number = zone.find_first_not_of("0123456789") == std::string::npos;
    wanted.ifindex =
        number ? uint32_t(std::strtoul(zone.c_str(), nullptr, 10)) : if_nametoindex(zone.c_str());
    if (wanted.ifindex == 0) return Napi::Number::New(info.Env(), -ENODEV);
  }
  const Error error = driver_->with_stack([&](Stack& stack, Instant now) {
    return join ? stack.udp_join(now, slot, wanted) : stack.udp_leave(slot, wanted);
  });
  return Napi::Number::New(info.Env(), -error.code);
}

Napi::Value StackWrap::udp_limit(Info info) {
  const uint32_t slot = info[0].As<Napi::Number>().Uint32Value();
  const auto remote = endpoint(0, info[1].As<Napi::Number>().Uint32Value());
  return Napi::Number::New(info.Env(), driver_->with_stack([&](Stack& stack, Instant) {
    return stack.udp_limit_bytes(slot, remote);
  }));
}

void StackWrap::close_socket(Info info) {
  const uint32_t slot = info[0].As<Napi::Number>().Uint32Value();
  driver_->with_stack([&](Stack& stack, Instant now) {
    stack.close_now(now, slot);
    return 0;
  });
}

// --- facts

// [[group, name, meaning], ...] in the order of counters().
Napi::Value StackWrap::counter_names(Info info) {
  const Napi::Env env = info.Env();
  auto list = Napi::Array::New(env);
  const auto add = [&](const char* group, const char* name, const char* meaning) {
    auto entry = Napi::Array::New(env, 3);
    entry.Set(0u, group);
    entry.Set(1u, name);
    entry.Set(2u, meaning);
    list.Set(list.Length(), entry);
  };
  driver_->stack().each_counter([&](const char* group, const char* name, const char* meaning,
                                    uint64_t) { add(group, name, meaning); });
  return list;
}

Napi::Value StackWrap::counters(Info info) {
  auto list = Napi::Array::New(info.Env());
  driver_->with_stack([&](Stack& stack, Instant) {
    uint32_t i = 0;
    stack.each_counter([&](const char*, const char*, const char*, uint64_t value) {
      list.Set(i++, Napi::Number::New(info.Env(), double(value)));
    });
    return 0;
  });
  return list;
}

Napi::Value StackWrap::ports(Info info) {
  const Napi::Env env = info.Env();
  auto list = Napi::Array::New(env);
  for (const auto& port : driver_->stack().ports()) {
    auto o = Napi::Object::New(env);
    o.Set("name", port->info().name);
    o.Set("mode", port->info().mode);
    o.Set("queues", double(port->info().queues));
    o.Set("mtuBytes", double(port->info().mtu_bytes));
    list.Set(list.Length(), o);
  }
  return list;
}

// Steering rules that could not be had: [[rule and reason, times], ...], the newest of each
// interface behind its others.
Napi::Value StackWrap::refusals(Info info) {
  const Napi::Env env = info.Env();
  const auto refused = driver_->with_stack([](Stack& stack, Instant) {
    return stack.director() ? stack.director()->refusals() : std::vector<steer::Refusal>();
  });
  auto list = Napi::Array::New(env, refused.size());
  for (uint32_t i = 0; i < refused.size(); ++i) {
    auto entry = Napi::Array::New(env, 2);
    entry.Set(0u, refused[i].text);
    entry.Set(1u, double(refused[i].times));
    list.Set(i, entry);
  }
  return list;
}

Napi::Value StackWrap::take_refusal(Info info) {
  return Napi::String::New(info.Env(), driver_->with_stack([](Stack& stack, Instant) {
    return stack.director() ? stack.director()->take_refusal() : std::string();
  }));
}

}  // namespace millrace
