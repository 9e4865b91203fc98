// What a frozen part of a net makes of the pictures, computed once: the features that a probe
// learns from.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "autograd/program/program.h"
#include "tools/data/sample_source.h"
#include "tools/training/task.h"

namespace tapescope {

// The Vars of a recorded forward pass, {N, ...} each, that depend on `image` and on nothing that
// training changes, and that what is trained reads: with these given, nothing before them is
// needed. Empty where what is trained reads the picture itself. `trained` are the parameters that
// an optimiser will update; random ops (dropout) count as changing.
std::vector<Var> feature_cut(Tape& tape, Var image, std::span<const ParameterRef> trained);

// Whether the evaluation of the model has all of the cut: what a training draws at random in its
// frozen part is not there.
bool in_evaluation(const Model& model, const Task& task, Device device, std::span<const Var> cut);

// Samples of another source with features in the place of "image".
class FeatureSource final : public SampleSource {
 public:
  // `cut` as feature_cut() gives it: the features are called by the Vars' paths. `from` gives the
  // same samples in every epoch.
  FeatureSource(std::shared_ptr<const SampleSource> from, std::span<const Var> cut);

  std::int64_t size() const override { return from_->size(); }
  std::vector<std::pair<std::string, Type>> types() const override { return types_; }
  void load(std::int64_t index, const Pipeline::Key& key,
            std::span<void* const> rows) const override;
  bool repeats() const override { return true; }

  std::size_t bytes() const;  // of all samples, once filled
  bool filled() const { return filled_; }
  // Runs `features`, whose outputs are the cut, over all samples. Before the first load().
  void fill(Program& features, const Task& task, Device device, std::int64_t batch_size,
            int threads);

 private:
  std::shared_ptr<const SampleSource> from_;
  std::vector<std::string> names_;                   // of the features
  std::vector<std::pair<std::string, Type>> types_;  // the features first
  std::vector<std::vector<std::byte>> values_;       // of all samples, by tensor
  bool filled_ = false;
};

}  // namespace tapescope
