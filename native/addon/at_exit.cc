// SPDX-License-Identifier: MIT
#include "addon/at_exit.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <mutex>
#include <vector>

namespace millrace {

namespace {

struct Entry {
  std::weak_ptr<Driver> driver;
  Duration at_most;
  std::vector<int> listening;
};

// The process ends once for all its environments: this list is the one thing they share.
struct Registry {
  std::mutex mutex;
  std::vector<Entry> entries;
};

Registry& registry() {
  static auto* instance = new Registry;  // never destroyed: exit handlers may run after destructors
  return *instance;
}

// With the registry locked. nullptr: it has settled already.
Entry* entry_of(const std::shared_ptr<Driver>& driver) {
  for (Entry& entry : registry().entries) {
    if (entry.driver.lock() == driver) return &entry;
  }
  return nullptr;
}

void settle_all() {
  std::lock_guard lock(registry().mutex);
  for (const Entry& entry : registry().entries) {
    for (const int descriptor : entry.listening) close(descriptor);
  }
  for (const Entry& entry : registry().entries) {
    if (auto driver = entry.driver.lock()) driver->settle(entry.at_most);
  }
  registry().entries.clear();
}

}  // namespace

void settle_at_exit(const std::shared_ptr<Driver>& driver, Duration at_most) {
  static const int registered = std::atexit(settle_all);
  (void)registered;
  std::lock_guard lock(registry().mutex);
  registry().entries.push_back({driver, at_most, {}});
}

void close_at_exit(const std::shared_ptr<Driver>& driver, int descriptor) {
  std::lock_guard lock(registry().mutex);
  if (Entry* entry = entry_of(driver)) entry->listening.push_back(descriptor);
}

void keep_at_exit(const std::shared_ptr<Driver>& driver, int descriptor) {
  std::lock_guard lock(registry().mutex);
  if (Entry* entry = entry_of(driver)) std::erase(entry->listening, descriptor);
}

void settle_now(const std::shared_ptr<Driver>& driver) {
  Duration at_most{};
  {
    std::lock_guard lock(registry().mutex);
    auto& entries = registry().entries;
    const auto found = std::find_if(entries.begin(), entries.end(), [&](const Entry& entry) {
      return entry.driver.lock() == driver;
    });
    if (found == entries.end()) return;
    at_most = found->at_most;
    entries.erase(found);
  }
  driver->settle(at_most);
}

}  // namespace millrace
