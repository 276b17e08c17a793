{
  "variables": {
    "dpdk_found": "<!(pkg-config --exists libdpdk 2>/dev/null && echo 1 || echo 0)",
    "stack_dirs": "native/base native/wire native/packet native/net native/udp native/tcp native/steer native/control native/port native/stack"
  },
  "target_defaults": {
    "cflags_cc!": ["-std=gnu++17", "-std=gnu++20", "-fno-strict-aliasing"],
    "cflags_cc": ["-std=c++20", "-fno-exceptions", "-fno-rtti", "-Wall", "-Wextra", "-Wno-unused-parameter", "-O3", "-fvisibility=hidden"],
    "cflags!": ["-O2"],
    "include_dirs": ["native/.."]
  },
  "targets": [
    {
      "target_name": "stack",
      "type": "static_library",
      "cflags_cc!": ["-std=gnu++17", "-std=gnu++20"],
      "cflags_cc": ["-std=c++20", "-fPIC"],
      "include_dirs": ["native"],
      "sources": ["<!@(node tools/unity.mjs stack <(stack_dirs))"]
    },
    {
      "target_name": "millrace",
      "dependencies": ["stack"],
      "cflags_cc!": ["-std=gnu++17", "-std=gnu++20"],
      "cflags_cc": ["-std=c++20"],
      "include_dirs": ["native", "<!(node -p \"require('node-addon-api').include_dir\")"],
      # A worker thread that is being ended takes no exceptions any more: without the last one that aborts the process.
      "defines": [
        "NAPI_VERSION=8",
        "NAPI_DISABLE_CPP_EXCEPTIONS",
        "NODE_ADDON_API_DISABLE_DEPRECATED",
        "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS"
      ],
      "sources": ["<!@(node tools/unity.mjs millrace native/addon)"],
      "libraries": ["-ldl"]
    }
  ],
  "conditions": [
    ["dpdk_found==1", {
      "targets": [
        {
          "target_name": "millrace_dpdk",
          "type": "shared_library",
          "product_prefix": "",
          "product_dir": "<(PRODUCT_DIR)/dpdk",
          "cflags_cc!": ["-std=gnu++17", "-std=gnu++20"],
          "cflags_cc": ["-std=c++20", "-fPIC", "<!@(pkg-config --cflags libdpdk | sed 's,-I,-isystem ,g')"],
          "include_dirs": ["native"],
          "defines": ["ALLOW_EXPERIMENTAL_API"],
          "sources": [
            "<!@(node tools/unity.mjs dpdk native/plugin native/port/dpdk native/steer/rte_flow native/packet/frame_pool.cc native/base/os_memory.cc native/steer/rule_report.cc)"
          ],
          "libraries": ["-lrte_ethdev", "-lrte_eal", "-lrte_mempool", "-lrte_mbuf"]
        }
      ]
    }]
  ]
}
