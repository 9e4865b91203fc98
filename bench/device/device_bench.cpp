// Every variant of the kernel families on a device, at sizes that networks have: time, GB/s,
// GFLOP/s, and their share of what the device can do, measured in the same run: of its copy
// bandwidth for kernels that only move data, of the libraries' time for products and convolutions.
//
//   device_bench --device cuda --json kernels.json --markdown kernels.md
//   device_bench --device emulated --quick          tries the program itself, on tiny sizes
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>

#include "bench/device/training_steps.h"
#include "engine/runtime.h"
#include "engine/tensor.h"
#include "kernels/batch_norm/batch_norm.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/dropout/dropout.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/layout/layout.h"
#include "kernels/log_softmax/log_softmax.h"
#include "kernels/matmul/matmul.h"
#include "kernels/optimizer/optimizer.h"
#include "kernels/pool2d/pool2d.h"
#include "kernels/reduce/reduce.h"

namespace tapescope {
namespace {

using Json = nlohmann::ordered_json;

struct Row {
  std::string family, variant, dtype, shape;
  double seconds, bytes, flops;
};

// Seconds of one call: the best of three rounds, each long enough for launches to overlap.
double seconds_of(DeviceRuntime& runtime, const std::function<void()>& call, double round_seconds) {
  const Queue queue = runtime.compute_queue();
  const auto timed = [&](int calls) {
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < calls; ++i) call();
    runtime.wait(queue);
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  call();
  const double once = std::max(timed(1), 1e-7);
  const int calls = std::clamp(static_cast<int>(round_seconds / once), 1, 10000);
  double best = 1e30;
  for (int round = 0; round < 3; ++round) best = std::min(best, timed(calls) / calls);
  return best;
}

class Bench {
 public:
  Bench(Device device, bool quick)
      : device_(device), runtime_(DeviceRuntime::of(device)), quick_(quick) {
    const std::int64_t bytes = quick ? 1 << 16 : 1 << 28;
    Tensor from({DType::u8, {bytes}}, device), to({DType::u8, {bytes}}, device);
    const double seconds = seconds_of(
        runtime_,
        [&] {
          runtime_.copy(to.data(), from.data(), static_cast<std::size_t>(bytes),
                        runtime_.compute_queue());
        },
        round());
    copy_bandwidth_ = 2.0 * static_cast<double>(bytes) / seconds;  // read and written
  }

  // All variants of a family for one shape. `in` and `out` are what its header lists.
  template <class Shape>
  void family(std::string_view name, const Shape& shape, DType dtype, const std::string& text,
              const std::vector<Type>& in, const std::vector<Type>& out, double flops) {
    std::vector<Tensor> tensors;
    std::vector<const void*> sources;
    std::vector<void*> results;
    double bytes = 0;
    for (const Type& type : in) {
      tensors.push_back(filled(type));
      sources.push_back(tensors.back().data());
      bytes += static_cast<double>(type.bytes());
    }
    for (const Type& type : out) {
      tensors.emplace_back(type, device_);
      results.push_back(tensors.back().data());
      bytes += static_cast<double>(type.bytes());
    }
    sources.push_back(nullptr);
    results.push_back(nullptr);
    for (const Variant<Shape>& variant : gpu_variants<Shape>(device_.kind, name)) {
      if (!variant.reason.empty() || !variant.dtypes.contains(dtype)) continue;
      if (variant.supports != nullptr && !variant.supports(shape)) continue;
      if (variant.name == "naive" && flops > 5e10) continue;  // seconds, and nothing to learn
      try {
        const Plan plan = variant.prepare(shape);
        Tensor workspace({DType::u8, {static_cast<std::int64_t>(plan.workspace_bytes())}}, device_);
        const Buffers buffers{sources.data(), results.data(), workspace.data()};
        const Queue queue = runtime_.compute_queue();
        const double seconds = seconds_of(
            runtime_, [&] { plan.run(queue, buffers); }, round());
        rows_.push_back({std::string(name), std::string(variant.name), std::string(name_of(dtype)),
                         text, seconds, bytes, flops});
        std::fprintf(stderr, "%-24s %-18s %-5s %-34s %9.3f ms\n", rows_.back().family.c_str(),
                     rows_.back().variant.c_str(), rows_.back().dtype.c_str(), text.c_str(),
                     seconds * 1e3);
      } catch (const Error& error) {
        failures_.push_back(
            fmt::format("{} {} {} {}: {}", name, variant.name, name_of(dtype), text, error.what()));
        std::fprintf(stderr, "FAILED %s\n", failures_.back().c_str());
      }
    }
  }

  void run() {
    for (const DType dtype : {DType::f32, DType::bf16}) {
      memory_bound(dtype);
      products(dtype);
      convolutions(dtype);
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

  // Small numbers, so that nothing overflows and no product is denormal.
  Tensor filled(const Type& type) const {
    if (!is_floating(type.dtype)) return Tensor::zeros(type, device_);
    Tensor host({DType::f32, type.shape});
    std::uint32_t bits = 1;
    for (float& x : host.values<float>()) {
      bits = bits * 1664525u + 1013904223u;
      x = static_cast<float>(bits >> 8) / 16777216.0f + 0.25f;
    }
    return host.to(type.dtype).to(device_);
  }

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

  void memory_bound(DType d) {
    const std::int64_t N = quick_ ? 2 : 64, S = quick_ ? 8 : 56, C = quick_ ? 16 : 128;
    const std::int64_t n = N * S * S * C;
    const Shape image{N, S, S, C};
    const double elements = static_cast<double>(n);
    const std::string text = fmt::format("{}x{}x{}x{}", N, S, S, C);
    family<UnaryShape>("unary", {d, Unary::relu, n, 0, 0}, d, "relu " + text, {{d, image}},
                       {{d, image}}, elements);
    family<UnaryShape>("unary", {d, Unary::gelu, n, 0, 0}, d, "gelu " + text, {{d, image}},
                       {{d, image}}, elements);
    family<BinaryShape>("binary", {d, Binary::add, image, image, 0, 0}, d, "add " + text,
                        {{d, image}, {d, image}}, {{d, image}}, elements);
    family<BinaryShape>("binary", {d, Binary::mul, image, {C}, 0, 0}, d, "mul by channels " + text,
                        {{d, image}, {d, {C}}}, {{d, image}}, elements);
    family<ReduceShape>("reduce", {d, Reduction::sum, image, 0b0111}, d, "to channels " + text,
                        {{d, image}}, {{d, {1, 1, 1, C}}}, elements);
    family<ReduceShape>("reduce", {d, Reduction::sum, image, 0b1110}, d, "to samples " + text,
                        {{d, image}}, {{d, {N, 1, 1, 1}}}, elements);
    const std::int64_t rows = quick_ ? 64 : 65536;
    for (const std::int64_t classes : {std::int64_t{10}, quick_ ? std::int64_t{100} : 1000}) {
      family<SoftmaxShape>("log_softmax", {d, rows, classes}, d,
                           fmt::format("{}x{}", rows, classes), {{d, {rows, classes}}},
                           {{d, {rows, classes}}}, 5.0 * static_cast<double>(rows * classes));
      family<SoftmaxShape>("log_softmax_gradient", {d, rows, classes}, d,
                           fmt::format("{}x{}", rows, classes),
                           {{d, {rows, classes}}, {d, {rows, classes}}}, {{d, {rows, classes}}},
                           5.0 * static_cast<double>(rows * classes));
    }
    family<DropoutShape>("dropout", {d, N, S * S * C, 0.5, 1}, d, text,
                         {{d, image}, {DType::i64, {}}}, {{d, image}}, elements);
    const BatchNormShape norm{d, N * S * S, C, 1e-5};
    const Type channels{d, {C}};
    family("batch_norm_training", norm, d, text, {{d, image}, channels, channels},
           {{d, image}, channels, channels}, 8 * elements);
    family("batch_norm_gradient", norm, d, text,
           {{d, image}, {d, image}, channels, channels, channels}, {{d, image}, channels, channels},
           10 * elements);
    const Pool2dShape pool{d, N, S, S, C, 2, 2, 2, 2, 0, 0, true};
    const Shape half{N, S / 2, S / 2, C};
    family("max_pool2d", pool, d, text, {{d, image}}, {{d, half}, {DType::u8, half}}, elements);
    family("max_pool2d_scatter", pool, d, text, {{d, half}, {DType::u8, half}}, {{d, image}},
           elements);
    family("avg_pool2d", pool, d, text, {{d, image}}, {{d, half}}, elements);
    TransposeShape turn{d, image, {0, 3, 1, 2}};
    family("transpose", turn, d, "NHWC to NCHW " + text, {{d, image}}, {{d, {N, C, S, S}}}, 0);
    if (d != DType::f32) return;
    const std::int64_t weights = quick_ ? 1000 : 25'000'000;
    const Type w{d, {weights}}, scalar{d, {}}, step{DType::i64, {}};
    family<SgdShape>("sgd", {d, weights, 0.9, true, 1e-4}, d, std::to_string(weights),
                     {w, w, w, scalar}, {w, w}, 6.0 * static_cast<double>(weights));
    family<AdamwShape>("adamw", {d, weights, 0.9, 0.999, 1e-8, 0.01}, d, std::to_string(weights),
                       {w, w, w, w, scalar, step}, {w, w, w}, 12.0 * static_cast<double>(weights));
  }

  void products(DType d) {
    const std::int64_t n = quick_ ? 70 : 4096;
    const std::int64_t shapes[][3] = {{n, n, n}, {quick_ ? 33 : 2048, quick_ ? 40 : 1000, n / 2}};
    for (const auto& [M, N, K] : shapes) {
      for (const bool transposed : {false, true}) {
        const MatmulShape s{d, false, false, transposed, M, N, K};
        family("matmul", s, d, fmt::format("{}x{}x{}{}", M, N, K, transposed ? " b^T" : ""),
               {{d, {M, K}}, {d, {K, N}}}, {{d, {M, N}}},
               2.0 * static_cast<double>(M) * static_cast<double>(N * K));
      }
    }
  }

  void convolutions(DType d) {
    struct Layer {
      std::int64_t side, I, O, K, stride;
    };
    // A ResNet's: its stem, one 3 x 3 of each stage, one that halves, and a 1 x 1.
    const std::vector<Layer> layers =
        quick_ ? std::vector<Layer>{{6, 8, 16, 3, 1}, {7, 3, 8, 5, 2}}
               : std::vector<Layer>{{224, 3, 64, 7, 2},   {56, 64, 64, 3, 1},  {28, 128, 128, 3, 1},
                                    {14, 256, 256, 3, 1}, {7, 512, 512, 3, 1}, {56, 64, 128, 3, 2},
                                    {56, 64, 256, 1, 1}};
    const std::int64_t N = quick_ ? 2 : 64;
    for (const Layer& l : layers) {
      Conv2dShape s;
      s.dtype = d;
      s.N = N;
      s.H = s.W = l.side;
      s.I = l.I;
      s.O = l.O;
      s.KH = s.KW = l.K;
      s.stride_h = s.stride_w = l.stride;
      s.pad_h = s.pad_w = l.K / 2;
      const Type x{d, {N, s.H, s.W, s.I}}, w{d, {s.O, s.KH, s.KW, s.I}},
          y{d, {N, s.P(), s.Q(), s.O}};
      const std::string text =
          fmt::format("{}x{}x{}x{} {}x{}x{}/{}", N, s.H, s.W, s.I, s.O, s.KH, s.KW, l.stride);
      family("conv2d", s, d, text, {x, w}, {y}, 2 * s.macs());
      family("conv2d_data_gradient", s, d, text, {y, w}, {x}, 2 * s.macs());
      family("conv2d_weight_gradient", s, d, text, {x, y}, {w}, 2 * s.macs());
    }
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
