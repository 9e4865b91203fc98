#include "kernels/common/gpu_tables.h"

#include <cxxabi.h>

#include <cstdlib>
#include <string>

#include "engine/error.h"

namespace tapescope {
namespace {

std::string readable(const char* type) {
  char* name = abi::__cxa_demangle(type, nullptr, nullptr, nullptr);
  std::string text = name != nullptr ? name : type;
  std::free(name);
  return text;
}

}  // namespace

const GpuTable* find_table(GpuTables tables, std::string_view family, const char* shape,
                           std::size_t shape_bytes) {
  for (const GpuTable& table : tables) {
    if (table.family != family) continue;
    if (std::string_view(table.shape) != shape || table.shape_bytes != shape_bytes) {
      throw failure(
          "[{}] the table of its GPU kernels is for {} ({} bytes), but {} ({} bytes) was asked "
          "for; "
          "build the program and libtapescope_cuda.so from the same sources, and ask for the type "
          "in kernels/families.h",
          family, readable(table.shape), table.shape_bytes, readable(shape), shape_bytes);
    }
    return &table;
  }
  return nullptr;
}

}  // namespace tapescope
