// Deliberately broken CUDA kernels, run by the emulator: each must be seen by the check meant for
// it, and the sound twin by none.
#include <gtest/gtest.h>

#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "kernels/common/gpu.h"
#include "kernels/common/vector.h"
#include "kernels/common/warp.h"
#include "tests/autograd/harness.h"

namespace tapescope::emulated {
namespace {

enum Fault : int {
  kNone,
  kMissingBarrier,
  kSharedOverrun,
  kGlobalOverrun,
  kWrongMask,
  kUnhandledTail,
};

// y = x * x in blocks of 64, each through shared memory and a shuffle that changes nothing.
// x, y: {n}
__global__ void square(const double* x, double* y, int n, int fault) {
  TAPESCOPE_SHARED(double, tile, [64]);
  const int t = static_cast<int>(threadIdx.x), i = static_cast<int>(blockIdx.x) * 64 + t;
  const int mirrored = 63 - t;
  tile[fault == kSharedOverrun ? mirrored + 1 : mirrored] = i < n ? x[i] : 0;
  if (fault != kMissingBarrier) __syncthreads();
  double value = tile[mirrored];
  if (fault == kMissingBarrier) value = 0.5 * (value + tile[t]) + 0.5 * (value - tile[t]);
  const unsigned lanes = fault == kWrongMask ? 0x0000ffffu : kFullMask;
  value = __shfl_xor_sync(lanes, __shfl_xor_sync(lanes, value, 1), 1);
  const int end = fault == kUnhandledTail ? n / 4 * 4 : fault == kGlobalOverrun ? n + 1 : n;
  if (i < end) y[i] = value * value;
}

class SquareOp final : public Op {
 public:
  explicit SquareOp(Fault fault) : fault_(fault) {}
  std::string_view name() const override { return "broken_kernel"; }
  void attributes(AttributeVisitor& v) const override {
    v.visit("fault", static_cast<std::int64_t>(fault_));
  }
  Types infer(std::span<const Type> t) const override { return {t[0]}; }
  Plan prepare(std::span<const Type> t, std::span<const Type>, const Backend&) const override {
    return Plan("broken", 0,
                [n = static_cast<int>(t[0].elements()), fault = fault_](const Queue& queue,
                                                                        const Buffers& b) {
                  launch<square>(queue, blocks_for(n, 64), 64, 0,
                                 static_cast<const double*>(b.in[0]),
                                 static_cast<double*>(b.out[0]), n, static_cast<int>(fault));
                });
  }
  void vjp(Vjp& v) const override { v.give(0, mul(v.cotangent(), affine(v.operand(0), 2))); }
  Role role(int) const override { return Role::signal; }
  RelevanceClass relevance_class(unsigned) const override { return RelevanceClass::monotone; }
  Cost cost(std::span<const Type> t, std::span<const Type> out) const override {
    return memory_cost(t, out, 1);
  }
  Footprint footprint() const override { return {}; }
  std::vector<Var> decompose(Tape&, std::span<const Var> operands) const override {
    return {tapescope::square(operands[0])};
  }

 private:
  Fault fault_;
};

std::string problems_of(Fault fault) {
  const OperandSpec spec{{DType::f32, {3, 35}}, OperandSpec::Values::normal};
  Case c{{"broken", std::make_shared<SquareOp>(fault), {spec}}, {fill(spec, 3, 1)}};
  std::string all;
  for (const std::string& problem : check_variants(c)) all += problem + "\n";
  return all;
}

TEST(BrokenKernels, TheSoundTwinIsGreen) { EXPECT_EQ(problems_of(kNone), ""); }

TEST(BrokenKernels, AnUnhandledTailLeavesNaN) {
  EXPECT_NE(problems_of(kUnhandledTail).find("output 0 element 104 is"), std::string::npos)
      << problems_of(kUnhandledTail);
}

#if !defined(__SANITIZE_THREAD__)  // whose threads wait for a lane that never comes
TEST(BrokenKernels, AWrongShuffleMaskIsNamed) {
  EXPECT_NE(problems_of(kWrongMask).find("which leaves out its own lane"), std::string::npos)
      << problems_of(kWrongMask);
}

// ThreadSanitizer reports the race itself: see emulator_test.cpp.
TEST(BrokenKernels, AMissingBarrierIsSeenByAnotherOrderOfThreads) {
  EXPECT_NE(problems_of(kMissingBarrier).find("shuffled order"), std::string::npos)
      << problems_of(kMissingBarrier);
}
#endif

#if !defined(__SANITIZE_ADDRESS__)  // which stops at the write itself: see emulator_test.cpp
TEST(BrokenKernels, OverrunsAreSeen) {
  EXPECT_NE(problems_of(kSharedOverrun).find("past the end of the shared array 'tile'"),
            std::string::npos);
  EXPECT_NE(problems_of(kGlobalOverrun).find("writes past output 0"), std::string::npos);
}
#endif

// Dropout whose gradient is masked by other random numbers than its result.
class OtherMaskOp final : public Op {
 public:
  OtherMaskOp(std::uint64_t key, bool sound) : key_(key), sound_(sound) {}
  std::string_view name() const override { return "broken_dropout"; }
  void attributes(AttributeVisitor& v) const override {
    v.visit("key", static_cast<std::int64_t>(key_));
  }
  Types infer(std::span<const Type> t) const override { return {t[0]}; }
  Plan prepare(std::span<const Type> t, std::span<const Type>, const Backend&) const override {
    return Plan("broken", 0, [n = t[0].elements(), key = key_](const Queue&, const Buffers& b) {
      for (std::int64_t i = 0; i < n; ++i) {
        const PhiloxBlock bits = philox(philox_key(key), {static_cast<std::uint32_t>(i), 0, 0, 0});
        static_cast<double*>(b.out[0])[i] =
            uniform_f32(bits[0]) < 0.5f ? 0 : static_cast<const double*>(b.in[0])[i];
      }
    });
  }
  void vjp(Vjp& v) const override {
    const auto op = std::make_shared<OtherMaskOp>(sound_ ? key_ : key_ + 1, sound_);
    v.give(0, v.tape().record(op, {v.cotangent()}).out());
  }
  Role role(int) const override { return Role::signal; }
  RelevanceClass relevance_class(unsigned) const override { return RelevanceClass::linear; }
  Cost cost(std::span<const Type> t, std::span<const Type> out) const override {
    return memory_cost(t, out, 1);
  }
  Footprint footprint() const override { return {}; }

 private:
  std::uint64_t key_;
  bool sound_;
};

TEST(BrokenKernels, AMaskThatDiffersBetweenForwardAndBackwardIsSeen) {
  const OperandSpec spec{{DType::f32, {3, 35}}, OperandSpec::Values::normal};
  for (const bool sound : {true, false}) {
    Case c{{"broken", std::make_shared<OtherMaskOp>(7, sound), {spec}}, {}};
    c.operands.push_back(fill(spec, 3, 1));
    EXPECT_EQ(check_gradient(c).empty(), sound);
  }
}

}  // namespace
}  // namespace tapescope::emulated
