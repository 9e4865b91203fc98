// The table of variants: the only source of what runs where.
#pragma once

#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/device.h"
#include "engine/error.h"
#include "engine/type.h"
#include "kernels/common/choice.h"
#include "kernels/common/plan.h"

namespace tapescope {

// A small set of dtypes.
class DTypes {
 public:
  constexpr DTypes(std::initializer_list<DType> dtypes) {
    for (DType dtype : dtypes) bits_ |= 1u << static_cast<unsigned>(dtype);
  }
  constexpr bool contains(DType dtype) const {
    return (bits_ >> static_cast<unsigned>(dtype) & 1u) != 0;
  }

 private:
  unsigned bits_ = 0;
};

// One variant of a family whose kernels are described by `Shape` (which knows its dtype): a row of
// the family's table for a device.
template <class Shape>
struct Variant {
  std::string_view name;  // "reference", "onednn", "simd", ...
  DTypes dtypes;
  // How much larger its rounding error may be than that of plain summation in the same dtype; the
  // derivation is given where a variant declares more than 1.
  double error_factor = 1;
  bool tf32 = false;             // operands are rounded to it: taken by name, or by precision tf32
  std::string_view note;         // one sentence: what it does, or what changed from the rung before
  std::string_view reason = {};  // empty, or why this build or processor cannot run it
  bool compiled = true;          // whether this build holds it
  Plan (*prepare)(const Shape&) = nullptr;
  bool (*supports)(const Shape&) = nullptr;  // null: any shape
};

// A family's table for one device, best first. What a family's source files write.
template <class Shape>
using Rows = std::span<const Variant<Shape>>;

// A table and whose it is. What a family's header hands out for the CPU: families.cpp puts the name
// to the rows.
template <class Shape>
struct Variants {
  std::string_view family;  // "conv2d"
  Rows<Shape> rows;

  auto begin() const { return rows.begin(); }
  auto end() const { return rows.end(); }
};

// What `tapescope kernels` prints and the harness walks.
struct VariantInfo {
  std::string_view family;
  DeviceKind device = DeviceKind::cpu;
  std::string_view name;
  DTypes dtypes;
  double error_factor = 1;
  std::string_view note, reason;  // why it cannot run here; empty where it can
  bool compiled = true;           // whether this build holds it
};

// Throws: nothing in `table` covers what was asked for. `wanted` is empty or a variant's name.
[[noreturn]] void throw_no_variant(std::string_view family, std::string_view wanted,
                                   std::string_view reason, DType dtype, DeviceKind device);

// The first variant of the family's table for the backend's device that this build has and that
// covers dtype and shape: the order of a table is the order of preference. A variant asked for by
// name is taken or refused with the reason, never replaced. Precision tf32 looks at variants that
// round to it first, others never do. `cpu` is the table for the CPU; those of other devices are
// found by its family's name.
template <class Shape>
Plan prepare_from(const Variants<Shape>& cpu, const Shape& shape, DType dtype,
                  const Backend& backend) {
  const Variants<Shape> table = backend.device.kind == DeviceKind::cpu
                                    ? cpu
                                    : gpu_variants<Shape>(backend.device.kind, cpu.family);
  const auto [kernel, name] = wanted(table, shape, dtype, backend);
  const Variant<Shape>* found = nullptr;
  std::string_view reason;
  const auto consider = [&](const Variant<Shape>& variant) {
    if (found == nullptr && covers(variant, shape, dtype)) found = &variant;
  };
  if (name.empty()) in_order(table, backend.precision, consider);
  for (const Variant<Shape>& variant : table) {
    if (name.empty() || variant.name != name) continue;
    reason = variant.reason;
    consider(variant);
  }
  if (found != nullptr) return found->prepare(shape);
  throw_no_variant(name.empty() ? cpu.family : kernel, name, reason, dtype, backend.device.kind);
}

// Every variant of every family on every device, in the order of kernels/families.h. What cannot
// run here has a reason.
std::vector<VariantInfo> all_variants();

}  // namespace tapescope
