#include "engine/cuda_library.h"

#include <dlfcn.h>

#include <cstdlib>
#include <filesystem>

#include "engine/error.h"

namespace tapescope {
namespace {

struct Library {
  void* handle = nullptr;
  DeviceRuntime* runtime = nullptr;
  bool loaded = false;  // one that belongs to this program
  std::string why;

  Library() {
    // Beside the program, or where an installation puts libraries.
    std::error_code ignored;
    const auto program = std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path();
    std::string tried;
    for (const auto& folder : {program, program / "../lib", std::filesystem::path()}) {
      const std::string path = (folder / "libtapescope_cuda.so").string();
      handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
      if (handle != nullptr) break;
      // A library that is there and does not load is worth more words than one that is missing.
      if (std::filesystem::exists(path, ignored)) {
        why = fmt::format("{} cannot be loaded: {}", path, dlerror());
        return;
      }
    }
    if (handle == nullptr) {
      why = "this build has no CUDA library (configure with -DTAPESCOPE_CUDA=ON)";
      return;
    }
    const auto version =
        reinterpret_cast<TapescopeCudaVersion*>(dlsym(handle, "tapescope_cuda_version"));
    const auto open = reinterpret_cast<TapescopeCudaOpen*>(dlsym(handle, "tapescope_cuda_open"));
    if (version == nullptr || version() != kCudaLibraryVersion || open == nullptr) {
      why = "libtapescope_cuda.so belongs to another version of tapescope; build both anew";
    } else {
      loaded = true;
      runtime = open(&why);
    }
  }
};

Library& library() {
  static auto* opened = new Library;  // never closed: plans point into it
  return *opened;
}

Library& usable_library() {
  if (!library().why.empty()) throw usage_error("CUDA cannot be used: {}", library().why);
  return library();
}

}  // namespace

const std::string& why_no_cuda() { return library().why; }

void* cuda_library_symbol(const char* name) {
  if (!library().loaded) return nullptr;
  void* symbol = dlsym(library().handle, name);
  if (symbol == nullptr) throw failure("libtapescope_cuda.so has no '{}'; build it anew", name);
  return symbol;
}

DeviceRuntime* cuda_runtime() { return usable_library().runtime; }

}  // namespace tapescope
