// Every variant of the kernel families on a device, at sizes that networks have: time, GB/s,
// GFLOP/s, and their share of what the device can do, measured in the same run: of its copy
// bandwidth for kernels that only move data, of the libraries' time for products and convolutions.
//
//   device_bench --device cuda --json kernels.json --markdown kernels.md
//   device_bench --device emulated --quick          tries the program itself, on tiny sizes
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

#include "bench/device/training_steps.h"
#include "engine/runtime.h"
#include "kernels/cases/cases.h"
#include "kernels/cases/timer.h"

namespace tapescope {
namespace {

using Json = nlohmann::ordered_json;

struct Row {
  std::string family, variant, dtype, shape;
  double seconds, bytes, flops;
};

class Bench {
 public:
  Bench(Device device, bool quick)
      : device_(device), runtime_(DeviceRuntime::of(device)), quick_(quick) {
    const std::int64_t bytes = quick ? 1 << 16 : 1 << 28;
    Tensor from({DType::u8, {bytes}}, device), to({DType::u8, {bytes}}, device);
    const std::function<void()> copy[] = {[&] {
      runtime_.copy(to.data(), from.data(), static_cast<std::size_t>(bytes),
                    runtime_.compute_queue());
    }};
    // Read and written.
    copy_bandwidth_ = 2.0 * static_cast<double>(bytes) /
                      kernel_cases::seconds_in_turns(runtime_, copy, round(), 3)[0];
  }

  // All variants of a family at one shape, in turns.
  void measure(const kernel_cases::Case& c) {
    kernel_cases::Memory memory(c, device_);
    std::vector<Plan> plans;
    std::vector<std::string> names;
    for (const kernel_cases::CaseVariant& variant : c.variants(device_.kind)) {
      if (variant.name == "naive" && c.flops > 5e10) continue;  // seconds, and nothing to learn
      try {
        Plan plan = variant.prepare();
        memory.run(plan);
        memory.runtime().wait(memory.runtime().compute_queue());
        plans.push_back(std::move(plan));
        names.emplace_back(variant.name);
      } catch (const Error& error) {
        failures_.push_back(fmt::format("{} {} {} {}: {}", c.family, variant.name, name_of(c.dtype),
                                        c.shape, error.what()));
        std::fprintf(stderr, "FAILED %s\n", failures_.back().c_str());
      }
    }
    std::vector<std::function<void()>> calls;
    for (const Plan& plan : plans) calls.push_back([&] { memory.run(plan); });
    const std::vector<double> seconds = kernel_cases::seconds_in_turns(runtime_, calls, round(), 3);
    for (std::size_t i = 0; i < names.size(); ++i) {
      rows_.push_back({c.family, names[i], std::string(name_of(c.dtype)), c.shape, seconds[i],
                       c.bytes(), c.flops});
      std::fprintf(stderr, "%-24s %-18s %-5s %-34s %9.3f ms\n", c.family.c_str(), names[i].c_str(),
                   rows_.back().dtype.c_str(), c.shape.c_str(), seconds[i] * 1e3);
    }
  }

  void run() {
    for (const DType dtype : {DType::f32, DType::bf16}) {
      for (const kernel_cases::Family& family : kernel_cases::families()) {
        for (const std::string_view shape : quick_ ? family.small : family.large) {
          measure(family.make(shape, dtype));
        }
      }
    }
    steps_ = time_training_steps(device_, quick_);
  }

  Json json() const {
    Json rows = Json::array();
    for (const Row& row : rows_) {
      Json r = {{"family", row.family},
                {"variant", row.variant},
                {"dtype", row.dtype},
                {"shape", row.shape},
                {"milliseconds", row.seconds * 1e3},
                {"gb_per_second", row.bytes / row.seconds / 1e9},
                {"gflop_per_second", row.flops / row.seconds / 1e9},
                {"share_of_copy_bandwidth", row.bytes / row.seconds / copy_bandwidth_}};
      if (const Row* library = library_of(row)) {
        r["share_of_library_speed"] = library->seconds / row.seconds;
      }
      rows.push_back(std::move(r));
    }
    Json steps = Json::array();
    for (const StepTime& step : steps_) {
      steps.push_back({{"model", step.model},
                       {"image_size", step.image_size},
                       {"batch", step.batch},
                       {"milliseconds", step.seconds * 1e3}});
    }
    return {{"device", runtime_.description()},
            {"copy_gb_per_second", copy_bandwidth_ / 1e9},
            {"kernels", rows},
            {"training_steps", steps},
            {"failures", failures_}};
  }

  std::string markdown() const {
    std::string text = fmt::format(
        "{}, copy bandwidth {:.0f} GB/s\n\n| family | dtype | shape | variant | ms | GB/s | "
        "GFLOP/s "
        "| of copy bandwidth | of the library's speed |\n|---|---|---|---|---|---|---|---|---|\n",
        runtime_.description(), copy_bandwidth_ / 1e9);
    for (const Row& row : rows_) {
      const Row* library = library_of(row);
      text += fmt::format(
          "| {} | {} | {} | {} | {:.3f} | {:.0f} | {:.0f} | {:.0f} % | {} |\n", row.family,
          row.dtype, row.shape, row.variant, row.seconds * 1e3, row.bytes / row.seconds / 1e9,
          row.flops / row.seconds / 1e9, 100 * row.bytes / row.seconds / copy_bandwidth_,
          library != nullptr ? fmt::format("{:.0f} %", 100 * library->seconds / row.seconds) : "");
    }
    text += "\n| training step, f32 | batch | ms |\n|---|---|---|\n";
    for (const StepTime& step : steps_) {
      text += fmt::format("| {} at {}x{} | {} | {:.3f} |\n", step.model, step.image_size,
                          step.image_size, step.batch, step.seconds * 1e3);
    }
    return text;
  }
  bool failed() const { return !failures_.empty(); }

 private:
  double round() const { return quick_ ? 1e-4 : 0.02; }

  // The library's time for the same work, where there is one.
  const Row* library_of(const Row& row) const {
    for (const Row& other : rows_) {
      if ((other.variant == "cudnn" || other.variant == "cublas") && other.family == row.family &&
          other.dtype == row.dtype && other.shape == row.shape && &other != &row) {
        return &other;
      }
    }
    return nullptr;
  }

  Device device_;
  DeviceRuntime& runtime_;
  bool quick_;
  double copy_bandwidth_ = 1;
  std::vector<Row> rows_;
  std::vector<StepTime> steps_;
  std::vector<std::string> failures_;
};

int run(int argc, char** argv) {
  std::string device = "cuda", json, markdown;
  bool quick = false;
  for (int i = 1; i < argc; ++i) {
    const std::string option = argv[i];
    const bool has_value = i + 1 < argc;
    if (option == "--quick") {
      quick = true;
    } else if (option == "--device" && has_value) {
      device = argv[++i];
    } else if (option == "--json" && has_value) {
      json = argv[++i];
    } else if (option == "--markdown" && has_value) {
      markdown = argv[++i];
    } else {
      throw usage_error(
          "usage: device_bench [--device cuda|emulated] [--quick] [--json FILE] "
          "[--markdown FILE]");
    }
  }
  const Device chosen = device_from_name(device);
  if (chosen.kind == DeviceKind::cpu) throw usage_error("device_bench is for cuda and emulated");
  Bench bench(chosen, quick);
  bench.run();
  if (!json.empty()) std::ofstream(json) << bench.json().dump(2) << "\n";
  if (!markdown.empty()) std::ofstream(markdown) << bench.markdown();
  if (json.empty() && markdown.empty()) fmt::print("{}", bench.markdown());
  return bench.failed() ? 1 : 0;
}

}  // namespace
}  // namespace tapescope

int main(int argc, char** argv) {
  try {
    return tapescope::run(argc, argv);
  } catch (const tapescope::Error& error) {
    fmt::print(stderr, "device_bench: {}\n", error.what());
    return error.blame() == tapescope::Blame::usage ? 2 : 1;
  }
}
