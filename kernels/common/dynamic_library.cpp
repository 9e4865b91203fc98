#include "kernels/common/dynamic_library.h"

#include <dlfcn.h>
#include <glob.h>

#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <vector>

#include "engine/remedy.h"

namespace tapescope::cuda {
namespace {

// The folders above the python3 on PATH: of an environment that is used and not activated, and of
// what that one was made from.
std::vector<std::string> roots_of_python() {
  const char* const path = std::getenv("PATH");
  std::istringstream folders(path != nullptr ? path : "");
  for (std::string folder; std::getline(folders, folder, ':');) {
    const std::filesystem::path python = std::filesystem::path(folder) / "python3";
    std::error_code error;
    if (!std::filesystem::exists(python, error)) continue;
    const std::filesystem::path real = std::filesystem::canonical(python, error);
    return {python.parent_path().parent_path().string(), real.parent_path().parent_path().string()};
  }
  return {};
}

// Folders that a library may lie in, the loader's own path ("") first.
std::vector<std::string> folders() {
  std::vector<std::string> found = {""};
  for (const char* variable : {"CUDA_HOME", "CUDA_PATH"}) {
    if (const char* root = std::getenv(variable)) found.push_back(std::string(root) + "/lib64/");
  }
  found.emplace_back("/usr/local/cuda/lib64/");
  std::vector<std::string> pythons = {"/usr/lib/python3*/*-packages",
                                      "/usr/local/lib/python3*/*-packages"};
  for (const char* variable : {"VIRTUAL_ENV", "CONDA_PREFIX"}) {
    if (const char* root = std::getenv(variable)) {
      pythons.push_back(std::string(root) + "/lib/python3*/site-packages");
    }
  }
  for (const std::string& root : roots_of_python()) {
    pythons.push_back(root + "/lib/python3*/site-packages");
  }
  if (const char* home = std::getenv("HOME")) {
    pythons.push_back(std::string(home) + "/.local/lib/python3*/site-packages");
  }
  for (const std::string& python : pythons) {
    glob_t matches{};
    if (glob((python + "/nvidia/*/lib").c_str(), 0, nullptr, &matches) == 0) {
      for (std::size_t i = 0; i < matches.gl_pathc; ++i) {
        found.push_back(std::string(matches.gl_pathv[i]) + "/");
      }
    }
    globfree(&matches);
  }
  return found;
}

}  // namespace

DynamicLibrary::DynamicLibrary(std::initializer_list<const char*> names) {
  static const std::vector<std::string> places = folders();
  for (const char* name : names) {
    for (const std::string& place : places) {
      handle_ = dlopen((place + name).c_str(), RTLD_NOW | RTLD_GLOBAL);
      if (handle_ != nullptr) {
        why_.clear();
        return;
      }
      // One that is there and does not load says why in the loader's own words.
      std::error_code error;
      if (!place.empty() && why_.empty() && std::filesystem::exists(place + name, error)) {
        if (const char* words = dlerror()) why_ = std::string("it does not load: ") + words;
      }
    }
  }
  if (!why_.empty()) return;
  why_ = std::string(*names.begin()) +
         " was not found in the loader's path, CUDA's folder or Python's nvidia packages";
}

void check_aligned(const char* library, const void* pointer) {
  if (reinterpret_cast<std::uintptr_t>(pointer) % kLibraryAlignment == 0) return;
  throw ErrorWithRemedy(
      Remedy::own_kernel,
      failure("[{}] an operand is not aligned to {} bytes (rows of a larger tensor?); clone() it, "
              "or choose one of our own kernels by name",
              library, kLibraryAlignment));
}

void* DynamicLibrary::symbol(const char* name) {
  if (handle_ == nullptr) return nullptr;
  void* found = dlsym(handle_, name);
  if (found == nullptr) why_ = std::string("the library found has no ") + name;
  return found;
}

}  // namespace tapescope::cuda
