#include <fmt/format.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "engine/error.h"
#include "tools/benchmark/kernel_bench.h"
#include "tools/files/json_file.h"

namespace tapescope::benchmark {
namespace {

using Json = nlohmann::ordered_json;

std::string key_of(const std::string& device, const std::string& dtype, const Json& row) {
  return device + " " + dtype + " " + row["family"].get<std::string>() + " " +
         row["shape"].get<std::string>() + " " + row["variant"].get<std::string>();
}

}  // namespace

std::string to_json(const KernelBench& bench) {
  Json rows = Json::array();
  for (const KernelTime& t : bench.rows) {
    rows.push_back({{"family", t.family},
                    {"shape", t.shape},
                    {"variant", t.variant},
                    {"milliseconds", t.seconds * 1e3},
                    {"gflop_per_second", t.flops / t.seconds / 1e9},
                    {"gb_per_second", t.bytes / t.seconds / 1e9},
                    {"share_of_roof", t.roof_share},
                    {"error", t.error && std::isfinite(*t.error) ? Json(*t.error) : Json()}});
  }
  return Json{{"device", bench.device},
              {"description", bench.isa},
              {"dtype", bench.dtype},
              {"threads", bench.threads},
              {"clock_mhz", bench.clock_mhz ? Json(*bench.clock_mhz) : Json()},
              {"roof",
               {{"gb_per_second", bench.roof.bytes_per_second / 1e9},
                {"gflop_per_second", bench.roof.flops_per_second / 1e9}}},
              {"kernels", rows}}
      .dump(2);
}

std::string to_text(const KernelBench& bench) {
  std::string text = fmt::format(
      "{}, {}, {} threads, {}\n", bench.device, bench.isa, bench.threads,
      bench.clock_mhz ? fmt::format("{:.0f} MHz", *bench.clock_mhz) : "clock cannot be read");
  text += fmt::format("roof: {:.1f} GB/s (copying), {:.1f} GFLOP/s (matmul), {}\n",
                      bench.roof.bytes_per_second / 1e9, bench.roof.flops_per_second / 1e9,
                      bench.dtype);
  std::string of;
  for (const KernelTime& t : bench.rows) {
    const std::string title = fmt::format("{} {}: {:.4g} MFLOP, {:.4g} MB", t.family, t.shape,
                                          t.flops / 1e6, t.bytes / 1e6);
    if (title != of) {
      text += fmt::format("\n{}\n{:20} {:>11} {:>10} {:>9} {:>8} {:>9}\n", title, "variant", "ms",
                          "GFLOP/s", "GB/s", "of roof", "error");
    }
    of = title;
    text += fmt::format("{:20} {:>11.4f} {:>10.2f} {:>9.2f} {:>6.0f} % {:>9}\n", t.variant,
                        t.seconds * 1e3, t.flops / t.seconds / 1e9, t.bytes / t.seconds / 1e9,
                        100 * t.roof_share, t.error ? fmt::format("{:.1e}", *t.error) : "-");
  }
  return text;
}

Comparison compare(const KernelBench& bench, const std::string& file, double threshold) {
  std::map<std::string, double> then;
  const Json before = read_json_object(file);
  try {
    for (const Json& row : before.at("kernels")) {
      then[key_of(before.at("device").get<std::string>(), before.at("dtype").get<std::string>(),
                  row)] = row.at("milliseconds").get<double>();
    }
  } catch (const Json::exception&) {
    throw usage_error("'{}' is not what `tapescope kernels --bench FAMILY --json` prints", file);
  }
  Comparison result;
  result.text =
      fmt::format("\n{:44} {:>10} {:>10} {:>8}\n", "beside " + file.substr(file.rfind('/') + 1),
                  "ms then", "ms now", "ratio");
  int shared = 0, slower = 0;
  const Json now = Json::parse(to_json(bench));
  for (const Json& row : now["kernels"]) {
    const auto it = then.find(key_of(bench.device, bench.dtype, row));
    if (it == then.end()) continue;
    ++shared;
    const double ms = row["milliseconds"].get<double>(), ratio = ms / it->second;
    slower += ratio > threshold;
    result.text += fmt::format("{:44} {:>10.4f} {:>10.4f} {:>7.2f}{}\n",
                               it->first.substr(bench.device.size() + bench.dtype.size() + 2),
                               it->second, ms, ratio, ratio > threshold ? " *" : "");
  }
  if (shared == 0) {
    throw usage_error("'{}' has no kernel of these on {} in {}", file, bench.device, bench.dtype);
  }
  result.slower = slower > 0;
  result.text +=
      slower > 0
          ? fmt::format("{} of {} take more than {} times as long (*)\n", slower, shared, threshold)
          : fmt::format("none of {} takes more than {} times as long\n", shared, threshold);
  return result;
}

}  // namespace tapescope::benchmark
