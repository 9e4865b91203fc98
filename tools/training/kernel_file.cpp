#include "tools/training/kernel_file.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "engine/isa.h"
#include "engine/runtime.h"
#include "engine/thread_pool.h"
#include "tools/files/json_file.h"
#include "tools/files/json_text.h"
#include "tools/files/text.h"
#include "tools/training/environment.h"

namespace tapescope {
namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

constexpr std::string_view kFormat = "tapescope kernels 1";  // and the form of KernelChoices' keys

const VariantInfo* find_variant(const std::vector<VariantInfo>& all, std::string_view family,
                                std::string_view variant, DeviceKind device) {
  const auto it = std::find_if(all.begin(), all.end(), [&](const VariantInfo& info) {
    return info.family == family && info.name == variant && info.device == device;
  });
  return it == all.end() ? nullptr : &*it;
}

double milliseconds(double seconds) { return std::round(seconds * 1e6) / 1e3; }

}  // namespace

KernelRequest parse_kernels(const std::string& text) {
  KernelRequest request;
  if (text.empty()) return request;
  const std::vector<VariantInfo> known = all_variants();
  for (const std::string& item : comma_separated(text)) {
    if (item == "measured") {
      request.measured = true;
      continue;
    }
    if (item.ends_with(".json")) {
      if (!request.file.empty()) {
        throw usage_error("--kernel names two files, '{}' and '{}': give one",
                          printable(request.file), printable(item));
      }
      request.file = item;
      continue;
    }
    const std::size_t equals = item.find('=');
    const std::string family = item.substr(0, equals);
    const std::string variant = equals == std::string::npos ? "" : item.substr(equals + 1);
    const bool found = std::any_of(known.begin(), known.end(), [&](const VariantInfo& info) {
      return info.family == family && info.name == variant;
    });
    if (!found) {
      throw usage_error(
          "--kernel '{}' names no kernel; it must be FAMILY=VARIANT as listed by "
          "`tapescope kernels`, measured, or a FILE.json of what a run measured",
          printable(item));
    }
    request.by_name[family] = variant;
  }
  if (request.measured && !request.file.empty()) {
    throw usage_error("--kernel is to measure, and to take '{}': give one of the two",
                      printable(request.file));
  }
  return request;
}

fs::path kernel_file_of(const fs::path& run) { return run / "kernels.json"; }

KernelChoices read_kernel_file(const fs::path& file, Device device) {
  const Json json = read_json_object(file);
  const std::string name = printable(file.string());
  const std::string format = json.value("format", Json()).is_string() ? json["format"] : "none";
  if (format != kFormat) {
    throw usage_error(
        "'{}' is no file of measured kernels that this version reads: its format is "
        "'{}', not '{}'; {}",
        name, printable(format), kFormat, kKernelFileRemedy);
  }
  const std::vector<VariantInfo> known = all_variants();
  KernelChoices choices;
  try {
    const auto measured_on = json.at("device").get<std::string>();
    if (measured_on != name_of(device.kind)) {
      throw usage_error("'{}' was measured on the device '{}', and this is '{}'; {}", name,
                        printable(measured_on), name_of(device.kind), kKernelFileRemedy);
    }
    for (const Json& entry : json.at("kernels")) {
      const auto family = entry.at("family").get<std::string>();
      const auto variant = entry.at("variant").get<std::string>();
      const auto shape = entry.at("shape").get<std::string>();
      const auto dtype = entry.at("dtype").get<std::string>();
      const VariantInfo* info = find_variant(known, family, variant, device.kind);
      if (info == nullptr || !info->reason.empty()) {
        throw usage_error(
            "'{}': the kernel '{}' of {} {} {} {}: {}; {}", name, printable(variant),
            printable(family), printable(dtype), printable(shape),
            info == nullptr ? "is none of this version's (`tapescope kernels`)" : "cannot run here",
            info == nullptr ? "another version measured it" : info->reason, kKernelFileRemedy);
      }
      const std::string key = fmt::format("{} {} {}", family, dtype, shape);
      if (!choices.emplace(key, variant).second) {
        throw usage_error("'{}' is damaged: it has '{}' twice; {}", name, printable(key),
                          kKernelFileRemedy);
      }
    }
  } catch (const Json::exception& wrong) {
    throw usage_error("'{}' is damaged: {}; {}", name,
                      printable(std::string(wrong.what()).substr(0, 300)), kKernelFileRemedy);
  }
  return choices;
}

KernelChoices kernels_of_run(const std::string& text, const fs::path& run, Device device) {
  KernelRequest request = parse_kernels(text);
  KernelChoices& choices = request.by_name;
  if (!request.by_shape()) return choices;
  const fs::path file = request.measured ? kernel_file_of(run) : fs::path(request.file);
  if (request.measured && !fs::exists(file)) {
    throw usage_error(
        "--kernel measured takes what the training measured, and '{}' is not there; leave it out, "
        "or name a file of another run",
        printable(file.string()));
  }
  choices.merge(read_kernel_file(file, device));
  return choices;
}

std::string kernel_file_text(const KernelMeasurement& measured, Device device) {
  Json json = {{"format", kFormat},
               {"device", name_of(device.kind)},
               {"processor", processor_name()},
               {"instruction set", name_of(isa())},
               {"threads", thread_count()}};
  if (device.kind != DeviceKind::cpu) {
    json["device name"] = DeviceRuntime::of(device).description();
  }
  json["step milliseconds"] = {{"usual", milliseconds(measured.usual_step)},
                               {"chosen", milliseconds(measured.step)}};
  json["kernels"] = Json::array();
  for (const MeasuredKernel& k : measured.kernels) {
    const std::size_t family = k.kernel.find(' '), dtype = k.kernel.find(' ', family + 1);
    Json times = Json::object();
    for (std::size_t v = 0; v < k.variants.size(); ++v) {
      if (std::isfinite(k.seconds[v])) times[k.variants[v]] = milliseconds(k.seconds[v]);
    }
    json["kernels"].push_back({{"family", k.kernel.substr(0, family)},
                               {"dtype", k.kernel.substr(family + 1, dtype - family - 1)},
                               {"shape", k.kernel.substr(dtype + 1)},
                               {"variant", k.variants[k.chosen]},
                               {"usual", k.variants.front()},
                               {"milliseconds", times}});
  }
  return json_text(json, 2) + "\n";
}

std::string sentence_of(const KernelMeasurement& m) {
  const auto otherwise = std::count_if(m.kernels.begin(), m.kernels.end(),
                                       [](const MeasuredKernel& k) { return k.chosen != 0; });
  std::size_t timed = 0;
  for (const MeasuredKernel& k : m.kernels) timed += k.variants.size();
  if (m.kernels.empty()) {
    return fmt::format("kernels: none of the {} shapes has two to choose from", m.asked);
  }
  return fmt::format(
      "kernels: {} of {} shapes have several; {} kernels timed in {:.1f} s, {} chosen otherwise: "
      "the step's kernels {:.4g} -> {:.4g} ms{}",
      m.kernels.size(), m.asked, timed, m.seconds, otherwise, 1e3 * m.usual_step, 1e3 * m.step,
      m.left_out > 0 ? fmt::format("; {} need more memory than --memory-limit leaves", m.left_out)
                     : "");
}

}  // namespace tapescope
