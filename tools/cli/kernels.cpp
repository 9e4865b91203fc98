#include <fmt/ranges.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "engine/isa.h"
#include "engine/runtime.h"
#include "engine/thread_pool.h"
#include "kernels/collectives/world.h"
#include "kernels/common/variant.h"
#include "tools/benchmark/kernel_bench.h"
#include "tools/cli/cli.h"
#include "tools/files/text.h"

namespace tapescope::cli {
namespace {

struct KernelsArguments {
  std::string bench, shape, device = "auto", dtype = "f32", compare;
  double threshold = 1.1;
  long threads = 0;
  bool json = false;
};

std::vector<std::string> dtypes_of(const VariantInfo& info) {
  std::vector<std::string> names;
  for (DType dtype : {DType::f32, DType::bf16, DType::f64, DType::i64, DType::u8}) {
    if (info.dtypes.contains(dtype)) names.emplace_back(name_of(dtype));
  }
  return names;
}

int print_json() {
  nlohmann::ordered_json kernels = nlohmann::ordered_json::array();
  for (const VariantInfo& info : all_variants()) {
    kernels.push_back({{"family", info.family},
                       {"device", name_of(info.device)},
                       {"variant", info.name},
                       {"dtypes", dtypes_of(info)},
                       {"compiled", info.compiled},
                       {"available", info.reason.empty()},
                       {"reason", info.reason},
                       {"note", info.note}});
  }
  nlohmann::ordered_json ways = nlohmann::ordered_json::array();
  for (const TransportInfo& transport : transports()) {
    ways.push_back({{"transport", transport.name},
                    {"available", transport.available},
                    {"reason", transport.reason}});
  }
  const nlohmann::ordered_json all = {
      {"isa", name_of(isa())}, {"transports", ways}, {"kernels", kernels}};
  fmt::print("{}\n", all.dump(2));
  return 0;
}

// Columns of a width of their own, so that nothing moves from build to build, and notes in what is
// left of 100, under one another.
void print_row(std::string_view device, std::string_view variant, std::string_view dtypes,
               std::string note) {
  constexpr std::size_t kNote = 44;
  std::string line = fmt::format("  {:8} {:17} {:20} ", device, variant, dtypes);
  while (note.size() > kNote) {
    const std::size_t blank = note.rfind(' ', kNote),
                      cut = blank == note.npos || blank == 0 ? kNote : blank;
    fmt::print("{}{}\n", line, note.substr(0, cut));
    note.erase(0, cut + (blank == cut));
    line.assign(50, ' ');
  }
  line += note;
  line.erase(line.find_last_not_of(' ') + 1);
  fmt::print("{}\n", line);
}

int print_table() {
  fmt::print("instruction set {}, {} threads\n", name_of(isa()), thread_count());
  for (DeviceKind device : {DeviceKind::cuda, DeviceKind::emulated}) {
    const std::string why = why_unavailable(device);
    fmt::print("device {}: {}\n", name_of(device),
               why.empty() ? DeviceRuntime::of({device}).description() : "not available, " + why);
  }
  for (const TransportInfo& transport : transports()) {
    fmt::print(
        "ranks by {}: {}\n", transport.name,
        transport.available ? std::string(transport.note) : "not available, " + transport.reason);
  }
  fmt::print(
      "\nA device's best variant that covers dtype and shape runs: the first of its rows. \"-\": "
      "not here.\n");
  std::string_view family;
  for (const VariantInfo& info : all_variants()) {
    if (info.family != family) fmt::print("\n{}\n", info.family);
    family = info.family;
    const std::string why = why_unavailable(info.device);
    // Of a device that is missing it is told above.
    const bool own = !info.reason.empty() && why != info.reason;
    print_row(name_of(info.device), (info.reason.empty() ? "" : "-") + std::string(info.name),
              fmt::format("{}", fmt::join(dtypes_of(info), " ")),
              own ? fmt::format("{}: {}", info.compiled ? "not here" : "not built", info.reason)
                  : std::string(info.note));
  }
  return 0;
}

int bench(const KernelsArguments& options) {
  if (options.threads > 0) set_thread_count(static_cast<int>(options.threads));
  benchmark::KernelBenchRequest request;
  request.families = comma_separated(options.bench);
  if (!options.shape.empty()) request.shapes = comma_separated(options.shape);
  request.device = device_from_name(options.device);
  request.dtype = options.dtype == "bf16" ? DType::bf16 : DType::f32;
  const auto tell = [](const std::string& shape) { fmt::print(stderr, "measuring {}\n", shape); };
  const benchmark::KernelBench result = benchmark::bench_kernels(request, tell);
  fmt::print("{}{}", options.json ? benchmark::to_json(result) : benchmark::to_text(result),
             options.json ? "\n" : "");
  if (options.compare.empty()) return 0;
  const benchmark::Comparison comparison =
      benchmark::compare(result, options.compare, options.threshold);
  fmt::print(options.json ? stderr : stdout, "{}", comparison.text);
  return comparison.slower ? 1 : 0;
}

int run(const KernelsArguments& options) {
  if (!options.bench.empty()) return bench(options);
  if (!options.shape.empty() || !options.compare.empty()) {
    throw usage_error("--shape and --compare are of --bench FAMILY");
  }
  return options.json ? print_json() : print_table();
}

std::function<int()> setup_kernels(CommandLine& line) {
  auto options = std::make_shared<KernelsArguments>();
  line.flag("--json", options->json, "print one JSON object");
  line.option("--bench", options->bench, "FAMILY[,...] or all: time every variant, in turns");
  line.option("--shape", options->shape,
              "SHAPE[,...] of that family, for instance nn:256x256x256 of matmul; a wrong one says "
              "how they are written");
  line.option("--device", options->device, "where to time")
      .one_of({"auto", "cpu", "cuda", "emulated"});
  line.option("--dtype", options->dtype, "of what is timed").one_of({"f32", "bf16"});
  line.option("--threads", options->threads, "of the CPU; 0: as many as processors").not_negative();
  line.option("--compare", options->compare,
              "FILE that --bench --json printed: set its times beside these");
  line.option("--threshold", options->threshold,
              "status 1 where something takes more than so many times FILE's time")
      .positive()
      .show_default();
  return [options] { return run(*options); };
}

}  // namespace

const Subcommand kKernels = {
    "kernels", "list every kernel: family, device, variant, dtypes; or time them",
    "tapescope kernels --bench matmul --shape nn:256x256x256", setup_kernels};

}  // namespace tapescope::cli
