// SPDX-License-Identifier: MIT
#include "port/dpdk/shared_device.h"

#include <rte_dev.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "port/dpdk/eal.h"

namespace millrace::dpdk {

// The device; or several of one interface, each with a part of its queues.
struct DeviceLease::Shared {
  struct Slot {
    Device* device;
    uint16_t queue;
    bool taken = false;
    rte_mempool* transmit_pool = nullptr;  // made when it is wanted
  };
  std::vector<std::unique_ptr<Device>> devices;
  std::vector<Slot> slots;
  bool whole = false;

  bool has(std::string_view name) const {
    return std::any_of(devices.begin(), devices.end(),
                       [&](const auto& device) { return name == device->name(); });
  }
  bool anyone() const {
    return std::any_of(slots.begin(), slots.end(), [](const Slot& slot) { return slot.taken; });
  }
  // Once closed, it cannot be had again: net_af_xdp does not let go of its sockets. Nothing comes
  // by them while nobody steers.
  bool stays_open() const { return std::string_view(devices[0]->driver()) == "net_af_xdp"; }
  bool open(const DeviceSettings& settings, SetupError& error);
};

struct DeviceLease::Registry {
  std::mutex mutex;
  uint32_t leases = 0;
  std::vector<std::shared_ptr<Shared>> open;
  // Devices that were closed. DPDK forgets those: whoever wants one again has it probed anew.
  std::vector<std::string> past;
  void probe_again();
};

// Never destroyed: threads may outlive main().
DeviceLease::Registry& DeviceLease::registry() {
  static auto* instance = new Registry;
  return *instance;
}

void DeviceLease::Registry::probe_again() {
  for (const std::string& arguments : past) static_cast<void>(rte_dev_probe(arguments.c_str()));
  past.clear();
}

bool DeviceLease::Shared::open(const DeviceSettings& settings, SetupError& error) {
  bool of_one_interface = false;
  std::vector<std::string> names = device_names(of_one_interface);
  const bool named = *settings.name != '\0';
  if (!settings.shared || named || !of_one_interface || names.size() < 2) names = {settings.name};
  for (const std::string& name : names) {
    DeviceSettings one = settings;
    one.name = name.c_str();
    auto device = std::make_unique<Device>();
    if (!device->open(one, error)) return false;
    for (uint16_t queue = 0; queue < device->queues(); ++queue) {
      slots.push_back({device.get(), queue});
    }
    devices.push_back(std::move(device));
  }
  whole = !settings.shared;
  return true;
}

DeviceLease& DeviceLease::operator=(DeviceLease&& other) noexcept {
  if (this == &other) return *this;
  end();
  shared_ = std::move(other.shared_);
  slot_ = other.slot_;
  count_ = other.count_;
  number_ = other.number_;
  holds_ = std::exchange(other.holds_, false);
  opened_ = other.opened_;
  return *this;
}

Device& DeviceLease::device() const {
  return *shared_->slots[slot_].device;
}

uint16_t DeviceLease::first_queue() const {
  return shared_->slots[slot_].queue;
}

bool DeviceLease::is_shared() const {
  return !shared_->whole;
}

bool DeviceLease::take(const DeviceSettings& settings, SetupError& error) {
  Registry& all = registry();
  const std::lock_guard lock(all.mutex);
  const std::string_view name = settings.name;
  const auto known = std::find_if(all.open.begin(), all.open.end(), [&](const auto& one) {
    return name.empty() ? all.open.size() == 1 : one->has(name);
  });
  if (known == all.open.end()) {
    const OwnDescriptors own;
    all.probe_again();
    auto fresh = std::make_shared<Shared>();
    if (!fresh->open(settings, error)) return false;
    all.open.push_back(fresh);
    shared_ = std::move(fresh);
    opened_ = true;
  } else {
    shared_ = *known;
  }
  auto& slots = shared_->slots;
  // One that stayed open has its shape.
  const bool another_shape = !shared_->anyone() && shared_->whole == settings.shared;
  const auto free =
      std::find_if(slots.begin(), slots.end(), [](const auto& slot) { return !slot.taken; });
  if (free == slots.end() || another_shape) {
    refuse(error);
    return false;
  }
  slot_ = size_t(free - slots.begin());
  count_ = shared_->whole ? uint16_t(slots.size()) : uint16_t(1);
  for (size_t i = slot_; i < slot_ + count_; ++i) slots[i].taken = true;
  holds_ = true;
  number_ = ++all.leases;
  return true;
}

void DeviceLease::refuse(SetupError& error) {
  const char* name = shared_->devices[0]->name();
  if (shared_->whole) {
    error.set(EBUSY, "another thread of this program has, or had, the whole of DPDK device %s",
              name);
  } else {
    error.set(EBUSY,
              "other threads of this program have all queues (%u) of DPDK device %s "
              "(MILLRACE_QUEUES says how many it is opened with)",
              unsigned(shared_->slots.size()), name);
  }
  shared_.reset();
}

rte_mempool* DeviceLease::transmit_pool(uint32_t buffers) const {
  const std::lock_guard lock(registry().mutex);
  auto& slot = shared_->slots[slot_];
  if (slot.transmit_pool) return slot.transmit_pool;
  char name[RTE_MEMPOOL_NAMESIZE];
  snprintf(name, sizeof(name), "mr_tx_%u_%u", unsigned(slot.device->id()), unsigned(slot.queue));
  slot.transmit_pool = rte_pktmbuf_pool_create(name, buffers, 0, 0,
                                               uint16_t(RTE_MBUF_DEFAULT_BUF_SIZE), SOCKET_ID_ANY);
  return slot.transmit_pool;
}

void DeviceLease::end(bool taken_away) {
  if (!holds_) return;
  Registry& all = registry();
  const std::lock_guard lock(all.mutex);
  const std::shared_ptr<Shared> shared = shared_;
  holds_ = false;
  for (size_t i = slot_; i < slot_ + count_; ++i) shared->slots[i].taken = false;
  if (shared->anyone() || (shared->stays_open() && !taken_away)) return;
  for (const auto& device : shared->devices) {
    rte_device* const bus_device = device->bus_device();
    device->close();  // the driver frees what it holds
    const bool again = !taken_away && bus_device && !device->probed_by().empty();
    if (again && rte_dev_remove(bus_device) == 0) all.past.push_back(device->probed_by());
  }
  for (const auto& slot : shared->slots) rte_mempool_free(slot.transmit_pool);
  std::erase(all.open, shared);
}

}  // namespace millrace::dpdk
