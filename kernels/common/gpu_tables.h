// The tables of the families that have GPU kernels, by device. The .cu files are compiled twice, so
// they exist twice: in this program for the emulator, and in the CUDA library, which is opened when
// a CUDA device is first asked for.
#pragma once

#include <span>
#include <string_view>

#include "engine/device.h"

namespace tapescope {

template <class Shape>
struct Variant;

// One family's variants: `count` of Variant<Shape>, of the Shape that its header declares.
struct GpuTable {
  std::string_view family;
  const void* variants;
  std::size_t count;
};
using GpuTables = std::span<const GpuTable>;

template <class Shape>
GpuTable gpu_table_of(std::span<const Variant<Shape>> variants) {
  return {variants.front().family, variants.data(), variants.size()};
}

// kernels/families.cu, for the emulator.
namespace emulated {
GpuTables gpu_tables();
}

// The tables of a device that is not the CPU. Throws a usage error where it cannot be had.
GpuTables gpu_tables(DeviceKind device);

// One family's variants on such a device; empty if it has none there.
template <class Shape>
std::span<const Variant<Shape>> gpu_variants(DeviceKind device, std::string_view family) {
  for (const GpuTable& table : gpu_tables(device)) {
    if (table.family == family) {
      return {static_cast<const Variant<Shape>*>(table.variants), table.count};
    }
  }
  return {};
}

}  // namespace tapescope
