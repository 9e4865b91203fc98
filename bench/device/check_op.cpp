#include <algorithm>
#include <set>

#include "bench/device/device_bench.h"
#include "tests/autograd/harness.h"

namespace tapescope {

void check_op(DeviceBench& bench, const std::string& name) {
  const auto ops = all_ops();
  const auto op =
      std::find_if(ops.begin(), ops.end(), [&](const OpEntry& o) { return o.name == name; });
  if (op == ops.end()) throw usage_error("there is no op '{}'; see `device_bench ops`", name);
  std::set<std::string_view> variants;
  const auto wanted = [&](const VariantInfo& info) {
    if (info.device != bench.device.kind) return false;
    if (bench.own && (info.name == "cudnn" || info.name == "cublas")) return false;
    variants.insert(info.name);
    return true;
  };
  int samples = 0;
  std::size_t wrong = 0;
  std::string first;
  for (Sample& sample : op->samples()) {
    Case c{std::move(sample), {}};
    std::uint64_t seed = 1;
    for (const OperandSpec& spec : c.sample.operands) c.operands.push_back(fill(spec, -1, seed++));
    Problems problems = check_variants(c, wanted);
    if (!bench.own) {  // the tape takes the libraries where they are
      for (std::string& problem : check_device(c, bench.device)) {
        problems.push_back(std::move(problem));
      }
    }
    wrong += problems.size();
    if (first.empty() && !problems.empty()) first = label_of(c) + ": " + problems[0];
    ++samples;
  }
  std::string names;
  for (std::string_view variant : variants)
    names += (names.empty() ? "" : " ") + std::string(variant);
  if (wrong == 0) {
    bench.row(name, "passed", {{"samples", samples}, {"variants", names}});
  } else {
    bench.row(name, "failed", {{"samples", samples}, {"problems", wrong}, {"detail", first}});
  }
}

}  // namespace tapescope
