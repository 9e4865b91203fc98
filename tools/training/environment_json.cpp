#include <zlib.h>

#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/hash.h"
#include "engine/isa.h"
#include "engine/runtime.h"
#include "engine/thread_pool.h"
#include "kernels/conv2d/onednn.h"
#include "tools/data/image.h"
#include "tools/files/atomic_file.h"
#include "tools/files/json_file.h"
#include "tools/files/json_text.h"
#include "tools/files/text.h"
#include "tools/files/text_file.h"
#include "tools/onnx/graph.h"
#include "tools/training/build.h"
#include "tools/training/environment.h"
#include "tools/training/kernel_file.h"
#include "tools/training/stored_zip.h"

namespace tapescope {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

fs::path file_of(const fs::path& run) { return run / "environment.json"; }

// Of every library that pixels or values come from.
std::string libraries() {
  std::string text = fmt::format("zlib {}", zlibVersion());
  if (const std::string version = onednn::version(); !version.empty()) {
    text += ", oneDNN " + version;
  }
  for (const std::string& decoder : decoder_versions()) text += ", " + decoder;
  return text;
}

std::string hex(std::uint64_t value, int digits) { return fmt::format("{:0{}x}", value, digits); }

// Lower-case hexadecimal, as hex() writes it.
std::uint64_t from_hex(const Json& json) {
  const auto text = json.get<std::string>();
  std::size_t read = 0;
  const std::uint64_t value = std::stoull(text, &read, 16);
  if (read != text.size()) throw std::invalid_argument(text);
  return value;
}

float float_of(std::uint32_t bits) { return __builtin_bit_cast(float, bits); }

}  // namespace

std::string processor_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("model name")) {
      const std::size_t colon = line.find(": ");
      if (colon != std::string::npos) return printable(line.substr(colon + 2));
    }
  }
  return "unknown";
}

std::uint32_t loss_bits(double loss) {
  return __builtin_bit_cast(std::uint32_t, static_cast<float>(loss));
}

std::uint64_t hash_of(const Tensor& tensor, std::uint64_t hash) {
  const char* bytes = static_cast<const char*>(tensor.data());
  std::size_t left = tensor.bytes();
  for (; left >= sizeof(std::uint64_t); left -= sizeof(std::uint64_t), bytes += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes, sizeof(word));
    hash = mix(hash, word);
  }
  return mix(hash, stable_hash({bytes, left}));
}

std::uint64_t hash_of(const Batch& batch) {
  std::uint64_t hash = 0;
  for (const auto& [name, tensor] : batch.tensors) {
    hash = hash_of(tensor, mix(hash, stable_hash(name)));
  }
  return hash;
}

Environment environment_of(const TrainConfig& config, Device device) {
  const BuildInfo build = build_info();
  Environment environment;
  environment.facts = {{"version", build.version},
                       {"commit", build.commit},
                       {"compiler", build.compiler},
                       {"build", build.options},
                       {"libraries", libraries()},
                       {"instruction set", std::string(name_of(isa()))},
                       {"processor", processor_name()},
                       {"device", std::string(name_of(device.kind))},
                       {"threads", std::to_string(thread_count())}};
  if (device.kind != DeviceKind::cpu) {
    environment.facts.emplace_back("device name", DeviceRuntime::of(device).description());
  }
  if (parse_kernels(config.kernel).by_shape()) {
    const fs::path file = kernel_file_of(config.out);
    environment.facts.emplace_back(
        "kernels.json", fs::exists(file) ? hex(stable_hash(read_text(file)), 16) : "missing");
  }
  environment.options = option_values(config);
  return environment;
}

void write_environment(const fs::path& run, const Environment& environment) {
  Json json = Json::object();
  for (const auto& [name, value] : environment.facts) json[name] = value;
  json["options"] = environment.options;
  json["steps"] = Json::array();
  for (std::size_t i = 0; i < environment.steps.size(); ++i) {
    const Environment::Step& step = environment.steps[i];
    json["steps"].push_back({{"step", i + 1},
                             {"loss", float_of(step.loss)},
                             {"loss bits", hex(step.loss, 8)},
                             {"inputs", hex(step.inputs, 16)}});
  }
  write_atomically(file_of(run), json_text(json, 2) + "\n");
}

Environment read_environment(const fs::path& run) {
  const fs::path path = file_of(run);
  if (!fs::exists(path)) {
    throw usage_error(
        "'{}' has no environment.json; is it a run directory of `tapescope train`? Older versions "
        "kept no such record",
        printable(run.string()));
  }
  const Json json = read_json_object(path);
  try {
    Environment environment;
    for (const auto& [name, value] : json.items()) {
      if (value.is_string()) environment.facts.emplace_back(name, value.get<std::string>());
    }
    environment.options = json.at("options").get<std::map<std::string, std::string>>();
    for (const Json& step : json.at("steps")) {
      environment.steps.push_back({static_cast<std::uint32_t>(from_hex(step.at("loss bits"))),
                                   from_hex(step.at("inputs"))});
    }
    return environment;
  } catch (const std::exception& error) {  // of the JSON library, or a number that is none
    throw usage_error("'{}' is damaged: {}", printable(path.string()),
                      printable(std::string(error.what()).substr(0, 300)));
  }
}

std::vector<std::string> differences(const Environment& then, const Environment& now) {
  std::vector<std::string> sentences;
  const auto told = [&](const std::string& what, const std::string& a, const std::string& b) {
    sentences.push_back(
        fmt::format("{}: {} then, {} now", printable(what), printable(a), printable(b)));
  };
  for (const auto& [name, value] : now.options) {
    const auto it = then.options.find(name);
    if (it == then.options.end() || may_change_on_resume(name)) continue;
    if (it->second != value) told("config.toml, " + name, it->second, value);
  }
  for (const auto& [name, value] : now.facts) {
    for (const auto& [old_name, old_value] : then.facts) {
      if (old_name == name && old_value != value) told(name, old_value, value);
    }
  }
  return sentences;
}

FirstSteps::FirstSteps(fs::path run, Environment environment, bool resume, std::int64_t step)
    : run_(std::move(run)), environment_(std::move(environment)) {
  if (!resume) {
    write_environment(run_, environment_);
    return;
  }
  try {
    Environment before = read_environment(run_);
    closed_ = !differences(before, environment_).empty() ||
              before.steps.size() < static_cast<std::size_t>(step);
    before.steps.resize(std::min(before.steps.size(), static_cast<std::size_t>(step)));
    if (!closed_) environment_.steps = std::move(before.steps);
  } catch (const Error&) {
    closed_ = true;  // a run of an older version: nobody can say how it began
  }
}

void FirstSteps::batch(const Batch& batch) {
  if (!done()) inputs_ = hash_of(batch);
}

std::string FirstSteps::step(double loss) {
  if (done()) return "";
  environment_.steps.push_back({loss_bits(loss), inputs_});
  return done() ? flush() : "";
}

std::string FirstSteps::flush() {
  if (closed_) return "";
  closed_ = done();
  try {
    write_environment(run_, environment_);
  } catch (const Error& error) {
    closed_ = true;
    return fmt::format("{}; the training goes on, `verify-run` will not know its first steps",
                       error.what());
  }
  return "";
}

// And of those that files of models are read with.
std::string all_libraries() {
  std::string text = libraries();
  for (const std::string& version : {onnx::protobuf_version(), zip_library()}) {
    if (!version.empty()) text += ", " + version;
  }
  return text;
}

std::string version_text() {
  const BuildInfo build = build_info();
  std::string set;
  try {
    set = name_of(isa());
  } catch (const Error& error) {
    set = error.what();
  }
  return fmt::format(
      "tapescope {}\ncommit           {}\ncompiler         {}\nbuild            {}\nlibraries      "
      "  "
      "{}\ninstruction set  {}",
      build.version, build.commit, build.compiler, build.options, all_libraries(), set);
}

}  // namespace tapescope
