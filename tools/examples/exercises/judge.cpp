#include "tools/examples/exercises/judge.h"

#include <fmt/format.h>

#include <cmath>
#include <cstring>

#include "autograd/explain/composite.h"
#include "autograd/explain/relevance.h"
#include "autograd/tape.h"
#include "kernels/emulator/execution.h"
#include "tests/autograd/harness.h"

namespace tapescope::judge {
namespace {

// --- kernels ---

std::vector<std::int64_t> numbers_of(std::string_view shape) {
  std::vector<std::int64_t> n{0};
  for (const char c : shape.substr(shape.find(':') + 1)) {
    if (c == 'x') {
      n.push_back(0);
    } else {
      n.back() = 10 * n.back() + (c - '0');
    }
  }
  return n;
}

// One case's memory, with room behind the first result that nobody may touch.
class Desk {
 public:
  static constexpr std::int64_t kGuard = 64;
  explicit Desk(const kernel_cases::Case& c)
      : memory_(c, Device::emulated()),
        result_({DType::f32, {c.out[0].elements() + kGuard}}),
        elements_(c.out[0].elements()) {}

  void run(const std::function<void(const Buffers&)>& launches) {
    for (float& x : result_.values<float>()) x = std::nanf("");
    std::vector<const void*> in;
    for (const Tensor& t : memory_.operands()) in.push_back(t.data());
    in.push_back(nullptr);
    void* out[] = {result_.data(), nullptr, nullptr};
    launches({in.data(), out, workspace_.defined() ? workspace_.data() : nullptr});
  }
  void make_workspace(std::size_t bytes) {
    workspace_ = Tensor({DType::u8, {static_cast<std::int64_t>(bytes) + 1}});
  }
  std::vector<float> values() const {
    const auto all = result_.values<float>();
    return {all.begin(), all.end()};
  }
  std::vector<emulator::Range> ranges() {
    std::vector<emulator::Range> ranges{{result_.data(), result_.bytes()}};
    for (const Tensor& t : memory_.operands()) ranges.push_back({t.data(), t.bytes()});
    if (workspace_.defined()) ranges.push_back({workspace_.data(), workspace_.bytes()});
    return ranges;
  }
  std::int64_t elements() const { return elements_; }

 private:
  kernel_cases::Memory memory_;
  Tensor result_, workspace_;
  std::int64_t elements_;
};

// What is wrong with results, or nothing.
std::string difference(const std::vector<float>& got, const Tensor& want) {
  double largest = 0;
  for (std::int64_t i = 0; i < want.elements(); ++i) {
    largest = std::max(largest, std::abs(want.item(i)));
  }
  for (std::int64_t i = 0; i < want.elements(); ++i) {
    const double x = got[static_cast<std::size_t>(i)];
    if (std::abs(x - want.item(i)) <= 1e-5 * largest) continue;
    return fmt::format("result {} is {}{}, should be {:.6g}", i, x,
                       std::isnan(x) ? " (nobody wrote it)" : "", want.item(i));
  }
  for (auto i = static_cast<std::size_t>(want.elements()); i < got.size(); ++i) {
    if (!std::isnan(got[i]))
      return fmt::format("element {} was written, there are {}", i, want.elements());
  }
  return "";
}

struct InOrder {
  explicit InOrder(emulator::Order order) {
    emulator::set_schedule({emulator::Schedule::Kind::fibers, order, 1});
  }
  ~InOrder() { emulator::set_schedule({}); }
};

std::string judge_shape(const KernelExercise& e, const kernel_cases::Case& c,
                        const std::function<void(const Buffers&)>& launches, Desk& desk) {
  try {
    desk.run(launches);
  } catch (const Error& error) {
    return fmt::format("{}. {}", error.what(), e.wrong);
  }
  const std::vector<float> first = desk.values();
  if (const std::string apart = difference(first, kernel_cases::reference_results(c)[0]);
      !apart.empty()) {
    return fmt::format("{} {}: {}. {}", c.family, c.shape, apart, e.wrong);
  }
  for (const auto& [order, name] : {std::pair(emulator::Order::reverse, "reverse"),
                                    std::pair(emulator::Order::shuffled, "shuffled")}) {
    const InOrder in_order(order);
    std::string apart = "other bits";
    try {
      desk.run(launches);
      if (std::memcmp(desk.values().data(), first.data(), first.size() * 4) == 0) continue;
      if (std::string more = difference(desk.values(), kernel_cases::reference_results(c)[0]);
          !more.empty())
        apart = more;
    } catch (const Error& error) {
      apart = error.what();
    }
    return fmt::format("{} {}: right in order, but with its threads in {} order {}. {}", c.family,
                       c.shape, name, apart, e.order);
  }
  return "";
}

std::string judge_kernel(const KernelExercise& e, bool solution) {
  for (const std::string_view shape : e.shapes) {
    const kernel_cases::Case c = kernel_cases::family_named(e.family).make(shape, DType::f32);
    const std::vector<std::int64_t> n = numbers_of(shape);
    Desk desk(c);
    Plan plan;
    if (solution) {
      for (const kernel_cases::CaseVariant& v : c.variants(DeviceKind::emulated)) {
        if (v.name == e.rung) plan = v.prepare();
      }
      if (!plan) return fmt::format("{} has no rung '{}' for {}", e.family, e.rung, shape);
      desk.make_workspace(plan.workspace_bytes());
    }
    const auto launches = [&](const Buffers& b) { solution ? plan.run(kQueue, b) : e.mine(b, n); };
    if (std::string wrong = judge_shape(e, c, launches, desk); !wrong.empty()) return wrong;
    if (e.limit == nullptr || shape != e.shapes.back()) continue;
    const std::vector<emulator::Range> ranges = desk.ranges();
    const emulator::Counters counters = emulator::count(ranges, [&] { desk.run(launches); });
    if (std::string text = e.limit(counters, c); !text.empty()) {
      return fmt::format("{} {}: right, but {}", c.family, c.shape, text);
    }
  }
  return "";
}

// --- ops ---

std::string judge_op(const Sample& sample, const char* wrong) {
  Case c{sample, {}};
  std::uint64_t seed = 1;
  for (const OperandSpec& spec : sample.operands) c.operands.push_back(fill(spec, -1, seed++));
  Problems problems = check_gradient(c);
  if (problems.empty()) problems = check_second_gradient(c);  // of the gradient that was recorded
  if (problems.empty()) return "";
  return fmt::format("{}: {}. {}", sample.op->name(), problems[0], wrong);
}

}  // namespace

Exercise kernel(KernelExercise exercise) {
  return {[exercise](bool solution) { return judge_kernel(exercise, solution); }};
}

Plan ElementOp::prepare(std::span<const Type> types, std::span<const Type>, const Backend&) const {
  return Plan("one by one", 0,
              [f = f_, count = types.size(), type = types[0]](const Queue&, const Buffers& b) {
                const auto at = [&](const void* p, std::int64_t i) {
                  return type.dtype == DType::f64
                             ? static_cast<const double*>(p)[i]
                             : static_cast<double>(static_cast<const float*>(p)[i]);
                };
                for (std::int64_t i = 0; i < type.elements(); ++i) {
                  double element[4] = {};
                  for (std::size_t k = 0; k < count; ++k) element[k] = at(b.in[k], i);
                  if (type.dtype == DType::f64) {
                    static_cast<double*>(b.out[0])[i] = f(element);
                  } else {
                    static_cast<float*>(b.out[0])[i] = static_cast<float>(f(element));
                  }
                }
              });
}

Exercise op(OpRef mine, int operands, std::string_view name, const char* wrong) {
  return {[=](bool solution) -> std::string {
    if (!solution) {
      const OperandSpec spec{{DType::f32, {3, 5}}, OperandSpec::Values::away_from_zero};
      return judge_op(
          {"mine", mine, std::vector<OperandSpec>(static_cast<std::size_t>(operands), spec)},
          wrong);
    }
    bool found = false;
    for (const OpEntry& entry : all_ops()) {
      for (const Sample& sample : entry.samples()) {
        if (sample.op->name() != name) continue;
        found = true;
        if (std::string text = judge_op(sample, wrong); !text.empty()) return text;
      }
    }
    return found ? "" : fmt::format("the tree has no op '{}'", name);
  }};
}

Exercise z_plus_rule(explain::Rule (*mine)(), const char* wrong) {
  return {[=](bool solution) -> std::string {
    // One output of four inputs: two speak for it, two against it.
    const double x[] = {1, 2, -1, 3}, w[] = {2, -1, -3, 1}, bias = 0.5;
    double y = bias, positive = bias;
    for (int j = 0; j < 4; ++j) {
      y += x[j] * w[j];
      positive += std::max(x[j] * w[j], 0.0);
    }
    Tape tape(Device::cpu(), Mode::evaluation);
    const Var input = tape.input("x", Tensor::from<float>({1, 4}, {1, 2, -1, 3}));
    const Var out = linear(input, tape.constant(Tensor::from<float>({1, 4}, {2, -1, -3, 1})),
                           tape.constant(Tensor::from<float>({1}, {0.5f})));
    explain::Composite composite("mine");
    composite.on(explain::op("matmul"), solution ? explain::rules::z_plus() : mine());
    explain::with_defaults(composite);
    const Var score = reduce_sum(out, std::array{1});
    const Var map = explain::relevance(tape, score, std::array{input}, composite)[0];
    for (int j = 0; j < 4; ++j) {
      const double share = std::max(x[j] * w[j], 0.0) / positive * y, got = map.value().item(j);
      if (std::abs(share - got) < 1e-4) continue;
      return fmt::format(
          "input {} times its weight is {}: its relevance is {:.4f}, should be {:.4f}. {}", j,
          x[j] * w[j], got, share, wrong);
    }
    return "";
  }};
}

Exercise merge_pass(void (*mine)(Rewriter&), const char* missed, const char* too_many) {
  return {[=](bool solution) -> std::string {
    struct Form {
      const char* text;
      std::vector<Var> (*record)(Var x, Var y);
      std::size_t steps;  // that are left
    };
    const Form forms[] = {{"relu(x) twice",
                           [](Var x, Var) {
                             return std::vector{tanh(relu(x)), exp(relu(x))};
                           },
                           3},
                          {"tanh(relu(x)) twice",
                           [](Var x, Var) {
                             return std::vector{exp(tanh(relu(x))), neg(tanh(relu(x)))};
                           },
                           4},
                          {"relu(x) and relu(y)",
                           [](Var x, Var y) {
                             return std::vector{relu(x), relu(y)};
                           },
                           2},
                          {"x - y and y - x",
                           [](Var x, Var y) {
                             return std::vector{sub(x, y), sub(y, x)};
                           },
                           2},
                          {"2 x and 3 x",
                           [](Var x, Var) {
                             return std::vector{affine(x, 2), affine(x, 3)};
                           },
                           2}};
    for (const Form& form : forms) {
      Tape tape(Device::cpu(), Mode::evaluation);
      const std::vector<Var> outputs =
          form.record(tape.input("x", DType::f32, {4, 3}), tape.input("y", DType::f32, {4, 3}));
      const Backend backend;
      LoweredProgram program = lower(tape, outputs, {}, {.without = {"all"}});
      const std::size_t before = program.steps.size();
      Rewriter rewriter(program, backend);
      (solution ? merge_common_steps : mine)(rewriter);
      rewriter.finish();
      if (program.steps.size() == form.steps) continue;
      return fmt::format("{}: {} steps become {}, should become {}. {}", form.text, before,
                         program.steps.size(), form.steps,
                         program.steps.size() > form.steps ? missed : too_many);
    }
    return "";
  }};
}

}  // namespace tapescope::judge

int main(int argc, char** argv) try {
  const bool solution = argc == 2 && std::string_view(argv[1]) == "--solution";
  if (argc > 1 && !solution) return fmt::print(stderr, "usage: {} [--solution]\n", argv[0]), 2;
  const std::string wrong = kExercise.judge(solution);
  fmt::print("{}\n", wrong.empty() ? "passed" : wrong);
  return wrong.empty() ? 0 : 1;
} catch (const tapescope::Error& error) {
  fmt::print("{}\n", error.what());
  return 1;
}
