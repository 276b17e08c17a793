// SPDX-License-Identifier: MIT
#include "port/dpdk/eal.h"

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <sched.h>

#include <algorithm>
#include <csignal>
#include <cstdarg>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace millrace::dpdk {
namespace {

// Packet buffers and the driver's own structures, where no huge pages give what is needed.
constexpr const char* kPlainMemoryMb = "256";

// DPDK's environment is the process's, not a stack's: this is the one place with such state.
struct Environment {
  std::mutex mutex;
  bool tried = false;
  bool running = false;
  std::string arguments;
  SetupError failure;
  const char* memory = "huge pages";
  bool verbose = false;
  std::mutex log_mutex;
  char complaint[200] = "";
  char answer[200] = "";
};

Environment& environment() {
  static Environment instance;
  return instance;
}

// --- the log: DPDK's messages come here one by one

ssize_t take_log(void*, const char* text, size_t bytes) {
  Environment& e = environment();
  const std::lock_guard lock(e.log_mutex);
  if (e.verbose) fwrite(text, 1, bytes, stderr);
  if (rte_log_cur_msg_loglevel() <= int(RTE_LOG_ERR)) {
    std::string_view line(text, bytes);
    while (!line.empty() && (line.back() == '\n' || line.back() == '\r')) line.remove_suffix(1);
    // The first word is mostly the reason and the last one the consequence: both are kept.
    const size_t used = std::strlen(e.complaint);
    if (!line.empty() && !std::string_view(e.complaint).ends_with(line)) {
      snprintf(e.complaint + used, sizeof(e.complaint) - used, "%s%.*s", used ? "; " : "",
               int(line.size()), line.data());
    }
  }
  return ssize_t(bytes);
}

void redirect_log() {
  cookie_io_functions_t functions{};
  functions.write = take_log;
  FILE* stream = fopencookie(nullptr, "w", functions);
  if (!stream) return;
  setvbuf(stream, nullptr, _IOLBF, 1024);
  rte_openlog_stream(stream);
}

// --- arguments

std::vector<std::string> split(std::string_view text) {
  std::vector<std::string> words;
  while (!text.empty()) {
    const size_t begin = text.find_first_not_of(" \t\n");
    if (begin == text.npos) break;
    const size_t end = std::min(text.find_first_of(" \t\n", begin), text.size());
    words.emplace_back(text.substr(begin, end - begin));
    text.remove_prefix(end);
  }
  return words;
}

bool has(const std::vector<std::string>& words, std::initializer_list<std::string_view> names) {
  for (const std::string& word : words) {
    for (const std::string_view name : names) {
      if (word == name) return true;
      if (word.size() <= name.size() || word.compare(0, name.size(), name) != 0) continue;
      // "--vdev=x" and "-ax" are as good as two words.
      if (word[name.size()] == '=' || name.size() == 2) return true;
    }
  }
  return false;
}

uint64_t free_huge_pages() {
  uint64_t pages = 0;
  DIR* folder = opendir("/sys/kernel/mm/hugepages");
  if (!folder) return 0;
  while (const dirent* entry = readdir(folder)) {
    const std::string path =
        std::string("/sys/kernel/mm/hugepages/") + entry->d_name + "/free_hugepages";
    FILE* file = fopen(path.c_str(), "re");
    if (!file) continue;
    unsigned long long n = 0;
    if (fscanf(file, "%llu", &n) == 1) pages += n;
    fclose(file);
  }
  closedir(folder);
  return pages;
}

// "0@(0,1,5)": the main lcore may run wherever this process may, instead of being pinned.
std::string lcores() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  sched_getaffinity(0, sizeof(allowed), &allowed);
  std::string list;
  for (int cpu = 0; cpu < CPU_SETSIZE && cpu < RTE_MAX_LCORE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed)) continue;
    if (!list.empty()) list += ',';
    list += std::to_string(cpu);
  }
  return "0@(" + (list.empty() ? "0" : list) + ")";
}

bool complete(std::vector<std::string>& words, SetupError& error) {
  const bool vdev = has(words, {"--vdev"});
  const bool pci = has(words, {"-a", "--allow"});
  if (!vdev && !pci) {
    error.set(EINVAL,
              "no DPDK device is named: give --vdev=<driver>,... or -a <PCI address> "
              "(MILLRACE_DPDK_ARGS)");
    return false;
  }
  const auto add = [&words](std::initializer_list<const char*> more) {
    for (const char* word : more) words.emplace_back(word);
  };
  // Never look at cards that nobody named.
  if (!pci && !has(words, {"--no-pci"})) add({"--no-pci"});
  if (!has(words, {"--telemetry", "--no-telemetry"})) add({"--no-telemetry"});
  if (!has(words, {"-l", "-c", "--lcores"})) {
    words.emplace_back("--lcores");
    words.push_back(lcores());
  }
  const bool kept = has(words, {"--in-memory", "--file-prefix", "--proc-type", "--huge-dir"});
  bool huge = !has(words, {"--no-huge"});
  if (huge && free_huge_pages() == 0) {
    if (pci) {
      error.set(ENOMEM,
                "there are no free huge pages, which a card needs: sysctl vm.nr_hugepages=256");
      return false;
    }
    add({"--no-huge"});
    huge = false;
  }
  environment().memory = huge ? "huge pages" : "no huge pages";
  if (huge && !kept) add({"--in-memory"});
  // Without huge pages there is nothing in files but DPDK's configuration, which nobody else reads.
  if (!huge && !kept) add({"--no-shconf"});
  if (!huge && !has(words, {"-m", "--socket-mem"})) add({"-m", kPlainMemoryMb});
  return true;
}

bool run_init(std::vector<std::string> words, SetupError& error) {
  std::vector<char*> arguments;
  words.insert(words.begin(), "millrace");
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  int result = -1;
  int reason = 0;
  // Signals are the program's: neither this thread nor those that DPDK starts from it take any.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  // Arguments that it does not know make DPDK print all it does know, on the program's output.
  // (Node writes to descriptors; only C code uses this stream.)
  FILE* const output = stdout;
  FILE* const nowhere = fopen("/dev/null", "we");
  if (nowhere) stdout = nowhere;
  std::thread starter([&] {
    result = rte_eal_init(int(words.size()), arguments.data());
    reason = rte_errno;
  });
  starter.join();
  stdout = output;
  if (nowhere) fclose(nowhere);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (result >= 0) return true;
  const char* said = last_complaint();
  error.set(reason > 0 ? reason : EINVAL, "DPDK does not start (%s)%s%s", std::strerror(reason),
            *said ? ": " : "", said);
  return false;
}

// The libraries under the AF_XDP driver talk to stderr on their own; what goes wrong there comes
// back as an error of the driver's.
void silence(const char* library, const char* setter) {
  void* loaded = dlopen(library, RTLD_LAZY | RTLD_NOLOAD);
  if (!loaded) return;
  using Print = int (*)(int, const char*, va_list);
  const auto set = reinterpret_cast<Print (*)(Print)>(dlsym(loaded, setter));
  if (set) set(nullptr);
  dlclose(loaded);
}

// Ends the registration with its thread.
struct Registration {
  bool tried = false;
  bool done = false;
  ~Registration() {
    if (done) rte_thread_unregister();
  }
};

}  // namespace

std::vector<int> open_descriptors() {
  std::vector<int> found;
  DIR* folder = opendir("/proc/self/fd");
  if (!folder) return found;
  while (const dirent* entry = readdir(folder)) {
    const int fd = std::atoi(entry->d_name);
    if (entry->d_name[0] != '.' && fd != dirfd(folder)) found.push_back(fd);
  }
  closedir(folder);
  std::sort(found.begin(), found.end());
  return found;
}

OwnDescriptors::OwnDescriptors() : before_(open_descriptors()) {}

// Other threads may open something meanwhile: Node leaves nothing to its children by accident.
OwnDescriptors::~OwnDescriptors() {
  for (const int fd : open_descriptors()) {
    if (std::binary_search(before_.begin(), before_.end(), fd)) continue;
    const int flags = fcntl(fd, F_GETFD);
    if (flags >= 0) fcntl(fd, F_SETFD, flags | FD_CLOEXEC);
  }
}

bool start_eal(const char* arguments, bool verbose, SetupError& error) {
  Environment& e = environment();
  const std::lock_guard lock(e.mutex);
  if (e.tried && (!e.running || e.arguments != arguments)) {
    if (!e.running) {
      error = e.failure;
    } else {
      error.set(EINVAL, "DPDK runs in this process with other arguments already: \"%s\"",
                e.arguments.c_str());
    }
    return false;
  }
  if (e.running) return true;
  e.verbose = verbose;
  e.arguments = arguments;
  std::vector<std::string> words = split(arguments);
  // What is wrong with the arguments can be mended; a failed rte_eal_init() is for good.
  if (!complete(words, error)) return false;
  e.tried = true;
  redirect_log();
  const OwnDescriptors own;
  e.running = run_init(std::move(words), error);
  e.failure = error;
  if (!verbose) {
    silence("libbpf.so.1", "libbpf_set_print");
    silence("libxdp.so.1", "libxdp_set_print");
  }
  return e.running;
}

const char* eal_memory() {
  return environment().memory;
}

void register_thread() {
  static thread_local Registration registration;
  if (registration.tried) return;
  registration.tried = true;
  if (rte_lcore_id() != LCORE_ID_ANY) return;
  registration.done = rte_thread_register() == 0;
}

const char* last_complaint() {
  Environment& e = environment();
  const std::lock_guard lock(e.log_mutex);
  std::memcpy(e.answer, e.complaint, sizeof(e.answer));
  e.complaint[0] = '\0';
  return e.answer;
}

}  // namespace millrace::dpdk
