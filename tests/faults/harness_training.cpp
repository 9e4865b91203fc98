#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "tests/faults/training.h"
#include "tools/monitoring/event_file.h"
#include "tools/training/safetensors.h"

namespace tapescope::faults {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// Times, and what depends on how often the training was started.
void drop_times(json& object) {
  for (const char* key : {"seconds", "images_per_second", "seconds_data_wait", "seconds_statistics",
                          "peak_bytes", "checkpoint"}) {
    object.erase(key);
  }
  if (object.contains("statistics")) object["statistics"].erase("seconds");
}

std::vector<std::string> history_of(const fs::path& run) {
  std::vector<std::string> lines;
  std::istringstream file(text_of(run / "history.jsonl"));
  for (std::string line; std::getline(file, line);) {
    json object = json::parse(line, nullptr, false);
    if (object.is_discarded()) {
      lines.push_back("torn: " + line);
      continue;
    }
    drop_times(object);
    lines.push_back(object.dump());
  }
  return lines;
}

// Names beneath the run, but for the event files', whose number is that of the starts.
std::set<std::string> names_of(const fs::path& run) {
  std::set<std::string> names;
  for (const auto& entry : fs::recursive_directory_iterator(run)) {
    if (entry.path().parent_path().filename() == "tensorboard") continue;
    names.insert(fs::relative(entry.path(), run).string());
  }
  return names;
}

std::string difference_of_tensors(const fs::path& a, const fs::path& b) {
  const Safetensors x = read_safetensors(a), y = read_safetensors(b);
  if (x.tensors.size() != y.tensors.size()) return "another number of tensors";
  for (std::size_t i = 0; i < x.tensors.size(); ++i) {
    const Tensor &t = x.tensors[i].tensor, &u = y.tensors[i].tensor;
    if (x.tensors[i].name != y.tensors[i].name || t.type() != u.type()) return "other tensors";
    if (std::memcmp(t.data(), u.data(), t.bytes()) != 0) return x.tensors[i].name + " differs";
  }
  return "";
}

// last.safetensors and the state it names.
std::string difference_of_last(const fs::path& a, const fs::path& b) {
  if (auto text = difference_of_tensors(a / "last.safetensors", b / "last.safetensors");
      !text.empty()) {
    return "last: " + text;
  }
  const auto state = [](const fs::path& folder) {
    const auto last = read_safetensors(folder / "last.safetensors");
    return folder / (last.metadata.at("tapescope.state") + ".safetensors");
  };
  return difference_of_tensors(state(a), state(b));
}

}  // namespace

Injected::Injected(const Fault& fault) {
  const std::map<std::string, std::string> variables = {
      {"LD_PRELOAD", TAPESCOPE_INTERPOSE},
      {"TAPESCOPE_FAULT_FOLDER", fault.folder},
      {"TAPESCOPE_FAULT_CALLS", fault.calls},
      {"TAPESCOPE_FAULT_AT", std::to_string(fault.at)},
      {"TAPESCOPE_FAULT_TIMES", std::to_string(fault.times)},
      {"TAPESCOPE_FAULT_ACTION", fault.action},
      {"TAPESCOPE_FAULT_COUNT", folder_ / "count"}};
  for (const auto& [name, value] : variables) ::setenv(name.c_str(), value.c_str(), 1);
}

Injected::~Injected() {
  for (const char* name :
       {"LD_PRELOAD", "TAPESCOPE_FAULT_FOLDER", "TAPESCOPE_FAULT_CALLS", "TAPESCOPE_FAULT_AT",
        "TAPESCOPE_FAULT_TIMES", "TAPESCOPE_FAULT_ACTION", "TAPESCOPE_FAULT_COUNT"}) {
    ::unsetenv(name);
  }
}

long Injected::calls() const {
  return fs::exists(folder_ / "count") ? std::stol(text_of(folder_ / "count")) : -1;
}

bool says_one_sentence(const Result& result) {
  const std::size_t at = result.err.rfind("tapescope: ");
  if (at == std::string::npos || (at > 0 && result.err[at - 1] != '\n')) return false;
  const std::string sentence = result.err.substr(at);
  for (const char* raw : {"std::", "json.exception", "filesystem error", "terminate called",
                          "basic_", "nobody has foreseen"}) {
    if (sentence.find(raw) != std::string::npos) return false;
  }
  return std::count(sentence.begin(), sentence.end(), '\n') == 1;
}

Training::Training() {
  write_colours(data(), 12);
  reference_ = fresh();
  const auto began = std::chrono::steady_clock::now();
  const Result result = tapescope_program(command(reference_));
  seconds_ = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  if (result.status != 0) throw failure("the uninterrupted training failed: {}", result.err);
}

fs::path Training::fresh() { return folder_ / ("run" + std::to_string(runs_++)); }

std::vector<std::string> Training::command(const fs::path& folder) const {
  std::vector<std::string> words = {
      "train", "--data", data(), "--out", folder, "--threads", "1", "--loader-threads", "1"};
  if (fs::exists(folder / "checkpoints" / "last.safetensors")) {
    words.push_back("--resume");
    return words;
  }
  for (const char* word : {"--model",
                           "lenet",
                           "--width",
                           "0.25",
                           "--image-size",
                           "12",
                           "--epochs",
                           "3",
                           "--batch-size",
                           "8",
                           "--lr",
                           "0.02",
                           "--validation-fraction",
                           "0.25",
                           "--checkpoint-every",
                           "1",
                           "--keep-checkpoints",
                           "3",
                           "--log-every",
                           "1",
                           "--statistics-every",
                           "2"}) {
    words.push_back(word);
  }
  return words;
}

std::string Training::difference(const fs::path& run) const {
  const std::set<std::string> names = names_of(run), wanted = names_of(reference_);
  for (const std::string& name : names) {
    if (!wanted.contains(name)) return "left over: " + name;
  }
  for (const std::string& name : wanted) {
    if (!names.contains(name)) return "missing: " + name;
  }
  const fs::path a = reference_ / "checkpoints", b = run / "checkpoints";
  for (const auto& entry : fs::directory_iterator(a)) {
    const std::string name = entry.path().filename();
    if (name.starts_with("state-") || name == "last.safetensors") continue;
    if (get(entry.path()) != get(b / name)) return "checkpoints/" + name + " differs";
  }
  if (std::string text = difference_of_last(a, b); !text.empty()) return text;
  const std::vector<std::string> was = history_of(reference_), is = history_of(run);
  for (std::size_t i = 0; i < std::max(was.size(), is.size()); ++i) {
    const std::string expected = i < was.size() ? was[i] : "nothing";
    const std::string found = i < is.size() ? is[i] : "nothing";
    if (expected != found) {
      return "line " + std::to_string(i + 1) + " of history.jsonl is\n  " + found +
             "\nand without an interruption\n  " + expected;
    }
  }
  json metrics = json::parse(text_of(run / "metrics.json"));
  json other = json::parse(text_of(reference_ / "metrics.json"));
  drop_times(metrics);
  drop_times(other);
  if (metrics != other) return "metrics.json is " + metrics.dump() + ", not " + other.dump();
  return "";
}

}  // namespace tapescope::faults
