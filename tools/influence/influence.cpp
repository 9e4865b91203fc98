#include "tools/influence/influence.h"

#include <fnmatch.h>

#include <algorithm>
#include <cmath>

#include "autograd/explain/tracin.h"
#include "tools/monitoring/history.h"
#include "tools/training/task.h"

namespace tapescope {
namespace {

namespace fs = std::filesystem;

// "epoch-012.safetensors" is 12; 0 for other names.
std::int64_t epoch_of(const fs::path& path) {
  const std::string stem = path.stem().string();
  if (path.extension() != ".safetensors" || !stem.starts_with("epoch-")) return 0;
  const std::string digits = stem.substr(6);
  if (digits.empty() || digits.find_first_not_of("0123456789") != std::string::npos) return 0;
  return std::stoll(digits);
}

// The mean of the epoch's logged steps; where it has none, what lies between the logged steps
// before and after its end.
double rate_of(const monitoring::History& history, const KeptCheckpoint& checkpoint,
               const fs::path& run) {
  double sum = 0, count = 0;
  for (const StepRecord& step : history.steps) {
    if (step.epoch != checkpoint.epoch) continue;
    sum += step.learning_rate;
    count += 1;
  }
  if (count > 0) return sum / count;
  const auto epoch =
      std::find_if(history.epochs.begin(), history.epochs.end(),
                   [&](const EpochRecord& e) { return e.epoch == checkpoint.epoch; });
  if (epoch == history.epochs.end() || history.steps.empty()) {
    throw usage_error(
        "the history of run '{}' does not know epoch {}, whose checkpoint was kept: "
        "its learning rate is unknown",
        run.string(), checkpoint.epoch);
  }
  const auto after = std::find_if(history.steps.begin(), history.steps.end(),
                                  [&](const StepRecord& s) { return s.step >= epoch->step; });
  if (after == history.steps.end()) return history.steps.back().learning_rate;
  if (after == history.steps.begin()) return after->learning_rate;
  const StepRecord &a = *(after - 1), &b = *after;
  const double share =
      static_cast<double>(epoch->step - a.step) / static_cast<double>(b.step - a.step);
  return a.learning_rate + share * (b.learning_rate - a.learning_rate);
}

// "fc2" of "fc2.weight".
std::string layer_of(const std::string& parameter) {
  return parameter.substr(0, parameter.rfind('.'));
}

std::vector<ParameterRef> chosen(const Classifier& model, const std::string& glob) {
  const std::vector<ParameterRef> all = model.trained_parameters();
  std::vector<ParameterRef> result;
  std::string names;
  for (const ParameterRef& p : all) {
    const bool last = layer_of(p->name) == layer_of(all.back()->name);
    if (glob.empty() ? last : fnmatch(glob.c_str(), p->name.c_str(), 0) == 0) result.push_back(p);
    names += (names.empty() ? "" : ", ") + p->name;
  }
  if (result.empty()) throw usage_error("--parameters '{}' matches none; they are {}", glob, names);
  return result;
}

Tensor loaded(const ImageSource& source, std::int64_t index, std::int64_t& label) {
  const auto types = source.types();
  Tensor image(Type{types[0].second.dtype, types[0].second.shape.with_leading(1)});
  void* const rows[] = {image.data(), &label};
  source.load(index, {}, rows);
  return image;
}

double cosine(const std::vector<float>& a, const std::vector<float>& b) {
  double ab = 0, aa = 0, bb = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    ab += static_cast<double>(a[i]) * b[i];
    aa += static_cast<double>(a[i]) * a[i];
    bb += static_cast<double>(b[i]) * b[i];
  }
  return aa > 0 && bb > 0 ? ab / std::sqrt(aa * bb) : 0;
}

}  // namespace

std::vector<KeptCheckpoint> kept_checkpoints(const fs::path& run) {
  std::vector<KeptCheckpoint> kept;
  const fs::path folder = run / "checkpoints";
  if (fs::is_directory(folder)) {
    for (const auto& entry : fs::directory_iterator(folder)) {
      if (const std::int64_t epoch = epoch_of(entry.path()); epoch > 0) {
        kept.push_back({entry.path(), epoch, 0});
      }
    }
  }
  if (kept.empty()) {
    throw usage_error(
        "run '{}' kept no checkpoints of its epochs, which TracIn looks at; train with "
        "--keep-checkpoints N",
        run.string());
  }
  std::sort(kept.begin(), kept.end(),
            [](const KeptCheckpoint& a, const KeptCheckpoint& b) { return a.epoch < b.epoch; });
  const monitoring::History history = monitoring::read_history(run);
  for (KeptCheckpoint& checkpoint : kept) checkpoint.rate = rate_of(history, checkpoint, run);
  return kept;
}

std::vector<std::vector<double>> tracin(const std::vector<KeptCheckpoint>& checkpoints,
                                        const std::vector<Question>& questions,
                                        const ImageSource& source,
                                        const std::vector<std::int64_t>& examples,
                                        const std::string& parameters, const Backend& backend,
                                        const Done& done) {
  std::vector<std::vector<double>> scores(questions.size(),
                                          std::vector<double>(examples.size(), 0));
  for (std::size_t t = 0; t < checkpoints.size(); ++t) {
    const KeptCheckpoint& checkpoint = checkpoints[t];
    const LoadedModel model =
        load_model(checkpoint.path.parent_path().parent_path(), checkpoint.path.string());
    move_to(backend.device, model.model->parameters());
    const Classification task(model.info.config, {.name = model.info.loss});
    const auto record = [&](Tape& tape) {
      const NamedVars inputs = task.inputs(tape, 1);
      return task.loss(inputs, (*model.model)({{"image", inputs.at("image")}})).samples;
    };
    explain::SampleGradients gradients(record, chosen(*model.model, parameters), backend);
    const auto gradient = [&](const Tensor& image, std::int64_t label) {
      const std::vector<NamedTensor> inputs = {{"image", image},
                                               {"label", Tensor::from<std::int64_t>({1}, {label})}};
      return gradients.of(inputs);
    };
    std::vector<std::vector<float>> asked;
    for (const Question& q : questions) asked.push_back(gradient(q.input, q.label));
    for (std::size_t e = 0; e < examples.size(); ++e) {
      std::int64_t label = 0;
      const Tensor image = loaded(source, examples[e], label);
      const std::vector<float> of_example = gradient(image, label);
      for (std::size_t q = 0; q < questions.size(); ++q) {
        scores[q][e] += explain::tracin_share(checkpoint.rate, of_example, asked[q]);
      }
      if (done && e % 64 == 0) {
        done((static_cast<double>(t) +
              static_cast<double>(e) / static_cast<double>(examples.size())) /
             static_cast<double>(checkpoints.size()));
      }
    }
  }
  return scores;
}

std::vector<float> features_of(const Tensor& values) {
  const Shape& s = values.shape();
  const auto v = values.values<float>();
  if (s.rank() != 4) return {v.begin(), v.end()};
  const auto channels = static_cast<std::size_t>(s[3]);
  std::vector<float> mean(channels, 0.0f);
  const auto places = static_cast<float>(s[1] * s[2]);
  for (std::size_t i = 0; i < v.size(); ++i) mean[i % channels] += v[i] / places;
  return mean;
}

std::vector<std::vector<double>> likeness(explain::LayerReader& reader,
                                          const std::vector<Question>& questions,
                                          const ImageSource& source,
                                          const std::vector<std::int64_t>& examples,
                                          const Done& done) {
  std::vector<std::vector<double>> scores(questions.size());
  std::vector<std::vector<float>> asked;
  for (const Question& q : questions) asked.push_back(features_of(reader.values(q.input)));
  for (std::size_t e = 0; e < examples.size(); ++e) {
    std::int64_t label = 0;
    const std::vector<float> features =
        features_of(reader.values(loaded(source, examples[e], label)));
    for (std::size_t q = 0; q < questions.size(); ++q) {
      scores[q].push_back(cosine(asked[q], features));
    }
    if (done && e % 64 == 0) done(static_cast<double>(e) / static_cast<double>(examples.size()));
  }
  return scores;
}

}  // namespace tapescope
