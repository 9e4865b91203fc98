#include "tools/training/checkpoint.h"

#include <limits>
#include <nlohmann/json.hpp>

#include "engine/hash.h"
#include "engine/isa.h"
#include "tools/data/image.h"
#include "tools/files/json_text.h"
#include "tools/files/text.h"
#include "tools/training/metadata_json.h"

namespace tapescope {
namespace {

namespace fs = std::filesystem;

std::string hash_of(const fs::path& path) {
  const std::vector<std::uint8_t> bytes = read_bytes(path);
  return fmt::format("{:016x}",
                     stable_hash({reinterpret_cast<const char*>(bytes.data()), bytes.size()}));
}

StoredTensor counter(const std::string& name, std::int64_t value) {
  return {name, Tensor::scalar_i64(value)};
}

// What cannot be removed is in nobody's way.
void remove_states_but(const fs::path& folder, const std::string& name) {
  std::error_code error;
  fs::directory_iterator entries(folder, error);
  for (; !error && entries != fs::directory_iterator(); entries.increment(error)) {
    const std::string other = entries->path().filename().string();
    std::error_code ignored;
    if (other.starts_with("state-") && other != name + ".safetensors") {
      fs::remove(entries->path(), ignored);
    }
  }
}

}  // namespace

void expect_known_format(const SafetensorsFile& file) {
  const auto format = file.metadata().find("tapescope.format");
  if (format == file.metadata().end() || format->second == std::to_string(kRunFormat)) return;
  throw usage_error(
      "'{}' is written in format {}, by a newer version; this one reads format {}: use that "
      "version, or train anew",
      printable(file.path().string()), printable(format->second), kRunFormat);
}

fs::path checkpoint_path(const fs::path& run, const std::string& which) {
  std::error_code error;
  if (which == "best" && fs::is_regular_file(run, error)) return run;
  const bool named = which == "best" || which == "last" || which == "initial";
  const fs::path path = named ? run / "checkpoints" / (which + ".safetensors") : fs::path(which);
  if (named && !fs::exists(path)) {
    throw usage_error(
        "'{}' has no checkpoint '{}' ({} does not exist); is it a run directory of "
        "`tapescope train`?",
        run.string(), which, path.string());
  }
  return path;
}

Checkpoints::Checkpoints(fs::path run, std::map<std::string, std::string> metadata,
                         std::int64_t keep)
    : run_(std::move(run)), metadata_(std::move(metadata)), keep_(keep) {
  std::error_code error;
  fs::create_directories(run_ / "checkpoints", error);
  if (error) {
    throw usage_error("the run directory '{}' cannot be made: {}; choose another --out",
                      run_.string(), error.message());
  }
}

fs::path Checkpoints::file(std::string_view name) const {
  return run_ / "checkpoints" / (std::string(name) + ".safetensors");
}

void Checkpoints::write_model(const fs::path& path, const Module& model,
                              const std::map<std::string, std::string>& more) const {
  std::vector<StoredTensor> tensors;
  for (const ParameterRef& parameter : model.parameters()) {
    tensors.push_back({parameter->name, moved_axes(parameter->value.host(), true)});
  }
  std::map<std::string, std::string> metadata = metadata_;
  metadata.insert(more.begin(), more.end());
  metadata["format"] = "pt";
  metadata["tapescope.format"] = std::to_string(kRunFormat);
  write_safetensors(path, tensors, metadata);
}

void Checkpoints::save_initial(const Module& model) const {
  write_model(file("initial"), model, {});
}

void Checkpoints::save(const Module& model, const Optimizer& optimizer, const Progress& progress,
                       bool best, bool epoch_end) const {
  if (best) write_model(file("best"), model, {});
  if (epoch_end && keep_ > 0) {
    write_model(file(fmt::format("epoch-{:03}", progress.epoch)), model, {});
    if (const std::int64_t old = progress.epoch - keep_; old > 0) {
      std::error_code ignored;
      fs::remove(file(fmt::format("epoch-{:03}", old)), ignored);
    }
  }
  std::vector<StoredTensor> tensors;
  for (const ParameterRef& state : optimizer.states())
    tensors.push_back({state->name, state->value.host()});
  tensors.push_back(counter("progress.step", progress.step));
  tensors.push_back(counter("progress.epoch", progress.epoch));
  tensors.push_back(counter("progress.batch", progress.batch));
  tensors.push_back(counter("progress.best_epoch", progress.best.epoch));
  tensors.push_back(counter("progress.images", progress.images));
  tensors.push_back({"progress.best_score", Tensor::full({DType::f64, {}}, progress.best.score)});
  tensors.push_back({"progress.best_mean", Tensor::full({DType::f64, {}}, progress.best.mean)});
  tensors.push_back({"progress.loss_sum", Tensor::full({DType::f64, {}}, progress.loss_sum)});
  const auto save_numbers = [&](const char* name, const std::vector<double>& numbers) {
    if (numbers.empty()) return;
    tensors.push_back({name, Tensor::from<double>({std::ssize(numbers)}, numbers)});
  };
  save_numbers("progress.recent_scores", progress.best.recent);
  save_numbers("progress.term_sums", progress.term_sums);
  // A training that is stopped at an epoch's last step saves this step again when it is resumed:
  // the state that `last` names until then must not be written over.
  const std::string name =
      fmt::format("state-{}{}", progress.step, progress.batch > 0 ? "-mid" : "");
  write_safetensors(file(name), tensors, {{"instruction_set", std::string(name_of(isa()))}});
  write_model(file("last"), model,
              {{"tapescope.state", name}, {"tapescope.state_hash", hash_of(file(name))}});
  remove_states_but(run_ / "checkpoints", name);
}

namespace {

// The optimiser's values and where the training stood.
struct State {
  fs::path path;
  Safetensors file;

  const Tensor& need(const std::string& tensor) const {
    const Tensor* found = file.find(tensor);
    if (found != nullptr) return *found;
    throw usage_error("--resume: '{}' has no '{}'; were --optimizer or --freeze changed?",
                      path.string(), tensor);
  }
  std::int64_t count(const std::string& tensor) const {
    return need(tensor).values<std::int64_t>()[0];
  }
};

// The one that a model file names, which lies beside it.
State state_of(const SafetensorsFile& model) {
  const std::string path = model.path().string();
  const auto name = model.metadata().find("tapescope.state");
  const auto hash = model.metadata().find("tapescope.state_hash");
  if (name == model.metadata().end() || hash == model.metadata().end()) {
    throw usage_error("--resume: '{}' names no state file; it is a model without a training", path);
  }
  if (!name->second.starts_with("state-") || name->second.find('/') != std::string::npos) {
    throw usage_error("--resume: '{}' names '{}' as its state file; it is of this folder", path,
                      printable(name->second));
  }
  const fs::path state = model.path().parent_path() / (name->second + ".safetensors");
  if (!fs::exists(state) || hash_of(state) != hash->second) {
    throw usage_error(
        "--resume: the state file '{}' is missing or not the one that '{}' was saved "
        "with; the model can be used with --weights, the training cannot continue",
        state.string(), path);
  }
  return {state, read_safetensors(state)};
}

void restore(const Optimizer& optimizer, const State& state) {
  for (const ParameterRef& moment : optimizer.states()) {
    const Tensor& stored = state.need(moment->name);
    if (stored.type() != moment->value.type()) {
      throw usage_error(
          "--resume: '{}' in '{}' is {} where the model needs {}; it is of another "
          "model",
          moment->name, state.path.string(), to_string(stored.type()),
          to_string(moment->value.type()));
    }
    moment->value.copy_from(stored);
    moment->changed();
  }
}

Progress progress_of(const State& state) {
  // Absent where there are none, and from older states.
  const auto numbers = [&](const char* name) {
    const Tensor* found = state.file.find(name);
    if (found == nullptr) return std::vector<double>();
    const auto values = found->values<double>();
    return std::vector<double>(values.begin(), values.end());
  };
  // Older states compared scores of single epochs.
  const double score = state.need("progress.best_score").item();
  const Tensor* mean = state.file.find("progress.best_mean");
  return {.step = state.count("progress.step"),
          .epoch = state.count("progress.epoch"),
          .batch = state.count("progress.batch"),
          .best = {.epoch = state.count("progress.best_epoch"),
                   .score = score,
                   .mean = mean != nullptr ? mean->item() : score,
                   .recent = numbers("progress.recent_scores")},
          .loss_sum = state.need("progress.loss_sum").item(),
          .images = state.count("progress.images"),
          .term_sums = numbers("progress.term_sums")};
}

}  // namespace

Progress Checkpoints::resume(Module& model, const Optimizer& optimizer,
                             std::vector<std::string>& notices) const {
  const fs::path path = file("last");
  if (!fs::exists(path)) {
    throw usage_error("--resume: '{}' has no checkpoint to continue from; leave --resume out",
                      run_.string());
  }
  SafetensorsFile stored(path);
  expect_known_format(stored);
  if (!stored.metadata().contains("tapescope.format")) {
    notices.emplace_back(
        "the training was started by an older version, which drew dropout's masks from other keys "
        "and recorded in another order: bits differ from an uninterrupted one's");
  }
  load_exactly(model, stored, "the model that --resume goes on with", {.allow_non_finite = true});
  const State state = state_of(stored);
  restore(optimizer, state);
  const auto was = state.file.metadata.find("instruction_set");
  if (was != state.file.metadata.end() && was->second != name_of(isa())) {
    notices.push_back(
        fmt::format("the training was started with {} instructions and goes on with "
                    "{}: bits may differ from an uninterrupted one",
                    was->second, name_of(isa())));
  }
  remove_states_but(run_ / "checkpoints", state.path.stem().string());  // of a save that was killed
  return progress_of(state);
}

}  // namespace tapescope
