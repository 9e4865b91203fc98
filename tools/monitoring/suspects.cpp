#include "tools/monitoring/suspects.h"

#include <algorithm>
#include <cmath>

namespace tapescope::monitoring {
namespace {

// Gathers instead of adding up.
class Gatherer final : public Metrics {
 public:
  explicit Gatherer(std::vector<Judged>& judged) : judged_(judged) {}
  void add(const Batch& batch, const Tensor&, const Tensor& predictions) override {
    const auto labels = batch["label"].values<std::int64_t>();
    for (std::size_t n = 0; n < labels.size(); ++n) {
      const auto row = static_cast<std::int64_t>(n);
      const Tensor probabilities = predictions.rows(row, row + 1);
      const auto p = probabilities.values<float>();
      const auto best = std::max_element(p.begin(), p.end());
      const double mine = p[static_cast<std::size_t>(labels[n])];
      judged_.push_back({batch.indices[n], labels[n], best - p.begin(),
                         -std::log(std::max(mine, 1e-38)), mine, *best});
    }
  }
  double loss() const override { return 0; }
  double score() const override { return 0; }

 private:
  std::vector<Judged>& judged_;
};

class Gathering final : public Task {
 public:
  Gathering(const ModelInfo& info, std::vector<Judged>& judged)
      : inner_(info.config, {}), judged_(judged) {}
  std::string_view score_name() const override { return inner_.score_name(); }
  NamedVars inputs(Tape& tape, std::int64_t batch) const override {
    return inner_.inputs(tape, batch);
  }
  Loss loss(const NamedVars& inputs, const NamedVars& outputs) const override {
    return inner_.loss(inputs, outputs);
  }
  Var predictions(const NamedVars& outputs) const override { return inner_.predictions(outputs); }
  std::unique_ptr<Metrics> metrics() const override { return std::make_unique<Gatherer>(judged_); }

 private:
  Classification inner_;
  std::vector<Judged>& judged_;
};

}  // namespace

std::vector<Judged> judge_images(const Classifier& model, const ModelInfo& info,
                                 std::shared_ptr<const Dataset> data, const Backend& backend) {
  std::vector<Judged> judged;
  const Gathering task(info, judged);
  evaluate(model, task, std::move(data), info.pipeline, 32, 2, backend);
  return judged;
}

std::vector<Judged> label_suspects(std::vector<Judged> judged, std::size_t most,
                                   double confidence) {
  std::erase_if(
      judged, [&](const Judged& j) { return !j.wrong() || j.predicted_probability < confidence; });
  std::stable_sort(judged.begin(), judged.end(),
                   [](const Judged& a, const Judged& b) { return a.loss > b.loss; });
  if (judged.size() > most) judged.resize(most);
  return judged;
}

}  // namespace tapescope::monitoring
