// What the kernels' tests share: running a plan on vectors, random data, every instruction set.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <vector>

#include "engine/isa.h"
#include "engine/philox.h"
#include "engine/thread_pool.h"
#include "kernels/common/variant.h"

namespace tapescope::testing {

// Uniform in [low, high), from a seed.
template <class T = float>
std::vector<T> random_values(std::int64_t n, std::uint64_t seed, double low = -1, double high = 1) {
  PhiloxStream stream(seed);
  std::vector<T> values(static_cast<std::size_t>(n));
  for (T& value : values) {
    value = static_cast<T>(static_cast<float>(low + (high - low) * stream.uniform_f64()));
  }
  return values;
}

// `n` NaNs (all bits set): outputs start as these, so that an element nobody wrote is seen.
template <class T = float>
std::vector<T> poisoned(std::int64_t n) {
  std::vector<T> values(static_cast<std::size_t>(n));
  if (n > 0) std::memset(static_cast<void*>(values.data()), 0xff, values.size() * sizeof(T));
  return values;
}

// Runs a plan with a workspace full of NaNs and a guard behind it.
inline void run(const Plan& plan, std::vector<const void*> in, std::vector<void*> out) {
  constexpr std::size_t kGuard = 4096;
  std::vector<unsigned char> memory(plan.workspace_bytes() + 64 + kGuard, 0xff);
  auto address = reinterpret_cast<std::uintptr_t>(memory.data());
  unsigned char* workspace = memory.data() + (64 - address % 64) % 64;
  plan.run(Queue(Device::cpu()), Buffers{in.data(), out.data(), workspace});
  for (std::size_t i = 0; i < kGuard; ++i) {
    ASSERT_EQ(workspace[plan.workspace_bytes() + i], 0xff) << "the workspace was overrun";
  }
}

// The plan of a variant by name.
template <class Shape>
Plan prepare(const Variants<Shape>& table, std::string_view variant, const Shape& shape,
             DType dtype) {
  Backend backend;
  backend.choices[std::string(table.family)] = std::string(variant);
  return prepare_from(table, shape, dtype, backend);
}
template <class Shape>
Plan prepare(const Variants<Shape>& table, std::string_view variant, const Shape& shape) {
  return prepare(table, variant, shape, shape.dtype);
}

// Calls f once for each instruction set this processor has.
inline void for_each_isa(const std::function<void()>& f) {
  const Isa before = isa();
  for (Isa level : {Isa::baseline, Isa::avx2, Isa::avx512}) {
    set_isa(level);
    if (isa() != level) break;
    SCOPED_TRACE(name_of(level));
    f();
  }
  set_isa(before);
}

// Calls f with one thread and with three: the results must be equal bit for bit.
inline void for_threads(const std::function<void()>& f) {
  const int before = thread_count();
  for (int threads : {1, 3}) {
    set_thread_count(threads);
    SCOPED_TRACE(std::to_string(threads) + " threads");
    f();
  }
  set_thread_count(before);
}

template <class T>
double number(T value) {
  if constexpr (std::is_same_v<T, bf16>) {
    return static_cast<double>(static_cast<float>(value));
  } else {
    return static_cast<double>(value);
  }
}

template <class T>
void expect_same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  ASSERT_EQ(a.size(), b.size());
  if (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0) return;
  for (std::size_t i = 0; i < a.size(); ++i) {
    ASSERT_EQ(std::memcmp(&a[i], &b[i], sizeof(T)), 0)
        << "element " << i << ": " << number(a[i]) << " and " << number(b[i]);
  }
}

// |value - expected| <= tolerance * max(1, scale), NaN equal to NaN.
inline ::testing::AssertionResult close(double value, double expected, double tolerance) {
  if (std::isnan(value) && std::isnan(expected)) return ::testing::AssertionSuccess();
  if (value == expected || std::fabs(value - expected) <= tolerance) {
    return ::testing::AssertionSuccess();
  }
  return ::testing::AssertionFailure() << value << " instead of " << expected << ", off by "
                                       << std::fabs(value - expected) << " > " << tolerance;
}

}  // namespace tapescope::testing
