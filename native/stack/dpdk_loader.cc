// SPDX-License-Identifier: MIT
#include "stack/dpdk_loader.h"

#include <dlfcn.h>
#include <unistd.h>

#include <cstring>

namespace millrace {
namespace {

constexpr const char* kBuild =
    "apt-get install libdpdk-dev dpdk-dev (Debian, Ubuntu), then npm rebuild millrace "
    "--build-from-source";

}  // namespace

const dpdk::Plugin* load_dpdk(const char* file, SetupError& error) {
  if (access(file, R_OK) != 0) {
    error.set(ENOENT, "port dpdk is not built (%s is not there): %s", file, kBuild);
    return nullptr;
  }
  void* object = dlopen(file, RTLD_NOW | RTLD_LOCAL);
  if (!object) {
    const char* why = dlerror();
    const bool library = why && std::strstr(why, "librte_");
    error.set(ENOENT, "port dpdk does not load: %s%s", why ? why : "unknown error",
              library ? ": apt-get install dpdk (Debian, Ubuntu)" : "");
    return nullptr;
  }
  const auto door = reinterpret_cast<dpdk::PluginFunction>(dlsym(object, dpdk::kPluginSymbol));
  const dpdk::Plugin* plugin = door ? door() : nullptr;
  if (plugin && plugin->version == dpdk::kPluginVersion &&
      plugin->layout == dpdk::layout_of_interfaces()) {
    return plugin;
  }
  error.set(ENOEXEC,
            "%s was built from other sources than the addon: npm rebuild millrace "
            "--build-from-source",
            file);
  return nullptr;
}

}  // namespace millrace
