#include "autograd/program/measure_kernels.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <numeric>

#include "engine/hash.h"
#include "engine/philox.h"
#include "kernels/collectives/communicator.h"

namespace tapescope {
namespace {

using Clock = std::chrono::steady_clock;
constexpr double kWorthIt = 0.97;  // of the usual one's time: less may be chance

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Numbers in [0, 1), and indices that are valid everywhere.
std::vector<NamedTensor> made_up_inputs(const Program& program, std::int64_t batch) {
  std::vector<NamedTensor> inputs;
  const std::vector<Type> types = program.input_types(batch);
  for (std::size_t i = 0; i < types.size(); ++i) {
    Tensor value = Tensor::zeros(types[i]);
    if (types[i].dtype == DType::f32) {
      PhiloxStream numbers(i);
      for (float& number : value.values<float>()) number = numbers.uniform();
    }
    inputs.push_back({program.inputs()[i].first, std::move(value)});
  }
  return inputs;
}

// What the kernels of each step could be chosen from.
std::vector<KernelQuestions> questions_of(Program& program, std::int64_t batch) {
  std::vector<KernelQuestions> all;
  Backend asking = program.backend();
  for (const StepInfo& step : program.steps(batch)) {
    asking.questions = &all.emplace_back();
    if (step.op->alias() < 0) step.op->prepare(step.operands, step.outputs, asking);
  }
  return all;
}

class Measuring {
 public:
  Measuring(Program& program, std::int64_t batch, Communicator* ranks)
      : program_(program),
        batch_(batch),
        ranks_(ranks),
        by_name_(program.backend().choices),
        inputs_(made_up_inputs(program, batch)) {
    for (const KernelQuestions& questions : questions_of(program, batch)) {
      std::vector<std::size_t>& asked = asked_.emplace_back();
      for (const KernelQuestion& question : questions) add(question, asked);
    }
    if (ranks != nullptr) expect_alike();
  }

  KernelMeasurement run(const MeasureLimits& limits) {
    const Clock::time_point began = Clock::now();
    result_.asked = names_.size();
    bytes_ = limits.bytes;
    leave_out();
    std::size_t most = 0;
    for (const MeasuredKernel& k : result_.kernels) most = std::max(most, k.variants.size());
    const auto late = [&] { return agreed(seconds_since(began) > limits.seconds); };
    for (int round = -1; round < limits.rounds && most > 0; ++round) {  // the first warms up
      if (round >= 1 && late()) break;
      for (std::size_t turn = 0; turn < most; ++turn) take_turn(turn, round >= 0);
    }
    decide();
    for (int round = 0; round < 3 && most > 0 && (round == 0 || !late()); ++round) compare();
    settle();
    program_.choose(all_choices());
    result_.seconds = seconds_since(began);
    return std::move(result_);
  }

 private:
  void add(const KernelQuestion& question, std::vector<std::size_t>& asked) {
    if (std::find(names_.begin(), names_.end(), question.kernel) == names_.end()) {
      names_.push_back(question.kernel);
    }
    if (question.variants.size() < 2) return;
    std::vector<MeasuredKernel>& kernels = result_.kernels;
    const auto it = std::find_if(kernels.begin(), kernels.end(), [&](const MeasuredKernel& k) {
      return k.kernel == question.kernel;
    });
    const auto at = static_cast<std::size_t>(it - kernels.begin());
    if (it == kernels.end()) {
      kernels.push_back({question.kernel, {question.variants.begin(), question.variants.end()}});
      least_.emplace_back();
      least_.back().resize(question.variants.size());
    }
    if (std::find(asked.begin(), asked.end(), at) == asked.end()) asked.push_back(at);
  }

  void expect_alike() const {
    std::string text;
    for (const MeasuredKernel& k : result_.kernels) {
      text += k.kernel;
      for (const std::string& variant : k.variants) text += "," + variant;
      text += ";";
    }
    const std::uint64_t own = stable_hash(text);
    std::vector<std::uint64_t> all(static_cast<std::size_t>(ranks_->size()));
    ranks_->all_gather(&own, std::vector(all.size(), sizeof own), all.data());
    if (std::count(all.begin(), all.end(), all[0]) == std::ssize(all)) return;
    throw usage_error(
        "the ranks have not the same kernels to choose from: their processors or builds differ, or "
        "some have no rows of a batch; measure where they are alike, or leave 'measured' out");
  }

  // What the first rank finds; of the others' times nothing depends.
  bool agreed(bool own) const {
    return any_of_ranks(ranks_, own && (ranks_ == nullptr || ranks_->rank() == 0));
  }
  KernelChoices all_choices() const {
    KernelChoices all = result_.choices();
    all.insert(by_name_.begin(), by_name_.end());
    return all;
  }

  // Whether the plan of what is chosen now is within the limit, of all ranks.
  bool fits() {
    program_.choose(all_choices());
    return bytes_ == SIZE_MAX || !any_of_ranks(ranks_, program_.plan(batch_).total() > bytes_);
  }
  // Variants that do not fit even alone, for their workspaces.
  void leave_out() {
    for (std::size_t i = 0; i < result_.kernels.size() && bytes_ != SIZE_MAX; ++i) {
      MeasuredKernel& k = result_.kernels[i];
      for (k.chosen = k.variants.size() - 1; k.chosen > 0; --k.chosen) {
        if (fits()) continue;
        k.variants.erase(k.variants.begin() + static_cast<std::ptrdiff_t>(k.chosen));
        least_[i].pop_back();
        ++result_.left_out;
      }
    }
  }

  // Seconds of each step, all as they are chosen now; empty where these do not fit together.
  std::vector<double> times() {
    if (!fits()) return {};
    std::vector<double> seconds(asked_.size());
    const auto look = [&](const ObservedStep& step) {
      seconds[step.index] = step.seconds;
      return true;
    };
    program_.run(inputs_, look, false);
    return seconds;
  }

  // Every kernel with its variant of this turn; those that have fewer begin again.
  void take_turn(std::size_t turn, bool counts) {
    for (MeasuredKernel& k : result_.kernels) k.chosen = turn % k.variants.size();
    const std::vector<double> seconds = times();
    for (std::size_t step = 0; step < seconds.size() && counts; ++step) {
      for (std::size_t k : asked_[step]) {
        auto& least = least_[k][result_.kernels[k].chosen];
        least.resize(asked_.size(), std::numeric_limits<double>::infinity());
        least[step] = std::min(least[step], seconds[step]);
      }
    }
  }

  void decide() {
    for (std::size_t i = 0; i < result_.kernels.size(); ++i) {
      MeasuredKernel& k = result_.kernels[i];
      for (const std::vector<double>& steps : least_[i]) {
        double sum = 0;
        for (double seconds : steps) sum += std::isinf(seconds) ? 0 : seconds;
        const bool timed = !steps.empty();
        k.seconds.push_back(timed ? sum : std::numeric_limits<double>::infinity());
      }
      const auto best = std::min_element(k.seconds.begin(), k.seconds.end());
      const bool worth_it = *best < kWorthIt * k.seconds.front();
      k.chosen = worth_it ? static_cast<std::size_t>(best - k.seconds.begin()) : 0;
      if (ranks_ != nullptr) ranks_->broadcast(&k.chosen, sizeof k.chosen, 0);
    }
  }

  // The whole step with the usual kernels and with the chosen ones, one after the other.
  void compare() {
    std::vector<std::size_t> chosen;
    for (const MeasuredKernel& k : result_.kernels) chosen.push_back(k.chosen);
    use(std::vector<std::size_t>(chosen.size()));
    take_least(usual_);
    use(chosen);
    take_least(chosen_);
  }
  void take_least(std::vector<double>& least) {
    const std::vector<double> seconds = times();
    least.resize(seconds.size(), std::numeric_limits<double>::infinity());
    for (std::size_t i = 0; i < seconds.size(); ++i) least[i] = std::min(least[i], seconds[i]);
  }
  // Goes back to the usual ones where the others cost their neighbours more than they save.
  void settle() {
    if (chosen_.empty()) chosen_ = usual_;  // they do not fit together
    result_.usual_step = std::accumulate(usual_.begin(), usual_.end(), 0.0);
    result_.step = std::accumulate(chosen_.begin(), chosen_.end(), 0.0);
    const bool none = std::all_of(result_.kernels.begin(), result_.kernels.end(),
                                  [](const MeasuredKernel& k) { return k.chosen == 0; });
    if (!none && !agreed(result_.step >= result_.usual_step)) return;
    result_.step = result_.usual_step = std::min(result_.step, result_.usual_step);
    use(std::vector<std::size_t>(result_.kernels.size()));
  }
  void use(const std::vector<std::size_t>& variants) {
    for (std::size_t k = 0; k < variants.size(); ++k) result_.kernels[k].chosen = variants[k];
  }

  Program& program_;
  const std::int64_t batch_;
  Communicator* ranks_;
  const KernelChoices by_name_;
  const std::vector<NamedTensor> inputs_;
  KernelMeasurement result_;
  std::size_t bytes_ = SIZE_MAX;
  std::vector<std::string> names_;                       // of all kernels
  std::vector<std::vector<std::size_t>> asked_;          // by step: indices of kernels
  std::vector<double> usual_, chosen_;                   // by step: least seconds
  std::vector<std::vector<std::vector<double>>> least_;  // by kernel, variant and step: seconds
};

}  // namespace

KernelChoices KernelMeasurement::choices() const {
  KernelChoices choices;
  for (const MeasuredKernel& k : kernels) choices[k.kernel] = k.variants[k.chosen];
  return choices;
}

KernelMeasurement measure_kernels(Program& program, std::int64_t batch, Communicator* ranks,
                                  const MeasureLimits& limits) {
  return Measuring(program, batch, ranks).run(limits);
}

}  // namespace tapescope
