// Every sample of every op: the vector-Jacobian product against central differences in f64, the
// second derivative likewise, and a Program recorded at three rows against recordings at others.
#include <gtest/gtest.h>

#include <cmath>

#include "autograd/ops/ops.h"
#include "autograd/program/program.h"
#include "tests/autograd/op_cases.h"

namespace tapescope {
namespace {

// sum over outputs of <op(operands), weights>, with the operands as inputs of a tape.
struct Functional {
  Functional(Tape& tape, const Case& c, bool symbolic = false) {
    for (std::size_t i = 0; i < c.operands.size(); ++i) {
      const std::string name = fmt::format("operand {}", i);
      const Tensor& value = c.operands[i];
      inputs.push_back(symbolic ? tape.input(name, value.dtype(), value.shape())
                                : tape.input(name, value));
    }
    node = &tape.record(c.sample.op, inputs);
    for (int o = 0; o < node->output_count; ++o) {
      if (!is_floating(node->type_data[o].dtype)) continue;
      const OperandSpec spec{node->type_data[o], OperandSpec::Values::normal, 0, 0, false};
      OperandSpec plain = spec;
      plain.type.dtype = DType::f32;
      Tensor w = fill(plain, -1, 1000 + static_cast<std::uint64_t>(o)).to(spec.type.dtype);
      const Var weighted = sum(cast(mul(node->out(o), tape.constant(w)), DType::f64));
      total = total ? add(total, weighted) : weighted;
    }
  }
  std::vector<Var> inputs;
  Node* node = nullptr;
  Var total;
};

double value_of(const Case& c) {
  Tape tape(Device::cpu(), Mode::evaluation);
  return Functional(tape, c).total.value().item();
}

// <gradient(total), fixed vectors> summed over the differentiable operands.
double first_derivative_along(const Case& c, std::uint64_t seed, const std::vector<int>& wrt) {
  Tape tape(Device::cpu(), Mode::evaluation);
  Functional f(tape, c);
  std::vector<Var> vars;
  for (int i : wrt) vars.push_back(f.inputs[static_cast<std::size_t>(i)]);
  const auto g = tape.gradient(f.total, vars);
  double total = 0;
  for (std::size_t i = 0; i < g.size(); ++i) {
    OperandSpec spec{{DType::f32, g[i].shape()}, OperandSpec::Values::normal, 0, 0, false};
    const Tensor v = fill(spec, -1, seed + i);
    for (std::int64_t k = 0; k < v.elements(); ++k) total += g[i].value().item(k) * v.item(k);
  }
  return total;
}

std::vector<int> differentiable(const Case& c) {
  std::vector<int> result;
  for (std::size_t i = 0; i < c.operands.size(); ++i) {
    const Role role = c.sample.op->role(static_cast<int>(i));
    if ((role == Role::signal || role == Role::weight || role == Role::bias) &&
        is_floating(c.operands[i].dtype()) && c.operands[i].elements() > 0) {
      result.push_back(static_cast<int>(i));
    }
  }
  return result;
}

bool all_double(const Case& c) {
  std::vector<Type> types;
  for (const Tensor& t : c.operands) types.push_back(t.type());
  const Types out = c.sample.op->infer(types);
  for (int i = 0; i < out.size(); ++i) {
    if (out[i].dtype == DType::f32 || out[i].dtype == DType::bf16) return false;
  }
  return true;
}

TEST(Derivatives, AgreeWithDifferences) {
  for (Case& c : cases(-1)) {
    SCOPED_TRACE(label_of(c));
    const std::vector<int> wrt = differentiable(c);
    if (wrt.empty() || !all_double(c)) continue;
    Tape tape(Device::cpu(), Mode::evaluation);
    Functional f(tape, c);
    std::vector<Var> vars;
    for (int i : wrt) vars.push_back(f.inputs[static_cast<std::size_t>(i)]);
    const auto g = tape.gradient(f.total, vars);
    for (std::size_t k = 0; k < wrt.size(); ++k) {
      Tensor& x = c.operands[static_cast<std::size_t>(wrt[k])];
      ASSERT_EQ(g[k].type(), x.type());
      // Along a random direction, and along a few axes.
      constexpr double h = 1e-5;
      const Tensor saved = x.clone();
      for (int direction = 0; direction < 4; ++direction) {
        Tensor d({DType::f64, x.shape()});
        PhiloxStream random(77 + static_cast<std::uint64_t>(direction));
        const auto chosen = random.below(static_cast<std::uint32_t>(x.elements()));
        double along = 0;
        for (std::int64_t i = 0; i < x.elements(); ++i) {
          const double component = direction == 0 ? random.normal() : (i == chosen ? 1.0 : 0.0);
          d.values<double>()[static_cast<std::size_t>(i)] = component;
          along += component * g[k].value().item(i);
        }
        const auto shifted = [&](double step) {
          Tensor moved = saved.clone();
          for (std::int64_t i = 0; i < x.elements(); ++i) {
            const auto j = static_cast<std::size_t>(i);
            moved.values<double>()[j] += step * d.values<double>()[j];
          }
          c.operands[static_cast<std::size_t>(wrt[k])] = moved;
          const double value = value_of(c);
          return value;
        };
        const double difference = (shifted(h) - shifted(-h)) / (2 * h);
        c.operands[static_cast<std::size_t>(wrt[k])] = saved;
        EXPECT_NEAR(along, difference, 1e-5 * (1 + std::abs(difference)))
            << "operand " << wrt[k] << " direction " << direction;
      }
    }
  }
}

TEST(Derivatives, SecondAgreeWithDifferences) {
  for (Case& c : cases(-1)) {
    SCOPED_TRACE(label_of(c));
    const std::vector<int> wrt = differentiable(c);
    if (wrt.empty() || !all_double(c)) continue;
    Tape tape(Device::cpu(), Mode::evaluation);
    Functional f(tape, c);
    std::vector<Var> vars;
    for (int i : wrt) vars.push_back(f.inputs[static_cast<std::size_t>(i)]);
    const auto g = tape.gradient(f.total, vars);
    Var along;
    for (std::size_t k = 0; k < g.size(); ++k) {
      OperandSpec spec{{DType::f32, g[k].shape()}, OperandSpec::Values::normal, 0, 0, false};
      const Var term = sum(mul(g[k], tape.constant(fill(spec, -1, 500 + k))));
      along = along ? add(along, term) : term;
    }
    const auto gg = tape.gradient(along, vars);
    for (std::size_t k = 0; k < wrt.size(); ++k) {
      constexpr double h = 1e-5;
      const auto at = static_cast<std::size_t>(wrt[k]);
      const Tensor saved = c.operands[at];
      double want = 0;
      const auto shifted = [&](double step) {
        Tensor moved = saved.clone();
        PhiloxStream random(99);
        want = 0;
        for (std::int64_t i = 0; i < saved.elements(); ++i) {
          const double component = random.normal();
          moved.values<double>()[static_cast<std::size_t>(i)] += step * component;
          want += component * gg[k].value().item(i);
        }
        c.operands[at] = moved;
        return first_derivative_along(c, 500, wrt);
      };
      const double difference = (shifted(h) - shifted(-h)) / (2 * h);
      c.operands[at] = saved;
      EXPECT_NEAR(want, difference, 2e-5 * (1 + std::abs(difference))) << "operand " << wrt[k];
    }
  }
}

// Program recorded at three rows (and at one), run at others, against a recording there.
TEST(Derivatives, RecordedAtOneBatchSizeRunAtAnother) {
  for (const std::int64_t recorded : {3, 1}) {
    const std::vector<Case> small = cases(recorded);
    for (const std::int64_t rows : {1, 7}) {
      const std::vector<Case> other = cases(rows);
      for (std::size_t i = 0; i < small.size(); ++i) {
        const Case &a = small[i], &b = other[i];
        SCOPED_TRACE(fmt::format("{} recorded at {} run at {}", label_of(a), recorded, rows));
        const auto program_of = [](Tape& tape, const Case& c) {
          std::vector<Var> inputs;
          for (std::size_t k = 0; k < c.operands.size(); ++k) {
            // What is no batch is a constant: it depends on no input.
            inputs.push_back(c.sample.operands[k].batched
                                 ? tape.input(fmt::format("operand {}", k), c.operands[k].dtype(),
                                              c.operands[k].shape())
                                 : tape.constant(c.operands[k]));
          }
          Node& node = tape.record(c.sample.op, inputs);
          std::vector<Var> outputs;
          Var total;
          for (int o = 0; o < node.output_count; ++o) {
            outputs.push_back(node.out(o));
            if (!is_floating(node.type_data[o].dtype)) continue;
            const Var term = sum(cast(square(node.out(o)), DType::f64));
            total = total ? add(total, term) : term;
          }
          std::vector<Var> wrt;
          for (int k : differentiable(c)) wrt.push_back(inputs[static_cast<std::size_t>(k)]);
          if (!wrt.empty() && total) {
            for (const Var& g : tape.gradient(total, wrt)) outputs.push_back(g);
          }
          return tape.compile(outputs);
        };
        Tape tape_a(Device::cpu(), Mode::evaluation), tape_b(Device::cpu(), Mode::evaluation);
        Program program_a = program_of(tape_a, a), program_b = program_of(tape_b, b);
        std::vector<std::string> names;
        std::vector<NamedTensor> inputs;
        for (std::size_t k = 0; k < b.operands.size(); ++k) {
          names.push_back(fmt::format("operand {}", k));
        }
        for (std::size_t k = 0; k < b.operands.size(); ++k) {
          if (b.sample.operands[k].batched) inputs.push_back({names[k], b.operands[k]});
        }
        std::vector<Tensor> got, want;
        ASSERT_NO_THROW({
          try {
            want = program_b.run(inputs);
            got = program_a.run(inputs);
          } catch (const std::exception& e) {
            std::puts(e.what());
            throw;
          }
        });
        ASSERT_EQ(got.size(), want.size());
        for (std::size_t o = 0; o < got.size(); ++o) {
          ASSERT_EQ(got[o].type(), want[o].type()) << "output " << o;
          for (std::int64_t k = 0; k < got[o].elements(); ++k) {
            const double x = got[o].item(k), y = want[o].item(k);
            if (std::isnan(x) && std::isnan(y)) continue;
            ASSERT_NEAR(x, y, 1e-12 * (1 + std::abs(y))) << "output " << o;
          }
        }
      }
    }
  }
}

// Where an op says so, row n alone gives row n.
TEST(Derivatives, RowsAreIndependentWhereSaid) {
  for (const Case& c : cases(3)) {
    if (!c.sample.op->rows_independent()) continue;
    bool batched = false, empty = false;
    for (std::size_t k = 0; k < c.operands.size(); ++k) {
      batched = batched || c.sample.operands[k].batched;
      empty = empty || c.operands[k].elements() == 0;
    }
    if (!batched || empty) continue;
    SCOPED_TRACE(label_of(c));
    const auto values = [&](std::int64_t begin, std::int64_t end) {
      Tape tape(Device::cpu(), Mode::evaluation);
      std::vector<Var> inputs;
      for (std::size_t k = 0; k < c.operands.size(); ++k) {
        inputs.push_back(tape.constant(
            c.sample.operands[k].batched ? c.operands[k].rows(begin, end).clone() : c.operands[k]));
      }
      const Node& node = tape.record(c.sample.op, inputs);
      return std::vector<Tensor>(node.values().begin(), node.values().end());
    };
    // The first rows alone: the mask of dropout depends on the row's place.
    const auto all = values(0, 3), first = values(0, 2);
    for (std::size_t o = 0; o < all.size(); ++o) {
      ASSERT_EQ(first[o].shape()[0], 2);
      for (std::int64_t i = 0; i < first[o].elements(); ++i) {
        ASSERT_EQ(first[o].item(i), all[o].item(i));
      }
    }
  }
}

}  // namespace
}  // namespace tapescope
