#include "tools/training/features.h"

#include <algorithm>
#include <cstring>
#include <set>

#include "tools/data/loader.h"
#include "tools/training/staging.h"

namespace tapescope {

std::vector<Var> feature_cut(Tape& tape, Var image, std::span<const ParameterRef> trained) {
  std::set<const Node*> changing = {tape.step().node};
  for (const ParameterRef& parameter : trained) changing.insert(tape.parameter(parameter).node);
  for (const Effect& effect : tape.effects()) changing.insert(tape.parameter(effect.state).node);
  std::set<const Node*> seeing = {image.node};  // what depends on the picture
  std::vector<Var> cut;
  for (const Node* node : tape.nodes()) {
    bool changes = changing.contains(node), sees = seeing.contains(node);
    for (const Var& operand : node->operands()) {
      if (!operand) continue;
      changes = changes || changing.contains(operand.node);
      sees = sees || seeing.contains(operand.node);
    }
    if (sees) seeing.insert(node);
    if (!changes) continue;
    changing.insert(node);
    for (const Var& operand : node->operands()) {
      if (!operand || changing.contains(operand.node) || !seeing.contains(operand.node)) continue;
      if (operand == image || operand.output != 0 || !operand.node->batched) return {};
      if (std::find(cut.begin(), cut.end(), operand) == cut.end()) cut.push_back(operand);
    }
  }
  return cut;
}

bool in_evaluation(const Model& model, const Task& task, Device device, std::span<const Var> cut) {
  Tape tape(device, Mode::evaluation);
  const NamedVars outputs = model(task.inputs(tape, 2));
  std::set<std::string> paths;
  for (const Node* node : tape.nodes()) paths.insert(node->path());
  return std::all_of(cut.begin(), cut.end(),
                     [&](const Var& feature) { return paths.contains(feature.path()); });
}

FeatureSource::FeatureSource(std::shared_ptr<const SampleSource> from, std::span<const Var> cut)
    : from_(std::move(from)) {
  for (const Var& feature : cut) {
    const Shape& shape = feature.shape();
    names_.push_back(feature.path());
    types_.emplace_back(
        names_.back(),
        Type{feature.dtype(), Shape(std::vector<std::int64_t>(shape.begin() + 1, shape.end()))});
  }
  for (const auto& [name, type] : from_->types()) {
    if (name != "image") types_.emplace_back(name, type);
  }
}

std::size_t FeatureSource::bytes() const {
  std::size_t bytes = 0;
  for (const auto& [name, type] : types_) bytes += type.bytes();
  return bytes * static_cast<std::size_t>(from_->size());
}

void FeatureSource::fill(Program& features, const Task& task, Device device,
                         std::int64_t batch_size, int threads) {
  values_.clear();
  for (const auto& [name, type] : types_) {
    values_.emplace_back(type.bytes() * static_cast<std::size_t>(from_->size()));
  }
  Loader loader(from_, {.batch_size = batch_size, .threads = threads});
  Staging staging(device);
  loader.start(0);
  std::size_t done = 0;  // samples
  for (Batch batch; loader.next(batch);) {
    const std::vector<Tensor> out = features.run(staging.stage(task.feed(batch)));
    staging.done();
    for (std::size_t i = 0; i < types_.size(); ++i) {
      const Tensor& rows = i < names_.size() ? out[i] : batch[types_[i].first];
      std::memcpy(values_[i].data() + done * types_[i].second.bytes(), rows.data(), rows.bytes());
    }
    done += static_cast<std::size_t>(batch.rows());
  }
  filled_ = true;
}

void FeatureSource::load(std::int64_t index, const Pipeline::Key&,
                         std::span<void* const> rows) const {
  for (std::size_t i = 0; i < types_.size(); ++i) {
    const std::size_t bytes = types_[i].second.bytes();
    std::memcpy(rows[i], values_[i].data() + static_cast<std::size_t>(index) * bytes, bytes);
  }
}

}  // namespace tapescope
