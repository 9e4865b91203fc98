// Deliberately broken kernels and gradients: each must turn the check meant for it red, and the
// sound twin must leave it green.
#include <gtest/gtest.h>

#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "engine/thread_pool.h"
#include "tests/autograd/harness.h"

namespace tapescope {
namespace {

enum class Fault {
  none,
  unhandled_tail,       // the last element is not written
  write_past_end,       // one element too many
  write_to_operand,     // scribbles on its input
  wrong_value,          // one element is off
  other_bits_each_run,  // remembers something between runs
  gradient_sign,        // -2 x dy
  gradient_factor,      // x dy
  constant_gradient,    // 2 x dy with x cut off the tape: the second derivative is missing
  batch_in_attribute,   // the output has as many rows as when it was recorded
  mixed_rows,           // a row reads the last one
  unsafe_overwrite,     // claims to work in place but clears its output first
  depends_on_threads,   // the number of threads enters the result
  negative,             // claims results >= 0
};

// y = x * x, in f64 and f32.
class BrokenSquare final : public Op {
 public:
  BrokenSquare(Fault fault, std::int64_t rows) : fault_(fault), rows_(rows) {}
  std::string_view name() const override { return "broken_square"; }
  void attributes(AttributeVisitor& v) const override {
    v.visit("fault", static_cast<std::int64_t>(fault_));
  }
  Types infer(std::span<const Type> t) const override {
    Type out = t[0];
    if (fault_ == Fault::batch_in_attribute) out.shape[0] = rows_;
    return {out};
  }
  Plan prepare(std::span<const Type> t, std::span<const Type> out, const Backend&) const override {
    const std::int64_t n = out[0].elements();
    const Fault fault = fault_;
    if (t[0].dtype == DType::f32) return plan<float>(n, fault);
    return plan<double>(n, fault);
  }
  template <class T>
  static Plan plan(std::int64_t n, Fault fault) {
    return Plan("broken", 0, [n, fault](const Queue&, const Buffers& buffers) {
      const auto* x = static_cast<const T*>(buffers.in[0]);
      auto* y = static_cast<T*>(buffers.out[0]);
      static int runs = 0;
      ++runs;
      if (fault == Fault::unsafe_overwrite) {
        for (std::int64_t i = 0; i < n; ++i) y[i] = 0;
      }
      const T last = n > 0 ? x[n - 1] : T(0);
      const std::int64_t end =
          n - (fault == Fault::unhandled_tail) + (fault == Fault::write_past_end);
      for (std::int64_t i = 0; i < end; ++i) {
        y[i] = i < n ? x[i] * x[i] : T(0);
        if (fault == Fault::mixed_rows) y[i] += last;
        if (fault == Fault::depends_on_threads) y[i] += static_cast<T>(thread_count());
        if (fault == Fault::other_bits_each_run) y[i] += static_cast<T>(runs);
        if (fault == Fault::negative) y[i] -= T(10);
      }
      if (fault == Fault::wrong_value) y[n / 2] += T(1e-3);
      if (fault == Fault::write_to_operand) const_cast<T*>(x)[0] = T(7);
    });
  }
  void vjp(Vjp& v) const override {
    Var x = v.operand(0);
    if (fault_ == Fault::constant_gradient) x = v.tape().constant(x.value());
    const double factor = fault_ == Fault::gradient_sign     ? -2
                          : fault_ == Fault::gradient_factor ? 1
                                                             : 2;
    v.give(0, affine(mul(v.cotangent(), x), factor));
  }
  Role role(int) const override { return Role::signal; }
  RelevanceClass relevance_class(unsigned) const override { return RelevanceClass::monotone; }
  Cost cost(std::span<const Type> t, std::span<const Type> out) const override {
    return memory_cost(t, out, 1);
  }
  Footprint footprint() const override { return {}; }
  bool nonnegative() const override { return true; }
  bool may_overwrite(int, int) const override { return true; }
  std::vector<Var> decompose(Tape&, std::span<const Var> operands) const override {
    return {square(operands[0])};
  }

 private:
  Fault fault_;
  std::int64_t rows_;
};

Case broken(Fault fault, std::int64_t rows) {
  Case c{{"broken",
          std::make_shared<BrokenSquare>(fault, rows),
          {{{DType::f32, {3, 5}}, OperandSpec::Values::normal}}},
         {}};
  c.operands.push_back(fill(c.sample.operands[0], rows, 1));
  return c;
}

struct Planted {
  Fault fault;
  Problems (*check)(Fault);
};
Problems variants(Fault f) { return check_variants(broken(f, 3)); }
Problems gradient(Fault f) { return check_gradient(broken(f, 3)); }
Problems second(Fault f) { return check_second_gradient(broken(f, 3)); }
Problems batch(Fault f) { return check_batch_size(broken(f, 3), broken(f, 7)); }
Problems rows(Fault f) { return check_rows_independent(broken(f, 7)); }
Problems overwrite(Fault f) { return check_overwrite(broken(f, 3)); }
Problems threads(Fault f) { return check_threads(broken(f, 3)); }
Problems nonnegative(Fault f) { return check_nonnegative(broken(f, 3)); }

const Planted kPlanted[] = {
    {Fault::unhandled_tail, variants},      {Fault::write_past_end, variants},
    {Fault::write_to_operand, variants},    {Fault::wrong_value, variants},
    {Fault::other_bits_each_run, variants}, {Fault::gradient_sign, gradient},
    {Fault::gradient_factor, gradient},     {Fault::constant_gradient, second},
    {Fault::batch_in_attribute, batch},     {Fault::mixed_rows, rows},
    {Fault::unsafe_overwrite, overwrite},   {Fault::depends_on_threads, threads},
    {Fault::negative, nonnegative},
};

TEST(BrokenOps, EachTurnsItsCheckRed) {
  for (const Planted& planted : kPlanted) {
    EXPECT_FALSE(planted.check(planted.fault).empty())
        << "fault " << static_cast<int>(planted.fault) << " was not seen";
  }
}

TEST(BrokenOps, TheSoundTwinIsGreen) {
  for (const Planted& planted : kPlanted) {
    for (const std::string& problem : planted.check(Fault::none)) ADD_FAILURE() << problem;
  }
}

// The first derivative is right where only the second is broken, and so on: a fault is seen by the
// check meant for it and not by its neighbour.
TEST(BrokenOps, NeighbouringChecksStayGreen) {
  EXPECT_TRUE(gradient(Fault::constant_gradient).empty());
  EXPECT_TRUE(variants(Fault::gradient_sign).empty());
  EXPECT_TRUE(overwrite(Fault::gradient_factor).empty());
}

}  // namespace
}  // namespace tapescope
