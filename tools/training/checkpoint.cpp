#include "tools/training/checkpoint.h"

#include <fnmatch.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "engine/isa.h"
#include "engine/philox.h"
#include "tools/data/image.h"
#include "tools/training/safetensors.h"

namespace tapescope {
namespace {

namespace fs = std::filesystem;

// Between our {O, KH, KW, I} and PyTorch's {O, I, KH, KW}: the last axis to the second place, or
// back. Tensors of other ranks are the same in both.
Tensor moved_axes(const Tensor& from, bool to_pytorch) {
  const Shape& s = from.shape();
  if (s.rank() != 4 || from.dtype() != DType::f32) return from;
  const std::int64_t O = s[0], A = s[1], B = s[2], C = s[3];
  Tensor to({DType::f32, to_pytorch ? Shape{O, C, A, B} : Shape{O, B, C, A}});
  const auto x = from.values<float>();
  const auto y = to.values<float>();
  std::size_t i = 0;
  for (std::int64_t o = 0; o < O; ++o) {
    for (std::int64_t a = 0; a < A; ++a) {
      for (std::int64_t b = 0; b < B; ++b) {
        for (std::int64_t c = 0; c < C; ++c, ++i) {
          const std::int64_t at = to_pytorch ? ((o * C + c) * A + a) * B + b   // a,b: KH,KW; c: I
                                             : ((o * B + b) * C + c) * A + a;  // a: I; b,c: KH,KW
          y[static_cast<std::size_t>(at)] = x[i];
        }
      }
    }
  }
  return to;
}

std::string hash_of(const fs::path& path) {
  const std::vector<std::uint8_t> bytes = read_bytes(path);
  return fmt::format("{:016x}",
                     stable_hash({reinterpret_cast<const char*>(bytes.data()), bytes.size()}));
}

ModelInfo info_of(const Safetensors& file, const fs::path& path) {
  const auto model = file.metadata.find("tapescope.model");
  const auto pipeline = file.metadata.find("tapescope.pipeline");
  if (model == file.metadata.end() || pipeline == file.metadata.end()) {
    throw usage_error(
        "'{}' does not say which model it is of (its metadata has no "
        "tapescope.model); give it to `train --weights` instead",
        path.string());
  }
  try {
    const auto json = nlohmann::json::parse(model->second);
    ModelInfo info;
    info.config.name = json.at("name");
    info.config.classes = json.at("classes").size();
    info.config.channels = json.at("channels");
    info.config.image_size = json.at("image_size");
    info.config.width = json.at("width");
    info.classes = json.at("classes").get<std::vector<std::string>>();
    info.pipeline = Pipeline::from_json(pipeline->second);
    info.loss = json.value("loss", info.loss);
    info.validation_fraction = json.value("validation_fraction", 0.0);
    info.test_fraction = json.value("test_fraction", 0.0);
    info.seed = json.value("seed", info.seed);
    info.exif = exif_from_name(json.value("exif", name_of(info.exif)));
    return info;
  } catch (const nlohmann::json::exception& error) {
    throw usage_error("'{}' has damaged metadata: {}", path.string(), error.what());
  }
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (std::size_t i = 0; i < names.size() && i < 8; ++i) text += (i ? ", " : "") + names[i];
  if (names.size() > 8) text += fmt::format(" and {} more", names.size() - 8);
  return text;
}

// What of `file` fits `model`; copies it.
struct Match {
  std::vector<std::string> missing, unexpected, mismatched;
  int copied = 0;
};
Match copy_tensors(const Safetensors& file, Module& model) {
  Match match;
  const std::vector<ParameterRef> parameters = model.parameters();
  for (const ParameterRef& parameter : parameters) {
    const Tensor* stored = file.find(parameter->name);
    if (stored == nullptr) {
      match.missing.push_back(parameter->name);
      continue;
    }
    const Tensor ours = moved_axes(stored->to(parameter->value.dtype()), false);
    if (ours.type() != parameter->value.type()) {
      match.mismatched.push_back(fmt::format(
          "{} ({} in the file, {} in the model)", parameter->name, to_string(stored->shape()),
          to_string(moved_axes(parameter->value.host(), true).shape())));
      continue;
    }
    parameter->value.copy_from(ours);
    parameter->changed();
    ++match.copied;
  }
  for (const StoredTensor& stored : file.tensors) {
    if (std::none_of(parameters.begin(), parameters.end(),
                     [&](const ParameterRef& p) { return p->name == stored.name; })) {
      match.unexpected.push_back(stored.name);
    }
  }
  return match;
}

StoredTensor counter(const std::string& name, std::int64_t value) {
  return {name, Tensor::scalar_i64(value)};
}

}  // namespace

std::map<std::string, std::string> metadata_of(const ModelInfo& info) {
  return {{"tapescope.model", nlohmann::json{{"name", info.config.name},
                                             {"classes", info.classes},
                                             {"channels", info.config.channels},
                                             {"image_size", info.config.image_size},
                                             {"width", info.config.width},
                                             {"loss", info.loss},
                                             {"validation_fraction", info.validation_fraction},
                                             {"test_fraction", info.test_fraction},
                                             {"seed", info.seed},
                                             {"exif", name_of(info.exif)}}
                                  .dump()},
          {"tapescope.pipeline", info.pipeline.to_json()}};
}

DataOptions data_options_of(const ModelInfo& info, const std::string& split) {
  DataOptions options;
  options.validation_fraction = split == "test" ? 0 : info.validation_fraction;
  options.test_fraction = info.test_fraction;
  options.seed = info.seed;
  options.classes = info.classes;
  options.channels = static_cast<int>(info.config.channels);
  options.exif = info.exif;
  return options;
}

void load_exactly(Module& model, const Safetensors& file, const fs::path& path,
                  const std::string& what) {
  const Match match = copy_tensors(file, model);
  if (!match.missing.empty() || !match.mismatched.empty() || !match.unexpected.empty()) {
    throw usage_error("'{}' does not hold a {}: missing {}; mismatched {}; unexpected {}",
                      path.string(), what, match.missing.empty() ? "none" : joined(match.missing),
                      match.mismatched.empty() ? "none" : joined(match.mismatched),
                      match.unexpected.empty() ? "none" : joined(match.unexpected));
  }
}

fs::path checkpoint_path(const fs::path& run, const std::string& which) {
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

LoadedModel load_model(const fs::path& run, const std::string& which) {
  const fs::path path = checkpoint_path(run, which);
  const Safetensors file = read_safetensors(path);
  LoadedModel loaded;
  loaded.info = info_of(file, path);
  loaded.path = path;
  loaded.model = make_model(loaded.info.config);
  load_exactly(*loaded.model, file, path, loaded.info.config.name);
  return loaded;
}

std::vector<std::string> load_weights(Module& model, const fs::path& path) {
  const Match match = copy_tensors(read_safetensors(path), model);
  if (match.copied == 0) {
    throw usage_error("--weights '{}' fits nothing of this model: its tensors are {}",
                      path.string(),
                      joined(match.unexpected.empty() ? match.mismatched : match.unexpected));
  }
  std::vector<std::string> sentences = {
      fmt::format("weights: {} tensors taken from {}", match.copied, path.string())};
  if (!match.missing.empty()) {
    sentences.push_back("weights: missing in the file, keep their initial values: " +
                        joined(match.missing));
  }
  if (!match.mismatched.empty()) {
    sentences.push_back("weights: of another shape, keep their initial values: " +
                        joined(match.mismatched));
  }
  if (!match.unexpected.empty()) {
    sentences.push_back("weights: not in this model: " + joined(match.unexpected));
  }
  return sentences;
}

int freeze(Module& model, const std::string& glob) {
  int frozen = 0;
  for (const ParameterRef& parameter : model.parameters()) {
    if (fnmatch(glob.c_str(), parameter->name.c_str(), 0) != 0 || !parameter->trained()) continue;
    parameter->frozen = true;
    ++frozen;
  }
  if (frozen == 0) {
    std::vector<std::string> names;
    for (const ParameterRef& parameter : model.trained_parameters()) {
      names.push_back(parameter->name);
    }
    throw usage_error("--freeze '{}' matches no parameter; they are {}", glob, joined(names));
  }
  return frozen;
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
      fs::remove(file(fmt::format("epoch-{:03}", old)));
    }
  }
  std::vector<StoredTensor> tensors;
  for (const ParameterRef& state : optimizer.states())
    tensors.push_back({state->name, state->value.host()});
  tensors.push_back(counter("progress.step", progress.step));
  tensors.push_back(counter("progress.epoch", progress.epoch));
  tensors.push_back(counter("progress.batch", progress.batch));
  tensors.push_back(counter("progress.best_epoch", progress.best_epoch));
  tensors.push_back(counter("progress.images", progress.images));
  tensors.push_back({"progress.best_score", Tensor::full({DType::f64, {}}, progress.best_score)});
  tensors.push_back({"progress.loss_sum", Tensor::full({DType::f64, {}}, progress.loss_sum)});
  if (!progress.term_sums.empty()) {
    tensors.push_back({"progress.term_sums",
                       Tensor::from<double>({static_cast<std::int64_t>(progress.term_sums.size())},
                                            progress.term_sums)});
  }
  const std::string name = fmt::format("state-{}", progress.step);
  write_safetensors(file(name), tensors, {{"instruction_set", std::string(name_of(isa()))}});
  write_model(file("last"), model,
              {{"tapescope.state", name}, {"tapescope.state_hash", hash_of(file(name))}});
  for (const auto& entry : fs::directory_iterator(run_ / "checkpoints")) {
    const std::string other = entry.path().filename().string();
    if (other.starts_with("state-") && other != name + ".safetensors") fs::remove(entry.path());
  }
}

Progress Checkpoints::resume(Module& model, const Optimizer& optimizer,
                             std::vector<std::string>& notices) const {
  const fs::path path = file("last");
  if (!fs::exists(path)) {
    throw usage_error("--resume: '{}' has no checkpoint to continue from; leave --resume out",
                      run_.string());
  }
  const Safetensors stored = read_safetensors(path);
  const Match match = copy_tensors(stored, model);
  if (!match.missing.empty() || !match.mismatched.empty()) {
    throw usage_error("--resume: '{}' is of another model: missing {}; mismatched {}",
                      path.string(), joined(match.missing), joined(match.mismatched));
  }
  const auto name = stored.metadata.find("tapescope.state");
  const auto hash = stored.metadata.find("tapescope.state_hash");
  if (name == stored.metadata.end() || hash == stored.metadata.end()) {
    throw usage_error("--resume: '{}' names no state file; it is a model without a training",
                      path.string());
  }
  const fs::path state_path = file(name->second);
  if (!fs::exists(state_path) || hash_of(state_path) != hash->second) {
    throw usage_error(
        "--resume: the state file '{}' is missing or not the one that '{}' was saved "
        "with; the model can be used with --weights, the training cannot continue",
        state_path.string(), path.string());
  }
  const Safetensors state = read_safetensors(state_path);
  const auto need = [&](const std::string& tensor) -> const Tensor& {
    const Tensor* found = state.find(tensor);
    if (found == nullptr) {
      throw usage_error("--resume: '{}' has no '{}'; were --optimizer or --freeze changed?",
                        state_path.string(), tensor);
    }
    return *found;
  };
  for (const ParameterRef& moment : optimizer.states()) {
    if (need(moment->name).type() != moment->value.type()) {
      throw usage_error(
          "--resume: '{}' in '{}' is {} where the model needs {}; it is of another "
          "model",
          moment->name, state_path.string(), to_string(need(moment->name).type()),
          to_string(moment->value.type()));
    }
    moment->value.copy_from(need(moment->name));
    moment->changed();
  }
  const auto count = [&](const std::string& tensor) {
    return need(tensor).values<std::int64_t>()[0];
  };
  const auto was = state.metadata.find("instruction_set");
  if (was != state.metadata.end() && was->second != name_of(isa())) {
    notices.push_back(
        fmt::format("the training was started with {} instructions and goes on with "
                    "{}: bits may differ from an uninterrupted one",
                    was->second, name_of(isa())));
  }
  // Absent from older states, and where the task has no terms.
  std::vector<double> term_sums;
  if (const Tensor* sums = state.find("progress.term_sums"); sums != nullptr) {
    const auto values = sums->values<double>();
    term_sums.assign(values.begin(), values.end());
  }
  return {count("progress.step"),       count("progress.epoch"),
          count("progress.batch"),      need("progress.best_score").item(),
          count("progress.best_epoch"), need("progress.loss_sum").item(),
          count("progress.images"),     std::move(term_sums)};
}

}  // namespace tapescope
