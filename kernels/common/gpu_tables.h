// The tables of the families that have GPU kernels, by device. The .cu files are compiled twice, so
// they exist twice: in this program for the emulator, and in the CUDA library, which is opened when
// a CUDA device is first asked for.
#pragma once

#include <span>
#include <string_view>
#include <typeinfo>

#include "engine/device.h"

namespace tapescope {

template <class Shape>
struct Variant;  // kernels/common/variant.h
template <class Shape>
struct Variants;

// One family's variants: `count` of Variant<Shape>. Which Shape that is was forgotten for the
// list's sake, so its name and size come along, to be compared when it is said again.
struct GpuTable {
  std::string_view family;
  const char* shape;  // typeid(Shape).name()
  std::size_t shape_bytes;
  const void* variants;
  std::size_t count;
};
using GpuTables = std::span<const GpuTable>;

template <class Shape>
GpuTable gpu_table_of(std::string_view family, std::span<const Variant<Shape>> rows) {
  return {family, typeid(Shape).name(), sizeof(Shape), rows.data(), rows.size()};
}

// kernels/families.cu, for the emulator.
namespace emulated {
GpuTables gpu_tables();
}

// The tables of a device that is not the CPU. Throws a usage error where it cannot be had.
GpuTables gpu_tables(DeviceKind device);

// The table of a family, null where there is none. Throws a failure where its kernels are described
// by another type than this one.
const GpuTable* find_table(GpuTables tables, std::string_view family, const char* shape,
                           std::size_t shape_bytes);

template <class Shape>
Variants<Shape> find_variants(GpuTables tables, std::string_view family) {
  const GpuTable* table = find_table(tables, family, typeid(Shape).name(), sizeof(Shape));
  if (table == nullptr) return {family, {}};
  return {family, {static_cast<const Variant<Shape>*>(table->variants), table->count}};
}

// One family's variants on such a device; empty if it has none there.
template <class Shape>
Variants<Shape> gpu_variants(DeviceKind device, std::string_view family) {
  return find_variants<Shape>(gpu_tables(device), family);
}

}  // namespace tapescope
