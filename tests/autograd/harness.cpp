#include "tests/autograd/harness.h"

#include <cstdlib>
#include <cstring>
#include <limits>
#include <map>

#include "autograd/ops/ops.h"
#include "autograd/program/program.h"
#include "autograd/tape.h"
#include "autograd/walk.h"
#include "engine/thread_pool.h"
#include "kernels/emulator/execution.h"
#include "tests/autograd/harness_run.h"

namespace tapescope {
namespace {

// The kernel family an op asks: the one for which a variant that does not exist is an error.
std::string family_of(const Op& op, const std::vector<Type>& types) {
  static std::map<std::string, std::string, std::less<>> known;
  if (auto it = known.find(op.name()); it != known.end()) return it->second;
  const Types out = op.infer(types);
  std::string family;
  for (const VariantInfo& info : all_variants()) {
    try {
      op.prepare(types, out, {Device::cpu(), {{std::string(info.family), "no such variant"}}});
    } catch (const Error&) {
      family = info.family;
      break;
    }
  }
  return known[std::string(op.name())] = family;
}

double unit_of(DType dtype) {
  return dtype == DType::f32 ? 0x1p-24 : dtype == DType::bf16 ? 0x1p-8 : 0x1p-53;
}

// How large what is added up is, by output: see check_variants.
std::vector<double> scales(const Op& op, const std::vector<Tensor>& exact, const Backend& reference,
                           const std::vector<Tensor>& want) {
  std::vector<Tensor> absolute = exact;
  const RelevanceClass kind = op.relevance_class(1);
  if (kind == RelevanceClass::linear || kind == RelevanceClass::product) {
    for (Tensor& t : absolute) {
      if (t.dtype() != DType::f64) continue;
      t = t.clone();
      for (double& x : t.values<double>()) x = std::abs(x);
    }
    absolute = run(op, absolute, reference, 0, nullptr);
  } else {
    absolute = want;
  }
  std::vector<double> result;
  for (std::size_t o = 0; o < want.size(); ++o) {
    double scale = 1;
    for (const Tensor* t : {static_cast<const Tensor*>(&absolute[o]), &want[o]}) {
      for (std::int64_t i = 0; i < t->elements(); ++i) {
        if (std::isfinite(t->item(i))) scale = std::max(scale, std::abs(t->item(i)));
      }
    }
    result.push_back(scale);
  }
  return result;
}

Var cotangent_sum(Tape& tape, const Node& node) {
  Var total;
  for (int o = 0; o < node.output_count; ++o) {
    if (node.type_data[o].dtype != DType::f64) continue;
    const OperandSpec spec{
        {DType::f32, node.type_data[o].shape}, OperandSpec::Values::normal, 0, 0, false};
    const Var term =
        sum(mul(node.out(o), tape.constant(fill(spec, -1, 900 + static_cast<std::uint64_t>(o)))));
    total = total ? add(total, term) : term;
  }
  return total;
}

std::vector<std::size_t> differentiable(const Case& c) {
  std::vector<std::size_t> result;
  for (std::size_t i = 0; i < c.operands.size(); ++i) {
    if (passes(c.sample.op->role(static_cast<int>(i))) && c.operands[i].dtype() == DType::f64 &&
        c.operands[i].elements() > 0) {
      result.push_back(i);
    }
  }
  return result;
}

// A scalar function of the operands, and its gradient by the tape.
struct Evaluated {
  double value = 0;
  std::vector<Tensor> gradient;  // by differentiable operand
};
// order 0: <op, cotangent>. order 1: <gradient of that, fixed vectors>.
Evaluated evaluate(const Case& c, int order, bool with_gradient) {
  Tape tape(Device::cpu(), Mode::evaluation);
  std::vector<Var> inputs, wrt;
  for (std::size_t i = 0; i < c.operands.size(); ++i) {
    inputs.push_back(tape.input(fmt::format("operand {}", i), c.operands[i]));
  }
  for (std::size_t i : differentiable(c)) wrt.push_back(inputs[i]);
  Var total = cotangent_sum(tape, tape.record(c.sample.op, inputs));
  if (!total) return {};
  if (order == 1) {
    const std::vector<Var> gradient = tape.gradient(total, wrt);
    Var along;
    for (std::size_t k = 0; k < gradient.size(); ++k) {
      const OperandSpec spec{
          {DType::f32, gradient[k].shape()}, OperandSpec::Values::normal, 0, 0, false};
      const Var term = sum(mul(gradient[k], tape.constant(fill(spec, -1, 300 + k))));
      along = along ? add(along, term) : term;
    }
    total = along;
  }
  Evaluated result{total.value().item(), {}};
  if (with_gradient) {
    for (const Var& g : tape.gradient(total, wrt)) result.gradient.push_back(g.value());
  }
  return result;
}

Problems check_derivative(const Case& c, int order, double tolerance) {
  Problems problems;
  const std::vector<std::size_t> wrt = differentiable(c);
  if (wrt.empty()) return problems;
  const Evaluated at = evaluate(c, order, true);
  if (at.gradient.empty()) return problems;
  for (std::size_t k = 0; k < wrt.size(); ++k) {
    const Tensor& x = c.operands[wrt[k]];
    Tensor direction(x.type());
    PhiloxStream random(17 + k);
    double along = 0, size = 0;
    for (std::int64_t i = 0; i < x.elements(); ++i) {
      const double d = random.normal();
      direction.values<double>()[static_cast<std::size_t>(i)] = d;
      along += d * at.gradient[k].item(i);
      size += std::abs(d * at.gradient[k].item(i));
    }
    const auto shifted = [&](double h) {
      Case moved = c;
      moved.operands[wrt[k]] = x.clone();
      auto values = moved.operands[wrt[k]].values<double>();
      for (std::size_t i = 0; i < values.size(); ++i)
        values[i] += h * direction.values<double>()[i];
      return evaluate(moved, order, false).value;
    };
    constexpr double h = 1e-3;
    const double difference =
        (8 * (shifted(h) - shifted(-h)) - (shifted(2 * h) - shifted(-2 * h))) / (12 * h);
    if (!(std::abs(along - difference) <= tolerance * (1 + size))) {
      problems.push_back(fmt::format("operand {}: the gradient gives {} but differences give {}",
                                     wrt[k], along, difference));
    }
  }
  return problems;
}

// About 1 GFLOP/s is what the emulator does; every sample runs twice in each dtype and variant.
bool too_long_to_emulate(const Case& c) {
  const std::vector<Type> types = types_of(c.operands);
  const bool full = std::getenv("TAPESCOPE_FULL") != nullptr;
  return c.sample.op->cost(types, c.sample.op->infer(types)).flops > (full ? 1e9 : 2e6);
}

// A kernel that misses a barrier gives other bits when its threads run in another order. `again`
// runs it once more.
template <class F>
void check_orders(const std::vector<Tensor>& got, Problems& problems, F&& again) {
  const emulator::Schedule before = emulator::schedule();
  if (before.kind != emulator::Schedule::Kind::fibers) return;  // any order may come there
  const std::uint64_t orders = std::getenv("TAPESCOPE_FULL") != nullptr ? 3 : 1;
  for (std::uint64_t seed = 1; seed <= orders; ++seed) {
    emulator::set_schedule({before.kind, emulator::Order::shuffled, before.seed + seed});
    try {
      if (!same_bits(got, again())) {
        problems.push_back(fmt::format("gives other bits with threads in shuffled order {}", seed));
      }
    } catch (const Error& error) {
      problems.push_back(error.what());
    }
  }
  emulator::set_schedule(before);
}

// An op whose kernel is in no family: its own kernel against its elementary form.
Problems check_own_kernel(const Case& c) {
  Problems problems;
  const Op& op = *c.sample.op;
  Tape tape(Device::cpu(), Mode::evaluation);
  std::vector<Var> inputs;
  for (const Tensor& t : c.operands) inputs.push_back(tape.constant(t));
  const std::vector<Var> want = op.decompose(tape, inputs);
  if (want.empty()) return {"is in no kernel family and has no elementary form to compare with"};
  const Backend backend{Device::cpu(), {}};
  std::vector<Tensor> got;
  try {
    got = run(op, c.operands, backend, 1, &problems);
  } catch (const Error& error) {
    return {error.what()};
  }
  const auto again = [&] { return run(op, c.operands, backend, 1, nullptr); };
  if (!same_bits(got, again())) problems.push_back("gives other bits the second time");
  check_orders(got, problems, again);
  for (std::size_t o = 0; o < got.size(); ++o) {
    for (std::int64_t i = 0; i < got[o].elements(); ++i) {
      const double x = got[o].item(i), y = want[o].value().item(i);
      if (!(std::abs(x - y) <= 1e-12 * (1 + std::abs(y)))) {
        problems.push_back(fmt::format("output {} element {} is {}, should be {}", o, i, x, y));
        break;
      }
    }
  }
  return problems;
}

}  // namespace

Problems check_variants(const Case& c) {
  return check_variants(c, [](const VariantInfo&) { return true; });
}

Problems check_variants(const Case& c, const std::function<bool(const VariantInfo&)>& wanted) {
  Problems problems;
  const Op& op = *c.sample.op;
  if (op.alias() >= 0) return problems;
  const std::string family = family_of(op, types_of(c.operands));
  if (family.empty()) return check_own_kernel(c);
  const Backend reference{Device::cpu(), {{family, "reference"}}};
  for (const VariantInfo& info : all_variants()) {
    if (info.family != family || !info.reason.empty() || !wanted(info)) continue;
    if (info.device == DeviceKind::emulated && too_long_to_emulate(c)) continue;
    for (DType dtype : {DType::f64, DType::f32, DType::bf16, DType::i64}) {
      if (!info.dtypes.contains(dtype)) continue;
      const std::vector<Tensor> operands = in_dtype(c, dtype == DType::i64 ? DType::f32 : dtype);
      const Backend backend{Device{info.device}, {{family, std::string(info.name)}}};
      const std::string where =
          fmt::format("{} {} {}: ", name_of(info.device), info.name, name_of(dtype));
      Problems found;
      std::vector<Tensor> got;
      // Libraries and tensor maps ask for aligned operands.
      const bool aligned = info.name == "cudnn" || info.name == "cublas" || info.name == "wgmma";
      const std::size_t shift = aligned ? 0 : 1;
      try {
        got = run(op, operands, backend, shift, &found);
      } catch (const Error& error) {
        // A usage error says that the variant does not cover this shape or dtype.
        if (error.blame() != Blame::usage) problems.push_back(where + error.what());
        continue;
      }
      if (!same_bits(got, run(op, operands, backend, shift, nullptr))) {
        found.push_back("gives other bits the second time");
      }
      if (info.device == DeviceKind::emulated) {
        check_orders(got, found, [&] { return run(op, operands, backend, shift, nullptr); });
      }
      // Kernels choose wide loads by the pointers' alignment: those have to be seen too.
      std::vector<Tensor> both = got;
      if (info.device != DeviceKind::cpu) both = run(op, operands, backend, 0, &found);
      const std::vector<Tensor> exact = in_dtype(operands, DType::f64);
      const std::vector<Tensor> want = run(op, exact, reference, 0, nullptr);
      const std::vector<double> scale = scales(op, exact, reference, want);
      const Types types = op.infer(types_of(operands));
      const Cost cost = op.cost(types_of(operands), types);
      for (std::size_t o = 0; o < got.size(); ++o) {
        const double length =
            got[o].elements() > 0 ? cost.flops / static_cast<double>(got[o].elements()) : 0;
        // bf16's products are exact in f32: what is not rounded to bf16 in the end is as good as
        // f32.
        const DType rounded = dtype == DType::bf16 ? got[o].dtype() : dtype;
        const double budget = (length + 8) * unit_of(rounded) * info.error_factor * scale[o];
        for (std::int64_t i = 0; i < 2 * got[o].elements(); ++i) {
          const std::int64_t at = i / 2;
          const double x = (i % 2 == 0 ? got : both)[o].item(at), y = want[o].item(at);
          if ((std::isnan(x) && std::isnan(y)) || x == y) continue;
          if (!(std::abs(x - y) <= budget)) {
            found.push_back(fmt::format("{}output {} element {} is {}, should be {} +- {:.2g}",
                                        i % 2 == 0 ? "" : "aligned: ", o, at, x, y, budget));
            break;
          }
        }
      }
      for (const std::string& text : found) problems.push_back(where + text);
    }
  }
  return problems;
}

Problems check_gradient(const Case& c) { return check_derivative(c, 0, 1e-6); }
Problems check_second_gradient(const Case& c) { return check_derivative(c, 1, 1e-5); }

namespace {

// The op's floating outputs and its gradients, for a fixed cotangent, recorded on a device.
std::vector<Tensor> recorded_on(const Case& c, Device device, DType dtype) {
  Tape tape(device, Mode::evaluation);
  const std::vector<Tensor> operands = in_dtype(c, dtype);
  std::vector<Var> inputs, wrt;
  for (std::size_t i = 0; i < operands.size(); ++i) {
    inputs.push_back(tape.input(fmt::format("operand {}", i), operands[i]));
  }
  for (std::size_t i : differentiable(c)) wrt.push_back(inputs[i]);
  const Node& node = tape.record(c.sample.op, inputs);
  std::vector<Tensor> results;
  Var total;
  for (int o = 0; o < node.output_count; ++o) {
    if (!is_floating(node.type_data[o].dtype)) continue;
    results.push_back(node.out(o).value().host());
    const OperandSpec spec{
        {DType::f32, node.type_data[o].shape}, OperandSpec::Values::normal, 0, 0, false};
    const Tensor cotangent =
        fill(spec, -1, 900 + static_cast<std::uint64_t>(o)).to(node.type_data[o].dtype);
    const Var term = sum(mul(node.out(o), tape.constant(cotangent)));
    total = total ? add(total, term) : term;
  }
  if (!total || wrt.empty()) return results;
  for (const Var& g : tape.gradient(total, wrt)) results.push_back(g.value().host());
  return results;
}

}  // namespace

Problems check_device(const Case& c, Device device) {
  Problems problems;
  const Types outputs = c.sample.op->infer(types_of(in_dtype(c.operands, DType::f32)));
  for (int o = 0; o < outputs.size(); ++o) {
    if (outputs[o].dtype == DType::f64) return problems;  // for the CPU's checks alone
  }
  if (device.kind == DeviceKind::emulated && too_long_to_emulate(c)) return problems;
  try {
    const std::vector<Tensor> want = recorded_on(c, Device::cpu(), DType::f64);
    const std::vector<Tensor> got = recorded_on(c, device, DType::f32);
    for (std::size_t k = 0; k < want.size(); ++k) {
      double scale = got[k].dtype() == DType::bf16 ? 100 : 1;
      for (std::int64_t i = 0; i < want[k].elements(); ++i) {
        if (std::isfinite(want[k].item(i))) scale = std::max(scale, std::abs(want[k].item(i)));
      }
      for (std::int64_t i = 0; i < want[k].elements(); ++i) {
        const double x = got[k].item(i), y = want[k].item(i);
        if ((std::isnan(x) && std::isnan(y)) || std::abs(x - y) <= 1e-4 * scale) continue;
        problems.push_back(fmt::format("{}: result {} element {} is {}, on the CPU {}",
                                       name_of(device.kind), k, i, x, y));
        break;
      }
    }
  } catch (const Error& error) {
    problems.push_back(fmt::format("{}: {}", name_of(device.kind), error.what()));
  }
  return problems;
}

Problems check_devices(const Case& c) {
  Problems problems;
  for (const Device device : {Device::emulated(), Device::cuda()}) {
    if (!why_unavailable(device.kind).empty()) continue;
    for (std::string& problem : check_device(c, device)) problems.push_back(std::move(problem));
  }
  return problems;
}

Problems check_rows_independent(const Case& c) {
  const Op& op = *c.sample.op;
  if (!op.rows_independent() || op.alias() >= 0) return {};
  bool any = false;
  for (std::size_t k = 0; k < c.operands.size(); ++k) {
    if (!c.sample.operands[k].batched) continue;
    if (c.operands[k].shape().rank() == 0 || c.operands[k].shape()[0] != 7) return {};
    any = true;
  }
  if (!any) return {};
  const Backend backend{Device::cpu(), {}};
  const std::vector<Tensor> all = in_dtype(c.operands, DType::f32);
  std::vector<Tensor> some;
  for (std::size_t k = 0; k < all.size(); ++k) {
    some.push_back(c.sample.operands[k].batched ? all[k].rows(0, 2).clone() : all[k]);
  }
  std::vector<Tensor> want;
  for (const Tensor& t : run(op, all, backend, 0, nullptr)) want.push_back(t.rows(0, 2));
  if (same_bits(run(op, some, backend, 0, nullptr), want)) return {};
  return {"two rows alone are not the first two of seven"};
}

Problems check_overwrite(const Case& c) {
  const Op& op = *c.sample.op;
  if (op.alias() >= 0) return {};
  Problems problems;
  const Backend backend{Device::cpu(), {}};
  const std::vector<Tensor> operands = in_dtype(c.operands, DType::f32);
  const std::vector<Tensor> plain = run(op, operands, backend, 0, nullptr);
  for (std::size_t i = 0; i < operands.size(); ++i) {
    for (std::size_t o = 0; o < plain.size(); ++o) {
      if (!op.may_overwrite(static_cast<int>(i), static_cast<int>(o)) ||
          operands[i].bytes() != plain[o].bytes()) {
        continue;
      }
      const std::vector<Type> types = types_of(operands);
      const Plan plan = op.prepare(types, op.infer(types), backend);
      std::vector<Tensor> copies = in_dtype(operands, DType::f32), out;
      std::vector<const void*> in;
      std::vector<void*> to;
      for (Tensor& t : copies) in.push_back(t.data());
      in.push_back(nullptr);
      for (std::size_t k = 0; k < plain.size(); ++k) {
        out.push_back(k == o ? copies[i].reshape(plain[k].shape()) : Tensor(plain[k].type()));
        to.push_back(out.back().data());
      }
      to.push_back(nullptr);
      Tensor workspace(Type{DType::u8, {static_cast<std::int64_t>(plan.workspace_bytes())}});
      plan.run(Queue(Device::cpu()), {in.data(), to.data(), workspace.data()});
      if (!same_bits(out, plain)) {
        problems.push_back(fmt::format("output {} over operand {} gives other bits", o, i));
      }
    }
  }
  return problems;
}

Problems check_threads(const Case& c) {
  const Op& op = *c.sample.op;
  if (op.alias() >= 0) return {};
  const int before = thread_count();
  const std::vector<Tensor> operands = in_dtype(c.operands, DType::f32);
  const Backend backend{Device::cpu(), {}};
  set_thread_count(1);
  const std::vector<Tensor> one = run(op, operands, backend, 0, nullptr);
  set_thread_count(3);
  const std::vector<Tensor> three = run(op, operands, backend, 0, nullptr);
  set_thread_count(before);
  if (same_bits(one, three)) return {};
  return {"three threads give other bits than one"};
}

Problems check_nonnegative(const Case& c) {
  const Op& op = *c.sample.op;
  if (!op.nonnegative() || op.alias() >= 0) return {};
  for (const Tensor& t : run(op, c.operands, {Device::cpu(), {}}, 0, nullptr)) {
    for (std::int64_t i = 0; i < t.elements(); ++i) {
      if (t.item(i) < 0) return {fmt::format("element {} is {}", i, t.item(i))};
    }
  }
  return {};
}

Problems check_batch_size(const Case& at3, const Case& at7) {
  const auto run_at7 = [&](const Case& recorded) {
    Tape tape(Device::cpu(), Mode::evaluation);
    std::vector<Var> inputs;
    std::vector<std::string> names;
    for (std::size_t k = 0; k < recorded.operands.size(); ++k) {
      names.push_back(fmt::format("operand {}", k));
      const Tensor& t = recorded.operands[k];
      inputs.push_back(recorded.sample.operands[k].batched
                           ? tape.input(names[k], t.dtype(), t.shape())
                           : tape.constant(t));
    }
    const Node& node = tape.record(recorded.sample.op, inputs);
    std::vector<Var> outputs;
    for (int o = 0; o < node.output_count; ++o) outputs.push_back(node.out(o));
    std::vector<NamedTensor> feed;
    for (std::size_t k = 0; k < names.size(); ++k) feed.push_back({names[k], at7.operands[k]});
    return tape.compile(outputs).run(feed);
  };
  try {
    if (same_bits(run_at7(at3), run_at7(at7))) return {};
    return {"recorded at 3 rows and run at 7 gives other bits than recorded at 7"};
  } catch (const Error& error) {
    return {fmt::format("recorded at 3 rows it cannot run at 7: {}", error.what())};
  }
}

}  // namespace tapescope
