#include "tools/training/statistics.h"

#include "tools/training/memory_limit.h"
#include "tools/training/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>

namespace tapescope {
namespace {

std::vector<double> square_roots(const Tensor& squares, std::int64_t begin, std::int64_t end) {
  std::vector<double> norms;
  for (std::int64_t i = begin; i < end; ++i) norms.push_back(std::sqrt(squares.item(i)));
  return norms;
}

}  // namespace

struct StepStatistics::State {
  std::vector<ParameterRef> parameters;
  std::vector<std::string> names, input_names;
  std::unique_ptr<Program> half;     // packed squares of the gradients
  std::unique_ptr<Program> compare;  // packed squares of the updates, then of the old weights
  std::vector<Tensor> old_values;
  StatisticsRecord record;
  double seconds_before = 0;
};

StepStatistics::StepStatistics(const Model& model, const Task& task,
                               std::span<const ParameterRef> parameters, const TrainerOptions& how,
                               std::shared_ptr<SharedArena> arena,
                               std::span<const std::string> cuts, std::size_t most)
    : state_(new State) {
  State& s = *state_;
  s.parameters.assign(parameters.begin(), parameters.end());
  CompileOptions options;
  options.arena = std::move(arena);
  {
    Tape tape(how.device, Mode::training, {how.seed, how.kernels, how.precision});
    const NamedVars inputs = task.inputs(tape, how.batch_size);
    const Var loss = mean(task.loss(inputs, model(inputs)).samples);
    const Var outputs[] = {square_sums(tape.gradient(loss, s.parameters))};
    CompileOptions from_cuts = options;
    // The first half of a batch is what half of its pieces are, or half of the ranks have.
    const std::int64_t shares = how.ranks != nullptr ? how.ranks->size() : 2;
    from_cuts.chunks = static_cast<int>(std::max<std::int64_t>(1, how.chunks / shares));
    from_cuts.ranks = how.ranks;
    for (const std::string& path : cuts) from_cuts.cuts.push_back(tape.find(path));
    from_cuts.memory_rows = (how.batch_size + shares - 1) / shares;
    s.half = std::make_unique<Program>(tape.compile(outputs, {}, from_cuts));
    limit_arena(*s.half, tape, outputs, {}, from_cuts, most);
  }
  Tape tape(how.device, Mode::evaluation, {how.seed, how.kernels});
  std::vector<Var> updates, weights;  // one at a time: each is as large as its parameter
  for (std::size_t i = 0; i < s.parameters.size(); ++i) {
    const ParameterRef& parameter = s.parameters[i];
    s.names.push_back(parameter->name);
    s.input_names.push_back(fmt::format("old {}", parameter->name));
    const Var old =
        tape.input(s.input_names.back(), parameter->value.dtype(), parameter->value.shape());
    updates.push_back(sum(square(sub(tape.parameter(parameter), old))));
    weights.push_back(sum(square(old)));
  }
  updates.insert(updates.end(), weights.begin(), weights.end());
  const Var outputs[] = {packed(updates)};
  s.compare = std::make_unique<Program>(tape.compile(outputs, {}, options));
}

StepStatistics::~StepStatistics() = default;

const std::vector<std::string>& StepStatistics::names() const { return state_->names; }

void StepStatistics::before(std::span<const NamedTensor> inputs, const Batch& batch) {
  const auto began = std::chrono::steady_clock::now();
  State& s = *state_;
  s.record = {};
  s.record.batch = batch.all_rows;
  s.record.half = batch.all_rows / 2;
  if (s.record.half > 0) {
    const std::int64_t rows = batch.rows();
    const std::int64_t own = std::clamp<std::int64_t>(s.record.half - batch.first_row, 0, rows);
    std::vector<NamedTensor> half;
    for (const NamedTensor& input : inputs) {
      const bool batched = input.value.shape().rank() > 0 && input.value.shape()[0] == rows;
      half.push_back({input.name, batched ? input.value.rows(0, own) : input.value});
    }
    const Tensor squares = s.half->run(half)[0];
    s.record.half_gradient = square_roots(squares, 0, squares.elements());
  }
  s.old_values.clear();
  for (const ParameterRef& parameter : s.parameters) {
    s.old_values.push_back(parameter->value.clone());
  }
  s.seconds_before =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
}

StatisticsRecord StepStatistics::after(std::span<const double> squares) {
  const auto began = std::chrono::steady_clock::now();
  State& s = *state_;
  const auto count = static_cast<std::int64_t>(s.parameters.size());
  std::vector<NamedTensor> inputs;
  for (std::size_t i = 0; i < s.old_values.size(); ++i) {
    inputs.push_back({s.input_names[i], s.old_values[i]});
  }
  const Tensor compared = s.compare->run(inputs)[0];
  inputs.clear();
  s.old_values.clear();
  s.record.gradient.clear();
  for (double square : squares) s.record.gradient.push_back(std::sqrt(square));
  s.record.update = square_roots(compared, 0, count);
  s.record.weight = square_roots(compared, count, 2 * count);
  s.record.seconds =
      s.seconds_before +
      std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  return s.record;
}

}  // namespace tapescope
