// Kernel families at given shapes, with all that running one takes: what `tapescope kernels
// --bench` times, bench/ladder counts and tools/exercise judges. The one table of shapes.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/runtime.h"
#include "engine/tensor.h"
#include "kernels/common/variant.h"

namespace tapescope::kernel_cases {

// A variant that covers the case.
struct CaseVariant {
  std::string_view name;
  double error_factor = 1;
  std::string_view note;
  std::function<Plan()> prepare;
};

// One family at one shape and dtype.
struct Case {
  std::string family, shape;  // "matmul", "128x64x32" in the family's form
  DType dtype = DType::f32;
  std::vector<Type> in, out;  // operands and results, as the family's header lists them
  double flops = 0;           // additions and multiplications, as for a plain sum
  // Its variants on a device that can run here, best first. Throws a usage error where the device
  // cannot be had.
  std::function<std::vector<CaseVariant>(DeviceKind)> variants;

  double bytes() const;  // each operand and result once
};

// How a family's cases are written and made.
struct Family {
  std::string_view name;
  std::string_view form;  // "MxNxK", "FUNCTION:N": what `make` reads
  // What is measured where no shape is named: so small that the emulator can take it; on a CPU; on
  // a GPU.
  std::vector<std::string_view> small, shapes, large;
  Case (*make)(std::string_view shape, DType dtype);
};
std::span<const Family> families();
// Throws a usage error that lists what there is.
const Family& family_named(std::string_view name);

// How many copies of a case's buffers, used in turn, keep a GPU's second-level cache (60 MB on an
// H200) from serving what comes from memory in a net: together they hold 256 MB. 1 on a CPU, where
// a net's own tensors fit the caches as well; 2 on the emulator, for turns to be taken there too.
int copies_in_turn(const Case& c, Device device);

// A case's memory on a device: operands filled with numbers in [0.25, 1.25), the same at every
// call; results with NaN.
class Memory {
 public:
  Memory(const Case& c, Device device, int copies = 1);
  // Runs the plan once, and does not wait. The workspace grows as plans want it.
  void run(const Plan& plan);
  // The same on one copy after the other.
  void run_in_turn(const Plan& plan);
  void clear_results();
  Tensor result(std::size_t i = 0) const { return results_[i].host(); }
  std::vector<Tensor>& operands() { return operands_; }
  std::vector<Tensor>& results() { return results_; }
  const Tensor& workspace() const { return workspace_; }
  DeviceRuntime& runtime() const { return *runtime_; }

 private:
  void run(const Plan& plan, const std::vector<Tensor>& operands, std::vector<Tensor>& results);

  Device device_;
  DeviceRuntime* runtime_;
  std::vector<Tensor> operands_, results_;
  std::vector<std::vector<Tensor>> more_operands_, more_results_;  // of the second copy and on
  std::size_t turn_ = 0;
  Tensor workspace_;
};

// What the family's reference gives, in f64 where it computes in that; null where it has none or
// would take longer than `most_flops`.
std::vector<Tensor> reference_results(const Case& c, double most_flops = 4e9);
// The largest difference, divided by the largest value of the reference. NaN where one is not a
// number and the other is.
double relative_error(const Tensor& got, const Tensor& want);

}  // namespace tapescope::kernel_cases
