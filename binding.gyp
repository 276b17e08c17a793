{
  "variables": {
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
      "sources": ["<!@(find <(stack_dirs) -name '*.cc' | sort)"]
    },
    {
      "target_name": "millrace",
      "dependencies": ["stack"],
      "cflags_cc!": ["-std=gnu++17", "-std=gnu++20"],
      "cflags_cc": ["-std=c++20"],
      "include_dirs": ["native", "<!(node -p \"require('node-addon-api').include_dir\")"],
      "defines": ["NAPI_VERSION=8", "NAPI_DISABLE_CPP_EXCEPTIONS", "NODE_ADDON_API_DISABLE_DEPRECATED"],
      "sources": ["<!@(find native/addon -name '*.cc' | sort)"]
    }
  ]
}
