// SPDX-License-Identifier: MIT
#include "port/dpdk/device.h"

#include <rte_bus.h>
#include <rte_dev.h>
#include <rte_devargs.h>
#include <rte_errno.h>
#include <rte_flow.h>
#include <rte_mbuf.h>
#include <rte_mbuf_pool_ops.h>
#include <rte_mempool.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <string_view>
#include <utility>

#include "base/clock_os.h"
#include "port/dpdk/eal.h"

namespace millrace::dpdk {
namespace {

constexpr uint16_t kReceiveSlots = 2048;
constexpr uint16_t kTransmitSlots = 1024;
constexpr uint32_t kSpareBuffers = 512;  // being copied, or on the way within a driver
constexpr uint32_t kPoolCache = 250;
constexpr int kFamilyXdp = 44;
constexpr uint32_t kQueuesMax = 16;

// Open AF_XDP sockets of this process, in the order of their numbers.
std::vector<int> xdp_sockets() {
  std::vector<int> found = open_descriptors();
  std::erase_if(found, [](int fd) {
    int family = 0;
    socklen_t length = sizeof(family);
    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &length) != 0 || family != kFamilyXdp;
  });
  return found;
}

// Bifurcated: the kernel has an interface of its own on the card, and gets what no rule takes.
bool shares_with_kernel(std::string_view driver) {
  return driver.starts_with("mlx5") || driver == "net_mlx4" || driver == "net_tap";
}

// As rte_pktmbuf_pool_create() makes it, but for one thing. The driver for AF_XDP gives the pool to
// the kernel as packet memory and takes it for an array of buffers, one behind the other; DPDK
// leaves gaps so that no buffer crosses a page, after which the last ones lie outside of what the
// driver has registered. That driver has no use for buffers within a page.
rte_mempool* create_pool(const char* name, uint32_t buffers, bool packed) {
  const unsigned flags = packed ? RTE_MEMPOOL_F_NO_IOVA_CONTIG : 0;
  const unsigned bytes = sizeof(rte_mbuf) + RTE_MBUF_DEFAULT_BUF_SIZE;
  rte_mempool* pool = rte_mempool_create_empty(
      name, buffers, bytes, kPoolCache, sizeof(rte_pktmbuf_pool_private), SOCKET_ID_ANY, flags);
  if (!pool) return nullptr;
  rte_pktmbuf_pool_private room{};
  room.mbuf_data_room_size = RTE_MBUF_DEFAULT_BUF_SIZE;
  if (const int result = rte_mempool_set_ops_byname(pool, rte_mbuf_best_mempool_ops(), nullptr)) {
    rte_errno = -result;
    rte_mempool_free(pool);
    return nullptr;
  }
  rte_pktmbuf_pool_init(pool, &room);
  if (const int result = rte_mempool_populate_default(pool); result < 0) {
    rte_errno = -result;
    rte_mempool_free(pool);
    return nullptr;
  }
  rte_mempool_obj_iter(pool, rte_pktmbuf_init, nullptr);
  return pool;
}

void say_devices(char* text, size_t bytes) {
  size_t used = 0;
  text[0] = '\0';
  uint16_t id;
  RTE_ETH_FOREACH_DEV(id) {
    char name[RTE_ETH_NAME_MAX_LEN] = "";
    if (rte_eth_dev_get_name_by_port(id, name) != 0) continue;
    const int n = snprintf(text + used, bytes - used, "%s%s", used ? ", " : "", name);
    if (n < 0 || size_t(n) >= bytes - used) return;
    used += size_t(n);
  }
}

}  // namespace

bool Device::fail(SetupError& error, int result, const char* what) const {
  const int code = result < 0 ? -result : EIO;
  const char* said = last_complaint();
  error.set(code, "DPDK device %s (%s): %s: %s%s%s", name_, driver(), what, std::strerror(code),
            *said ? ": " : "", said);
  return false;
}

bool Device::find(const char* name, SetupError& error) {
  if (*name) {
    if (rte_eth_dev_get_port_by_name(name, &id_) == 0) return true;
    id_ = RTE_MAX_ETHPORTS;
    char known[160];
    say_devices(known, sizeof(known));
    error.set(ENODEV, "there is no DPDK device \"%s\"; those there are: %s", name,
              *known ? known : "none");
    return false;
  }
  const uint16_t count = rte_eth_dev_count_avail();
  if (count == 1) {
    id_ = uint16_t(rte_eth_find_next(0));
    return true;
  }
  if (count == 0) {
    const char* said = last_complaint();
    error.set(ENODEV, "DPDK found none of the devices that MILLRACE_DPDK_ARGS names%s%s",
              *said ? ": " : "", said);
  } else {
    char known[160];
    say_devices(known, sizeof(known));
    error.set(EINVAL, "DPDK has several devices (%s): name one with MILLRACE_DPDK_DEVICE", known);
  }
  return false;
}

bool Device::open(const DeviceSettings& settings, SetupError& error) {
  static_cast<void>(last_complaint());
  if (!find(settings.name, error)) return false;
  rte_eth_dev_get_name_by_port(id_, name_);
  if (rte_eth_dev_is_valid_port(id_) && rte_eth_dev_info_get(id_, &info_) != 0) {
    const uint16_t id = std::exchange(id_, uint16_t(RTE_MAX_ETHPORTS));
    error.set(EIO, "DPDK device %s (%u) says nothing about itself", name_, id);
    return false;
  }
  // Before it begins: the other end of a memif would see somebody come and go.
  if (settings.shared && !settings.any_driver && std::string_view(driver()) != "net_af_xdp") {
    id_ = RTE_MAX_ETHPORTS;
    error.set(EOPNOTSUPP,
              "worker threads share a DPDK device over net_af_xdp only, and %s is of %s: open the "
              "sockets on the main thread",
              name_, driver());
    return false;
  }
  find_arguments();
  const bool shared = settings.isolate && shares_with_kernel(driver());
  if (configure(settings, error) && set_up_queues(settings, error) && (!shared || isolate(error)) &&
      start(error)) {
    return true;
  }
  close();
  return false;
}

void Device::find_arguments() {
  const rte_devargs* arguments = info_.device ? rte_dev_devargs(info_.device) : nullptr;
  if (!arguments) return;
  // rte_eth_from_rings() gives its driver the address of something that is gone by now: such a
  // device is made once.
  if (arguments->args && std::string_view(arguments->args).starts_with("internal=")) return;
  probed_by_ = arguments->name;
  if (arguments->args && *arguments->args) probed_by_ += std::string(",") + arguments->args;
  constexpr std::string_view kStart = "start_queue=";
  const size_t at = probed_by_.find(kStart);
  if (std::string_view(driver()) != "net_af_xdp" || at == probed_by_.npos) return;
  start_queue_ = uint16_t(std::strtoul(probed_by_.c_str() + at + kStart.size(), nullptr, 10));
}

bool Device::configure(const DeviceSettings& settings, SetupError& error) {
  if (settings.queues > info_.max_rx_queues) {
    error.set(E2BIG, "DPDK device %s (%s) has %u receive queues, not %u", name_, driver(),
              unsigned(info_.max_rx_queues), settings.queues);
    return false;
  }
  const uint32_t processors = uint32_t(std::max(1l, sysconf(_SC_NPROCESSORS_ONLN)));
  const uint32_t all = std::min({uint32_t(info_.max_rx_queues), processors, kQueuesMax});
  queues_ = uint16_t(settings.queues != 0 ? settings.queues : std::max(all, 1u));
  rte_eth_conf configuration{};
  if (queues_ > 1) {
    configuration.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
    configuration.rx_adv_conf.rss_conf.rss_hf =
        info_.flow_type_rss_offloads & (RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP);
    spreads_by_ = configuration.rx_adv_conf.rss_conf.rss_hf;
  }
  rte_eth_dev_get_mtu(id_, &mtu_);
  sending_ = plan_sending(info_, info_.tx_offload_capa | settings.assumed_offloads);
  configuration.txmode.offloads = sending_.device_offloads & info_.tx_offload_capa;
  constexpr uint64_t kChecks =
      RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_TCP_CKSUM | RTE_ETH_RX_OFFLOAD_UDP_CKSUM;
  if ((info_.rx_offload_capa & kChecks) == kChecks) {
    configuration.rxmode.offloads |= kChecks;
    checks_received_ = true;
  }
  ask_for_stamps(settings, configuration);
  // One to send by is enough; some drivers (net_tap) want as many as there are to receive by, and
  // net_memif refuses an end that receives by more than the other has to send by.
  const bool pairs = settings.shared || std::string_view(driver()) == "net_memif";
  int result = -EINVAL;
  for (const uint16_t transmit_queues : {pairs ? queues_ : uint16_t(1), queues_}) {
    for (const uint32_t interrupts : {1u, 0u}) {
      configuration.intr_conf.rxq = interrupts;
      result = rte_eth_dev_configure(id_, queues_, transmit_queues, &configuration);
      wants_interrupts_ = result == 0 && interrupts != 0;
      transmit_queues_ = transmit_queues;
      if (result == 0) break;
    }
    if (result == 0) break;
  }
  if (result != 0) return fail(error, result, "refuses its configuration");
  configured_ = true;
  return true;
}

void Device::ask_for_stamps(const DeviceSettings& settings, rte_eth_conf& configuration) {
  const uint64_t can = info_.rx_offload_capa | settings.assumed_receive_offloads;
  if (!settings.stamps || !(can & RTE_ETH_RX_OFFLOAD_TIMESTAMP)) return;
  if (rte_mbuf_dyn_rx_timestamp_register(&stamp_offset_, &stamp_flag_) != 0) return;
  read_clock_ = settings.read_clock;
  configuration.rxmode.offloads |= info_.rx_offload_capa & RTE_ETH_RX_OFFLOAD_TIMESTAMP;
}

// The narrowest of a few: this thread may be put aside in the middle of one.
bool Device::read_clock(ReceiveClock& clock) const {
  ReceiveClock::Reading best;
  for (int i = 0; i < 3; ++i) {
    ReceiveClock::Reading one;
    one.before = monotonic_now();
    if (read_clock_(id_, &one.ticks) != 0) return false;
    one.after = monotonic_now();
    if (i == 0 || one.after - one.before < best.after - best.before) best = one;
  }
  clock.add(best);
  return true;
}

rte_mempool* Device::make_pool(uint32_t buffers, SetupError& error) {
  char name[RTE_MEMPOOL_NAMESIZE];
  snprintf(name, sizeof(name), "mr_rx_%u_%u", unsigned(id_), unsigned(pools_.size()));
  rte_mempool* pool = create_pool(name, buffers, std::string_view(driver()) == "net_af_xdp");
  if (!pool) {
    error.set(ENOMEM,
              "DPDK has no memory for %u packet buffers (%u KiB): give it more huge pages, or -m "
              "with --no-huge (%s)",
              buffers, unsigned(uint64_t(buffers) * RTE_MBUF_DEFAULT_BUF_SIZE >> 10),
              rte_strerror(rte_errno));
  }
  return pool;
}

bool Device::set_up_queues(const DeviceSettings& settings, SetupError& error) {
  uint16_t receive_slots = kReceiveSlots;
  uint16_t transmit_slots = kTransmitSlots;
  if (const int result = rte_eth_dev_adjust_nb_rx_tx_desc(id_, &receive_slots, &transmit_slots)) {
    return fail(error, result, "says nothing about its rings");
  }
  // What one stack has in its hands is no loss to the others: each gets a pool.
  const uint16_t pools = settings.shared ? queues_ : uint16_t(1);
  const uint32_t needed =
      (uint32_t(receive_slots) + transmit_slots) * queues_ / pools + kSpareBuffers;
  for (uint16_t i = 0; i < pools; ++i) {
    rte_mempool* pool = make_pool(std::max(settings.receive_buffers, needed), error);
    if (!pool) return false;
    pools_.push_back(pool);
  }
  std::vector<int> before = xdp_sockets();
  for (uint16_t q = 0; q < queues_; ++q) {
    rte_mempool* pool = pools_[q % pools_.size()];
    const int result = rte_eth_rx_queue_setup(id_, q, receive_slots, SOCKET_ID_ANY, nullptr, pool);
    if (result != 0) return fail(error, result, "cannot set up a receive queue");
    const std::vector<int> after = xdp_sockets();
    std::set_difference(after.begin(), after.end(), before.begin(), before.end(),
                        std::back_inserter(sockets_));
    before = after;
  }
  // More than one per queue: not what we think they are.
  if (sockets_.size() != queues_) sockets_.clear();
  for (uint16_t q = 0; q < transmit_queues_; ++q) {
    const int result = rte_eth_tx_queue_setup(id_, q, transmit_slots, SOCKET_ID_ANY, nullptr);
    if (result != 0) return fail(error, result, "cannot set up a transmit queue");
  }
  return true;
}

// Before the start, so that not one packet comes to us which no rule asked for; behind the queues,
// because net_tap forgets to take its own rules away when it has none yet.
bool Device::isolate(SetupError& error) {
  rte_flow_error why{};
  const int result = rte_flow_isolate(id_, 1, &why);
  isolated_ = result == 0;
  if (isolated_) return true;
  const int code = result < 0 ? -result : ENOTSUP;
  error.set(code,
            "DPDK device %s (%s) cannot be isolated, so its packets cannot be shared with the "
            "kernel by rte_flow: %s",
            name_, driver(), why.message ? why.message : std::strerror(code));
  return false;
}

bool Device::start(SetupError& error) {
  const int result = rte_eth_dev_start(id_);
  if (result != 0) return fail(error, result, "does not start");
  started_ = true;
  // Whoever joins groups, or answers neighbour solicitations, does so out of the card's sight.
  // Cards that are shared have heard it from the kernel; virtual devices filter nothing.
  if (!isolated_) rte_eth_allmulticast_enable(id_);
  find_interrupts();
  return true;
}

void Device::find_interrupts() {
  for (uint16_t q = 0; wants_interrupts_ && q < queues_; ++q) {
    const int fd = rte_eth_dev_rx_intr_ctl_q_get_fd(id_, q);
    if (fd < 0) break;
    // Drivers whose descriptors are always armed do not have the call.
    const int result = rte_eth_dev_rx_intr_enable(id_, q);
    if (result != 0 && result != -ENOTSUP) break;
    interrupts_.push_back(fd);
  }
  if (interrupts_.size() != queues_) interrupts_.clear();
  static_cast<void>(last_complaint());  // that a driver has none is no complaint
}

bool Device::link_up() const {
  rte_eth_link link{};
  return rte_eth_link_get_nowait(id_, &link) != 0 || link.link_status == RTE_ETH_LINK_UP;
}

bool Device::joins() const {
  const auto asks = [this](const char* role) { return probed_by_.find(role) != probed_by_.npos; };
  return std::string_view(driver()) == "net_memif" && (asks("role=client") || asks("role=slave"));
}

bool Device::start_again() {
  if (started_) rte_eth_dev_stop(id_);
  started_ = rte_eth_dev_start(id_) == 0;
  static_cast<void>(last_complaint());
  return started_;
}

void Device::close() {
  if (started_) rte_eth_dev_stop(id_);
  // Also one that was not started: its queues may hold buffers of the pool. But one that did not
  // become ours stays as it was found.
  if (configured_) rte_eth_dev_close(id_);
  id_ = RTE_MAX_ETHPORTS;
  configured_ = started_ = false;
  for (rte_mempool* pool : pools_) rte_mempool_free(pool);
  pools_.clear();
}

rte_device* Device::bus_device() const {
  rte_eth_dev_info info{};
  if (!is_open() || rte_eth_dev_info_get(id_, &info) != 0 || !info.device) return nullptr;
  const rte_bus* bus = rte_dev_bus(info.device);
  return bus && std::string_view(rte_bus_name(bus)) == "vdev" ? info.device : nullptr;
}

std::vector<std::string> device_names(bool& of_one_interface) {
  std::vector<std::string> names;
  uint32_t ifindex = 0;
  of_one_interface = true;
  uint16_t id;
  RTE_ETH_FOREACH_DEV(id) {
    char name[RTE_ETH_NAME_MAX_LEN] = "";
    rte_eth_dev_info info{};
    if (rte_eth_dev_get_name_by_port(id, name) != 0 || rte_eth_dev_info_get(id, &info) != 0)
      continue;
    const bool same = names.empty() || ifindex == info.if_index;
    ifindex = info.if_index;
    of_one_interface &= same && std::string_view(info.driver_name) == "net_af_xdp";
    names.emplace_back(name);
  }
  return names;
}

}  // namespace millrace::dpdk
