#include "kernels/collectives/mpi_library.h"

#include <dlfcn.h>

#include <filesystem>

#include "engine/error.h"

namespace tapescope {
namespace {

struct Library {
  TapescopeMpiOpen* open = nullptr;
  std::string why;

  Library() {
    // Beside the program, or where an installation puts libraries.
    std::error_code ignored;
    const auto program = std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path();
    void* handle = nullptr;
    for (const auto& folder : {program, program / "../lib", std::filesystem::path()}) {
      const std::string path = (folder / "libtapescope_mpi.so").string();
      // Global: MPI opens parts of its own, which look for its symbols.
      handle = ::dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL);
      if (handle != nullptr) break;
      if (std::filesystem::exists(path, ignored)) {
        why = fmt::format("{} cannot be loaded: {}", path, ::dlerror());
        return;
      }
    }
    if (handle == nullptr) {
      why =
          "this build has no MPI library (install libopenmpi-dev and configure with "
          "-DTAPESCOPE_MPI=ON)";
      return;
    }
    const auto version =
        reinterpret_cast<TapescopeMpiVersion*>(::dlsym(handle, "tapescope_mpi_version"));
    open = reinterpret_cast<TapescopeMpiOpen*>(::dlsym(handle, "tapescope_mpi_open"));
    if (version == nullptr || version() != kMpiLibraryVersion || open == nullptr) {
      why = "libtapescope_mpi.so belongs to another version of tapescope; build both anew";
    }
  }
};

const Library& library() {
  static const auto* opened = new Library;  // never closed: MPI stays until the process ends
  return *opened;
}

}  // namespace

std::string why_no_mpi() { return library().why; }

std::unique_ptr<MessageLink> open_mpi() {
  if (!library().why.empty()) throw usage_error("MPI cannot be used: {}", library().why);
  std::string why;
  std::unique_ptr<MessageLink> link(library().open(&why));
  if (link == nullptr) throw failure("MPI does not start: {}", why);
  return link;
}

}  // namespace tapescope
